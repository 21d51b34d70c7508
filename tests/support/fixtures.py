"""Host only: pytest fixtures, known to every test file that is an ordinary pytest file."""

import pytest

from . import brokers, harness
from .agentproc import INTERPRETERS, Agent
from .proxy import Proxy
from .server import TcpServer


@pytest.fixture(params=INTERPRETERS)
def interpreter(request):
    """The test runs once for CPython and once for MicroPython."""
    harness.require(request.param)
    return request.param


@pytest.fixture
def agents(interpreter):
    """Function that starts agents; all are ended with the test."""
    made = []

    def make(**kw):
        made.append(Agent(interpreter, **kw))
        return made[-1]

    yield make
    for a in made:
        a.kill()


@pytest.fixture
def agent(agents):
    """One running agent."""
    return agents()


@pytest.fixture
def server():
    """A scripted server."""
    with TcpServer() as s:
        yield s


@pytest.fixture
def mosquitto():
    """Function that starts mosquitto with the options of brokers.Mosquitto; ended with the test."""
    made = []

    def make(**kw):
        brokers.require("mosquitto")
        made.append(brokers.Mosquitto(**kw))
        return made[-1]

    yield make
    for b in made:
        b.close()


@pytest.fixture
def broker(mosquitto):
    """A plain mosquitto."""
    return mosquitto()


@pytest.fixture
def proxies():
    """Function that starts a Proxy to a port."""
    made = []

    def make(target):
        made.append(Proxy(target))
        return made[-1]

    yield make
    for p in made:
        p.stop()
