"""QoS 2, both ways: PUBREC, PUBREL, PUBCOMP (3.5 to 3.7, 4.3.3).

What belongs here: the handlers of packet types 5, 6, 7 and of an inbound QoS 2 PUBLISH once subs.py has parsed it. Outbound
PUBLISH at QoS 2 is image.py's: it is a record like QoS 1. Everything is 0 B.
"""
from micropython import const

from .subs import _deliver, _finish

_H = const(10)  # the image's header
_REL = const(0x40)  # flag of a record: its PUBREL has to be sent now
_len = len


def _handler(s, first, i, end):
    """PUBREC, PUBREL and PUBCOMP.

    PUBREC: the server owns the message: drop it, keep the identifier, send PUBREL. One of 0x80 and more ends the flow, as PUBCOMP
    does (one of 0x92 too: the server has forgotten the message: it was delivered). PUBREL: the identifier is free again; PUBCOMP,
    with 0x92 when it was not known.
    """
    k = (first >> 4) - 5
    if first & 15 != (k & 1) << 1:
        s._violation(0x81)
    if end - i != 2:
        s._check_ack(first >> 4, i, end)
    pid = s._rx[i] << 8 | s._rx[i + 1]
    if not pid:
        s._violation(0x82)
    k = s._find_record(pid, 5 - k if k else 2)
    if first == 0x62:
        if k:
            s._free(k)
        s._ack(0x70, pid, 0 if k else 0x92)
    elif first == 0x50 and (end - i == 2 or s._rx[i + 2] < 128):
        _received(s, pid, k)
    elif k:
        if s.image[k] & _REL:
            s._rel -= 1
        s._free(k)
        first >>= 4
        s._settled(i, end, first)


def _received(s, pid, k):
    # PUBREC: the PUBLISH at offset k of the image becomes "PUBREL is left". One that came before is answered again, one for an
    # unknown identifier with 0x92.
    m = s.image
    if k:
        s._free(k, 1)
        m[k] = 3
        m[k + 3] = m[k + 4] = 0
    else:
        k = s._find_record(pid, 3)
        if not k:
            return s._ack(0x62, pid, 0x92)
        pid = 0  # nothing to save
    if not m[k] & _REL:
        m[k] |= _REL
        s._rel += 1
    if pid and s._save:
        s._persist(m[4] << 8 | m[5])
    _rels(s)


def _rels(s):
    """Send each PUBREL that is due, in order."""
    m = s.image
    i = _H
    while s._rel and i < _len(m) and not s._wn:
        if m[i] & _REL:
            m[i] &= 0xBF
            s._rel -= 1
            s._ack(0x62, m[i + 1] << 8 | m[i + 2])
        i += 5 + (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)


def _qos2_in(s, pid):
    """An inbound QoS 2 PUBLISH (QoS 1 too when strict), parsed into s._msg: deliver it once, remember the identifier, PUBREC."""
    m = s._msg
    k = 0x50 if m._f & 4 else 0x40
    if k == 0x50 and s._find_record(pid, 4):  # a repetition
        return s._ack(k, pid)
    if s.strict:
        s._check_window()
    if k == 0x50 and _len(s.image) + 5 > s._full:
        return s._ack(k, pid, 0x97)  # no room for the identifier: Quota exceeded
    _deliver(s, m)
    if s._sock is not None:
        if k == 0x50 and not m.code:
            _remember(s, pid)
        _finish(s, k, pid)


def _remember(s, pid):
    """A record for an inbound identifier, behind all others."""
    m = s.image
    n = _len(m)
    m.append(4)
    m.append(pid >> 8)
    m.append(pid & 255)
    m.append(0)
    m.append(0)
    if m[4] << 8 | m[5] == n:
        m[4] = n + 5 >> 8
        m[5] = n + 5 & 255
    if s._save:
        s._persist(m[4] << 8 | m[5])  # before the PUBREC: otherwise a reset would deliver it twice
