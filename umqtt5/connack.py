"""CONNACK, and what becomes of the session with it.

What belongs here: the checks of CONNACK, the server's limits, which records are dropped, sent anew or resumed. What does not:
anything while connected. Loaded by setup.py, dropped with it.
"""
import time

from . import Refused, wire

_BIG = 0x0FFFFFFF


def session_tag(s):
    import binascii

    c = s.client_id
    c = binascii.crc32(c.encode() if isinstance(c, str) else c) & 0xFFFF | 1
    h = binascii.crc32(("%s:%d" % (s.server, s.port)).encode()) & 0xFFFF | 1
    return bytes((c >> 8, c & 255, h >> 8, h & 255))


def settle(s, mode):
    # What becomes of the records when a session ends or goes on. 0: those sent are dropped (Clean Start, other client id).
    # 1: the server has no session: QoS 1 and 2 PUBLISH go out again as new messages. 2: the session is resumed (4.4).
    # A record without its packet (publish_from) ends with the connection: its caller knows.
    # Returns what on_ack is to be told: (identifier, code, packet).
    m = s.image
    gone = []
    i = 10
    s._flight = s._rel = 0
    save = s._save
    s._save = False
    while i < len(m):
        k = m[i] & 7
        j = i + 5 + (m[i] >> 2 & 4)
        n = j + (m[i + 3] << 8 | m[i + 4])
        sent = i < m[4] << 8 | m[5]
        if mode == 1 and k == 3 and s.on_ack:  # the server has forgotten it, after it had taken it
            gone.append((m[i + 1] << 8 | m[i + 2], 0x92, 7))
        if k < 3 and n == j or mode < 2 and (k in (3, 4) or not mode and sent and k < 3):
            s.free(i)
            continue
        if k == 3:
            m[i] |= 0x40
            s._rel += 1
        elif k < 3 and sent:
            if mode == 2:
                m[j] |= 8
            else:
                m[j] &= 0xF7
        i = n
    s._mark(10)
    s._flight = s._rel
    s._save = save
    if s._rel:
        from . import qos2

        qos2.register(s)
    return gone


def early(s, first, i, end):
    # Anything but CONNACK, AUTH and DISCONNECT before the CONNACK (3.2.0-1)
    s.violation(0x82, "packet type %d before CONNACK" % (first >> 4))


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
    block = bytes(b[i + 2 : end]) if n > 3 else b""
    if code:
        from . import props

        s.close(0)
        s._o["connack"] = block
        raise Refused("CONNACK", code, 2, props.decode(block) if block else ())
    f = wire.find
    p = block or b"\0"
    k = f(p, 0, 0x15)
    if k >= 0:
        k += 2
        j = k + (p[k - 2] << 8 | p[k - 1])
        if p[k:j] != s._method:
            s.violation(0x82, "CONNACK names another authentication method")
    elif f(p, 0, 0x16) >= 0:
        s.violation(0x82, "authentication data without a method")
    if b[i] and s._clean:
        s._o["_need_clean"] = True
        s.violation(0x82, "Session Present without a session here: the next connect starts clean")
    if s.auth:
        k = f(p, 0, 0x16)
        try:
            s.auth.done(p[k + 2 : k + 2 + (p[k] << 8 | p[k + 1])] if k >= 0 else None)
        except ValueError as e:
            s.violation(0x80, e.args[0])
    s._o["connack"] = block
    s._o["_need_clean"] = None
    s._o["session_present"] = b[i] == 1
    s._state = 2
    s._h = s._live
    _limits(s, p)
    s._odd = s._pb  # CONNECT itself was half written
    if s._options[3] and s._amax:
        from . import alias

        alias.start(s)
    k = f(p, 0, 0x12)
    if k >= 0 and not s.client_id:
        s._o["client_id"] = p[k + 2 : k + 2 + (p[k] << 8 | p[k + 1])].decode()
    gone = settle(s, 2 if b[i] else 1)
    s.image[6:10] = session_tag(s)
    if s._smax < _BIG or s._caps & 7 < 6:
        from . import outbox

        gone += outbox.trim(s)
    if s._save:
        s.store.save(s.image)
    s.flush()
    s.set_due(time.ticks_ms())
    if s.on_connect:
        from . import props, reasons

        s._busy = 1
        s.on_connect(s, s.userdata, b[i], reasons.ReasonCode(0, 2), props.decode(block) if block else [])
        s._busy = 0
    for k in gone:
        s.on_ack(s, *k)
    if s._state == 2 and not s._wn:
        s.pump()


def _int(p, pid, n, default):
    # A property of n bytes of a checked block; values of 2**28 and more are cut: they mean "no limit" here.
    k = wire.find(p, 0, pid)
    if k < 0:
        return default
    if n == 4:
        if p[k] > 15:
            return _BIG
        return p[k] << 24 | p[k + 1] << 16 | p[k + 2] << 8 | p[k + 3]
    return p[k] << 8 | p[k + 1] if n == 2 else p[k]


def _limits(s, p):
    # Each limit of this connection (3.2.2.3); the defaults stand when the server says nothing.
    s._rmax = _int(p, 0x21, 2, 65535)
    s._smax = _int(p, 0x27, 4, _BIG)
    s._o["_amax"] = _int(p, 0x22, 2, 0)
    s._caps = (
        _int(p, 0x24, 1, 2)
        | _int(p, 0x25, 1, 1) << 2
        | _int(p, 0x28, 1, 1) << 3
        | _int(p, 0x29, 1, 1) << 4
        | _int(p, 0x2A, 1, 1) << 5
    )
    s.keepalive_now = _int(p, 0x13, 2, s.keepalive)
    k = wire.find(p, 0, 0x11)
    if k >= 0:
        s._o["_expiry"] = int.from_bytes(p[k : k + 4], "big")
    else:
        s._o["_expiry"] = s.session_expiry
    s._qfast = min(len(s._tx), 132, s._smax + 3)
