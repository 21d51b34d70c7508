"""AUTH (3.15, 4.12): enhanced authentication while connecting, and re-authentication on a live connection.

What belongs here: the AUTH packet, both ways. What does not: mechanisms. A mechanism is any object with `name` (str), `first()`
-> bytes
or None for CONNECT, `step(data)` -> bytes or None for each AUTH, `done(data)`; the last two raise ValueError when the server is
not who it
should be. scram.py has the one that ships. client.on_auth(client) is called after a re-authentication.
"""
from . import MQTTException, wire


def register(s):
    s._live[15] = auth_in
    if s._state == 1:
        s._h = s._h[:15] + (auth_in,)


def _value(p, k):
    # The bytes of a string or binary property at k, or None.
    return None if k < 0 else bytes(p[k + 2 : k + 2 + (p[k] << 8 | p[k + 1])])


def auth_in(s, first, i, end):
    """AUTH from the server."""
    b = s._rx
    if first != 0xF0:
        s.violation(0x81)
    if s.auth is None:
        s.violation(0x82, "unasked AUTH")
    code = b[i] if end > i else 0
    if code not in (0, 0x18):
        s.violation(0x82 if code == 0x19 else 0x81)
    method = data = None
    if end > i + 1:
        k = wire.walk(b, i + 1, end, 15)
        if k != end:
            s.violation(-k if k < 0 else 0x81)
        if s._noinfo and (wire.find(b, i + 1, 0x1F) >= 0 or wire.find(b, i + 1, 0x26) >= 0):
            s.violation(0x82)
        method = _value(b, wire.find(b, i + 1, 0x15))
        data = _value(b, wire.find(b, i + 1, 0x16))
    if method != s._method or s._state == 1 and code != 0x18 or s._state == 2 and not s._again:
        s.violation(0x82)
    try:
        if code:
            data = s.auth.step(data)
        else:
            s.auth.done(data)
    except ValueError as e:
        s.violation(0x80, str(e))
    if code:
        send(s, 0x18, data)
    else:
        s._again = False
        if s.on_auth:
            s._busy = 1
            s.on_auth(s)
            s._busy = 0


def send(s, code, data):
    m = s._method
    p = b"\x15" + len(m).to_bytes(2, "big") + m
    if data:
        p += b"\x16" + len(data).to_bytes(2, "big") + data
    from .props import vbi

    p = bytes((code,)) + vbi(len(p)) + p
    p = b"\xf0" + vbi(len(p)) + p
    if len(p) > s._smax:
        raise ValueError("AUTH of %d bytes: the server takes %d" % (len(p), s._smax))
    s._write(p, 0, len(p))


def reauth(s):
    """Start a re-authentication with the mechanism of this connection (4.12.1); on_auth(client) tells of its success."""
    if s.auth is None:
        raise MQTTException("no authentication method")
    if s._state != 2:
        raise OSError(107, "not connected")
    register(s)
    if s._wn:
        s.drain()
    s._again = True
    send(s, 0x19, s.auth.first())
