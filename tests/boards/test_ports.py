"""The cases of tests/boards/cases/ on CPython and on MicroPython: ports/ against drivers that behave like the real ones."""

import ast
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import board
import pytest

CASES = Path(__file__).resolve().parent / "cases"
INTERPRETER = {"cpython": sys.executable, "micropython": None}


def names():
    for f in sorted(CASES.glob("case_*.py")):
        for n in ast.parse(f.read_text()).body:
            if isinstance(n, ast.FunctionDef) and n.name.startswith("test_"):
                for i in INTERPRETER:
                    yield pytest.param(i, f.stem, n.name, id="%s::%s[%s]" % (f.stem, n.name, i))


@lru_cache(None)
def results(interpreter, case):
    exe = INTERPRETER[interpreter] or board.micropython()
    p = subprocess.run([exe, str(CASES / "run.py"), case], capture_output=True, text=True, timeout=300)
    found = {}
    name = None
    for line in p.stdout.splitlines():
        if line.startswith(("ok ", "FAIL ")):
            name = line.split(" ", 1)[1]
            found[name] = "" if line.startswith("ok ") else "failed:\n"
        elif name:
            found[name] += line + "\n" if found[name] else ""
    return found, p.stdout[-3000:] + p.stderr[-3000:]


@pytest.mark.parametrize("interpreter, case, name", list(names()))
def test_case(interpreter, case, name):
    found, text = results(interpreter, case)
    assert name in found, "did not run:\n" + text
    assert not found[name], found[name]
