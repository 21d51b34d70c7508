"""SUBSCRIBE and its SUBACK; inbound PUBLISH: Message, checks, delivery, acknowledgement.

What belongs here: asking for messages, the table of subscriptions (which serves routing, and link.py), and everything between
the parser and the handler. What does not, and is loaded when it is met: filters with wildcards or options (topics.py), all else
about subscriptions (extra.py), messages with properties, delivery by identifier, refusals (message.py), QoS 2 (qos2.py), inbound
topic aliases (alias.py), chunks (chunks.py).

A route is (filter, options byte, handler or None, (front, head) or None); the filter is b"" where a slot is free.
"""

import sys
import time

from . import strings

_len = len


class Message:
    """The message being delivered: one object, reused. Valid until the handler returns; afterwards its methods raise ValueError.

    0 B: is_topic, startswith, payload_len, byte, int, copy_into, qos, retain, dup. 16 B (32-bit): topic, payload, which are
    views of rx and must not be kept: copy them with bytes() (on CPython a kept view raises ValueError, on a board it shows later
    bytes).
    """

    # _b: where payload and properties are; _tb: where the topic is (rx, or the alias table). Offsets there: _t topic, _n its
    # length, _p property block (0: none), _r first Subscription Identifier (0: none), _d payload. _f: first byte of the packet.
    # _to: what the identifier stands for.
    _e = -1  # end of the payload while a handler runs
    _to = None
    _is = ()  # this message's topic, when it is one that was checked before
    _expect = None  # what a message that was subscribed to without wildcards begins with, see _ask()

    def __getattr__(self, name):
        # properties() and reject() are in message.py.
        from . import message

        setattr(Message, name, getattr(message, name))
        return getattr(self, name)

    def is_topic(self, topic: bytes) -> bool:
        """True when the topic equals these bytes."""
        if topic is self._is:  # compared when the packet came
            return self._e >= 0
        if self._n == _len(topic) and self._e >= 0 and self._tb.startswith(topic, self._t):
            if topic.__class__ is bytes:
                self._is = topic  # valid, so the next packet with this topic needs no check
            return True
        return False

    def startswith(self, prefix: bytes) -> bool:
        """True when the topic begins with these bytes."""
        return self._n >= _len(prefix) and self._tb.startswith(prefix, self._t)

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
        i = _len(buf)  # a call inside the next statement would make the frame too large
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

    def _view(self, b, i, j):
        if self._e < 0:
            raise ValueError("message is gone: copy what you keep before the handler returns")
        return memoryview(b)[i:j]

    def topic(self) -> memoryview:
        return self._view(self._tb, self._t, self._t + self._n)

    def payload(self) -> memoryview:
        return self._view(self._b, self._d, self._e)


_front = memoryview  # what can be compared with a bytearray, in place (startswith() takes bytes only)
if sys.implementation.name != "micropython":  # CPython: ports/host
    from micropython import front as _front

    _front.lend(Message)  # its views end with the handler


def register(s):
    """Put this module's handlers into the session; the first time it makes the Message."""
    if s._msg is None:
        s._msg = Message()
        s._routes = []
        s._routed = False
        s._live[3] = _publish_in
        s._live[9] = s._live[11] = _granted
    s._same = -1
    s._ready = False
    s._msg._is = ()


def _handler(s, first, i, end):
    # of the first PUBLISH, SUBACK or UNSUBACK
    register(s)
    s._live[first >> 4](s, first, i, end)


# ---------------------------------------------------------------- PUBLISH


def _publish_in(s, first, i, end):
    """PUBLISH (3.3): check, deliver, acknowledge. 0 B at QoS 0, 1 and 2, with what the handler asks for free of charge.

    Of a packet that the parser has not taken yet (chunks.py) what stands before the payload: returns its packet identifier.
    """
    b = s._rx
    m = s._msg
    s._same = -1
    m._b = m._tb = b
    m._f = first
    m._p = m._r = m.code = 0
    m._to = None
    if end - i < 3 or first & 6 == 6 or first & 14 == 8:
        s._violation(0x81)
    first &= 6
    n = b[i] << 8 | b[i + 1]
    i += 2
    m._t = i
    m._n = n
    n += i
    if n + (first and 2) >= end:
        s._violation(0x81)
    if n != i and (n - i != _len(m._is) or not b.startswith(m._is, i)):
        _check_topic(s, i, n)
    i = n
    n = 0
    if first:
        n = b[i] << 8 | b[i + 1]
        if not n:
            s._violation(0x82)
        i += 2
    if b[i] or not m._n:
        s._properties(i, end)
    else:
        m._d = i + 1
    if end != s._i:
        return n
    if first & 4 or first and s.strict:
        return s._qos2_in(n)
    if m._expect and not first and not s._routed:
        # Its topic was subscribed to: _work() will know the next message like this one by its header.
        i, b = m._expect
        b[1] = end - 2 & 127
        if i == b:
            s._front = i
            s._head = b
            s._same = end
    _deliver(s, m)
    if n and s._sock is not None:
        _finish(s, 0x40, n)


def _check_topic(s, i, end):
    # The topic at i of rx: a filter without wildcard is a topic that was checked already, else look at each byte.
    m = s._msg
    m._is = ()
    m._expect = None
    k = _len(s._routes)
    while k:
        k -= 1
        r = s._routes[k]
        if _len(r[0]) == end - i and r[3] and m._b.startswith(r[0], i):
            m._is = r[0]
            m._expect = r[3]
            return
    k = strings.topic_name(m._b, i, end)
    if k:
        s._violation(k)


