"""Tests against real brokers run once more with the library as boards get it."""

import pytest

from support import harness
from support.agentproc import INTERPRETERS


@pytest.fixture(params=(*INTERPRETERS, "packed"))
def interpreter(request):
    """CPython, MicroPython, and MicroPython with the packed library (tools/pack.py)."""
    harness.require("micropython" if request.param == "packed" else request.param)
    return request.param
