"""SUBSCRIBE, UNSUBSCRIBE, SUBACK, UNSUBACK.

What belongs here: asking for messages, the table of subscriptions (which serves routing and asking again). What does not:
messages (receive.py), the rules of topic filters (topics.py).
"""

import time

from . import Refused, ResourceError, receive, wire

_len = len


def register(s):
    """Put this module's handlers into the session."""
    receive.register(s)
    h = s._live
    h[9] = h[11] = suback


def suback(s, first, i, end):
    """SUBACK (3.9) and UNSUBACK (3.11): checks it, ends the wait, tells on_suback. Ignored when nobody waits for it."""
    b = s._rx
    packet = first >> 4
    if first & 15 or end - i < 4:
        s.violation(0x81)
    pid = b[i] << 8 | b[i + 1]
    k = wire.walk(b, i + 2, end, packet)
    if k < 0:
        s.violation(-k)
    if s._noinfo and b[i + 2]:
        s.violation(0x82)
    from . import reasons

    for n in range(k, end):
        if not reasons.legal(b[n], packet):
            s.violation(0x81)
    if not pid:
        s.violation(0x82)
    w = s._acks.get(pid) if s._acks else None
    if w is None or w[0] != packet:
        return
    del s._acks[pid]
    if len(w[1]) != end - k:
        s.violation(0x82, "not one reason code for each filter")
    w[2] = bytes(b[k:end])
    if b[i + 2]:
        from . import props

        w[3] = props.decode(b, i + 2)
    for n in range(end - k):
        r = w[1][n]
        if r and (w[2][n] > 127) == (packet == 9):  # refused, or unsubscribed: the slot is free again
            r[0] = b""
            r[2] = None
    if s.on_suback:
        s._codes = w[2]
        s._at = i + 2
        s._to = k
        s._busy = 1
        s.on_suback(s, pid, packet)
        s._busy = 0
        s._at = 0


def packet_codes(s):
    """Inside on_suback: the reason codes, one byte for each filter."""
    return s._codes


def _filter(s, f, qos, no_local=False, retain_as_published=False, retain_handling=0):
    # One filter with its options, checked against the rules and the server's limits: (filter, options byte).
    from .topics import topic_filter

    f = wire.check_str(f, "topic filter")
    k = topic_filter(f, 0, _len(f))
    if k:
        raise ValueError("topic filter %s is empty or its wildcards or share name are misplaced (4.7, 4.8.2)" % f)
    if not 0 <= qos <= 2 or not 0 <= retain_handling <= 2:
        raise ValueError("qos and retain_handling are 0, 1 or 2")
    shared = f.startswith(b"$share/")
    if shared and no_local:
        raise ValueError("no_local: not with a shared subscription (3.8.3-4)")
    if shared and not s._caps & 32:
        raise ValueError("shared subscription: the server has none (0x9E)")
    if not s._caps & 8 and (b"+" in f or b"#" in f):
        raise ValueError("wildcard subscription: the server has none (0xA2)")
    return f, qos | (4 if no_local else 0) | (8 if retain_as_published else 0) | retain_handling << 4


def _slot(s, f, options, to):
    # The route of this filter: its own from before, a free one, or a new one.
    if to:
        s._routed = True
        s._same = -1
    k = None
    for r in s._routes:
        if r[0] == f:
            k = r
            break
        if not r[0]:
            k = r
    if k is None:
        k = [f, options, to, None]
        s._routes.append(k)
    else:
        k[0] = f
        k[1] = options
        k[2] = to
    if b"+" not in f and b"#" not in f and len(f) < 60:
        k[3] = bytes((0, len(f))) + f + b"\0"  # what a message without properties begins with
    return k


def subscribe_start(s, filters, props=b"", to=None):
    """Send SUBSCRIBE for `filters`, a list of (filter, qos) or (filter, qos, {option: value}); returns its packet identifier.

    Does not wait: on_suback tells. Raises ValueError/TypeError before a byte is sent, OSError when not connected. 3.8.
    """
    if s._state != 2:
        raise OSError(107, "not connected")
    register(s)
    if not filters:
        raise ValueError("SUBSCRIBE needs at least one filter (3.8.3-2)")
    body = b""
    fs = []
    for x in filters:
        x = _filter(s, x[0], x[1], **(x[2] if len(x) > 2 else {}))
        fs.append(x)
        body += bytes((len(x[0]) >> 8, len(x[0]) & 255)) + x[0] + bytes((x[1],))
    p = b"\0"
    if props:
        from . import props as names

        p = names.block(props, 8)
        if wire.find(p, 0, 11) >= 0:
            if not s._caps & 16:
                raise ValueError("subscription identifier: the server has none (0xA1)")
            if to:
                raise ValueError("subscription_identifier: `to` makes its own")
    old = [list(r) for r in s._routes]
    routes = [_slot(s, f[0], f[1], to) for f in fs]
    if to and s._caps & 16:
        k = 1 + s._routes.index(routes[0])
        k = b"\x0b" + (bytes((k,)) if k < 128 else bytes((k & 127 | 128, k >> 7)))
        i = wire.vbi(p, 0, len(p))
        p = p[wire.vbi_size(i) :] + k
        p = (bytes((len(p),)) if len(p) < 128 else names.vbi(len(p))) + p
    try:
        return send(s, 0x82, p + body, routes)
    except ValueError:
        del s._routes[len(old) :]
        for k in range(len(old)):
            s._routes[k][:] = old[k]
        raise


