"""Finding a board and talking to it, on mpremote's own transport: shared by deploy.py, flash.py, monitor.py and test_board.py.

Every way in which it can fail ends in a BoardError whose text says what to do.
"""

import contextlib
import io
import os
import struct

import serial.tools.list_ports
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

MINIMUM = (1, 23)
PATIENCE = 10  # seconds for a board that is still in a name look-up or a TLS handshake when it is interrupted
# What sys.implementation._mpy says about native code: index (value >> 10) & 15.
ARCHS = (None, "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp", "xtensa", "xtensawin", "rv32imc")


class BoardError(Exception):
    """What went wrong, in one or two sentences for the person at the keyboard."""


def ports():
    """Serial ports that belong to a USB device, sorted: list of (device, description)."""
    found = [p for p in serial.tools.list_ports.comports() if p.vid is not None]
    return sorted((p.device, "%s %04x:%04x" % (p.description, p.vid, p.pid)) for p in found)


def choose(port, say=print):
    """The device for `port`: itself, or with "auto" the only one there is, which is said. BoardError for none and for several."""
    if port != "auto":
        return port
    found = ports()
    if not found:
        raise BoardError("no board: no USB serial port found. Is the cable a data cable? Name the port with --port.")
    if len(found) > 1:
        raise BoardError("several ports, name one with --port: " + ", ".join("%s (%s)" % f for f in found))
    say("port %s (%s), the only one" % found[0])
    return found[0][0]


def open_port(device):
    """A SerialTransport; `device` may be a path, COM3, or a pyserial URL such as socket://host:port."""
    if "://" not in device and not device.upper().startswith("COM") and not os.path.exists(device):
        raise BoardError("no board: %s does not exist" % device)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return SerialTransport(device, baudrate=115200, timeout=min(8, PATIENCE))
    except (TransportError, OSError) as e:
        raise BoardError("board busy: %s cannot be opened, another program may hold it (%s)" % (device, e)) from e


def raw(transport, soft_reset=True):
    """Into the raw prompt, ending whatever runs; with `soft_reset` on a fresh heap, boot.py run and main.py not."""
    noise = io.StringIO()
    try:
        with contextlib.redirect_stdout(noise):
            transport.enter_raw_repl(soft_reset=soft_reset, timeout_overall=PATIENCE)
    except (TransportError, OSError) as e:
        raise BoardError(
            "no answer from %s: no MicroPython there, or the board is busy or asleep. Press its reset button and try again "
            "at once; flash firmware with tools/flash.py (%s)" % (transport.device_name, e)
        ) from e


def connect(port, say=print):
    """choose, open and raw in one. Returns the transport."""
    t = open_port(choose(port, say))
    try:
        raw(t)
    except BoardError:
        close(t)
        raise
    return t


def close(transport):
    """Close the port, whatever has become of it."""
    with contextlib.suppress(OSError, TransportError):
        transport.close()


def run(transport, code, timeout=30):
    """Run code on the board; returns what it printed. BoardError when the line breaks, TransportExecError when it raises."""
    try:
        out, err = transport.exec_raw(code, timeout=timeout)
    except (TransportError, OSError, struct.error) as e:
        raise BoardError("the connection to the board broke: %s" % e) from e
    if err:
        raise TransportExecError(out, err.decode("utf8", "replace"))
    return out.decode("utf8", "replace").replace("\r\n", "\n")


_ASK = """
import sys, os, gc
gc.collect()
i = sys.implementation
try:
    s = os.statvfs('/')
    s = (s[0], s[3] * s[1])
except OSError:
    s = (4096, 0)
try:
    import vfs
    r = vfs.rom_ioctl(1) if hasattr(vfs, 'rom_ioctl') else 0
except ImportError:
    r = 0
print(repr((i.name, tuple(i.version)[:3], getattr(i, '_mpy', 0), sys.platform, getattr(i, '_machine', ''), gc.mem_free(), s, r)))
"""


class Facts:
    """What a board says about itself."""

    def __init__(self, transport):
        import ast

        text = run(transport, _ASK)
        try:
            (self.name, self.version, self.mpy, self.platform, self.machine, self.heap, flash, self.roms) = ast.literal_eval(text)
        except (SyntaxError, ValueError) as e:
            raise BoardError("the board gave no sensible answer: %r" % text) from e
        self.block, self.flash = flash

    def arch(self):
        """Name for mpy-cross -march, or None."""
        n = self.mpy >> 10 & 15
        return ARCHS[n] if n < len(ARCHS) else None

    def check(self, board=None):
        """BoardError for firmware that umqtt5 does not run on, or another chip than `board`."""
        if self.name != "micropython":
            raise BoardError("this board runs %s, not MicroPython" % self.name)
        if self.version < MINIMUM:
            raise BoardError(
                "firmware too old: MicroPython %d.%d.%d, umqtt5 needs %d.%d; put a newer one on it with tools/flash.py"
                % (self.version + MINIMUM)
            )
        if board and self.platform in ("esp32", "rp2") and self.platform != board:
            raise BoardError("this board is an %s (%s), not %s" % (self.platform, self.machine, board))

    def __str__(self):
        return "MicroPython %d.%d.%d on %s, .mpy version %d%s, %d B of heap free, %d KB of flash free" % (
            *self.version, self.machine or self.platform, self.mpy & 255, " (%s)" % self.arch() if self.arch() else "",
            self.heap, self.flash // 1024,
        )  # fmt: skip
