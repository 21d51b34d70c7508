"""AUTH (3.15, 4.12): enhanced authentication while connecting, and re-authentication on a live connection.

What belongs here: the AUTH packet, both ways, its properties in CONNECT. What does not: mechanisms. A mechanism is any object
with `name` (str), `first()` -> bytes or None for CONNECT, `step(data)` -> bytes or None for each AUTH, `done(data)`; the last two
raise ValueError when the server is not who it should be. scram.py has the one that ships. client.on_auth(client) is called after
a re-authentication.
"""

from . import MQTTException, wire


def block(s, data):
    """Method and data (bytes or None) as properties."""
    p = b""
    for pid, v in ((b"\x15", s._method), (b"\x16", data)):
        if v:
            v = wire.check_str(v, "authentication", 4)
            p += pid + len(v).to_bytes(2, "big") + v
    return p


def answer(s, code, data):
    """Give the server's data to the mechanism; returns its answer, to code 0x18. Violation where it says no."""
    try:
        return (s.auth.step if code else s.auth.done)(data)
    except ValueError as e:
        s._violation(0x80, str(e))


def _handler(s, first, i, end):
    """AUTH from the server."""
    b = s._rx
    if first != 0xF0:
        s._violation(0x81)
    if s.auth is None:
        s._violation(0x82, "unasked AUTH")
    code = b[i] if end > i else 0
    if code not in (0, 0x18):
        s._violation(0x82 if code == 0x19 else 0x81)
    found: list = [None, None]  # method, data
    if end > i + 1:
        k = wire.walk(b, i + 1, end, 15)
        if k != end:
            s._violation(-k if k < 0 else 0x81)
        if s._noinfo and (wire.find(b, i + 1, 0x1F) >= 0 or wire.find(b, i + 1, 0x26) >= 0):
            s._violation(0x82)
        for pid in (0, 1):
            k = wire.find(b, i + 1, 0x15 + pid)
            if k >= 0:
                found[pid] = bytes(b[k + 2 : k + 2 + (b[k] << 8 | b[k + 1])])
    if found[0] != s._method or s._state == 1 and not code or s._state == 2 and not s._again:
        s._violation(0x82)
    data = answer(s, code, found[1])
    if code:
        _send(s, 0x18, data)
    else:
        s._again = False
        if s.on_auth:
            s._busy = 1
            s.on_auth(s)
            s._busy = 0


def _send(s, code, data):
    p = block(s, data)
    p = bytes((code,)) + wire.pack(len(p)) + p
    p = b"\xf0" + wire.pack(len(p)) + p
    if len(p) > s._smax:
        raise ValueError("AUTH of %d bytes: the server takes %d" % (len(p), s._smax))
    s._write(p, 0, len(p))


def reauth(s):
    """Start a re-authentication with the mechanism of this connection (4.12.1); on_auth(client) tells of its success."""
    if s.auth is None:
        raise MQTTException("no authentication method")
    if s._state != 2:
        raise OSError(107, "not connected")
    if s._wn:
        s._drain()
    s._again = True
    _send(s, 0x19, s.auth.first())
