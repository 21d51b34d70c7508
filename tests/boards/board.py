"""A board on a pseudo-terminal: MicroPython unix that looks like one to mpremote.

Between mpremote's side of the pty and MicroPython's stands this process. It does what a chip's start-up code does: prints
"MPY: soft reboot" when the interpreter ends, starts it again with the same flash file, boot.py first, main.py only from the
friendly prompt, and puts it back into the raw prompt when that is where the reset was asked for.

    with Board(tmp_path, air=[["home", "secret"]]) as b:
        subprocess.run(["mpremote", "connect", b.port, "fs", "ls"])

`pull_at(text, n)`: pull the cable (and with it the power) when the n-th `text` arrives from mpremote. The flash file stays.
"""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RAW = b"raw REPL; CTRL-B to exit\r\n"


def micropython():
    """Path of MicroPython unix: beside this Python, or on the PATH."""
    import shutil

    beside = Path(sys.executable).parent / "micropython"
    found = os.environ.get("UMQTT5_MICROPYTHON") or (str(beside) if beside.exists() else shutil.which("micropython"))
    if not found:
        raise FileNotFoundError("micropython (unix) is not installed; `make setup` installs it")
    return found


def _quiet(fd):
    # no echo, no line buffering, signals from the keyboard: as a board's console
    a = termios.tcgetattr(fd)
    a[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON)
    a[3] &= ~(termios.ECHO | termios.ICANON)
    a[3] |= termios.ISIG
    termios.tcsetattr(fd, termios.TCSANOW, a)


