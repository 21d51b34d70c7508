"""A PUBLISH larger than rx, delivered in pieces to client.on_chunk(message, offset, total).

What belongs here: the parser's state for such a packet. `message.payload()` and the other payload accessors see the piece; topic
and
properties can be read in the call with offset 0 only. The packet is acknowledged after the handler has taken the last piece.
Constant memory: the pieces are what fits rx. 0 B.
"""
from . import subs, wire


def begin(s, i, st, end):
    """The packet at i in rx is too large: start delivery when topic and properties are there. False: bytes are missing."""
    if s._msg is None:
        subs.register(s)
    b = s._rx
    e = s._e
    first = b[i]
    if first & 6 == 6 or first & 14 == 8:
        s.violation(0x81)
    if e - st < 2:
        return False
    n = b[st] << 8 | b[st + 1]
    p = st + 2 + n + (2 if first & 6 else 0)
    k = -1 if p >= e else wire.vbi(b, p, e)
    d = p + wire.vbi_size(k) + k
    if k == -2 or d > end:
        s.violation(0x81)
    if k == -1 or d > e:
        if (p if k < 0 else d) - i > s._rl:
            s.violation(0x95)  # topic and properties alone do not fit rx
        return False
    m = s._msg
    m._f = first
    m._t = st + 2
    m._n = n
    if n:
        subs._check_topic(s, st + 2, n)
    else:
        m._tb = None
    subs._begin(s, p, end)
    s._cpid = 0
    if first & 6:
        s._cpid = b[p - 2] << 8 | b[p - 1]
        if not s._cpid:
            s.violation(0x82)
    s._cskip = first & 4 and s.find_record(s._cpid, 4)
    s._left = s._ctotal = end - d
    s._i = d
    s.received += 1
    s._chunk = chunk
    return True


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
        if not s._cskip:
            qos2.remember(s, s._cpid)
    subs.finish(s, 0x50 if first & 4 else 0x40, s._cpid)
