#!/usr/bin/env python3
"""Put umqtt5, the board's modules, main.py and the settings onto a board.

    python3 tools/deploy.py --port auto --board rp2 --profile telemetry --settings settings.json

Packs the library (pack.py) and compiles it with the mpy-cross that fits the board's firmware, copies only what changed, imports
everything on the board before the old library goes, and puts the old one back when that fails or the last try was interrupted.
Settings are checked first.

How it stays safe: everything new goes into /.deploy/new; one short program on the board then renames old things into
/.deploy/old and new ones into place; /.deploy goes only after the imports worked. A folder /.deploy/old found at the start
means that this did not happen: it is moved back before anything else.
"""

import argparse
import base64
import contextlib
import hashlib
import struct
import sys
from pathlib import Path

import profiles
from boardcode import CALM, HELPERS, STAGE
from boardfiles import COMMON, library, modules, read_settings
from boardlink import BoardError, Facts, close, connect, raw, run
from mpremote.romfs import VfsRomWriter
from mpremote.transport import TransportError, TransportExecError

LIB = "/lib/umqtt5/"


def blocks(sizes, facts):
    """Bytes of flash that files of these sizes take."""
    return sum(-(-n // facts.block) * facts.block for n in sizes)


class Deploy:
    """One run. `say` prints a line."""

    def __init__(self, transport, options, say=print):
        self.t = transport
        self.o = options
        self.say = say

    def on_board(self, code, timeout=60):
        try:
            return run(self.t, code, timeout)
        except TransportExecError as e:
            raise BoardError("the board failed: " + e.error_output.strip().splitlines()[-1]) from e

    def fresh(self):
        """Soft reset, and the helpers in place again."""
        raw(self.t)
        self.on_board(CALM + HELPERS)

    def hashes(self, names):
        out = self.on_board("h(%r)" % (list(names),))
        return dict(line.rsplit(" ", 1) for line in out.splitlines())

    def go(self):
        o = self.o
        facts = Facts(self.t)
        facts.check(o.board)
        self.say(str(facts))
        if o.romfs and not facts.roms:
            raise BoardError("this firmware has no ROMFS partition (MicroPython 1.25 or later has, on some boards): no --romfs")
        self.on_board(CALM + HELPERS)
        self.recover()
        if not o.romfs and facts.roms and self.on_board("print(bool(there('/rom/lib/umqtt5')))").strip() == "True":
            raise BoardError("umqtt5 is in this board's ROMFS, which is found before /lib: deploy with --romfs")
        lib = library(o.board, o.profile, facts)
        want = {} if o.romfs else {"/lib/" + n: d for n, d in lib.items()}
        want["/main.py"] = Path(o.main or profiles.ROOT / "ports" / o.board / "main.py").read_bytes()
        if o.settings:
            want.update(read_settings(o.settings, o.board, o.profile))
        elif "/settings.json" not in self.hashes(["/settings.json"]):
            self.say("no settings on the board yet: --settings FILE (start from ports/%s/settings.example.json)" % o.board)
        image = self.image(lib) if o.romfs else None
        changed, drop, renew = self.compare(want)
        new_rom = image is not None and not self.same_rom(image)
        if not changed and not drop and not renew and not new_rom:
            self.say("nothing to copy: all %d files are there already" % (len(want) + (len(lib) if o.romfs else 0)))
            return 0
        if o.dry_run:
            for n in sorted(changed):
                self.say("would copy %s (%d B)" % (n, len(want[n])))
            for n in drop:
                self.say("would remove %s" % n)
            if new_rom:
                self.say("would write %d B to ROMFS" % len(image))
            return 0
        self.space(facts, want, changed, renew)
        old_rom = None
        try:
            if new_rom:
                old_rom = self.rom()
                drop += self.spare(lib, facts, old_rom)
            put = self.stage(want, changed, renew)
            if new_rom:
                self.write_rom(image)
                self.say("  %-28s %7d B 100 %%" % ("ROMFS", len(image)))
            self.on_board("swap(%r, %r)" % (put, drop))
            heap = self.verify(facts)
        except (BoardError, TransportError) as e:
            self.undo(old_rom)
            raise BoardError("%s\nthe board has its old files again" % e) from e
        self.on_board("rm(%r)" % STAGE)
        self.say("heap free: %d B before, %d B with everything imported" % (facts.heap, heap))
        return 0

    # -- what is there, what is missing -----------------------------------------------------------------------------------
    def recover(self):
        """A deployment that did not get to its end: put its old files back, forget its new ones."""
        if self.on_board("print(bool(there('/.deploy/journal')))").strip() == "True":
            n = self.on_board("back()").strip()
            self.say("a deployment did not get to its end: %s entries put back as they were" % n)
        self.on_board("rm(%r)" % STAGE)

    def compare(self, want):
        """-> names that differ on the board; entries there that must go because they would be found first; whether the library's
        folder holds files that do not belong there any more."""
        there = self.hashes(want)
        changed = [n for n in want if there.get(n) != hashlib.sha256(want[n]).hexdigest()]
        old = self.on_board("if there('/lib/umqtt5'): tree('/lib/umqtt5')").split()
        others = ["/lib/%s%s" % (m, x) for m in COMMON + ("chip",) for x in (".py", ".mpy")]
        drop = [n for n in self.hashes(others) if n not in want]
        if self.o.romfs:
            return changed, drop + (["/lib/umqtt5"] if old else []), False
        return changed, drop, any(n not in want for n in old) or any(n.startswith(LIB) for n in changed)

    def space(self, facts, want, changed, renew):
        """BoardError when flash cannot hold old and new side by side."""
        sizes = [len(d) for n, d in want.items() if n in changed or (renew and n.startswith(LIB))]
        need = blocks(sizes, facts) + 6 * facts.block
        if need > facts.flash:
            raise BoardError(
                "not enough flash: %d KB are needed while the old files are kept, %d KB are free; try a smaller --profile, or "
                "remove files from the board" % (need // 1024 + 1, facts.flash // 1024)
            )

    # -- putting it there -------------------------------------------------------------------------------------------------
    def stage(self, want, changed, renew):
        """Copy what changed into the staging folder, with the rest of the library beside it. Returns the entries to swap."""
        put = ["/lib/umqtt5"] if renew else []
        for n, data in want.items():
            if n in changed:
                self.write(STAGE + "/new" + n, data, n)
                if not n.startswith(LIB):
                    put.append(n)
            elif renew and n.startswith(LIB):
                self.on_board("cp(%r, %r)" % (n, STAGE + "/new" + n))
        return put

    def spare(self, lib, facts, old_rom):
        """Before the only ROMFS partition is written: a copy of the library on the file system, to fall back on when that is cut
        off. Not when there is one already, nor where nothing has run so far. Returns what has to go afterwards."""
        if not old_rom or self.on_board("print(bool(there('/lib/umqtt5')))").strip() == "True":
            return []
        if blocks([len(d) for d in lib.values()], facts) + 8 * facts.block > facts.flash:
            self.say("flash has no room for a spare copy of the library: do not cut the power while ROMFS is written")
            return []
        self.say("a spare copy of the library first, in case the writing of ROMFS is cut off:")
        for n, data in lib.items():
            self.write("/lib/" + n, data, "/lib/" + n)
        return ["/lib/umqtt5"] + ["/lib/" + n for n in lib if "/" not in n]

    def write(self, path, data, name):
        self.on_board("md(%r)" % path)
        live = sys.stdout.isatty() and self.say is print
        line = "  %-28s %7d B " % (name, len(data))

        def progress(done, size):
            if live:
                print("\r%s%3d %%" % (line, done * 100 // max(size, 1)), end="", flush=True)

        try:
            self.t.fs_writefile(path, data, chunk_size=1024, progress_callback=progress)
        except OSError as e:
            raise BoardError("writing %s failed: %s" % (name, e)) from e
        if live:
            print("\r", end="")
        self.say(line + "100 %")

    def verify(self, facts):
        """Start afresh, import every module, let the board check its settings. Returns the free heap."""
        self.fresh()
        names = [profiles.NAME] + ["%s.%s" % (profiles.NAME, m) for m in modules(self.o.profile) if m[0] != "_"]
        names += ["chip"] + list(COMMON)
        where = "/rom" if self.o.romfs else "/lib"
        code = "import gc\nfor n in %r:\n __import__(n)\n" % (names,)
        code += "import umqtt5\ngc.collect()\nprint(umqtt5.__file__, gc.mem_free())"
        try:
            out = run(self.t, code, 60).split()
        except TransportExecError as e:
            raise BoardError("the new files do not import: " + e.error_output.strip().splitlines()[-1]) from e
        if not out[0].lstrip("/").startswith(where.lstrip("/")):
            raise BoardError("the board imports umqtt5 from %s, not from %s: remove that one" % (out[0], where))
        self.on_board("with open('/main.py') as f:\n compile(f.read(), 'main.py', 'exec')")
        if self.hashes(["/settings.json"]):
            said = self.on_board(
                "import settings\ntry:\n settings.load('/settings.json', %r)\n"
                "except settings.SettingsError as e:\n print('\\n'.join(e.lines))" % self.o.board
            ).strip()
            if said:
                raise BoardError("the settings on the board are wrong:\n" + said)
        return int(out[1])

    def undo(self, old_rom):
        """Old files back in place, as far as the board still answers."""
        try:
            self.fresh()
            if old_rom is not None:
                self.write_rom(old_rom)
                self.fresh()
            self.recover()
        except (BoardError, TransportError, OSError):
            raise BoardError(
                "the deployment was cut off and the board does not answer; its old files are still there, the next run of "
                "deploy.py puts everything in order"
            ) from None

    # -- ROMFS ------------------------------------------------------------------------------------------------------------
    def image(self, lib):
        w = VfsRomWriter()
        w.opendir("lib")
        w.opendir(profiles.NAME)
        for n in sorted(lib):
            if "/" in n:
                w.mkfile(n.split("/")[1], lib[n])
        w.closedir()
        for n in sorted(lib):
            if "/" not in n:
                w.mkfile(n, lib[n])
        w.closedir()
        return bytes(w.finalise())

    def rom(self):
        """The image on the board now, read back; b"" for none."""
        import ast

        size = self.on_board(
            "import vfs\nm = memoryview(vfs.rom_ioctl(2, 0))\nn = 0\nif bytes(m[:3]) == b'\\xd2\\xcd1':\n i = 3\n"
            " while m[i] & 128:\n  n = n << 7 | m[i] & 127\n  i += 1\n n = (n << 7 | m[i]) + i + 1\nprint(n)"
        )
        data = b""
        for i in range(0, int(size), 2048):
            data += ast.literal_eval(self.on_board("print(bytes(m[%d:%d]))" % (i, min(i + 2048, int(size)))))
        return data

    def same_rom(self, image):
        got = self.on_board(
            "import vfs, hashlib\nd = hashlib.sha256(memoryview(vfs.rom_ioctl(2, 0))[:%d]).digest()\n"
            "print(''.join('%%02x' %% c for c in d))" % len(image)
        )
        return got.strip() == hashlib.sha256(image).hexdigest()

    def write_rom(self, image):
        """Erase what `image` needs and write it, the block with the header last: an image that is cut off is none at all.

        vfs.rom_ioctl (MicroPython 1.25 and later): 2 the partition, a block device or memory; 3 erase; 4 write; 5 end; 6 block
        size."""
        kind, size, block = self.on_board(
            "import vfs, binascii\ntry:\n vfs.umount('/rom')\nexcept OSError:\n pass\nd = vfs.rom_ioctl(2, 0)\n"
            "if hasattr(d, 'ioctl'):\n print('device', d.ioctl(4, 0) * d.ioctl(5, 0), d.ioctl(5, 0))\n"
            "else:\n print('memory', len(d), vfs.rom_ioctl(6, 0))"
        ).split()
        size, block = int(size), int(block)
        if len(image) > size:
            raise BoardError("not enough flash: the library needs %d B of ROMFS, the partition has %d B" % (len(image), size))
        least = 1
        if kind == "device":
            for i in range(0, max(len(image), 1), block):
                self.on_board("d.ioctl(6, %d)" % (i // block))
            step = min(4096, block)
        else:
            if 0 < block < size:
                for i in range(0, max(len(image), 1), block):
                    least = int(self.on_board("print(vfs.rom_ioctl(3, 0, %d, %d))" % (i, block)))
            else:
                least = int(self.on_board("print(vfs.rom_ioctl(3, 0, %d))" % max(len(image), 1)))
            step = max(4096, least)
        if least < 0:
            raise BoardError("the board cannot erase its ROMFS: error %d" % -least)
        for i in list(range(step, len(image), step)) + [0]:
            data = image[i : i + step]
            data += bytes(step - len(data))
            self.on_board("b = binascii.a2b_base64(%r)" % base64.b64encode(data))
            if kind == "device":
                self.on_board("d.writeblocks(%d, b, %d)" % (i // block, i % block))
            else:
                self.on_board("vfs.rom_ioctl(4, 0, %d, b)" % i)
        if kind == "memory":
            self.on_board("vfs.rom_ioctl(5, 0)")


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--port", default="auto", help="serial device, or auto: the only USB serial port there is")
    p.add_argument("--board", required=True, choices=("esp32", "rp2"))
    p.add_argument("--profile", default="telemetry", choices=profiles.PROFILES)
    p.add_argument("--romfs", action="store_true", help="library into the ROMFS partition: runs from flash")
    p.add_argument("--settings", help="settings.json to check and copy (and the CA file it names, when it lies beside it)")
    p.add_argument("--main", help="main.py to copy instead of the board's telemetry node")
    p.add_argument("--dry-run", action="store_true", help="say what would be done")
    p.add_argument("--no-start", action="store_true", help="leave the board at its prompt instead of starting main.py")
    o = p.parse_args(argv)
    transport = None
    code = 1
    try:
        if o.settings:
            read_settings(o.settings, o.board, o.profile)  # before the board is disturbed
        transport = connect(o.port)
        code = Deploy(transport, o).go()
    except (BoardError, TransportError) as e:
        for line in str(e).splitlines():
            print("deploy.py: " + line, file=sys.stderr)
    finally:
        if transport is not None:
            leave(transport, not o.no_start)
            if code == 0 and not o.no_start:
                print("started; watch it: python3 tools/monitor.py --serial %s" % transport.device_name)
    return code


def leave(transport, start):
    """Let go of the board, however it went: main.py runs again (`start`), or the friendly prompt is there."""
    with contextlib.suppress(TransportError, OSError, struct.error):
        if start:
            transport.exec_raw_no_follow("import machine\nmachine.reset()")
        else:
            transport.exit_raw_repl()
    close(transport)


if __name__ == "__main__":
    sys.exit(main())
