"""The harness itself: a failing, hanging or crashing test is reported as that and takes no other with it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import mpy, wasm

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = '''
"""A file with one test of each fate."""
TIMEOUTS = {"test_hangs": 2}
ONLY = {"test_only": ("micropython",)}
from support.t import eq, raises, rows, scratch, skip, INTERPRETER

def test_passes():
    print("seen only with failures")

def test_fails():
    secret = 41
    assert secret == 42, secret

def test_bare():
    assert 1 == 2

def test_row():
    for a, b in rows(((1, 1), (3, 4))):
        eq(a, b)

def test_raises():
    eq(str(raises(ValueError, int, "x"))[:7], "invalid")
    raises(KeyError, int, "x")

def test_hangs():
    print("before the hang")
    while True:
        pass

def test_exits():
    raise SystemExit(3)

def test_skips():
    skip("no reason")

def test_only():
    eq(INTERPRETER, "micropython")

def test_dies():
    CRASH

def test_after():
    with open(scratch() + "/file", "w") as f:
        f.write("x")
    import umqtt5.wire
    eq(umqtt5.wire.__file__[-4:], ".mpy" if INTERPRETER == "wasm32" else "e.py")
'''
FATES = {
    "passes": "PASSED",
    "fails": "FAILED",
    "bare": "FAILED",
    "row": "FAILED",
    "raises": "FAILED",
    "hangs": "FAILED",
    "exits": "FAILED",
    "skips": "SKIPPED",
    "dies": "FAILED",
    "after": "PASSED",
}
# what ends each interpreter on the spot
CRASHES = {
    "cpython": "import os; os.kill(os.getpid(), 11)",
    "micropython": "import os; os.system('kill -9 $PPID')",
    "wasm32": "import machine; machine.mem32[0xFFFFFFF0] = 1",
}


@pytest.fixture
def inner():
    """Function that runs pytest on a test file in a folder of the checkout; gone with the test."""
    folder = ROOT / ".cache" / ("harness-%d" % os.getpid())

    def run(text, *args):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test_sample.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-v", "--tb=short", "-p", "conftest", "-p", "no:cacheprovider"]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "COLUMNS": "200"}
        done = subprocess.run(
            command + [*args, str(folder / "test_sample.py")],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.stdout + done.stderr

    yield run
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("interpreter", CRASHES)
def test_every_fate_is_told_and_takes_no_other_with_it(inner, interpreter):
    head = "INTERPRETERS = (%r,)\n" % interpreter
    out = inner(head + SAMPLE.replace("CRASH", CRASHES[interpreter]))
    fates = dict(re.findall(r"::test_(\w+)\[%s\] (\w+)" % interpreter, out))
    expected = dict(FATES, only="PASSED") if interpreter == "micropython" else FATES
    assert fates == expected, out
    assert "AssertionError: 41" in out
    assert "assert 1 == 2" in out, "MicroPython has no source lines: the harness adds them"
    assert "at row (3, 4)" in out and "got 3, want 4" in out
    assert "KeyError not raised" in out or "ValueError: invalid" in out
    assert "test_hangs: took longer than 2 s" in out and "before the hang" in out
    assert re.search("test_dies: the interpreter (died|exited)", out), out
    assert "seen only with failures" not in out.replace("File", "")
    assert re.search(r"7 failed, \d passed, 1 skipped", out), out


def test_one_function_on_one_interpreter_can_be_chosen(inner):
    text = 'INTERPRETERS = ("cpython", "micropython", "wasm32")\ndef test_a(): pass\ndef test_b(): pass\n'
    out = inner(text, "-k", "test_b and wasm32")
    assert "::test_b[wasm32] PASSED" in out and "1 passed, 5 deselected" in out
    out = inner(text)
    assert "6 passed" in out and out.index("test_b[cpython]") < out.index("test_a[micropython]")


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("def test_x(a): pass\n", "plain functions only"),
        ("def test_x(): pass\nimport nothing_of_that_name\n", "the file cannot be imported"),
        ("def test_x(): pass\n1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_a_broken_file_is_an_error(inner, text, complaint):
    out = inner('INTERPRETERS = ("cpython", "micropython")\n' + text)
    assert complaint in out and "passed" not in out, out


def test_without_micropython_ci_fails_and_others_skip(inner):
    text = 'INTERPRETERS = ("micropython",)\nfrom support import mpy\ndef test_x(): pass\n'
    folder = ROOT / ".cache" / "hide"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "no_micropython.py").write_text("from support import mpy\nmpy.program = lambda name: None\n")
    try:
        for ci, outcome in (("", "1 skipped"), ("true", "1 failed")):
            env = {**os.environ, "PYTHONPATH": "%s:%s" % (ROOT / "tests", folder), "CI": ci}
            sample = folder / "test_sample.py"
            sample.write_text(text)
            command = [sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no_micropython", "-p", "no:cacheprovider"]
            out = subprocess.run(
                [*command, str(sample)], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
            ).stdout
            assert outcome in out and "not installed" in out, out
    finally:
        shutil.rmtree(folder)


def test_micropython_runs_programs():
    r = mpy.run("import sys, gc; print(sys.implementation.name, gc.mem_free() + gc.mem_alloc() < 70000); sys.exit(3)", heap="64k")
    assert r == ("micropython True\n", "", 3)
    built = mpy.build()
    assert not list(built.rglob("*.py")) and (built / "umqtt5/wire.mpy").exists()
    assert mpy.run("from umqtt5 import wire; print(wire.__file__)", path=[built]).stdout == "%s/umqtt5/wire.mpy\n" % built
    assert mpy.build() == built


def test_wasm_runs_programs_and_counts_instructions():
    text = "import sys, host\nprint(sys.maxsize, sys.argv, open('/files/x').read())\n"
    text += "host.call('mark', 'a')\nhost.call('mark', 'b')\n"
    r = wasm.run(["/files/main.py", "arg"], files={"main.py": text, "x": b"data"}, heap="64k")
    assert (r.stdout, r.code) == ("2147483647 ['/files/main.py', 'arg'] data\n", 0)
    (_, _, at_a), (name, value, at_b) = r.calls
    assert (name, value) == ("mark", "b") and 0 < at_b - at_a < 10000 and at_b < r.fuel
    again = wasm.run(["/files/main.py", "arg"], files={"main.py": text, "x": b"data"}, heap="64k")
    assert again.calls == r.calls, "instructions are counted, not timed"
    assert wasm.run("raise SystemExit(5)").code == 5
    assert wasm.run("while True: pass", fuel=10**7).code == -1
    assert int(wasm.run("import host; print(host.call('fuel', ''))").stdout) > 1000
