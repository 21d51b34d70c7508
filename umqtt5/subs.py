"""SUBSCRIBE, UNSUBSCRIBE, SUBACK, UNSUBACK.

What belongs here: asking for messages, the table of subscriptions (which serves routing, and link.py). What does not:
messages (receive.py), the rules of topic filters (topics.py).
"""

import time

from . import Refused, receive, wire

try:
    from micropython import front  # CPython: ports/host
except ImportError:

    def front(b, n):
        """What can be compared with a bytearray: the first n bytes of b, in place. (startswith() takes bytes only.)"""
        return memoryview(b)[:n]


def register(s):
    """Put this module's handlers into the session."""
    receive.register(s)
    h = s._live
    h[9] = h[11] = suback


def suback(s, first, i, end):
    """SUBACK (3.9) and UNSUBACK (3.11): checks it, ends the wait, tells on_suback. Ignored when nobody waits for it."""
    b = s._rx
    packet = first >> 4
    k = -0x81
    if not first & 15 and end - i > 3:
        k = wire.walk(b, i + 2, end, packet)
    if k < 0:
        s.violation(-k)
    pid = b[i] << 8 | b[i + 1]
    i += 2
    if not pid or s._noinfo and b[i]:
        s.violation(0x82)
    codes = bytes(b[k:end])
    for n in codes:
        if n > (2 if packet == 9 else 0):  # the codes of a good day need no table
            from . import reasons

            if not reasons.legal(n, packet):
                s.violation(0x81)
    w = s._acks and s._acks.get(pid)
    if not w or w[0] != packet:
        return
    del s._acks[pid]
    if len(w[1]) != len(codes):
        s.violation(0x82, "wrong number of reason codes")
    w[2] = codes
    if b[i]:
        from . import props

        w[3] = props.decode(b, i)
    for r, n in zip(w[1], codes):
        if r and (n > 127) == (packet == 9):  # refused, or unsubscribed: the slot is free again
            r[0] = b""
            r[2] = None
    if s.on_suback:
        s._codes = codes
        s._at = i
        s._to = k
        s._busy = 1
        s.on_suback(s, pid, packet)
        s._busy = s._at = 0


def packet_codes(s):
    """Inside on_suback: the reason codes, one byte for each filter."""
    return s._codes


def _check(s, f, qos=0, no_local=False, retain_as_published=False, retain_handling=0):
    # One filter with its options, checked against the rules and the server's limits: (filter, options byte).
    f = wire.check_str(f, "topic filter")
    if not 0 <= qos <= 2 or not 0 <= retain_handling <= 2:
        raise ValueError("qos and retain_handling are 0, 1 or 2")
    k = 0
    if f.startswith(b"$share/"):
        if no_local:
            raise ValueError("no_local: not with $share (3.8.3-4)")
        k = 32
    if b"+" in f or b"#" in f:
        k |= 8
    if k:
        from .topics import topic_filter
    if not f or k and topic_filter(f, 0, len(f)):
        raise ValueError("topic filter %s: empty, or wildcard or share name misplaced" % f)
    if k & ~s._caps:
        raise ValueError("topic filter %s: the server lacks wildcards or shared filters" % f)
    return f, qos | (4 if no_local else 0) | (8 if retain_as_published else 0) | retain_handling << 4


def subscribe_start(s, filters, props=b"", to=None):
    """Send SUBSCRIBE for `filters`, a list of (filter, qos) or (filter, qos, {option: value}); returns its packet identifier.

    Does not wait: on_suback tells. Raises ValueError/TypeError before a byte is sent, OSError when not connected. 3.8.
    """
    return _start(s, 0x82, filters, props, to)


def unsubscribe_start(s, filters, props=b""):
    """Send UNSUBSCRIBE for a list of filters; returns its packet identifier. As subscribe_start(). 3.10."""
    return _start(s, 0xA2, filters, props)