class Board:
    def __init__(self, where, board="esp32", blocks=256, air=(("home", "secret"),), rom_size=0, main=True):
        self.flash = str(Path(where) / "flash.bin")
        if not os.path.exists(self.flash):
            with open(self.flash, "wb") as f:
                f.truncate(blocks * 4096)
        self.rom = None
        if rom_size:
            self.rom = str(Path(where) / "rom.bin")
            if not os.path.exists(self.rom):
                with open(self.rom, "wb") as f:
                    f.write(b"\xff" * rom_size)
        self.args = {"flash": self.flash, "blocks": blocks, "board": board, "air": [list(a) for a in air], "rom": self.rom,
                     "tests": str(HERE), "cause": "power", "main": main, "keep": str(Path(where) / "chip")}  # fmt: skip
        self.run_main = main
        self._note = Path(self.args["keep"] + ".reset")
        self._cut = None
        self.resets = 0
        self.causes = []  # of each reset
        self.sleeps = []  # ms of each deep sleep; this board sleeps at most 0.2 s
        self.output = bytearray()  # everything the board ever said
        self._master, slave = pty.openpty()
        a = termios.tcgetattr(slave)
        a[0] = a[1] = a[3] = 0
        termios.tcsetattr(slave, termios.TCSANOW, a)
        os.set_blocking(self._master, False)  # nobody may be reading: the thread must hear of close() all the same
        self._slave = slave  # kept open: the port is there whoever comes and goes
        self.port = os.ttyname(slave)
        self._raw = False
        self._proc = None
        self._stop = False
        self._start()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    # -- the chip ---------------------------------------------------------------------------------------------------------
    def _start(self):
        self.args["main"] = self.run_main and not self._raw
        start = Path(self.args["keep"] + ".json")  # in a file: the interpreter takes arguments of up to 255 bytes
        start.write_text(json.dumps(self.args))
        self._in, s = pty.openpty()
        _quiet(s)
        self._proc = subprocess.Popen(
            [micropython(), "-i", str(HERE / "boot.py"), str(start)], stdin=s, stdout=s, stderr=s,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
        )  # fmt: skip
        os.close(s)
        os.set_blocking(self._in, False)
        self._typed = b""  # what the interpreter has not taken yet
        self._last = b""
        if self._raw:
            os.write(self._in, b"\x01")
        self._swallow = self._raw  # everything up to the raw prompt's banner belongs to the start-up

    def _why(self):
        # the interpreter ended: by the reset line, by the program (fakes.World.reset wrote how), or by ctrl-D
        note = self._note
        cause, ms = "soft", 0
        if self._hard:
            cause, self._hard = "hard", False
            note.unlink(missing_ok=True)  # a program that asked for a reset in the same moment has got it
        elif note.exists() and note.read_bytes()[4:]:
            data = note.read_bytes()
            cause, ms = data[4 : 4 + int.from_bytes(data[:4], "big")].decode().split()
            note.unlink()
            self._raw = False
        self.causes.append(cause)
        if int(ms):
            self.sleeps.append(int(ms))
            time.sleep(min(int(ms) / 1000, 0.2))
        return cause

    def _again(self, cause="soft"):
        self._proc.wait()
        os.close(self._in)
        self._in = -1
        self.resets += 1
        self.args["cause"] = cause
        self._say(b"MPY: soft reboot\r\n" if cause == "soft" else b"\r\nrst:0x1\r\n")
        self._start()

    def reset(self):
        """Pull the reset line: hard reset, friendly prompt, main.py runs."""
        self._hard = True  # the thread does it: it alone starts and ends interpreters
        while self._hard and self._thread.is_alive():
            time.sleep(0.005)

    _hard = False
    pulled = False
    _deaf = False

    def _say(self, data):
        self.output += data
        while data and not self._stop and not self._hard:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:  # the port's buffer is full
                select.select([], [self._master], [], 0.05)

    def _run(self):
        start = b""
        while not self._stop:
            more = [self._master, self._in] if len(self._typed) < 4096 else [self._in]
            ready, room, _ = select.select(more, [self._in] if self._typed else [], [], 0.05)
            if room:
                self._type(b"")
            if self._hard:
                self._raw = False
                self._proc.kill()
            if not ready and self._note.exists() and self._note.read_bytes()[4:]:
                self._proc.kill()  # a program that was the main program asked for a reset
            if self._master in ready:
                try:
                    data = os.read(self._master, 4096)
                except OSError:
                    return
                if self._cut:
                    self._heard += data
                    if self._heard.count(self._cut[0]) >= self._cut[1]:
                        self._pull()
                        return
                if data and not self._swallow and not self._deaf:
                    self._mode(data)
                    if b"\x03" in data and not self.output.endswith((b">", b">>> ")):
                        # a program runs: the unix port reads ctrl-C as a character then, a board's console interrupts
                        self._proc.send_signal(signal.SIGINT)
                        data = data[data.index(b"\x03") + 1 :]
                        time.sleep(0.02)
                    self._type(data)
            if self._in in ready:
                try:
                    data = os.read(self._in, 4096)
                except OSError:  # the interpreter ended
                    data = b""
                if not data:
                    start = b""
                    if not self._stop:
                        self._again(self._why())
                    continue
                # the unix port adds a CR of its own to each CR LF
                out = (self._last + data).replace(b"\r\r\n", b"\r\n")
                keep = b""
                while out[-1:] == b"\r":
                    keep, out = out[-1:] + keep, out[:-1]
                self._last = keep
                if self._swallow:
                    start += out
                    at = start.find(RAW)
                    if at < 0:
                        continue
                    self._swallow = False
                    head = start[: start.find(b"MicroPython ")] if b"MicroPython " in start[:at] else b""
                    out = head + start[at:]
                    start = b""
                if out:
                    self._say(out)

    def _type(self, data):
        self._typed += data
        try:
            self._typed = self._typed[os.write(self._in, self._typed) :]
        except OSError:  # full, or the interpreter ended
            pass

    def _pull(self):
        self.pulled = True  # before the other end can notice: it may tell the test at once
        self._proc.kill()
        self._proc.wait()
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def _mode(self, data):
        # which prompt are we in: a soft reset comes back to the same one
        for c in data:
            if c == 1:
                self._raw = True
            elif c == 2:
                self._raw = False

    # -- for tests --------------------------------------------------------------------------------------------------------
    def wait_for(self, text, timeout=120, start=0):
        """Until the board has said `text` (bytes) after position `start`. Returns the position behind it."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            at = self.output.find(text, start)
            if at >= 0:
                return at + len(text)
            time.sleep(0.02)
        raise TimeoutError(
            "the board never said %r, but: %s" % (text, bytes(self.output[start:]).decode("utf8", "replace")[-2000:])
        )

    def pull_at(self, text, n=1):
        self._heard = b""
        self._cut = (text, n)

    def hang(self):
        """The program on the board no longer answers the keyboard."""
        self._deaf = True

    def offline(self, code):
        """Start the chip once more without a console, run code on it and return what it printed (the board must be closed)."""
        args = dict(self.args, main=False, run=code)
        start = Path(self.args["keep"] + ".json")
        start.write_text(json.dumps(args))
        p = subprocess.run([micropython(), str(HERE / "boot.py"), str(start)], capture_output=True, text=True, timeout=240)
        return p.stdout + p.stderr

    def close(self):
        """Power off. A second call does nothing: the numbers of its files may belong to others by then."""
        self._stop = True
        self._thread.join()  # none of its waits is longer than 0.2 s; while it runs, the interpreter and the files are its own
        if self._proc.poll() is None:
            self._proc.send_signal(signal.SIGKILL)
            self._proc.wait()
        for fd in (self._master, self._slave, self._in):
            if fd >= 0:
                os.close(fd)
        self._master = self._slave = self._in = -1

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()
