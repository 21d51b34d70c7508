"""publish() off its fast path: properties, an alias, a packet of 128 bytes and more, something half written.

What belongs here: topic and properties in tx whatever they are, QoS 0 from there; the fixed header, the server's limits on a
packet. Also loaded for prepared messages (publication.py). What does not: the alias itself (alias.py), records
(image.py, outbox.py).
"""
import time

from . import ResourceError

_len = len
_isinstance = isinstance
_find = None  # wire.find(), once there are properties
_right: list = [None] * 4 + [0]  # the last four property blocks that were found to be right; the next place


def _prepare_all(s, topic, props, t):
    # As _prepare, whatever there is: properties, aliases, a half-written packet. t: the topic as checked bytes or bytearray.
    if s._wn and s._wb is s._tx:  # the last packet stands there half written
        s._drain()
    s._topic = ...  # what no caller gives: None would be taken for a topic that is known
    s._tb = t
    if props or s._pb:
        _prepare_props(s, props)
    if not (s._alias and s._alias_out(t, props)):
        _head(s, t, props)
    s._odd = s._alias or props or s._th + 3 > _len(s._tx)
    # only what cannot change may be known again by identity: a caller may reuse one bytearray for all topics
    if topic is t and t.__class__ is bytes or _isinstance(topic, str):
        s._topic = topic
        s._tprops = props


def _head(s, t, props):
    # Topic and properties into tx without an alias; where they do not fit, QoS 0 says so and QoS 1 and 2 go through the image.
    tx = s._tx
    n = _len(t)
    h = 7 + n
    k = h + (_len(props) or 1)
    s._th = k - 3
    if k <= _len(tx):
        tx[5] = n >> 8
        tx[6] = n & 255
        tx[7:h] = t
        if props:
            tx[h:k] = props
        else:
            tx[h] = 0


def _prepare_props(s, props):
    global _find
    s._texp = False
    s._pb = props or b""
    if props:
        if type(props) is not bytes:
            raise TypeError("props: give bytes made by props.encode()")
        k = _right
        if props not in k:
            from . import props as p
            from . import wire

            _find = wire.find
            p.block(props, 3)
            k[k[4]] = props
            k[4] = k[4] + 1 & 3
        s._texp = _find(props, 0, 2) >= 0
        if _find(props, 0, 0x23) >= 0:
            from . import alias

            s._pb = alias.given(s, props)


def publish_slow(s, msg, retain):
    """QoS 0 when the fast path of publish() does not apply: topic and properties stand in tx already."""
    if s._state != 2:
        if s._options[0]:
            return s._queue0(msg, retain)
        raise OSError(107, "not connected")
    if s._err:
        s.close(0)
        raise OSError(104, "connection lost")
    if s._wn:
        s._drain()
    n = s._th + 3
    if s._alias and n + _len(msg) - 2 > s._smax:  # without its alias it may fit
        s._alias[1] = None
        _head(s, s._tb, s._pb)
        s._topic = ...
        n = s._th + 3
    if n > _len(s._tx):
        raise ResourceError("topic and properties need %d bytes, tx has %d" % (n, _len(s._tx)))
    s._last = 0
    h = fixed(s._tx, 5, n - 5 + _len(msg), retain)
    check_size(s, n + _len(msg) - h, retain)
    if n + _len(msg) <= _len(s._tx):
        s._tx[n : n + _len(msg)] = msg
        n += _len(msg) - h
        s._write(s._tx, h, n)
    else:  # the payload follows in place, from the caller's buffer
        s._write(s._tx, h, n - h)
        if s._wn:
            s._wx = msg
        else:
            s.sent -= 1
            s._write(msg, 0, _len(msg))
        s._drain()
    s.sent -= 1  # which does not count QoS 0: the fast path has no instructions to spare for it
    if s._alias:
        s._alias_sent()
    if not s._wn and not s._err:
        s._qmax = s._qfast
    return 0


_publish_slow = publish_slow  # as publish() calls it; the asyncio face has a method around it


def fixed(b, i, n, retain):
    """The fixed header of a QoS 0 PUBLISH (3.3.1) in `b`, so that it ends at `i`; n: Remaining Length. Returns its offset."""
    i -= _vbi_size(n)
    k = i - 1
    b[k] = 0x31 if retain else 0x30
    while n > 127:
        b[i] = n & 127 | 128
        n >>= 7
        i += 1
    b[i] = n
    return k


def _vbi_size(n):
    # Bytes that the variable byte integer n takes; as in wire.py, which need not be loaded for this.
    return 1 + (n > 127) + (n > 16383) + (n > 2097151)


def check_size(s, n, retain):
    if n > s._smax:
        raise ValueError("packet of %d bytes: the server's Maximum Packet Size is %d" % (n, s._smax))
    if retain and not s._caps & 4:
        raise ValueError("retain: the server has Retain Available 0")


def _drain(s):
    """Wait until the half-written packet has left, at most `timeout` seconds."""
    t = time.ticks_add(time.ticks_ms(), s._tmo)
    while not s.flush():
        if time.ticks_diff(t, time.ticks_ms()) < 0:
            s.close(0)
            raise OSError(110, "the server takes no more bytes")
        s._wait(100)