def _start(s, first, filters, p, to=None):
    if s._state != 2:
        raise OSError(107, "not connected")
    register(s)
    if not filters:
        raise ValueError("give at least one topic filter")  # 3.8.3-2, 3.10.3-2
    if p:
        from . import props

        p = props.block(p, first >> 4)
        if wire.find(p, 0, 11) >= 0 and (to or not s._caps & 16):
            raise ValueError("subscription_identifier: `to` makes its own, or the server has none")
    out = []
    for x in filters:
        if first == 0xA2:
            x = x, 0
        out.append(_check(s, x[0], x[1], **(x[2] if len(x) > 2 else {})))
    return send(s, first, p or b"\0", out, to)


def send(s, first, p, filters, to):
    """SUBSCRIBE or UNSUBSCRIBE with property block `p` of these (filter, options byte), in one write from a buffer of its own."""
    if to and s._caps & 16:  # subscription identifier: 1 + the index of the route
        p = p[wire.vbi_size(wire.vbi(p, 0, len(p))) :] + b"\x0b" + wire.pack(1 + find(s, filters[0][0]))
        p = wire.pack(len(p)) + p
    for f, options in filters:
        p += len(f).to_bytes(2, "big") + f
        if first == 0x82:
            p += bytes((options,))
    n = 2 + len(p)
    first = bytes((first,)) + wire.pack(n)
    n += len(first)
    if n > s._smax:
        raise ValueError("packet of %d bytes: the server's Maximum Packet Size is %d" % (n, s._smax))
    if s._wn:
        s.drain()
    pid = s.next_id()
    if not s._acks:
        s._acks = {}
    routes = []
    for f, options in filters:
        routes.append(_route(s, f, options, to, first[0] == 0x82))
    s._acks[pid] = [(first[0] >> 4) + 1, routes, None, ()]
    s._write(first + pid.to_bytes(2, "big") + p, 0, n)
    return pid


def find(s, f):
    """Index of the route of filter `f`: its own from before, a free one, or a new one behind all others."""
    k = len(s._routes)
    for i in range(k):
        r = s._routes[i][0]
        if r == f:
            return i
        if not r:
            k = i
    return k


def _route(s, f, options, to, keep):
    # The route of filter `f`, put there when `keep`; None when it has none.
    r = s._routes
    k = find(s, f)
    if keep:
        if k == len(r):
            r.append([])
        if to:
            s._routed = True
            s._ready = False
        head = None
        if b"+" not in f and b"#" not in f and len(f) < 60:  # a topic: what a QoS 0 message without properties begins with
            head = bytearray((0x30, 0, 0, len(f))) + f + b"\0"
            head = front(s._rx, len(head)), head
        r[k][:] = f, options, to, head
    elif k == len(r) or not r[k][0]:
        return None
    return r[k]


def _wait(s, timeout, start, *args):
    # Send, wait for the acknowledgement, return its codes; one filter alone that is refused raises Refused.
    if s.in_handler():
        s.work()  # raises ResourceError
    pid = start(s, *args)
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
    if len(w[2]) == 1 and w[2][0] > 127:
        raise Refused("SUBACK" if w[0] == 9 else "UNSUBACK", w[2][0], w[0], w[3])
    return w[2]


def subscribe(s, topic, qos=0, to=None, no_local=False, retain_as_published=False, retain_handling=0, props=b"", timeout=None):
    """Subscribe to a filter, or to a list of (filter, qos) or (filter, qos, {option: value}), and wait for the SUBACK.

    `to`: handler(message) of these filters, found by subscription identifier. Returns the reason codes, one byte a filter
    (granted QoS, or 0x80 and more). Raises Refused when a single filter is refused, ValueError, OSError (time, network). 3.8,
    3.9.
    """
    if isinstance(topic, (str, bytes)):
        options = {"no_local": no_local, "retain_as_published": retain_as_published, "retain_handling": retain_handling}
        topic = [(topic, qos, options)]
    return _wait(s, timeout, subscribe_start, topic, props, to)


def unsubscribe(s, topic, props=b"", timeout=None):
    """Unsubscribe from a filter or a list of filters and wait for the UNSUBACK; returns its reason codes. Raises as
    subscribe().
    """
    return _wait(s, timeout, unsubscribe_start, [topic] if isinstance(topic, (str, bytes)) else topic, props)
