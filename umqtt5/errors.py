"""The exceptions of the library. What they say in words is loaded when it is asked for.

What belongs here: what the caller can catch besides OSError (transport), ValueError and TypeError (arguments).
"""


class MQTTException(Exception):
    """Base of what this library raises besides OSError (transport), ValueError and TypeError (arguments)."""


class ProtocolError(MQTTException):
    """The server broke the rules. `reason_code` (int) is what was sent in DISCONNECT; the connection is closed."""

    def __init__(self, reason_code, text=""):
        super().__init__(reason_code, text)
        self.reason_code = reason_code

    def __str__(self):
        from .reasons import ReasonCode

        return "server broke the protocol: %s %s" % (ReasonCode(self.reason_code, 14), self.args[1])


class Refused(MQTTException):
    """The server said no. `what`: packet name; `reason_code`: ReasonCode; `reason`: Reason String or ""; `props`: list."""

    def __init__(self, what, reason_code, packet, props=()):
        from .reasons import ReasonCode

        self.what = what
        self.reason_code = ReasonCode(reason_code, packet)
        self.props = props
        self.reason = ""
        for k, v in props:
            if k == "reason_string":
                self.reason = v
        super().__init__(what, reason_code)

    def __str__(self):
        return "%s refused: %s (0x%02X) %s" % (self.what, self.reason_code.name, self.reason_code.value, self.reason)


class ResourceError(MQTTException):
    """A buffer or a table of ours is full, or a call came at a moment when it cannot be served; nothing was sent."""
