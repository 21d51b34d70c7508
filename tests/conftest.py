"""pytest's settings for this project; the work is done in support/."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
for folder in (ROOT / "ports" / "host", ROOT, ROOT / "tests"):
    sys.path.insert(0, str(folder))

from support import harness  # noqa: E402
from support.conformance import (  # noqa: E402,F401
    pytest_collection_modifyitems,
    pytest_deselected,
    pytest_runtest_logreport,
)
from support.fixtures import *  # noqa: E402,F403


def pytest_pycollect_makemodule(module_path, parent):
    """Test files are run inside the interpreters, see support/harness.py; files for the host are left to pytest."""
    return harness.make_module(module_path, parent)


def pytest_collection_finish(session):
    """Now it is known which functions of which files run."""
    session.config.stash[harness.RUNS] = harness.Runs(session.items)


def pytest_sessionfinish(session):
    """No process is left behind."""
    runs = session.config.stash.get(harness.RUNS, None)
    if runs is not None:
        runs.stop()
