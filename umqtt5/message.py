"""What few messages have and few handlers ask for; each becomes a method of Message or Session when it is first called.

What belongs here: methods of Message besides is_topic(), topic() and payload(); properties of an inbound PUBLISH and delivery by
subscription identifier. What does not: what every message needs (subs.py). 0 B once loaded, but for properties() and reject().
"""

from . import wire

_vbi = wire.vbi
_skip = wire.skip


def startswith(self, prefix: bytes) -> bool:
    """True when the topic begins with these bytes."""
    return self._n >= len(prefix) and self._tb.startswith(prefix, self._t)


def payload_len(self):
    return self._e - self._d


def byte(self, i):
    """Byte `i` of the payload."""
    n = self._e - self._d
    if not 0 <= i < n:
        raise IndexError("payload has %d bytes" % n)
    return self._b[self._d + i]


def int(self):  # noqa: A001
    """The payload as decimal digits with an optional sign; ValueError when it is anything else."""
    i = self._d
    e = self._e
    n = 0
    c = self._b[i] if i < e else 0
    i += c == 45 or c == 43
    while True:
        k = self._b[i] - 48 if i < e else -1
        if not 0 <= k < 10:
            raise ValueError("payload is not a number")
        n = n * 10 + k
        i += 1
        if i == e:
            return -n if c == 45 else n


def copy_into(self, buf):
    """Copy the payload to the front of `buf`; returns its length. ValueError when it does not fit."""
    d = self._d
    n = self._e - d
    i = len(buf)  # a call inside the next statement would make the frame too large
    if n > i:
        raise ValueError("payload of %d bytes, room for %d" % (n, i))
    i = n
    b = self._b
    while i > 0:
        i -= 1
        buf[i] = b[d + i]
    return n


def qos(self):
    return self._f >> 1 & 3


def retain(self):
    return self._f & 1


def dup(self):
    return self._f >> 3 & 1


def properties(self) -> list:
    """All properties in order, a list of (name, value)."""
    if self._e < 0:
        raise ValueError("message is gone")
    from . import props

    return props.decode(self._b, self._p) if self._p else []


def reject(self, code, props=b""):
    """Refuse this QoS 1 or 2 message: PUBACK or PUBREC carries `code` (0x80 or more) and properties. A shared message is lost
    then.
    """
    from . import reasons

    if code < 128 or not reasons.sendable(code, 4):
        raise ValueError("reason code 0x%02X cannot refuse a message" % code)
    if props:
        from . import props as names

        props = names.block(props, 4)
    self.code = code
    self.props = props


def _properties(s, i, end):
    # Properties at i: checks them, resolves a topic alias, finds the first Subscription Identifier.
    b = s._rx
    m = s._msg
    m._p = i
    end = wire.walk(b, i, end, 3)
    if end < 0:
        s._violation(-end)
    m._d = end
    while b[i] > 127:
        i += 1
    i += 1
    while i < end:
        if b[i] == 0x23:
            s._alias_in(i + 1)
        elif b[i] == 11 and not m._r:
            m._r = i
        i = _skip(b, i)
    if not m._n:
        s._violation(0x82)


def _by_id(s, m):
    # To the handlers of its Subscription Identifiers. False: none has one. (113 instructions against 767 and more for topics.)
    i = m._r
    while i < m._d:
        if m._b[i] == 11:  # 1 + the index of the route
            k = _vbi(m._b, i + 1, m._d) - 1
            if k < len(s._routes) and s._routes[k][2]:
                m._to = s._routes[k][2]
                m._to(m)
        i = _skip(m._b, i)
    return m._to