def _deliver(s, m):
    """To the handlers of its subscription identifiers, of matching filters, to on_message, or to the callback of umqtt.simple."""
    m._e = s._i
    if not (m._r and s._by_id(m)) and not (s._routed and s._match(m)):
        f = s.on_message or s._cb
        if f:
            f(m)
    m._e = -1


def _finish(s, first, pid):
    """PUBACK or PUBREC for a delivered message."""
    if s._msg.code:
        s._refuse(first, pid)
    else:
        s._ack(first, pid)


def _ack(s, first, pid, reason=0):
    """Send an acknowledgement in its shortest form (3.4.2.1). 0 B."""
    a = s._a
    a[0] = first
    a[2] = pid >> 8
    a[3] = pid & 255
    a[4] = reason
    reason = 5 if reason else 4
    a[1] = reason - 2
    if s._wn:  # a handler's own publish is half written: the engine stands still until this went out after it
        s._owed = reason
        s.sent += 1
    else:
        s._write(a, 0, reason)


# ---------------------------------------------------------------- SUBSCRIBE


def _granted(s, first, i, end):
    """SUBACK (3.9) and UNSUBACK (3.11): ends the wait. Here: all filters granted, no more to say."""
    b = s._rx
    if first == 0x90 and end - i > 3 and not b[i + 2] and not s.on_suback:
        pid = b[i] << 8 | b[i + 1]
        w = s._acks and s._acks.get(pid)
        codes = bytes(b[i + 3 : end])
        if w and w[0] == 9 and _len(w[1]) == _len(codes) and max(codes) < 3:
            w[2] = codes
            del s._acks[pid]
            s._same = -1
            return
    s._suback(first, i, end)


def subscribe_start(s, filters, props=b"", to=None, _first=0x82):
    """Send SUBSCRIBE for `filters`, a list of (filter, qos) or (filter, qos, {option: value}); returns its packet identifier.

    Does not wait: on_suback tells. Raises ValueError/TypeError before a byte is sent, OSError when not connected. 3.8.
    """
    if s._state != 2:
        raise OSError(107, "not connected")
    if not filters:
        raise ValueError("give at least one topic filter")  # 3.8.3-2, 3.10.3-2
    props = s._sub_props(props, to, _first) if props else b""
    out = []
    for x in filters:
        f = strings.check_str(x[0], "topic filter")
        k = x[1]
        if _len(x) > 2 or not 0 <= k <= 2 or strings.topic_name(f, 0, _len(f)) or f[0] == 36:  # "$"
            k = s._check_filter(f, k, **dict(*x[2:]))
        out.append((f, k))
    return _ask(s, _first, props, out, to)


def _ask(s, first, p, filters, to):
    """SUBSCRIBE or UNSUBSCRIBE with properties `p` (without their length) of these (filter, options byte), in one write from a
    buffer of its own.
    """
    register(s)
    own = b""
    routes = list(s._routes)
    if to:
        s._routed = not s._caps & 16
        if not s._routed:  # subscription identifier: 1 + the index of the route
            own = strings.pack(11) + strings.pack(1 + _route(routes, filters[0][0]))
    if s._wn:
        s._drain()
    pid = s._next_id()
    p = strings.pack(_len(p) + _len(own)) + p + own
    for f, options in filters:
        head = _len(f).to_bytes(2, "big") + f
        p += head
        if first == 0x82:
            p += bytes((options,))
            if _len(f) > 59 or strings.topic_name(f, 0, _len(f)):
                head = None
            else:  # a topic: what its QoS 0 messages begin with
                head = bytearray((0x30, 0)) + head + strings.pack(_len(own)) + own
                head = _front(s._rx)[: _len(head)], head
            k = _route(routes, f)
            routes[k : k + 1] = [(f, options, to, head)]
    p = bytes((first,)) + strings.pack(2 + _len(p)) + pid.to_bytes(2, "big") + p
    n = _len(p)
    if n > s._smax:
        raise ValueError("packet of %d bytes: the server's Maximum Packet Size is %d" % (n, s._smax))
    s._routes = routes
    s._acks = s._acks or {}
    s._acks[pid] = [(first >> 4) + 1, filters, None, ()]
    s._write(p, 0, n)
    return pid


def _route(routes, f):
    """Index of the route of filter `f`: its own from before, a free one, or a new one behind all others."""
    for g in (f, b""):
        k = 0
        for r in routes:
            if r[0] == g:
                return k
            k += 1
    return k


def subscribe(s, topic, qos=0, to=None, props=b"", timeout=None, _first=0x82, **options):
    """Subscribe to a filter, or to a list of (filter, qos) or (filter, qos, {option: value}), and wait for the SUBACK.

    `to`: handler(message) of these filters, found by subscription identifier. Returns the reason codes, one byte a filter
    (granted QoS, or 0x80 and more). Raises Refused when a single filter is refused, ValueError, OSError (time, network). 3.8,
    3.9.
    """
    if isinstance(topic, (str, bytes)):
        topic = [(topic, qos, options) if options else (topic, qos)]
    if s._in_handler():
        s._work()  # raises ResourceError
    pid = subscribe_start(s, topic, props, to, _first)
    w = s._acks[pid]
    try:
        t = time.ticks_add(time.ticks_ms(), int((timeout or s.timeout) * 1000))
        while w[2] is None:
            k = time.ticks_diff(t, time.ticks_ms())
            if k <= 0:
                raise OSError(110, "no SUBACK or UNSUBACK in time")
            s.poll(k)
    except OSError:
        if s._acks:
            s._acks.pop(pid, None)
        raise
    k = w[2]
    if _len(k) == 1 and k[0] > 127:
        s._denied(w)
    return k
