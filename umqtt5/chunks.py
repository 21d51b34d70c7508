"""A PUBLISH larger than rx, delivered in pieces to client.on_chunk(message, offset, total).

What belongs here: the parser's state for such a packet. `message.payload()` and the other payload accessors see the piece; topic
and properties can be read in the call with offset 0 only. The packet is acknowledged after the handler has taken the last piece.
Constant memory: the pieces are what fits rx. 0 B.
"""
from .subs import _finish, _publish_in, register
from .wire import vbi, vbi_size


def _big_in(s, i, j, end):
    """The packet at i in rx is too large: start delivery when topic and properties are there. False: bytes are missing."""
    if s._e - j < 2:
        return False
    p = s._rx[j] << 8 | s._rx[j + 1]
    p += j + 4 if s._rx[i] & 6 else j + 2
    k = vbi(s._rx, p, s._e)
    if k >= 0:
        p += vbi_size(k) + k
    if k == -2 or p > end:
        s._violation(0x81)
    if k < 0 or p >= s._e:  # without a first byte of payload: the next read would go over the header
        if p - i > s._rl:
            s._violation(0x95)  # topic and properties alone do not fit rx
        return False
    register(s)
    s._cpid = i = _publish_in(s, s._rx[i], j, end)
    k = s._msg
    s._cskip = 0
    if k._f & 4:
        if s._find_record(i, 4):
            s._cskip = 1  # delivered before
        elif len(s.image) + 5 > s._full:
            s._cskip = 2  # the server oversteps our Receive Maximum: no room for the identifier
    s._i = k._d
    s._left = s._ctotal = end - k._d
    s.received += 1
    s._chunk = _deliver
    return True


def _deliver(s, i):
    """Hand what is in rx from i on to the handler."""
    m = s._msg
    n = s._e - i
    if n > s._left:
        n = s._left
    m._d = i
    at = s._ctotal - s._left
    s._left -= n
    n += i
    s._i = n
    if not s._cskip:
        m._e = n
        i = s._cpid
        s._cpid = 0  # a handler that raises leaves the message unacknowledged
        s.on_chunk(m, at, s._ctotal)
        s._cpid = i
        m._e = -1
    m._n = m._p = 0
    if not s._left and s._cpid and s._sock is not None:
        i = 0x40
        if m._f & 4:
            from . import qos2

            i = 0x50
            if s._cskip > 1:
                return s._ack(i, s._cpid, 0x97)
            if not s._cskip:
                qos2._remember(s, s._cpid)
        _finish(s, i, s._cpid)
