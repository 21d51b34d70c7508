"""CONNACK, and what becomes of the session with it.

What belongs here: the checks of CONNACK, the server's limits. What does not: the records of the session (resume.py), anything
while connected. Loaded by setup.py, dropped with it.
"""
import time

from micropython import const

from . import Refused, wire

_BIG = const(0x0FFFFFFF)


def session_tag(s):
    """Of whom and with which server the session is: 4 bytes of its image."""
    import binascii

    tag = b""
    for v in (s.client_id, "%s:%d" % (s.server, s.port)):
        tag += (binascii.crc32(wire.check_str(v, "tag")) & 0xFFFF | 1).to_bytes(2, "big")
    return tag


def settle(s, mode):
    """See resume.settle(), which is needed only when there are records."""
    s._flight = s._rel = 0
    if len(s.image) == 10:
        return []
    from . import resume

    return resume.settle(s, mode)


def early(s, first, i, end):
    # Anything but CONNACK, AUTH and DISCONNECT before the CONNACK (3.2.0-1)
    s.violation(0x82, "packet type %d before CONNACK" % (first >> 4))


def _get(p, pid, default=None):
    # A property of a checked block: the bytes of a string or of binary data, or an integer; those of 2**28 and more are cut: as
    # limits they mean "none", as seconds "never".
    k = wire.find(p, 0, pid)
    if k < 0:
        return default
    p = p[k : wire.skip(p, k - 1)]
    return p[2:] if wire.TABLE[pid] & 7 > 2 else min(int.from_bytes(p, "big"), _BIG)


def connack(s, first, i, end):
    """CONNACK (3.2): checks it, keeps and obeys each property, settles the session."""
    b = s._rx
    n = end - i
    code = b[i + 1] if n > 1 else 0
    if first == 0x20 and n == 2 and code:
        s.close(0)
        raise Refused("CONNACK", 0x84, 2)  # a server of an older version (3.1.2.2)
    if first != 0x20 or n < 3 or b[i] > 1:
        s.violation(0x81, "CONNACK")
    if code:
        from . import reasons

        if not reasons.legal(code, 2):
            s.violation(0x81, "CONNACK with reason code 0x%02X" % code)
    k = wire.walk(b, i + 2, end, 2)
    if k != end:
        s.violation(-k if k < 0 else 0x81, "CONNACK")
    p = bytes(b[i + 2 : end])
    block = p if n > 3 else b""
    if code:
        from . import props

        s.close(0)
        s._o["connack"] = block
        raise Refused("CONNACK", code, 2, props.decode(block) if block else ())
    data = _get(p, 0x16)
    if _get(p, 0x15, s._method if data is None else b"") != s._method:
        s.violation(0x82, "CONNACK does not name our authentication method")
    if b[i] and s._clean:
        s._o["_need_clean"] = True
        s.violation(0x82, "Session Present without a session here: the next connect starts clean")
    if s.auth:
        try:
            s.auth.done(data)
        except ValueError as e:
            s.violation(0x80, e.args[0])
    s._o["connack"] = block
    s._o["_need_clean"] = None
    s._o["session_present"] = b[i] == 1
    s._state = 2
    s._h = s._live
    # each limit of this connection (3.2.2.3); the defaults stand when the server says nothing
    s._rmax = _get(p, 0x21, 65535)
    s._smax = _get(p, 0x27, _BIG)
    s._o["_amax"] = _get(p, 0x22, 0)
    k = 0
    for n in b"\x2a\x29\x28\x25":
        k = k << 1 | _get(p, n, 1)
    s._caps = k << 2 | _get(p, 0x24, 2)
    s.keepalive_now = _get(p, 0x13, s.keepalive)
    s._o["_expiry"] = _get(p, 0x11, s.session_expiry)
    s._qfast = min(len(s._tx), 132, s._smax + 3)
    s._odd = s._pb  # CONNECT itself was half written
    if s._options[3] and s._amax:
        from . import alias

        alias.start(s)
    k = _get(p, 0x12)
    if k and not s.client_id:
        s._o["client_id"] = k.decode()
    gone = settle(s, 2 if b[i] else 1)
    s.image[6:10] = session_tag(s)
    if len(s.image) > 10 and (s._smax < _BIG or s._caps & 7 < 6):
        from . import resume

        gone += resume.trim(s)
    if s._save:
        s.store.save(s.image)
    s.flush()
    s.set_due(time.ticks_ms())
    if s.on_connect:
        from . import reasons

        k = []
        if block:
            from . import props

            k = props.decode(block)
        s._busy = 1
        s.on_connect(s, s.userdata, b[i], reasons.ReasonCode(0, 2), k)
        s._busy = 0
    for k in gone:
        s.on_ack(s, *k)
    if s._state == 2 and not s._wn:
        s.pump()
