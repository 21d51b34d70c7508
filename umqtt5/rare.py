"""What the engine of core.py meets seldom; each function becomes a method of Session when it is first called (_LAZY).

What belongs here: a topic with properties or an alias, inbound packets of 128 bytes and more, acknowledgements that say more than
"success", DISCONNECT from the server, what is wrong with a packet that has only begun. What does not: what a node needs that
publishes small messages to a well-behaved server. Imports errors, core; lazily the others.
"""
from . import Refused
from .core import _new_topic, illegal

_bytes = bytes
_len = len
_isinstance = isinstance
_right: list = [None] * 4 + [0]  # the last four property blocks that were found to be right; the next place


def _prepare_all(s, topic, props):
    # As _prepare, whatever there is: properties, aliases, a half-written packet, a topic that was not among the last eight.
    if props and topic is s._ptopic and props is s._tprops:
        return
    if s._wn and s._wb is s._tx:  # the last packet stands there half written
        s.drain()
    s._topic = s._tprops = ...  # what no caller gives: None would be taken for a topic that is known
    t = topic
    if topic.__class__ is not _bytes or topic not in s._seen:
        t = _new_topic(s, topic)
    s._tb = t
    if props or s._pb:
        _prepare_props(s, props)
    if not (s._alias and s._alias.header(s, t, props)):
        _head(s, t, props)
    s._odd = s._alias or props
    # only what cannot change may be known again by identity: a caller may reuse one bytearray for all topics
    if topic is t and t.__class__ is _bytes or _isinstance(topic, str):
        s._ptopic = topic
        s._tprops = props
        if not props:
            s._topic = topic


def _head(s, t, props):
    # Topic and properties into tx without an alias; where they do not fit, QoS 0 says so and QoS 1 and 2 go through the image.
    tx = s._tx
    n = _len(t)
    h = 7 + n
    k = h + (_len(props) or 1)
    s._th = k - 3
    s._te = 0
    if k <= _len(tx):
        tx[5] = n >> 8
        tx[6] = n & 255
        tx[7:h] = t
        if props:
            tx[h:k] = props
        else:
            tx[h] = 0


def _prepare_props(s, props):
    s._texp = False
    s._pb = props or b""
    if props:
        if type(props) is not bytes:
            raise TypeError("props: give bytes made by props.encode()")
        k = _right
        if props not in k:
            from . import props as p

            p.block(props, 3)
            k[k[4]] = props
            k[4] = k[4] + 1 & 3
        s._texp = s._find(props, 0, 2) >= 0
        if s._find(props, 0, 0x23) >= 0:
            from . import alias

            s._pb = alias.given(s, props)


def disconnect_in(s, first, i, end):
    """DISCONNECT (3.14) from the server: close, then one Refused for the caller, whatever the reason code."""
    b = s._rx
    if first != 0xE0:
        s.violation(0x81)
    code = b[i] if end > i else 0
    props = ()
    if end > i:
        from . import reasons

        if not reasons.legal(code, 14):
            s.violation(0x82 if code in (0x04, 0x01) else 0x81)
        if end > i + 1:
            props = s.ack_props(i + 1, end, 14)
    s.close(1, code, props)
    raise Refused("DISCONNECT", code, 14, props)


def _judge(s, k, flags):
    # A packet of type k whose rest is still to come: what is wrong already need not be waited for.
    if s._h[k] is illegal or s._state == 1 and (k < 2 or 2 < k < 14 or k == 15 and s.auth is None):
        return s._h[k](s, k << 4 | flags, 0, 0)  # the answer that the whole packet would get
    if flags & 6 == 6 or flags & 14 == 8 if k == 3 else flags != (2 if k == 6 else 0):
        s.violation(0x81)


def check_ack(s, packet, i, end):
    """An acknowledgement that is not the plain success: check reason code and properties (3.4.2)."""
    if end - i < 2:
        s.violation(0x81)
    from . import reasons

    if end - i > 2 and not reasons.legal(s._rx[i + 2], packet):
        s.violation(0x81)
    if end - i > 3:
        s.ack_props(i + 3, end, packet)


def ack_props(s, i, end, packet):
    """Check the property block at `i` that ends the packet at `end`; returns the decoded list of (name, value)."""
    from . import props, wire

    k = wire.walk(s._rx, i, end, packet)
    if k != end:
        s.violation(-k if k < 0 else 0x81)
    if s._noinfo and packet != 14 and s._rx[i]:  # Request Problem Information 0 was asked for (3.1.2.11.7)
        s.violation(0x82)
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
            s.violation(0x81)
    if not b[i]:
        s.violation(0x81)
    i += 1
    s._n = i + n
    return i


def _too_large(s, i, j, end):
    # A packet above our Maximum Packet Size: a PUBLISH may go to on_chunk in pieces, anything else is a violation
    # (3.1.2.11.4).
    if s._rx[i] >> 4 != 3 or not s.on_chunk or s._state != 2:
        s.violation(0x95)
    if s._big_in is None:  # an import statement allocates each time
        from . import chunks

        s._big_in = chunks.begin
    return (s._big_in)(s, i, j, end)
