"""Inbound PUBLISH: Message, checks, delivery, acknowledgement.

What belongs here: everything between the parser and the handler. What does not: QoS 2 (qos2.py), inbound topic aliases
(alias.py), chunks (chunks.py), which are loaded when the first such packet comes; SUBSCRIBE (subs.py).
"""

from . import wire
from .core import load

_len = len
_walk = wire.walk
_vbi = wire.vbi
_skip = wire.skip
_topic_name = wire.topic_name


class Message:
    """The message being delivered: one object, reused. Valid until the handler returns; afterwards its methods raise ValueError.

    0 B: is_topic, startswith, payload_len, byte, int, copy_into, qos, retain, dup. 16 B (32-bit): topic, payload, which are
    views of
    rx and must not be kept: copy them with bytes() (on CPython a kept view raises ValueError, on a board it shows later bytes).
    """

    def __init__(self, s):
        self._s = s
        self._b = s._rx  # where payload and properties are
        self._tb = s._rx  # where the topic is: rx, or the alias table
        self._t = self._n = self._p = self._d = self._f = 0
        self._e = -1
        self._v = []
        self._known = b""  # the topic checked last
        self._is = None  # this message's topic, when it is that one
        self._matches = None
        self.code = 0
        self.props = b""

    def is_topic(self, topic: bytes) -> bool:
        """True when the topic equals these bytes."""
        if topic is self._is:  # compared when the packet came
            return self._e >= 0
        if self._n == _len(topic) and self._e >= 0 and self._tb.startswith(topic, self._t):
            if topic.__class__ is bytes:
                self._is = topic
                if not self._known:
                    self._known = topic  # valid, so the next packet with this topic needs no check
            return True
        return False

    def startswith(self, prefix: bytes) -> bool:
        """True when the topic begins with these bytes."""
        return self._n >= _len(prefix) and self._tb.startswith(prefix, self._t)

    def payload_len(self):
        return self._e - self._d

    def byte(self, i):
        """Byte `i` of the payload."""
        i += self._d
        if i < self._d or i >= self._e:
            raise IndexError("payload has %d bytes" % (self._e - self._d))
        return self._b[i]

    def int(self):
        """The payload as decimal digits with an optional sign; ValueError when it is anything else."""
        i = self._d
        n = 0
        c = self._b[i] if i < self._e else 0
        if c == 45 or c == 43:
            i += 1
        if i >= self._e:
            raise ValueError("payload is not a number")
        while i < self._e:
            k = self._b[i] - 48
            if not 0 <= k < 10:
                raise ValueError("payload is not a number")
            n = n * 10 + k
            i += 1
        return -n if c == 45 else n

    def copy_into(self, buf):
        """Copy the payload to the front of `buf`; returns its length. ValueError when it does not fit."""
        n = self._e - self._d
        i = _len(buf)  # not called within raise: the frame would have 12 words, one too many
        if n > i:
            raise ValueError("payload of %d bytes, room for %d" % (n, i))
        i = 0
        b = self._b
        d = self._d
        while i < n:
            buf[i] = b[d + i]
            i += 1
        return n

    def qos(self):
        return self._f >> 1 & 3

    def retain(self):
        return self._f & 1

    def dup(self):
        return self._f >> 3 & 1

    def _view(self, b, i, j):
        if self._e < 0:
            raise ValueError("message is gone: copy what you keep before the handler returns")
        v = memoryview(b)[i:j]
        if hasattr(v, "release"):
            self._v.append(v)
        return v

    def topic(self) -> memoryview:
        return self._view(self._tb, self._t, self._t + self._n)

    def payload(self) -> memoryview:
        return self._view(self._b, self._d, self._e)

    def properties(self) -> list:
        """All properties in order, a list of (name, value)."""
        if self._e < 0:
            raise ValueError("message is gone")
        from . import props

        return props.decode(self._b, self._p) if self._p else []

    def reject(self, code, props=b""):
        """Refuse this QoS 1 or 2 message: PUBACK or PUBREC carries `code` (0x80 or more) and properties. A shared message is
        lost then.
        """
        from . import reasons

        if code < 128 or not reasons.sendable(code, 4):
            raise ValueError("reason code 0x%02X cannot refuse a message" % code)
        if props:
            from . import props as names

            props = names.block(props, 4)
        self.code = code
        self.props = props

    def _end(self):
        # The handler has returned: this message can no longer be read.
        self._e = -1
        self._tb = self._b
        if self._v:
            for v in self._v:
                v.release()
            self._v.clear()


def register(s):
    """Put this module's handler into the session; the first time it makes the Message."""
    if s._msg is None:
        s._msg = Message(s)
        s._routes = []
        s._routed = False
        s._live[3] = publish_in
    s._same = -1
    s._ready = False


