"""pytest's settings for this project; the work is done in support/."""

import signal
import sys
from pathlib import Path

import pytest

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


def pytest_configure(config):
    """SIGTERM ends a session as Ctrl-C does: brokers, agents and interpreters are ended with it.

    A shell that starts pytest in the background has it ignore SIGINT, and all that the tests start with it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_pycollect_makemodule(module_path, parent):
    """Test files are run inside the interpreters, see support/harness.py; files for the host are left to pytest."""
    return harness.make_module(module_path, parent)


def pytest_collection_finish(session):
    """Now it is known which functions of which files run."""
    session.config.stash[harness.RUNS] = harness.Runs(session.items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    """The interpreters begin; pytest goes through the results in its own order."""
    if not session.config.option.collectonly:
        session.config.stash[harness.RUNS].start()


def pytest_runtest_makereport(item, call):
    """--durations shows how long a test took in its interpreter, not how long pytest waited for it."""
    if isinstance(item, harness.Item) and call.when == "call":
        call.duration = item.run.seconds.get(item.function_name, call.duration)


def pytest_sessionfinish(session):
    """No process is left behind."""
    runs = session.config.stash.get(harness.RUNS, None)
    if runs is not None:
        runs.stop()
