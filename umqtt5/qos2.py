"""QoS 2, both ways: PUBREC, PUBREL, PUBCOMP (3.5 to 3.7, 4.3.3).

What belongs here: the handlers of packet types 5, 6, 7 and of an inbound QoS 2 PUBLISH once receive.py has parsed it, and the
strict check of our Receive Maximum. Outbound PUBLISH at QoS 2 is core.py's: it is a record like QoS 1. Everything is 0 B.
"""
from micropython import const

from .receive import deliver, finish

_H = const(10)  # the image's header
_REL = const(0x40)  # flag of a record: its PUBREL has to be sent now
_len = len


def register(s):
    """Put this module's handlers into the session."""
    h = s._live
    h[5] = h[6] = h[7] = acked
    s._qos2_in = _qos2_in
    s._rels = _rels


def acked(s, first, i, end):
    """PUBREC, PUBREL and PUBCOMP.

    PUBREC: the server owns the message: drop it, keep the identifier, send PUBREL. One of 0x80 and more ends the flow, as PUBCOMP
    does (one of 0x92 too: the server has forgotten the message: it was delivered). PUBREL: the identifier is free again; PUBCOMP,
    with 0x92 when it was not known.
    """
    k = (first >> 4) - 5
    if first != b"\x50\x62\x70"[k]:
        s.violation(0x81)
    if end - i != 2:
        s.check_ack(first >> 4, i, end)
    pid = s._rx[i] << 8 | s._rx[i + 1]
    if not pid:
        s.violation(0x82)
    k = s.find_record(pid, b"\2\4\3"[k])
    if first == 0x62:
        if k:
            s.free(k)
        s.ack(0x70, pid, 0 if k else 0x92)
    elif first == 0x50 and (end - i == 2 or s._rx[i + 2] < 128):
        _received(s, pid, k)
    elif k:
        if s.image[k] & _REL:
            s._rel -= 1
        s.free(k)
        first >>= 4
        s.acked(i, end, first)


def _received(s, pid, k):
    # PUBREC: the PUBLISH at offset k of the image becomes "PUBREL is left". One that came before is answered again, one for an
    # unknown identifier with 0x92.
    m = s.image
    if k:
        s.free(k, 1)
        m[k] = 3
        m[k + 3] = m[k + 4] = 0
    else:
        k = s.find_record(pid, 3)
        if not k:
            return s.ack(0x62, pid, 0x92)
        pid = 0  # nothing to save
    if not m[k] & _REL:
        m[k] |= _REL
        s._rel += 1
    if pid and s._save:
        s.persist(m[4] << 8 | m[5])
    _rels(s)


def _rels(s):
    """Send each PUBREL that is due, in order."""
    m = s.image
    i = _H
    while s._rel and i < _len(m) and not s._wn:
        if m[i] & _REL:
            m[i] &= 0xBF
            s._rel -= 1
            s.ack(0x62, m[i + 1] << 8 | m[i + 2])
        i += 5 + (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)


def _qos2_in(s, pid):
    """An inbound QoS 2 PUBLISH (QoS 1 too when strict), parsed into s._msg: deliver it once, remember the identifier, PUBREC."""
    m = s._msg
    k = 0x50 if m._f & 4 else 0x40
    if k == 0x50 and s.find_record(pid, 4):  # a repetition
        m._end()
        return s.ack(k, pid)
    if s.strict:
        check_window(s)
    if k == 0x50 and _len(s.image) + 5 > s._full:
        m._end()
        return s.ack(k, pid, 0x97)  # no room for the identifier: Quota exceeded
    deliver(s, m)
    if s._sock is not None:
        if k == 0x50 and not m.code:
            remember(s, pid)
        finish(s, k, pid)


def remember(s, pid):
    """A record for an inbound identifier, behind all others."""
    m = s.image
    n = _len(m)
    m.extend(b"\4\0\0\0\0")
    m[n + 1] = pid >> 8
    m[n + 2] = pid & 255
    if m[4] << 8 | m[5] == n:
        s._mark(n + 5)
    if s._save:
        s.persist(m[4] << 8 | m[5])  # before the PUBREC: otherwise a reset would deliver it twice


def check_window(s):
    """strict=True: more unacknowledged QoS 1 and 2 PUBLISH than our Receive Maximum is a violation, 0x93 (3.3.4)."""
    m = s.image
    b = s._rx
    n = 1  # the one being handled
    i = _H
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
        s.violation(0x93)