def publish_in(s, first, i, end):
    """PUBLISH (3.3): check, deliver, acknowledge. 0 B at QoS 0, 1 and 2, with what the handler asks for free of charge."""
    b = s._rx
    m = s._msg
    s._same = -1
    m._is = None
    if end - i < 3 or first & 14 and (first & 6 == 6 or first & 14 == 8):
        s.violation(0x81)
    n = b[i] << 8 | b[i + 1]
    i += 2
    m._f = first
    m._t = i
    m._n = n
    if i + n >= end:
        s.violation(0x81)
    if not n:
        m._tb = None
    elif n == _len(m._known) and b.startswith(m._known, i):
        m._is = m._known
    else:
        _check_topic(s, i, n)
    i += n
    if first & 6:
        return _acked_in(s, i, end)
    m._e = end
    if b[i] or not n:
        m._d = _begin(s, i, end)
    else:
        m._p = 0
        m._d = i + 1
        if s.on_message and not s._routed:  # deliver() inline, for the commonest case
            if m._is is not None and i == 4 + n and first == 48:
                _expect(s, m, end)
            s._busy = 1
            s.on_message(m)
            s._busy = 0
            m._e = -1
            if m._v:
                m._end()
            return
    deliver(s, m)


def _expect(s, m, end):
    # A topic that was subscribed to without wildcards: work() will know the next message like this one by its header.
    if end < 130 and s._live[3] is publish_in:
        for r in s._routes:
            if r[0] is m._known and r[3]:
                s._front, s._head = r[3]
                s._head[1] = end - 2
                s._same = end


def _check_topic(s, i, n):
    # The n bytes at i of rx: a filter without wildcard is a topic that was checked already, else look at each byte.
    b = s._rx
    k = 0
    while k < _len(s._routes):
        r = s._routes[k][0]
        if _len(r) == n and b.startswith(r, i) and s._routes[k][3]:
            s._msg._known = s._msg._is = r
            return
        k += 1
    k = _topic_name(b, i, i + n)
    if k:
        s.violation(k)


def _begin(s, i, end):
    # Properties at i: checks them, resolves a topic alias. Returns the offset of the payload.
    b = s._rx
    m = s._msg
    if i >= end:
        s.violation(0x81)
    if b[i]:
        m._p = i
        end = _walk(b, i, end, 3)
        if end < 0:
            s.violation(-end)
        i = s._find(b, i, 0x23)
        if i >= 0:
            _alias(s, i)
        i = end - 1
    else:
        m._p = 0
    if m._tb is None:
        m._tb = b
        s.violation(0x82)
    return i + 1


def _alias(s, i):
    if s._alias_in is None:
        from . import alias

        s._alias_in = alias.incoming
    (s._alias_in)(s, i)


def _acked_in(s, i, end):
    # QoS 1 and 2: the packet identifier, then as QoS 0, then the acknowledgement, once the handler has taken the message.
    m = s._msg
    if i + 3 > end:
        s.violation(0x81)
    m._d = _begin(s, i + 2, end)
    m._e = end
    m.code = 0
    i = s._rx[i] << 8 | s._rx[i + 1]
    if not i:
        s.violation(0x82)
    if m._f & 4 or s.strict:
        return _qos2(s, i)
    deliver(s, m)
    if s._sock is not None:
        finish(s, 0x40, i)


def _qos2(s, pid):
    if s._live[6] is load or s._qos2_in is None:
        from . import qos2

        qos2.register(s)
    s._qos2_in(s, pid)


def finish(s, first, pid):
    """PUBACK or PUBREC for a delivered message."""
    m = s._msg
    if m.code:
        reject(s, first, pid, m.code, m.props)
    else:
        s.ack(first, pid)


def reject(s, first, pid, code, block):
    if block:
        from . import outbox

        block = outbox.fit(s, block, 5, first >> 4)
    if not block or s._wn:
        return s.ack(first, pid, code)
    from .props import vbi

    p = bytes((first,)) + vbi(3 + _len(block)) + bytes((pid >> 8, pid & 255, code)) + block
    s._write(p, 0, _len(p))


def deliver(s, m):
    """To the handler of its subscription identifier, of a matching filter, to on_message, or to the callback of umqtt.simple."""
    s._busy = 1
    if s._routed and _route(s, m):
        pass
    elif s.on_message:
        s.on_message(m)
    elif s._cb:
        s._cb(bytes(m.topic()), bytes(m.payload()))
    s._busy = 0
    m._end()


def _route(s, m):
    # True when a handler took it. Subscription identifiers are 1 + the index of the route (113 instructions against 767 and
    # more).
    r = False
    i = m._p
    if i:
        b = m._b
        i += 1
        while b[i - 1] > 127:
            i += 1
        while i < m._d:
            if b[i] == 11 and _call(s, m, i + 1):
                r = True
            i = _skip(b, i)
    if not r and not s._caps & 16:
        return _match(s, m)
    return r


def _call(s, m, i):
    i = _vbi(m._b, i, m._d) - 1
    if i < _len(s._routes) and s._routes[i][2]:
        s._routes[i][2](m)
        return True


def _match(s, m):
    # The server knows no subscription identifiers: compare topics.
    if m._matches is None:  # an import statement allocates each time
        from .topics import matches

        m._matches = matches
    r = False
    i = 0
    while i < _len(s._routes):
        if s._routes[i][2] and (m._matches)(s._routes[i][0], m._tb, m._t, m._t + m._n):
            s._routes[i][2](m)
            r = True
        i += 1
    return r
