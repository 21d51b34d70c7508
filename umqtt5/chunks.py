"""A PUBLISH larger than rx, delivered in pieces to client.on_chunk(message, offset, total).

What belongs here: the parser's state for such a packet. `message.payload()` and the other payload accessors see the piece; topic
and properties can be read in the call with offset 0 only. The packet is acknowledged after the handler has taken the last piece.
Constant memory: the pieces are what fits rx. 0 B.
"""
from . import receive, wire

_vbi = wire.vbi


def begin(s, i, j, end):
    """The packet at i in rx is too large: start delivery when topic and properties are there. False: bytes are missing."""
    if s._msg is None:
        receive.register(s)
    m = s._msg
    m._d = _header(s, i, j, end)
    if not m._d:
        return False
    # topic, packet identifier and properties, as receive.publish_in() does
    b = s._rx
    m._f = b[i]
    m._n = b[j] << 8 | b[j + 1]
    j += 2
    m._t = j
    if m._n:
        receive._check_topic(s, j, m._n)
    else:
        m._tb = None
    j += m._n
    s._cpid = s._cskip = 0
    if m._f & 6:
        s._cpid = i = b[j] << 8 | b[j + 1]
        if not i:
            s.violation(0x82)
        if m._f & 4:
            if s.find_record(i, 4):
                s._cskip = 1  # delivered before
            elif len(s.image) + 5 > s._full:
                s._cskip = 2  # the server oversteps our Receive Maximum: no room for the identifier
        j += 2
    receive._begin(s, j, end)
    s._i = m._d
    s._left = s._ctotal = end - m._d
    s.received += 1
    s._chunk = deliver
    s._ready = False
    s._same = -1
    m.code = 0
    return True


def _header(s, i, j, end):
    # Offset of the payload, or 0 when bytes before it are missing.
    b = s._rx
    if b[i] & 6 == 6 or b[i] & 14 == 8:
        s.violation(0x81)
    if s._e - j < 2:
        return 0
    p = b[j] << 8 | b[j + 1]
    p += j + 4 if b[i] & 6 else j + 2
    k = _vbi(b, p, s._e)
    if k >= 0:
        p += wire.vbi_size(k)
        p += k
    if k == -2 or p > end:
        s.violation(0x81)
    if k >= 0 and p < s._e:  # with a first byte of payload: the next read would go over the header
        return p
    if p - i > s._rl:
        s.violation(0x95)  # topic and properties alone do not fit rx
    return 0


def deliver(s, i):
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
        i = 0x40
        if m._f & 4:
            from . import qos2

            i = 0x50
            qos2.register(s)
            if s._cskip > 1:
                return s.ack(i, s._cpid, 0x97)
            if not s._cskip:
                qos2.remember(s, s._cpid)
        receive.finish(s, i, s._cpid)
