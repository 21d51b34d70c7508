#!/usr/bin/env python3
"""make conformance: runs the tests that tests/conformance.tsv names, prints the table, a mark for each interpreter, and counts.

    python tools/conformance.py            # all rows
    python tools/conformance.py 3.3 U-     # rows whose identifier or section begins so

Exit code 1 when a row has no witness on CPython or MicroPython. Marks: + witnessed, . not run there, ! failed.
"""

import contextlib
import io
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
COLUMNS = ("cpython", "micropython", "wasm32")


class Quiet:
    """Plugin: one line of progress instead of a dot for each test."""

    def __init__(self):
        self.n = 0
        self.failed = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.n += 1
            if sys.stderr.isatty():
                print("\r%d tests" % self.n, end="", file=sys.stderr, flush=True)
        if report.failed:
            self.failed.append((report.nodeid, report.longreprtext))


def mark(conformance, tests, interpreter):
    """One character."""
    seen = [conformance.results[t, interpreter] for t in tests if (t, interpreter) in conformance.results]
    return "!" if "failed" in seen else "+" if "passed" in seen else "."


def main(argv):
    from support import conformance

    rows = [
        r
        for r in conformance.rows()
        if not argv or any(r[0].replace("MQTT-", "").startswith(a) or r[1].startswith(a) for a in argv)
    ]
    names = sorted({t for r in rows for t in r[4]})
    files = sorted({str(conformance.path_of(t)) for t in names})
    quiet = Quiet()
    if not files:
        print("no such row")
        return 1
    wanted = set(names)

    class Named:
        """Plugin: only the tests that are named."""

        @staticmethod
        def pytest_collection_modifyitems(items):
            items[:] = [item for item in items if conformance.split(item.nodeid)[0] in wanted]

    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["-q", "-p", "no:cacheprovider", *files], plugins=[quiet, Named()])
    if code not in (0, 1):
        print(said.getvalue())
    if sys.stderr.isatty():
        print("\r" + " " * 20, end="\r", file=sys.stderr)
    print("%-14s %-24s %s  %s" % ("statement", "section", "".join(c[0] for c in COLUMNS), "the client's duty: witnesses"))
    for id, section, _, duty, tests in rows:
        marks = "".join(mark(conformance, tests, c) for c in COLUMNS)
        print("%-14s %-24s %s  %s\n%45s%s" % (id, section[:24], marks, duty, "", ", ".join(tests)))
    for name, text in quiet.failed:
        print("\nFAILED %s\n%s" % (name, text))
    bad = bool(quiet.failed)
    print()
    for c in COLUMNS:
        n = sum(conformance.witnessed(r[4], c) for r in rows)
        print("%-12s %3d of %d statements witnessed" % (c, n, len(rows)))
        bad = bad or n < len(rows) and c != "wasm32"
    return int(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
