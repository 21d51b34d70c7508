"""Prepared publications, and payloads that a reader gives.

What belongs here: Publication (topic encoded once, payload in place) and publish_from(). What does not: publish() (core.py,
outbox.py).
"""
from . import ResourceError, wire
from .core import _prepare
from .outbox import check_size

_len = len


class Publication:
    """A message with a fixed topic, made by client.publication(); `buf` is its payload in place (a memoryview of `size`
    bytes).
    """

    def __init__(self, s, topic, size, retain, qos, props):
        if props:
            from . import props as names

            props = names.block(props, 3)
        self._s = s
        self._t = wire.check_topic(topic)
        self._args = retain, qos, props
        self.size = size
        t = self._t if type(self._t) is bytes else bytes(self._t)
        self._t = t
        h = 7 + len(t)
        self._b = b = bytearray(h + (len(props) or 1) + size)
        b[5] = len(t) >> 8
        b[6] = len(t) & 255
        b[7:h] = t
        if props:
            b[h : h + len(props)] = props
        self._h = h = h + (len(props) or 1)
        self.buf = memoryview(b)[h:]
        self._w = None  # the writer for which it is known that any payload fits
        self._l = -1

    def _encode(self, n):
        # The fixed header for a payload of n bytes.
        if n > self.size or n < 0:
            raise ValueError("payload of %d bytes: this publication holds %d" % (n, self.size))
        b = self._b
        self._l = n
        n += self._h - 5
        i = 5 - wire.vbi_size(n)
        self._o = i - 1
        self._n = self._h + self._l - i + 1
        b[i - 1] = 0x31 if self._args[0] else 0x30
        while n > 127:
            b[i] = n & 127 | 128
            n >>= 7
            i += 1
        b[i] = n

    def _part(self, k):
        self._s._rest(self._b, self._o, self._n - k, k)

    def _slow(self, payload, n):
        # First send of a connection, QoS 1 and 2, no connection, a half-written packet. payload None: it is in `buf`.
        s = self._s
        retain, qos, props = self._args
        if n > self.size or n < 0:
            raise ValueError("payload of %d bytes: this publication holds %d" % (n, self.size))
        if qos or s._state != 2:
            if payload is None:
                payload = self.buf if n == self.size else self.buf[:n]
            return s.publish(self._t, payload, retain, qos, props)
        if s._err:
            s.close(0)
            raise OSError(104, "connection lost")
        if s._wn:
            s.drain()
        if n != self._l:
            self._encode(n)
        if payload is not None:
            self.buf[:n] = payload
        check_size(s, self._n, retain)
        if self._h + self.size <= s._smax:  # any payload fits: no check on this connection again
            self._w = s._sw
        s.sent -= 1
        return s._write(self._b, self._o, self._n)

    def send(self, payload):
        """Send exactly `size` bytes. 0 B. Returns and raises as publish()."""
        if _len(payload) != self.size:
            raise ValueError("payload of %d bytes: send() takes exactly %d" % (_len(payload), self.size))
        s = self._s
        if s._sw is not self._w or not s._qmax:
            return self._slow(payload, self.size)
        if self._l != self.size:
            self._encode(self.size)
        self.buf[:] = payload
        payload = (self._w)(self._b, self._o, self._n)
        if payload != self._n:
            self._part(payload or 0)
        return s._zero

    def send_any(self, payload):
        """Send a payload of at most `size` bytes. 0 B."""
        n = _len(payload)
        s = self._s
        if s._sw is not self._w or not s._qmax:
            return self._slow(payload, n)
        if n != self._l:
            self._encode(n)
        n += self._h
        self._b[self._h : n] = payload
        n = (self._w)(self._b, self._o, self._n)
        if n != self._n:
            self._part(n or 0)
        return s._zero

    def send_in_place(self, n):
        """Send the first `n` bytes of `buf`, where the caller has put them (not while client.wants_write()). 0 B."""
        s = self._s
        if s._sw is not self._w or not s._qmax:
            return self._slow(None, n)
        if n != self._l:
            self._encode(n)
        n = (self._w)(self._b, self._o, self._n)
        if n != self._n:
            self._part(n or 0)
        return s._zero


def publication(s, topic, size, retain=False, qos=0, props=b""):
    """A Publication for payloads of up to `size` bytes; allocates one buffer of topic + properties + size + 8 bytes."""
    if not 0 <= qos <= 2:
        raise ValueError("qos: %s is not 0, 1 or 2" % qos)
    return Publication(s, topic, size, retain, qos, props)


def publish_from(s, topic, reader, size, retain=False, qos=0, props=b""):
    """Publish `size` bytes that `reader.readinto(buf)` gives, through tx, in constant memory; returns the packet identifier.

    Blocking. The payload is not in the image: when the connection is lost before the acknowledgement, OSError tells the caller to
    call again with a reader at its start. Waits for room in the window first. Raises as publish(); ValueError when the reader
    ends early
    (the connection is closed then: the packet cannot be completed). 3.3.
    """
    if s._state != 2:
        raise OSError(107, "not connected")
    if qos:
        while s._flight >= s._rmax or s.image[4] << 8 | s.image[5] != len(s.image):
            s.poll(1000)
    s.drain()
    _prepare(s, topic, props)
    tx = s._tx
    if qos and (qos > s._caps & 3 or not 0 < qos < 3):
        qos = s._limits(qos, retain)
    m = s.image
    pid = 0
    body = len(s._tb) + 2 + (2 if qos else 0) + (len(s._pb) or 1)
    n = body + size
    check_size(s, n + 1 + wire.vbi_size(n), retain)
    if size < 0 or n > 268435455:
        raise ValueError("size: a packet has at most 268435455 bytes")
    if body + 5 > len(tx):
        raise ResourceError("topic and properties need %d bytes, tx has %d" % (body + 5, len(tx)))
    if qos:
        if len(m) + 5 > s._cap:
            raise ResourceError("the in-flight store is full")
        pid = s.next_id()
        m.extend(bytes((qos, pid >> 8, pid & 255, 0, 0)))  # a record without its packet: settles with the acknowledgement only
        s._mark(len(m))
        s._flight += 1
    head = bytearray((0x30 | qos << 1 | (1 if retain else 0),))
    k = n
    while k > 127:
        head.append(k & 127 | 128)
        k >>= 7
    head.append(k)
    head.extend(bytes((len(s._tb) >> 8, len(s._tb) & 255)))
    head.extend(s._tb)
    if qos:
        head.extend(bytes((pid >> 8, pid & 255)))
    head.extend(s._pb or b"\0")
    s._topic = s._tprops = ...
    s._busy = 0
    k = len(head)
    tx[0:k] = head
    view = memoryview(tx)
    sent = s.sent
    while True:
        n = min(len(tx) - k, size)
        while n:
            got = reader.readinto(view[k : k + n])
            if not got:
                s.close(0)
                raise ValueError("reader ended %d bytes early: connection closed" % size)
            k += got
            n -= got
            size -= got
        s._write(tx, 0, k)
        s.drain()
        if s._err:
            s.close(0)
            raise OSError(104, "connection lost")
        k = 0
        if not size:
            break
    s.sent = sent + 1
    return pid
