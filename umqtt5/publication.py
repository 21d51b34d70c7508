"""Prepared publications, and payloads that a reader gives.

What belongs here: Publication (topic encoded once, payload in place) and publish_from(). What does not: publish() (core.py,
outbox.py).
"""
from . import ResourceError, wire
from .core import _prepare
from .outbox import check_size

_len = len
_PARK = bytearray()  # tells a generator of Publication to ask again before it sends


class Publication:
    """A message with a fixed topic, made by client.publication(); `buf` is its payload in place (a memoryview of `size`
    bytes).

    Write `p.send(x)` each time and do not keep the method itself (`f = p.send`): from the second call on it is the generator
    _fast(), made here with everything else, which ends with an exception; then the name stands for a new one.
    """

    def __init__(self, s, topic, size, retain, qos, props):
        if props:
            from . import props as names

            props = names.block(props, 3)
        self._s = s
        t = wire.check_topic(topic)
        self._t = t = t if type(t) is bytes else bytes(t)
        self._args = retain, qos, props
        self.size = size
        n = 2 + len(t) + (len(props) or 1)
        self._i = i = 1 + wire.vbi_size(n + size)  # the fixed header of the longest payload takes this; that of others ends here
        self._h = h = i + n
        self._b = b = bytearray(h + size)
        b[i] = len(t) >> 8
        b[i + 1] = len(t) & 255
        i += 2
        b[i : i + len(t)] = t
        if props:
            b[i + len(t) : h] = props
        self.buf = memoryview(b)[h:]
        self._n = 0
        self._l = -1  # payload length of the fixed header that stands in _b
        self._on = None  # the method that is _fast() now
        self._begin()
        if not s._pubs:
            s._pubs = [None] * 8
        setattr(self, "send", None)  # noqa: B010 (a method) makes room in the table of attributes
        delattr(self, "send")

    def send(self, payload):
        """Send exactly `size` bytes. 0 B. Returns and raises as publish()."""
        return self._start("send", payload)

    def send_any(self, payload):
        """Send a payload of at most `size` bytes. 0 B."""
        return self._start("send_any", payload)

    def send_in_place(self, n):
        """Send the first `n` bytes of `buf`, where the caller has put them (not while client.wants_write()). 0 B."""
        return self._start("send_in_place", n)

    def _begin(self):
        g = _fast(self, self._s)
        next(g)
        self._run = g.send

    def _start(self, name, x):
        # The first call, or one of another method than before: from now on this method is the generator, after an exception a new
        # one.
        if self._on:
            delattr(self, self._on)
        self._on = None
        if self._run is None:
            try:
                self._begin()
            except MemoryError:  # the heap is locked or full: later
                return self._slow(name, x)
        self._on = name
        setattr(self, name, self._run)
        self._park()
        return (self._run)(x)

    def _slow(self, name, x):
        # Whatever there is: another length, first send of a connection, QoS 1 and 2, no connection, a half-written packet.
        s = self._s
        n = x if name == "send_in_place" else _len(x)
        if n > self.size or n < 0 or n != self.size and name == "send":
            raise ValueError("payload of %d bytes: %s() of this publication takes %d" % (n, name, self.size))
        if self._args[1] or s._state != 2:
            return self._publish(x, n)
        if s._err:
            s.close(0)
            raise OSError(104, "connection lost")
        if s._wn:
            s.drain()
        if n != self._l:
            self._encode(n)
        if n is not x:
            self.buf[:n] = x
        check_size(s, self._n, self._args[0])
        s.sent -= 1
        s._write(self._b, self._o, self._n)
        return s._zero

    def _publish(self, x, n):
        a = self._args
        if n is x:
            x = self.buf if n == self.size else self.buf[:n]
        n = a[2]  # keeps the frame within 11 words
        return self._s.publish(self._t, x, a[0], a[1], n)

    def _encode(self, n):
        # The fixed header for a payload of n bytes.
        b = self._b
        self._l = n
        n += self._h - self._i
        i = self._i - wire.vbi_size(n)
        self._o = i - 1
        self._n = self._h + self._l - self._o
        b[i - 1] = 0x31 if self._args[0] else 0x30
        while n > 127:
            b[i] = n & 127 | 128
            n >>= 7
            i += 1
        b[i] = n

    def _may(self):
        # May the generator go on without asking, until _park()? At most eight publications of a client do, with a payload of that
        # length and a fixed header that begins the buffer: write() with an offset costs more.
        s = self._s
        if self._args[1] or s._state != 2 or s._wn or s._err or not self._l or self._o or self._h + self.size > s._smax:
            return False
        k = s._pubs
        if self not in k:
            if k[0]:
                k[0]._park()
            k.pop(0)
            k.append(self)
        return True

    def _park(self):
        # The connection has ended, a packet is half written, or another method sends.
        if self._run:
            try:
                (self._run)(_PARK)
            except ValueError:
                pass  # it is the one that runs: its own packet is half written


def _fast(p, s):
    # What send(), send_any() or send_in_place() is from its second call on. A generator, because it keeps all it needs in its
    # frame: measured, resuming one costs 1,100 instructions of a method's 1,900, and each attribute that is not looked up 200.
    # All other cases go to _slow(), which raises or sends; an exception ends a generator, and so the method stands for
    # Publication's own again.
    b = p._b
    h = p._h
    length = _len
    k = _PARK
    try:
        while True:
            name = p._on
            r = k is not _PARK and p._slow(name, k)
            n = p  # no payload has that length
            if k is not _PARK and p._may():
                n = p._l
            write = s._sw
            total = p._n
            end = h + p._l
            zero = s._zero
            k = yield r
            if name == "send_in_place":
                while k is n:
                    k = write(b, 0, total)
                    if k != total:
                        s._rest(b, 0, total - (k or 0), k or 0)
                        n = p
                    k = yield zero
            else:
                while length(k) is n:
                    b[h:end] = k
                    k = write(b, 0, total)
                    if k != total:
                        s._rest(b, 0, total - (k or 0), k or 0)
                        n = p
                    k = yield zero
    except (Exception, KeyboardInterrupt, SystemExit):
        if p._on:
            delattr(p, p._on)
        p._on = p._run = None
        raise


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
    s._te = s._last = 0
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
