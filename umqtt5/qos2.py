"""QoS 2, both ways: PUBREC, PUBREL, PUBCOMP (3.5 to 3.7, 4.3.3).

What belongs here: the handlers of packet types 5, 6, 7 and of an inbound QoS 2 PUBLISH once receive.py has parsed it, and the
strict check
of our Receive Maximum. Outbound PUBLISH at QoS 2 is core.py's: it is a record like QoS 1. Everything is 0 B.
"""
from micropython import const

_H = const(10)  # the image's header
_REL = const(0x40)  # flag of a record: its PUBREL has to be sent now
_len = len


def register(s):
    """Put this module's handlers into the session."""
    from . import receive

    s._deliver = receive.deliver
    s._finish = receive.finish
    h = s._live
    h[5] = pubrec
    h[6] = pubrel
    h[7] = pubcomp
    s._qos2_in = publish2
    s._rels = send_rels


def _plain(s, first, i, end):
    # Checks an acknowledgement; returns its reason code.
    if first & 15 != (2 if first >> 4 == 6 else 0):
        s.violation(0x81)
    if end - i != 2:
        s.check_ack(first >> 4, i, end)
        return s._rx[i + 2]
    return 0


def pubrec(s, first, i, end):
    """PUBREC: the server owns the message: drop it, keep the identifier, send PUBREL. 0x80 and more: it is refused and over."""
    first = _plain(s, first, i, end)
    k = s.find_record(s._rx[i] << 8 | s._rx[i + 1], 2)
    if first > 127:
        if k:
            s.free(k)
            s.acked(i, end, 5)
    elif k:
        _received(s, k)
    else:
        _repeated(s, s._rx[i] << 8 | s._rx[i + 1])


def _repeated(s, pid):
    # A PUBREC that came before is answered again; one for an unknown identifier with 0x92.
    k = s.find_record(pid, 3)
    if k:
        if not s.image[k] & _REL:
            s.image[k] |= _REL
            s._rel += 1
        send_rels(s)
    else:
        if not pid:
            s.violation(0x82)
        s.ack(0x62, pid, 0x92)


def _received(s, k):
    # The PUBLISH at offset k of the image becomes "PUBREL is left".
    m = s.image
    m[k] = m[k] & 0x10 | 2
    s.free(k, 1)
    m[k] = 3 | _REL
    m[k + 3] = m[k + 4] = 0
    s._rel += 1
    if s._save:
        s.persist(m[4] << 8 | m[5])
    if not s._wn:
        send_rels(s)


def send_rels(s):
    """Send each PUBREL that is due, in order."""
    m = s.image
    i = _H
    while s._rel and i < _len(m) and not s._wn:
        if m[i] & _REL:
            m[i] &= 0xBF
            s._rel -= 1
            s.ack(0x62, m[i + 1] << 8 | m[i + 2])
        i += 5 + (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)


def pubcomp(s, first, i, end):
    """PUBCOMP ends the flow; 0x92 too (the server has forgotten it: it was delivered)."""
    _plain(s, first, i, end)
    first = s.find_record(s._rx[i] << 8 | s._rx[i + 1], 3)
    if first:
        if s.image[first] & _REL:
            s._rel -= 1
        s.free(first)
        s.acked(i, end, 7)
    elif not s._rx[i] | s._rx[i + 1]:
        s.violation(0x82)


def pubrel(s, first, i, end):
    """PUBREL: the identifier is free again; PUBCOMP, with 0x92 when it was not known."""
    _plain(s, first, i, end)
    i = s._rx[i] << 8 | s._rx[i + 1]
    first = s.find_record(i, 4)
    if first:
        s.free(first)
    elif not i:
        s.violation(0x82)
    s.ack(0x70, i, 0 if first else 0x92)


def publish2(s, pid):
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
    s._deliver(s, m)
    if s._sock is not None:
        if k == 0x50 and not m.code:
            remember(s, pid)
        s._finish(s, k, pid)


def remember(s, pid):
    """A record for an inbound identifier, behind all others."""
    m = s.image
    n = _len(m)
    whole = m[4] << 8 | m[5] == n
    m.append(4)
    m.append(pid >> 8)
    m.append(pid & 255)
    m.extend(b"\0\0")
    if whole:
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
