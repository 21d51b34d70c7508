"""Host only: tools/agent.py as a process, on CPython or MicroPython.

with Agent("micropython") as a:
    ev = a.do("connect", port=1883)                  # the event with this command's tag; AssertionError after a.timeout
    assert ev["ev"] == "connected"
    a.do("publish", topic="t", payload="x", qos=1)
    a.wait("acked", packet_id=1)                     # the next event of that kind; others stay for later waits
    a.send("hold", on=True)                          # commands without an event of their own
    a.events                                         # everything so far, in order
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

from . import mpy

AGENT = mpy.ROOT / "tools" / "agent.py"
INTERPRETERS = ("cpython", "micropython")


class Agent:
    """One agent process; "packed" is MicroPython with the library as on boards. heap: MicroPython's heap; path: another copy of
    the agent; env: more environment.
    """

    timeout = 60  # seconds: how long a failure takes

    def __init__(self, interpreter="cpython", heap="8m", cwd=None, path=AGENT, env=None):
        self.interpreter = interpreter
        start = [sys.executable] if interpreter == "cpython" else mpy.command(heap)
        if interpreter == "packed":
            path = mpy.build(beside="tools/agent.py") / "tools" / "agent.py"
        self.events = []
        self.unused = []
        self.stderr = ""
        self.changed = threading.Condition()
        self._tags = 0
        self.process = subprocess.Popen(
            start + [str(path)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._errors.start()
        self.ready = self.wait("ready")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.kill()

    def _read(self):
        for line in self.process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                event = {"ev": "garbage", "line": line}
            event["at"] = time.monotonic()
            with self.changed:
                self.events.append(event)
                self.unused.append(event)
                self.changed.notify_all()
        with self.changed:
            self.process.wait()
            self.changed.notify_all()

    def _read_errors(self):
        for line in self.process.stderr:
            self.stderr += line

    def send(self, do, tag=None, **fields):
        """Write one command line."""
        fields = {"do": do, **fields}
        if tag is not None:
            fields["tag"] = tag
        self.process.stdin.write(json.dumps(fields) + "\n")
        self.process.stdin.flush()

    def do(self, do, timeout=None, **fields):
        """Send a command and wait for its own event."""
        self._tags += 1
        limit = fields.pop("wait", None)
        if timeout is not None:
            fields["timeout"] = timeout
        self.send(do, self._tags, **fields)
        return self.wait(None, limit, tag=self._tags)

    def wait(self, ev=None, timeout=None, **fields):
        """The first event not yet taken by a wait that is an `ev` (any without it) with these fields; waits for it."""
        end = time.monotonic() + (timeout or self.timeout)
        with self.changed:
            while True:
                for event in self.unused:
                    if ev in (None, event["ev"]) and all(event.get(k) == v for k, v in fields.items()):
                        self.unused.remove(event)
                        return event
                left = end - time.monotonic()
                code = self.process.poll()
                if left <= 0 or code is not None:
                    if code is not None:
                        self._errors.join(10)
                    raise AssertionError(
                        "no %s %r: %s; not taken: %r\n%s"
                        % (
                            ev or "event",
                            fields,
                            "waited %s s" % (timeout or self.timeout) if code is None else "the agent exited with %s" % code,
                            self.unused[-12:],
                            self.stderr,
                        )
                    )
                self.changed.wait(min(left, 0.2))

    def none(self, ev, seconds=0.3):
        """AssertionError if an event of that kind comes within that time."""
        time.sleep(seconds)
        with self.changed:
            found = [e for e in self.unused if e["ev"] == ev]
        if found:
            raise AssertionError("%r" % found)

    def messages(self):
        """All messages so far: list of (topic, payload bytes)."""
        with self.changed:
            return [(e["topic"], bytes.fromhex(e["payload_hex"])) for e in self.events if e["ev"] == "message"]

    def end(self, timeout=60):
        """End of its input: a clean DISCONNECT and exit; returns the exit code."""
        self.process.stdin.close()
        code = self.process.wait(timeout)
        self._errors.join(1)
        return code

    def kill(self, how=signal.SIGKILL):
        """End the process by its own id."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait()
        self._errors.join(1)
