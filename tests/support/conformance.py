"""Host only: tests/conformance.tsv, and which of its tests ran and passed in a pytest session.

A witness is written `test_x::test_y` for tests/test_x.py, with its folder in front where it has one. It stands for that test on
every interpreter it runs on. conftest.py imports the hooks below.
"""

from pathlib import Path

import pytest

from . import harness

TABLE = harness.TESTS / "conformance.tsv"
LAST = "test_conformance_table.py"  # its tests look at all others, so they run last
results = {}  # (witness, interpreter) -> worst outcome: "passed", "skipped", "failed"
collected = set()  # (witness, interpreter) of this session
_names = {}  # of the tests of each file
_ORDER = ("passed", "skipped", "failed")


def rows():
    """[(id, section, concerns, duty, [witness, ...])]"""
    lines = TABLE.read_text().splitlines()
    out = []
    for line in lines[1:]:
        id, section, concerns, duty, tests = line.split("\t")
        out.append((id, section, concerns, duty, tests.split()))
    return out


def path_of(witness):
    """The test file of a witness."""
    return harness.TESTS / (witness.split("::")[0] + ".py")


def exists(witness):
    """True when that file has that test."""
    path = path_of(witness)
    if path not in _names:
        _names[path] = set(harness.read(path)[1]) if path.exists() else set()
    return witness.split("::")[1] in _names[path]


def split(nodeid):
    """(witness, interpreter) of a pytest node identifier; the interpreter is "host" where none is named."""
    path, _, name = nodeid.partition("::")
    name, _, parameters = name.partition("[")
    path = Path(path)
    parts = path.parts[path.parts.index("tests") + 1 :] if "tests" in path.parts else path.parts
    witness = "/".join(parts)[:-3] + "::" + name
    for interpreter in harness.INTERPRETERS:
        if interpreter in parameters.rstrip("]").split("-"):
            return witness, interpreter
    return witness, "host"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The table's own tests come last."""
    items.sort(key=lambda item: item.path.name == LAST)
    collected.update(split(item.nodeid) for item in items)


def pytest_deselected(items):
    """By -k."""
    collected.difference_update(split(item.nodeid) for item in items)


def pytest_runtest_logreport(report):
    """Note each outcome."""
    if report.when == "call" or report.outcome != "passed":
        key = split(report.nodeid)
        old = results.get(key, "passed")
        results[key] = max(old, report.outcome, key=_ORDER.index)


def witnessed(tests, interpreter):
    """True when at least one of these witnesses passed on that interpreter and none failed there."""
    seen = [results[t, interpreter] for t in tests if (t, interpreter) in results]
    return "passed" in seen and "failed" not in seen


def count(interpreter):
    """How many rows are witnessed on that interpreter."""
    return sum(witnessed(tests, interpreter) for *_, tests in rows())
