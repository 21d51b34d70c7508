"""Prepared publications, and payloads that a reader gives.

What belongs here: Publication (topic encoded once, payload in place) and publish_from(). What does not: publish() (client.py,
slow.py).
"""
from . import ResourceError, strings
from .core import _prepare
from .slow import check_size, fixed

_len = len
_PARK = bytearray()  # tells a generator of Publication to ask again before it sends


class Publication:
    """A message with a fixed topic, made by client.publication(); `buf` is its payload in place (a memoryview of `size`
    bytes).

    Write `p.send(x)` each time and do not keep the method itself (`f = p.send`): from the second call on it is the generator
    _fast(), made here with everything else, which ends with an exception; then the name stands for a new one.
    """

    def send(self, payload):
        """Send exactly `size` bytes. 0 B. Returns and raises as publish()."""
        return self._start("send", payload)

    def send_any(self, payload):
        """Send a payload of at most `size` bytes. 0 B."""
        return self._start("send_any", payload)

    def send_in_place(self, n):
        """Send the first `n` bytes of `buf`, where the caller has put them (not while client.wants_write()). 0 B."""
        return self._start("send_in_place", n)

    def _start(self, name, x):
        # The first call, or one of another method than before: from now on this method is the generator, after an exception a new
        # one.
        if self._on:
            delattr(self, self._on)
        self._on = None
        if self._run is None:
            try:
                g = _fast(self, self._s)
                next(g)
                self._run = g.send
            except MemoryError:  # the heap is locked or full: later
                if x is _PARK:
                    raise
                return self._slow(name, x)
        self._on = name
        setattr(self, name, self._run)
        self._park()
        return (self._run)(x)

    def _slow(self, s, x):
        # Whatever there is: another length, first send of a connection, QoS 1 and 2, no connection, a half-written packet.
        # s: name of the method, later the session (one local more, and the frame would go to the heap).
        n = x if s == "send_in_place" else _len(x)
        if n > self.size or n < 0 or n != self.size and s == "send":
            raise ValueError("payload of %d bytes: %s() of this publication takes %d" % (n, s, self.size))
        s = self._s
        if self._qos or s._state != 2:
            if n is x:
                x = self.buf if n == self.size else self.buf[:n]
            return s.publish(self._t, x, self._retain, self._qos, self._props)
        if s._err:
            s.close(0)
            raise OSError(104, "connection lost")
        if s._wn:
            s._drain()
        if n != self._l:
            self._l = n
            self._o = fixed(self._b, self._i, self._h - self._i + n, self._retain)
        if n is not x:
            self.buf[:n] = x
        n += self._h - self._o
        self._n = n
        check_size(s, n, self._retain)
        s._write(self._b, self._o, n)
        s.sent -= 1  # as slow.py: QoS 0 is not counted
        return s._zero

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
    r = k = _PARK
    try:
        while True:
            name = p._on
            n = p  # no payload has that length
            if k is not _PARK:
                r = p._slow(name, k)
                # May it go on without asking, until _park()? At most eight publications of a client do, with a payload of that
                # length and a fixed header that begins the buffer: write() with an offset costs more.
                if s._qmax and p._l > 0 and not p._o:
                    k = s._pubs
                    if p not in k:
                        n = k.pop(0)
                        if n:
                            n._park()
                        k.append(p)
                    n = p._l
                    end = h + n
                    total = p._n
                    write = s._sw
            k = yield r
            if name == "send_in_place":
                while k is n:
                    k = write(b, 0, total)
                    if k != total:
                        break
                    k = yield r
                else:
                    continue
            else:
                while length(k) is n:
                    b[h:end] = k
                    k = write(b, 0, total)
                    if k != total:
                        break
                    k = yield r
                else:
                    continue
            s._rest(b, k or 0, total)
            k = _PARK
    finally:  # by an exception
        if p._on:
            delattr(p, p._on)
        p._on = p._run = None


def publication(s, topic, size, retain=False, qos=0, props=b""):
    """A Publication for payloads of up to `size` bytes; allocates one buffer of topic + properties + size + 8 bytes."""
    if not 0 <= qos <= 2:
        raise ValueError("qos: %s is not 0, 1 or 2" % qos)
    if props:
        from . import props as names

        props = names.block(props, 3)
    p = Publication()
    t = strings.check_str(topic)
    p._t = t = t if type(t) is bytes else bytes(t)
    t = len(t).to_bytes(2, "big") + t + (props or b"\0")
    p._s = s
    p._retain = retain
    p._qos = qos
    p._props = props
    p.size = size
    p._i = 1 + len(strings.pack(len(t) + size))  # the fixed header of the longest payload takes this; that of others ends here
    p._h = h = p._i + len(t)
    p._b = b = bytearray(h + size)
    b[p._i : h] = t
    p.buf = memoryview(b)[h:]
    p._n = p._o = 0
    p._l = -1  # payload length of the fixed header that stands in _b
    p._on = p._run = None  # the method that is _fast() now; _fast()
    if not s._pubs:
        s._pubs = [None] * 8
    p._start("send", _PARK)  # makes it, and room in the table of attributes
    delattr(p, "send")
    p._on = None
    return p


def publish_from(s, topic, reader, size, retain=False, qos=0, props=b""):
    """Publish `size` bytes that `reader.readinto(buf)` gives, through tx, in constant memory; returns the packet identifier.

    Blocking. The payload is not in the image: when the connection is lost before the acknowledgement, OSError tells the caller to
    call again with a reader at its start. Waits for room in the window first. Raises as publish(); ValueError when the reader
    ends early (the connection is closed then: the packet cannot be completed). 3.3.
    """
    if s._state != 2:
        raise OSError(107, "not connected")
    m = s.image
    if qos:
        while s._flight >= s._rmax or m[4] << 8 | m[5] != len(m):
            s.poll(1000)
    s._drain()
    _prepare(s, topic, props)
    tx = s._tx
    if not 0 <= qos <= s._caps & 3:
        qos = s._limits(qos, retain)
    head = len(s._tb).to_bytes(2, "big") + s._tb
    props = s._pb or b"\0"
    n = len(head) + 2 * (qos > 0) + len(props)
    if size < 0:
        raise ValueError("size: a packet has at most 268435455 bytes")
    k = strings.pack(n + size)
    check_size(s, 1 + len(k) + n + size, retain)
    if n + 5 > len(tx):
        raise ResourceError("topic and properties need %d bytes, tx has %d" % (n + 5, len(tx)))
    pid = 0
    if qos:
        if len(m) + 5 > s._cap:
            raise ResourceError("the in-flight store is full")
        pid = s._next_id()
        n = pid.to_bytes(2, "big")
        head += n
        m.extend(bytes((qos,)) + n + b"\0\0")  # a record without its packet: settles with the acknowledgement only
        m[4:6] = len(m).to_bytes(2, "big")
        s._flight += 1
    head = bytes((0x30 | qos << 1 | bool(retain),)) + k + head + props
    s._topic = ...
    s._th = s._last = 0
    k = len(head)
    tx[:k] = head
    view = memoryview(tx)
    sent = s.sent + 1
    while k or size:
        while size and k < len(tx):
            n = reader.readinto(view[k : k + size])
            if not n:
                s.close(0)
                raise ValueError("reader ended %d bytes early: connection closed" % size)
            k += n
            size -= n
        s._write(tx, 0, k)
        s._drain()
        if s._err:
            s.close(0)
            raise OSError(104, "connection lost")
        k = 0
    s.sent = sent
    return pid
