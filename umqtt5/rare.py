"""What the engine of core.py meets seldom; each function becomes a method of MQTTClient when it is first called (_LAZY).

What belongs here: inbound packets of 128 bytes and more, acknowledgements that say more than "success", DISCONNECT from the
server, what is wrong with a packet that has only begun. What does not: publish() (slow.py), what a node needs that exchanges
small messages with a well-behaved server. Imports nothing but what it raises; lazily the others.
"""
from . import Refused

_bytes = bytes
_len = len


def _handler(s, first, i, end):
    """DISCONNECT (3.14) from the server: close, then one Refused for the caller, whatever the reason code."""
    b = s._rx
    if first != 0xE0:
        s._violation(0x81)
    code = b[i] if end > i else 0
    props = ()
    if end > i:
        from . import reasons

        if not reasons.legal(code, 14):
            s._violation(0x82 if code in (0x04, 0x01) else 0x81)
        if end > i + 1:
            props = s.ack_props(i + 1, end, 14)
    s.close(1, code, props)
    raise Refused("DISCONNECT", code, 14, props)


def _judge(s, k, flags):
    # A packet of type k whose rest is still to come: what is wrong already need not be waited for.
    if not (0xEAF8 if s._state == 2 else 0x4004 if s.auth is None else 0xC004) >> k & 1:
        return s._h[k](s, k << 4 | flags, 0, 0)  # the answer that the whole packet would get
    if flags & 6 == 6 or flags & 14 == 8 if k == 3 else flags != (2 if k == 6 else 0):
        s._violation(0x81)


def _seldom(s, i):
    # The packet at i in rx is not one of two header bytes that is all here. True when one, or a piece of one, was handled.
    if s._left:
        s._chunk(s, i)
        return True
    if s._e - i < 2:
        return False
    b = s._rx
    n = i + 2
    if b[i + 1] > s._rq:  # two bytes and more, or above our Maximum Packet Size
        n = _long(s, i)
        if not n:
            return False
        if s._n - i > s._rl:
            return _too_large(s, i, n, s._n)
    else:
        s._n = n + b[i + 1]
    if s._n > s._e:
        _judge(s, b[i] >> 4, b[i] & 15)
        return False
    s._i = s._n
    s.received += 1
    s._h[b[i] >> 4](s, b[i], n, s._n)
    return True


def _check_ack(s, packet, i, end):
    """An acknowledgement that is not the plain success: check reason code and properties (3.4.2)."""
    if end - i < 2:
        s._violation(0x81)
    from . import reasons

    if end - i > 2 and not reasons.legal(s._rx[i + 2], packet):
        s._violation(0x81)
    if end - i > 3:
        s.ack_props(i + 3, end, packet)


def ack_props(s, i, end, packet):
    """Check the property block at `i` that ends the packet at `end`; returns the decoded list of (name, value)."""
    from . import props, wire

    k = wire.walk(s._rx, i, end, packet)
    if k != end:
        s._violation(-k if k < 0 else 0x81)
    if s._noinfo and packet != 14 and s._rx[i]:  # Request Problem Information 0 was asked for (3.1.2.11.7)
        s._violation(0x82)
    return props.decode(s._rx, i)


def _long(s, i):
    # Remaining Length of one to four bytes: returns the offset behind it, leaves the packet's end in _n; 0 when bytes are
    # missing.
    b = s._rx
    n = k = 0
    while True:
        i += 1
        if i >= s._e:
            return 0
        n |= (b[i] & 127) << k
        k += 7
        if b[i] < 128:
            break
        if k > 21:
            s._violation(0x81)
    if not b[i]:
        s._violation(0x81)
    i += 1
    s._n = i + n
    return i


def _too_large(s, i, j, end):
    # A packet above our Maximum Packet Size: a PUBLISH may go to on_chunk in pieces, anything else is a violation
    # (3.1.2.11.4).
    if s._rx[i] >> 4 != 3 or not s.on_chunk or s._state != 2:
        s._violation(0x95)
    return s._big_in(i, j, end)


def _no_connack(s, first, k, i, end):
    """Instead of a CONNACK that lets us in: another packet (3.2.0-1), a wrong one (k: what wire.walk() says), or a refusal."""
    b = s._rx
    if first >> 4 != 2:
        s._violation(0x82, "packet type %d before CONNACK" % (first >> 4))
    code = b[i + 1]
    props = ()
    if first == 0x20 and end - i == 2 and code:
        code = 0x84  # a server of an older version (3.1.2.2)
    else:
        if k != end:
            s._violation(-k if k < 0 else 0x81, "CONNACK")
        if not code:
            s._o["_need_clean"] = True  # the next connect starts clean
            s._violation(0x82, "Session Present without a session here")
        from . import reasons

        if not reasons.legal(code, 2):
            s._violation(0x81, "CONNACK with reason code 0x%02X" % code)
        s._o["connack"] = b""
        if end - i > 3:
            from . import props as names

            s._o["connack"] = k = _bytes(b[i + 2 : end])
            props = names.decode(k)
    s.close(0)
    raise Refused("CONNACK", code, 2, props)


def _authenticated(s, get):
    """With the CONNACK, whose properties `get` knows by identifier: is it the server that we asked for?"""
    data = get(0x16)
    if get(0x15, s._method if data is None else None) != s._method or s._method is None:
        s._violation(0x82, "authentication method")
    if s.auth:
        from . import auth

        auth.answer(s, 0, data)


def _check_window(s):
    """strict=True: more unacknowledged QoS 1 and 2 PUBLISH than our Receive Maximum is a violation, 0x93 (3.3.4)."""
    m = s.image
    b = s._rx
    n = 1  # the one being handled
    i = 10  # behind the image's header
    while i < _len(m):
        if m[i] & 7 == 4:
            n += 1
        i += 5 + (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)
    i = s._i  # those that arrived with it and wait in rx
    while i + 2 < s._e:
        k = b[i + 1]
        if k > 127:
            break
        if b[i] >> 4 == 3 and b[i] & 6:
            n += 1
        i += 2 + k
    if n > s.receive_maximum:
        s._violation(0x93)
