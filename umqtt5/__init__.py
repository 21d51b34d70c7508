"""umqtt5: an MQTT 5.0 client for MicroPython. Here are its exceptions; MQTTClient, the blocking face, is in client.py.

What belongs here: what the caller can catch besides OSError (transport), ValueError and TypeError (arguments). What does not:
anything about packets and waiting. On a board this, core.py, client.py and strings.py are one module (tools/pack.py).
"""

import sys

if sys.implementation.name != "micropython":  # CPython: ports/host gives it what MicroPython has
    sys.path.insert(0, __path__[0] + "/../ports/host")
    import umqtt5_host  # noqa: F401

__version__ = "0.1.0"


class MQTTException(Exception):
    """Base of what this library raises besides OSError (transport), ValueError and TypeError (arguments)."""


class ResourceError(MQTTException):
    """A buffer or a table of ours is full, or a call came at a moment when it cannot be served; nothing was sent."""


class ProtocolError(MQTTException):
    """The server broke the rules. `reason_code` (int) is what was sent in DISCONNECT; the connection is closed."""

    def __getattr__(self, name):
        from .reasons import _known  # only when somebody asks: to raise one takes no memory for a module

        return _known(self, name)

    def __str__(self):
        return self._says


class Refused(MQTTException):
    """The server said no. `what`: packet name; `reason_code`: ReasonCode; `reason`: Reason String or ""; `props`: list."""

    __getattr__ = ProtocolError.__getattr__
    __str__ = ProtocolError.__str__


from .client import MQTTClient, _unload  # noqa: E402, F401  it needs the exceptions

__all__ = ("MQTTClient", "MQTTException", "ProtocolError", "Refused", "ResourceError")
