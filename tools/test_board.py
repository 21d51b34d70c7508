#!/usr/bin/env python3
"""The host's scenarios on a board: tests/test_agent.py and what is named, with tools/agent.py running on the board.

    make test-board PORT=/dev/ttyACM0 ARGS="--host 192.168.1.20"

The port is anything mpremote can reach: a USB port, an emulator's pseudo-terminal, socket://127.0.0.1:4444. The library has to be
on the board (tools/deploy.py --profile everything); with --settings FILE the board joins the first network in it. The servers of
the tests listen on 127.0.0.1 of this computer: with --host ADDRESS (this computer as the board sees it) a relay passes the
board's connections on to them. More arguments go to pytest.
"""

import argparse
import json
import os
import select
import socket
import sys
import threading
import time
from pathlib import Path

from boardlink import BoardError, Facts, choose, open_port, raw, run

ROOT = Path(__file__).resolve().parent.parent
TESTS = ["tests/test_agent.py"]

# What a program behind a serial console has not: name -> why it is left out.
NOT_ON_A_BOARD = {
    "test_sigterm_ends_it": "a board has no signals",
    "test_end_of_input": "a console never ends",
    "test_lines_in_any_pieces": "a console never ends",
    "test_an_undocumented_exception": "needs a changed copy of the library",
    "test_a_part_that_is_not_installed": "needs a changed copy of the library",
    "test_the_session_survives_the_process": "the store is a file of this computer",
    "test_it_answers_while_the_server_takes_nothing": "megabytes of commands are too much for a console",
    "test_a_dialogue_with_mosquitto": "two agents, one board",
    "test_topics_published_at_several_qos_where": "two agents, one board",
    "500000": "more than the heap of a board",
    "test_it_says_what_it_is": "starts in a folder of this computer",
}


class Input:
    """The agent's standard input: the serial line."""

    def __init__(self, serial):
        self.serial = serial

    def write(self, text):
        # a board's console buffer is small: 64 bytes at a time, as long as it takes them
        data = text.encode()
        for i in range(0, len(data), 64):
            self.serial.write(data[i : i + 64])
            time.sleep(0.002)

    def flush(self):
        pass

    def close(self):
        pass

    @property
    def buffer(self):
        return self


class Process:
    """Looks like subprocess.Popen to support.agentproc.Agent: the agent on the board."""

    def __init__(self, device):
        self.transport = t = open_port(device)
        raw(t)
        if Options.wifi:
            run(t, Options.wifi, 60)
        t.exec_raw_no_follow((ROOT / "tools" / "agent.py").read_bytes())
        t.serial.timeout = 0.2
        self.stdin = Input(t.serial)
        self.returncode = None
        self.stdout = self._lines(b"\x04")
        self.error = ""
        self.going = True

    def _lines(self, end):
        """Lines of the output, then the traceback, up to the end marks of the raw prompt."""
        data = b""
        part = 0
        while self.going:
            n = self.transport.serial.inWaiting()
            try:
                new = self.transport.serial.read(max(1, n))
            except OSError:
                break
            data += new
            while True:
                a, b = data.find(b"\n"), data.find(end)
                if b >= 0 and (a < 0 or b < a):
                    if part:
                        self.error += data[:b].decode("utf8", "replace")
                        self.returncode = 70 if self.error.strip() else 0
                        return
                    part, data = 1, data[b + 1 :]
                elif a >= 0 and not part:
                    line, data = data[: a + 1], data[a + 1 :]
                    if b"soft reboot" in line:  # sys.exit() starts a board anew
                        self.returncode = 0
                        return
                    yield line.replace(b"\r\n", b"\n").decode("utf8", "replace")
                else:
                    break
        self.returncode = -9

    def poll(self):
        return self.returncode

    def wait(self, timeout=10):
        end = time.monotonic() + timeout
        while self.returncode is None and time.monotonic() < end:
            time.sleep(0.02)
        return self.returncode

    def stop(self):
        self.going = False
        self.wait(2)
        self.transport.serial.close()