def unsubscribe_start(s, filters, props=b""):
    """Send UNSUBSCRIBE for a list of filters; returns its packet identifier. As subscribe_start(). 3.10."""
    if s._state != 2:
        raise OSError(107, "not connected")
    register(s)
    if not filters:
        raise ValueError("UNSUBSCRIBE needs at least one filter (3.10.3-2)")
    p = b"\0"
    if props:
        from . import props as names

        p = names.block(props, 10)
    routes = []
    for f in filters:
        f = _filter(s, f, 0)[0]
        p += bytes((len(f) >> 8, len(f) & 255)) + f
        for r in s._routes:
            if r[0] == f:
                routes.append(r)
                break
        else:
            routes.append(None)
    return send(s, 0xA2, p, routes)


def send(s, first, body, routes):
    # A packet with an identifier, in one write from a buffer of its own.
    n = 2 + len(body)
    p = bytearray((first,))
    k = n
    while k > 127:
        p.append(k & 127 | 128)
        k >>= 7
    p.append(k)
    if len(p) + n > s._smax:
        raise ValueError("packet of %d bytes: the server's Maximum Packet Size is %d" % (len(p) + n, s._smax))
    if s._wn:
        s.drain()
    pid = s.next_id()
    p.extend(bytes((pid >> 8, pid & 255)))
    p.extend(body)
    if not s._acks:
        s._acks = {}
    s._acks[pid] = [(first >> 4) + 1, routes, None, ()]
    s._write(p, 0, len(p))
    return pid


def _wait(s, pid, timeout, name):
    # For the acknowledgement: returns its codes; one filter alone that is refused raises Refused.
    w = s._acks[pid]
    try:
        t = time.ticks_add(time.ticks_ms(), int((timeout or s.timeout) * 1000))
        while w[2] is None:
            k = time.ticks_diff(t, time.ticks_ms())
            if k <= 0:
                raise OSError(110, "no %s in time" % name)
            s.poll(k)
    except OSError:
        if s._acks:
            s._acks.pop(pid, None)
        raise
    if len(w[2]) == 1 and w[2][0] > 127:
        raise Refused(name, w[2][0], w[0], w[3])
    return w[2]


def subscribe(s, topic, qos=0, to=None, no_local=False, retain_as_published=False, retain_handling=0, props=b"", timeout=None):
    """Subscribe to a filter, or to a list of (filter, qos) or (filter, qos, {option: value}), and wait for the SUBACK.

    `to`: handler(message) of these filters, found by subscription identifier. Returns the reason codes, one byte a filter
    (granted
    QoS, or 0x80 and more). Raises Refused when a single filter is refused, ValueError, OSError (time, network). 3.8, 3.9.
    """
    if isinstance(topic, (str, bytes)):
        options = {"no_local": no_local, "retain_as_published": retain_as_published, "retain_handling": retain_handling}
        topic = [(topic, qos, options)]
    if s._busy:
        raise ResourceError("called from a handler: set a flag there and call it from the main loop")
    return _wait(s, subscribe_start(s, topic, props, to), timeout, "SUBACK")


def unsubscribe(s, topic, props=b"", timeout=None):
    """Unsubscribe from a filter or a list of filters and wait for the UNSUBACK; returns its reason codes. Raises as
    subscribe().
    """
    if s._busy:
        raise ResourceError("called from a handler: set a flag there and call it from the main loop")
    return _wait(s, unsubscribe_start(s, [topic] if isinstance(topic, (str, bytes)) else topic, props), timeout, "UNSUBACK")


def again(s, k=0):
    """Send the SUBSCRIBE of the remembered subscription at index `k` or after it: for a server without our session (link.py).

    Returns the index to go on with, or None after the last. Nothing may be half written.
    """
    while k < len(s._routes):
        f, options, to, _ = r = s._routes[k]
        k += 1
        if f:
            p = b"\0"
            if to and s._caps & 16:
                p = bytes((2, 11, k)) if k < 128 else bytes((3, 11, k & 127 | 128, k >> 7))
            send(s, 0x82, p + bytes((len(f) >> 8, len(f) & 255)) + f + bytes((options,)), [r])
            return k
    return None
