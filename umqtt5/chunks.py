"""A PUBLISH larger than rx, delivered in pieces to client.on_chunk(message, offset, total).

What belongs here: the parser's state for such a packet. `message.payload()` and the other payload accessors see the piece; topic
and
properties can be read in the call with offset 0 only. The packet is acknowledged after the handler has taken the last piece.
Constant memory: the pieces are what fits rx. 0 B.
"""
from . import receive, wire

_vbi = wire.vbi
_vbi_size = wire.vbi_size


def begin(s, i, st, end):
    """The packet at i in rx is too large: start delivery when topic and properties are there. False: bytes are missing."""
    if s._msg is None:
        receive.register(s)
    st = _header(s, i, st, end)
    if not st:
        return False
    s._msg._d = st
    _start(s, s._rx[i], i, end)
    s._left = s._ctotal = end - st
    s._i = st
    s.received += 1
    s._chunk = chunk
    s._ready = False
    s._same = -1
    s._msg.code = 0
    return True


def _header(s, i, st, end):
    # Offset of the payload, or 0 when bytes before it are missing.
    b = s._rx
    if b[i] & 6 == 6 or b[i] & 14 == 8:
        s.violation(0x81)
    if s._e - st < 2:
        return 0
    p = b[st] << 8 | b[st + 1]
    p += st + 4 if b[i] & 6 else st + 2
    k = _vbi(b, p, s._e)
    if k >= 0:
        p += _vbi_size(k)
        p += k
    if k == -2 or p > end:
        s.violation(0x81)
    if k >= 0 and p < s._e:  # with a first byte of payload: the next read would go over the header
        return p
    if p - i > s._rl:
        s.violation(0x95)  # topic and properties alone do not fit rx
    return 0


def _start(s, first, i, end):
    # Topic, packet identifier and properties, as receive.publish_in() does.
    m = s._msg
    b = s._rx
    i += 1
    while b[i] > 127:
        i += 1
    m._f = first
    m._t = i + 3
    m._n = b[i + 1] << 8 | b[i + 2]
    i += 3
    if m._n:
        receive._check_topic(s, i, m._n)
    else:
        m._tb = None
    i += m._n
    s._cpid = 0
    s._cskip = 0
    if first & 6:
        s._cpid = b[i] << 8 | b[i + 1]
        if not s._cpid:
            s.violation(0x82)
        if first & 4 and s.find_record(s._cpid, 4):
            s._cskip = 1  # delivered before
        elif first & 4 and len(s.image) + 5 > s._full:
            s._cskip = 2  # the server oversteps our Receive Maximum: no room for the identifier
        i += 2
    receive._begin(s, i, end)


def chunk(s, i):
    """Hand what is in rx from i on to the handler."""
    m = s._msg
    n = s._e - i
    if n > s._left:
        n = s._left
    m._d = i
    m._e = i + n
    s._i = i + n
    at = s._ctotal - s._left
    s._left -= n
    if not s._cskip:
        s._busy = 1
        i = s._cpid
        s._cpid = 0  # a handler that raises leaves the message unacknowledged
        s.on_chunk(m, at, s._ctotal)
        s._cpid = i
        s._busy = 0
    m._end()
    m._n = m._p = 0
    if not s._left and s._cpid and s._sock is not None:
        _done(s, m._f)


def _done(s, first):
    if first & 4:
        from . import qos2

        qos2.register(s)
        if s._cskip > 1:
            return s.ack(0x50, s._cpid, 0x97)
        if not s._cskip:
            qos2.remember(s, s._cpid)
    receive.finish(s, 0x50 if first & 4 else 0x40, s._cpid)