class Relay:
    """Passes connections to host:port on to 127.0.0.1:target, so that a board reaches this computer's test servers."""

    def __init__(self, host, target):
        self.server = socket.create_server((host, 0))
        self.port = self.server.getsockname()[1]
        self.target = target
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                a, _ = self.server.accept()
                b = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            threading.Thread(target=self._pass, args=(a, b), daemon=True).start()

    def _pass(self, a, b):
        with a, b:
            while True:
                for s in select.select([a, b], [], [])[0]:
                    try:
                        data = s.recv(65536)
                        if not data:
                            return
                        (b if s is a else a).sendall(data)
                    except OSError:
                        return


class Options:
    device = ""
    host = None
    wifi = ""


def board_agent(base):
    """support.agentproc.Agent, on the board."""

    class BoardAgent(base):
        timeout = 30
        relays = {}

        def __init__(self, interpreter="micropython", **ignored):
            self.interpreter = interpreter
            self.events, self.unused, self.stderr = [], [], ""
            self.changed = threading.Condition()
            self._tags = 0
            self.connected = False
            self.process = Process(Options.device)
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
            self._errors = self._thread
            self.ready = self.wait("ready")

        def send(self, do, tag=None, **fields):
            if do == "connect" and Options.host and "host" not in fields and "port" in fields:
                port = fields["port"]
                if port not in self.relays:
                    self.relays[port] = Relay("", port)
                fields.update(host=Options.host, port=self.relays[port].port)
            super().send(do, tag, **fields)

        def _read(self):
            super()._read()
            self.stderr = self.process.error

        def end(self, timeout=10):
            """A console has no end of input: say what its end would do."""
            up = [e["ev"] for e in self.events if e["ev"] in ("connected", "disconnected")]
            if up and up[-1] == "connected":
                self.send("disconnect")
                self.wait("disconnected", timeout)
            self.send("quit")
            return self.process.wait(timeout)

        def kill(self, how=None):
            self.process.stop()

    return BoardAgent


class Plugin:
    """Leaves out what cannot be on a board."""

    def pytest_collection_modifyitems(self, config, items):
        keep, out = [], []
        for item in items:
            (out if any(n in item.nodeid for n in NOT_ON_A_BOARD) else keep).append(item)
        config.hook.pytest_deselected(items=out)
        items[:] = keep


def joining(path):
    """Code that joins the first network of a settings file."""
    n = json.loads(Path(path).read_text())["wifi"][0]
    return (
        "import network, time\nw = network.WLAN(network.STA_IF)\nw.active(True)\nif not w.isconnected():\n w.connect(%r, %r)\n"
        " for _ in range(200):\n  if w.isconnected(): break\n  time.sleep_ms(100)\nprint(w.isconnected())"
        % (n["ssid"], n.get("password"))
    )


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--port", default="auto")
    p.add_argument("--host", help="address of this computer as the board sees it (default: the board shares 127.0.0.1)")
    p.add_argument("--settings", help="settings.json whose first network the board joins")
    p.epilog = "All other arguments are pytest's; the default is " + " ".join(TESTS)
    o, rest = p.parse_known_args(argv)
    try:
        Options.device = choose(o.port)
        t = open_port(Options.device)
        raw(t)
        facts = Facts(t)
        facts.check()
        if o.settings:
            Options.wifi = joining(o.settings)
            if run(t, Options.wifi, 60).strip() != "True":
                raise BoardError("the board did not join the network of " + o.settings)
        if run(t, "try:\n import umqtt5.ws\n print(1)\nexcept ImportError:\n print(0)").strip() != "1":
            raise BoardError("the library is not on the board: tools/deploy.py --board ... --profile everything --no-start")
        t.serial.close()
    except BoardError as e:
        print("test_board.py: %s" % e, file=sys.stderr)
        return 1
    Options.host = o.host
    print("board: %s" % facts)
    for n in NOT_ON_A_BOARD.items():
        print("left out: %s (%s)" % n)
    sys.stdout.flush()
    os.chdir(ROOT)
    for folder in (ROOT / "ports" / "host", ROOT, ROOT / "tests"):
        sys.path.insert(0, str(folder))
    import pytest

    from support import agentproc

    agentproc.Agent = board_agent(agentproc.Agent)
    agentproc.INTERPRETERS = ("micropython",)
    if not any(r.startswith("tests/") for r in rest):
        rest = TESTS + rest
    return int(pytest.main(["-p", "no:cacheprovider", *rest], plugins=[Plugin()]))


if __name__ == "__main__":
    sys.exit(main())
