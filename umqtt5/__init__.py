"""umqtt5: an MQTT 5.0 client for MicroPython. Here are its exceptions; MQTTClient is the blocking face (client.py).

What belongs here: what the caller can catch besides OSError (transport), ValueError and TypeError (arguments).
"""

import sys

if sys.implementation.name != "micropython":  # CPython: ports/host gives it what MicroPython has
    sys.path.insert(0, __path__[0] + "/../ports/host")
    import umqtt5_host  # noqa: F401

__version__ = "0.1.0"


class MQTTException(Exception):
    """Base of what this library raises besides OSError (transport), ValueError and TypeError (arguments)."""


class ProtocolError(MQTTException):
    """The server broke the rules. `reason_code` (int) is what was sent in DISCONNECT; the connection is closed."""

    def __init__(self, reason_code, text=""):
        super().__init__(reason_code, text)
        self.reason_code = reason_code

    def __str__(self):
        from .reasons import text

        return text(self)


class Refused(MQTTException):
    """The server said no. `what`: packet name; `reason_code`: ReasonCode; `reason`: Reason String or ""; `props`: list."""

    def __init__(self, what, reason_code, packet, props=()):
        from .reasons import ReasonCode

        self.what = what
        self.reason_code = ReasonCode(reason_code, packet)
        self.props = props
        self.reason = dict(props).get("reason_string", "")
        super().__init__(what, reason_code)

    __str__ = ProtocolError.__str__


class ResourceError(MQTTException):
    """A buffer or a table of ours is full, or a call came at a moment when it cannot be served; nothing was sent."""


from .client import MQTTClient  # noqa: E402  it needs the exceptions

__all__ = ("MQTTClient", "MQTTException", "ProtocolError", "Refused", "ResourceError")
