# Run by MicroPython unix to become a board (see board.py): LittleFS in a file as "/", a chip's modules, boot.py, main.py.
# Argument: a JSON file with flash (file), blocks, board, air (list of [ssid, password]), rom (file or null), main (run it), keep
# (prefix of the files for RTC memory and NVS), cause (of the reset), run (code, then the end).
import json
import os
import sys
import time

import vfs

with open(sys.argv[1]) as _f:
    _a = json.load(_f)
sys.path.insert(0, _a["tests"])
import fakes


class Flash:
    """A flash of 4 KB blocks in a file."""

    def __init__(self, path, blocks):
        self.f = open(path, "r+b")
        self.n = blocks

    def readblocks(self, n, buf, off=0):
        self.f.seek(n * 4096 + off)
        got = self.f.readinto(buf)
        if got < len(buf):
            buf[got:] = b"\xff" * (len(buf) - got)

    def writeblocks(self, n, buf, off=0):
        self.f.seek(n * 4096 + off)
        self.f.write(buf)
        self.f.flush()

    def ioctl(self, op, arg):
        if op == 4:
            return self.n
        if op == 5:
            return 4096
        if op == 6:
            return 0


class Rom:
    """vfs.rom_ioctl of a board with a ROMFS partition that is memory-mapped and written in blocks of 4 KB."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as f:
            self.data = bytearray(f.read())
        self.f = open(path, "r+b")

    def ioctl(self, op, rom=0, a=0, b=0):
        if op == 1:
            return 1
        if rom != 0:
            return -19
        if op == 2:
            return memoryview(self.data)
        if op == 3:
            self.data[a : a + b] = b"\xff" * b
            self.f.seek(a)
            self.f.write(b"\xff" * b)
            self.f.flush()
            return 16
        if op == 4:
            self.data[a : a + len(b)] = b
            self.f.seek(a)
            self.f.write(b)
            self.f.flush()
            return 0
        if op == 5:
            return 0
        if op == 6:
            return 4096
        return -22


def become():
    world = fakes.World(_a["board"], path=_a["keep"], real=time, exits=True)
    for ssid, password in _a["air"]:
        world.ap(ssid, password, join_ms=20, dhcp_ms=20)
    world.cause = _a["cause"]
    world.open()
    if _a["cause"] == "power":
        world.keep("rtc", b"")
    fakes.install(world)
    names = {"mount": vfs.mount, "umount": vfs.umount, "VfsLfs2": vfs.VfsLfs2, "VfsRom": vfs.VfsRom, "VfsPosix": vfs.VfsPosix}
    rom = None
    if _a["rom"]:
        rom = Rom(_a["rom"])
        names["rom_ioctl"] = rom.ioctl
    sys.modules["vfs"] = fakes.Space(**names)
    flash = Flash(_a["flash"], _a["blocks"])
    vfs.umount("/")
    try:
        fs = vfs.VfsLfs2(flash)
    except OSError:
        vfs.VfsLfs2.mkfs(flash)
        fs = vfs.VfsLfs2(flash)
    vfs.mount(fs, "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    if rom and rom.data[:3] == b"\xd2\xcd\x31":
        vfs.mount(vfs.VfsRom(memoryview(rom.data)), "/rom")
        sys.path[1:1] = ["/rom", "/rom/lib"]
    sys.modules.pop("fakes")


def start(name):
    """Run a file as the board does at its start: a traceback on the console, a soft reset when it asks for one."""
    try:
        with open(name) as f:
            code = f.read()
    except OSError:
        return
    try:
        exec(compile(code, name, "exec"), globals())
    except SystemExit:
        while True:  # with -i the interpreter would go on to its prompt; board.py ends it and starts it anew
            _sleep(1)
    except BaseException as e:
        sys.print_exception(e)


_sleep = time.sleep
become()
start("boot.py")
if _a.get("run"):
    exec(_a["run"])
if _a["main"]:
    start("main.py")
for _n in ("json", "os", "time", "vfs", "Flash", "Rom", "become", "_a", "_f", "fakes", "start", "_n", "_sleep"):
    globals().pop(_n, None)
