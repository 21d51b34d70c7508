"""What few messages have and few handlers ask for; each becomes a method of Message or MQTTClient when it is first called.

What belongs here: properties of an inbound PUBLISH, delivery by subscription identifier, properties() and reject() of Message.
What does not: its other methods, what every message needs (subs.py). 0 B once loaded, but for properties() and reject().
"""

from . import wire

_vbi = wire.vbi
_skip = wire.skip


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
