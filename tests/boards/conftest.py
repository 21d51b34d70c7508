"""Fixtures of the board tests: a board on a pseudo-terminal, the tools run as a user runs them."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(ROOT / "tools"))

import board as board_module  # noqa: E402


def tool(name, *args, root=ROOT, timeout=240):
    """Run tools/NAME with arguments; returns the finished process (text)."""
    return subprocess.run(
        [sys.executable, str(root / "tools" / name), *[str(a) for a in args]], capture_output=True, text=True, timeout=timeout
    )


def mpremote(port, *args, timeout=240):
    """Run mpremote against a port."""
    return subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", port, *[str(a) for a in args]],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.fixture
def boards(tmp_path):
    """Makes boards: boards(board="rp2", ...). Boards with the same name share their flash, one after the other."""
    made = []

    def make(name="chip", **kw):
        where = tmp_path / name
        where.mkdir(exist_ok=True)
        b = board_module.Board(where, **kw)
        made.append(b)
        return b

    yield make
    for b in made:
        b.close()


@pytest.fixture
def checkout(tmp_path):
    """Makes a copy of what deploy.py uses, with MARK = mark at the end of every file of the library."""

    def make(mark):
        to = tmp_path / ("checkout-" + mark)
        skip = shutil.ignore_patterns("__pycache__", "host")
        for d in ("umqtt5", "ports", "tools"):
            shutil.copytree(ROOT / d, to / d, ignore=skip)
        for f in (to / "umqtt5").glob("*.py"):
            f.write_text(f.read_text() + '\n\nMARK = "%s"\n' % mark)
        return to

    return make


def until(condition, seconds):
    """Wait until condition() is true, at most `seconds`; returns what it gave last."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got or time.monotonic() > end:
            return got
        time.sleep(0.05)
