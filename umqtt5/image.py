"""The session image: all that must survive a cut, a reset, a deep sleep, in one bytearray.

What belongs here: the in-flight store, the offline queue and the replay: they are the same records; PUBACK. Loaded when a node
publishes with QoS 1 or 2, subscribes, or has records from before: then these are methods of MQTTClient. What does not belong
here: the socket (core.py), saving (store.py), what seldom happens to a record (outbox.py), QoS 2 (qos2.py).

The bytearray `image`, capacity made at construction:

    0 magic 'M'   1 layout version   2,3 last packet identifier   4,5 offset of the first unsent record
    6..9 tag of client identifier and server (0: there is no session)   10 the records, in order of publish:

    state   packet id   length   [queued at]   encoded packet
    1       2           2        4 (flag 0x10) `length` bytes
    states: 1 QoS 1 PUBLISH, 2 QoS 2 PUBLISH, 3 PUBREC seen, PUBREL is left (length 0), 4 inbound QoS 2 identifier (length 0)
    flags:  0x10 a queued-at time in seconds follows (Message Expiry Interval present), 0x40 a PUBREL has to be sent now

`_flight` is the number of sent and unacknowledged records: states 1 and 2 before the first unsent record, and all of state 3.
"""
from micropython import const

from . import ResourceError

_H = const(10)  # bytes of the header
_QUEUED = const(0x10)
_ZEROS = const(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")  # room for all headers of a record
_len = len


def _handler(s, first, i, end):
    """PUBACK (3.4): frees the record, tells the user. 0 B."""
    b = s._rx
    if first != 0x40:
        return s._violation(0x81)
    if end - i != 2 and (end - i < 2 or b[i + 2] and b[i + 2] != 0x10 or end - i > 3 and (b[i + 3] or end - i > 4)):
        s._check_ack(4, i, end)
    first = s._find_record(b[i] << 8 | b[i + 1], 1)
    if first:
        s._free(first)
        s._settled(i, end, 4)
    elif not b[i] | b[i + 1]:
        s._violation(0x82)


def _settled(self, i, end, packet):
    """A message is done (or refused): remember a refusal for wait(), tell on_ack. i, end: the acknowledgement in rx."""
    if end - i > 2 and self._rx[i + 2] > 127:
        self._note_refusal(i, end, packet)
    if self.on_ack:
        self._at = i + 3
        self._to = end
        self._busy = 1
        end = self._rx[i + 2] if end - i > 2 else 0
        i = self._rx[i] << 8 | self._rx[i + 1]
        self.on_ack(self, i, end, packet)
        self._busy = self._at = 0
    if not self._wn:
        self._pump()


def _enqueue(self, msg, qos, retain):
    # Append a QoS 1 or 2 PUBLISH to the image, send it if its turn has come.
    if not 0 < qos < 3 or self._state == 2 and (qos > self._caps & 3 or retain and not self._caps & 4):
        qos = self._limits(qos, retain)
        if not qos:
            return self._publish_slow(msg, retain)
    n = 4 + _len(self._tb) + (_len(self._pb) or 1) + _len(msg)
    m = self.image
    if (n > self._smax - 5 or _len(m) + n + 14 > self._cap) and self._room(n):
        return 0
    self._record(n, qos << 1 | (1 if retain else 0))
    m.extend(self._tb)
    m.extend(self._r)  # packet identifier and a zero Property Length
    if self._pb:
        m[_len(m) - 1 :] = self._pb
    m.extend(msg)
    self._go()
    return m[2] << 8 | m[3]


def _go(self):
    # A record was appended: send it, if its turn has come, or at least save it.
    try:
        if self._state == 2 and not self._wn:
            self._pump()
        if self._save:
            self._save_rest(self.image)
    except OSError:  # the message is stored: work() reports the loss
        self._dead()
    except ResourceError:  # the store cannot take it, nothing was sent: take it back
        self._take_back()
        raise


def _record(self, n, flags):
    # The record's header, the fixed header and the topic's length; n: Remaining Length, flags: QoS and RETAIN bits.
    k = self._next_id()
    m = self.image
    i = _len(m)
    m.extend(_ZEROS)  # 15 bytes: cut to what is needed at the end
    m[i] = flags >> 1
    m[i + 1] = self._r[0] = k >> 8
    m[i + 2] = self._r[1] = k & 255
    k = n + (2 if n < 128 else 3 if n < 16384 else 4)
    m[i + 3] = k >> 8
    m[i + 4] = k & 255
    i += 5
    if self._texp:
        m[i - 5] = flags >> 1 | _QUEUED
        self._stamp(m, i)
        i += 4
    m[i] = flags | 0x30
    i += 1
    while n > 127:
        m[i] = n & 127 | 128
        n >>= 7
        i += 1
    m[i] = n
    n = _len(self._tb)
    m[i + 1] = n >> 8
    m[i + 2] = n & 255
    i += 3
    m[i:] = b""


def _next_id(self):
    """The next free packet identifier (2.2.1): the last one plus 1; looks for one in use only when it may have come round."""
    m = self.image
    n = m[2] << 8 | m[3]
    if self._idfree:
        self._idfree -= 1
        n += 1
        if n > 65535:
            n = 1
    else:
        n = self._free_id(n)
    m[2] = n >> 8
    m[3] = n & 255
    return n


def _find_record(self, pid, state):
    """Offset of the record of `pid` in `state` that has been sent (any for state 3 and 4), or 0."""
    m = self.image
    i = _H
    end = _len(m)
    if state < 3:
        end = m[4] << 8 | m[5]
    while i < end:
        if m[i] & 7 == state and m[i + 2] == pid & 255 and m[i + 1] == pid >> 8:
            return i
        i += (m[i + 3] << 8) + (m[i] >> 2 & 4) + m[i + 4] + 5
    return 0


def _free(self, i, keep=0):
    """Remove the record at offset `i`; keep=1: leave its five bytes (QoS 2, PUBREL is left). 0 B."""
    m = self.image
    n = (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)
    u = m[4] << 8 | m[5]
    if keep:
        i += 5
    else:
        n += 5
        if m[i] & 7 == 3 or i < u and m[i] & 7 < 3:
            self._flight -= 1
    m[i : i + n] = b""
    if self._wn and self._wb is m and self._wo > i:  # the half-written record moved with the rest
        self._wo -= n
    if i < u:
        u -= n
        m[4] = u >> 8
        m[5] = u & 255
    if self._save and not keep:  # with keep the record is not finished: the caller saves
        self._persist(0)


def _pump(self):
    """Send records from the first unsent one on, as far as Receive Maximum and the socket allow. 0 B. Spec 4.9."""
    m = self.image
    if self._rel:
        self._rels()
    i = m[4] << 8 | m[5]
    while i < _len(m) and not self._wn:
        k = m[i] & 7
        if k == 5:
            self._queued0(i)
            continue
        if k < 3:
            if self._flight >= self._rmax:
                break
            if m[i] & _QUEUED and not self._fresh(i):
                continue  # expired and gone: the next record is at i now
        k = i + 5 + (m[i] >> 2 & 4)  # of the packet
        n = m[i + 3] << 8 | m[i + 4]
        m[4] = k + n >> 8
        m[5] = k + n & 255
        if n:  # else QoS 2, whose PUBLISH is not there any more
            if self._save:  # saved as sent before it is: after a reset it goes out again with DUP
                self._persist(i)
            self._flight += 1
            self._write(m, k, n)
        i = k + n
