"""What most nodes never call or meet; each becomes a method when it is first called (`_LAZY` in core.py).

What belongs here: methods for programs that poll several things themselves; UNSUBSCRIBE, a SUBACK that says more than "granted",
properties of SUBSCRIBE. What does not: packets on any usual path.
"""
import time

from . import Refused, subs, wire


def drop(s) -> None:
    """Close the socket without DISCONNECT: the server publishes the Will, the session goes on."""
    s.close(0)


def pollable(s):
    """The object to register in a select.poll of your own, or None."""
    return getattr(s._sock, "sock", s._sock)


def wants_write(s) -> bool:
    return s._wn > 0


def due_ms(s) -> int:
    """Milliseconds until the client itself needs a poll()."""
    return max(0, time.ticks_diff(s._due, time.ticks_ms()))


def set_callback(s, f):
    """f(topic, msg) with two bytes objects, as in umqtt.simple; `on_message` is the one that allocates nothing."""
    s._cb = f and (lambda m: f(bytes(m.topic()), bytes(m.payload())))


def wait_msg(s) -> None:
    """Wait until a packet was handled, as in umqtt.simple."""
    n = s.received
    while n == s.received:
        s.poll(1000)


def unsubscribe_start(s, filters, props=b""):
    """Send UNSUBSCRIBE for a list of filters; returns its packet identifier. As subscribe_start(). 3.10."""
    return subs.subscribe_start(s, [(f, 0) for f in filters], props, None, 0xA2)


def unsubscribe(s, topic, props=b"", timeout=None):
    """Unsubscribe from a filter or a list of filters and wait for the UNSUBACK; returns its reason codes. Raises as
    subscribe().
    """
    if isinstance(topic, (str, bytes)):
        topic = [topic]
    return subs.subscribe(s, [(f, 0) for f in topic], 0, None, props, timeout, 0xA2)


def _sub_props(s, props, to, first):
    # Properties of SUBSCRIBE and UNSUBSCRIBE as bytes, without their length.
    from . import props as names

    props = names.block(props, first >> 4)
    if wire.find(props, 0, 11) >= 0 and (to or not s._caps & 16):
        raise ValueError("subscription_identifier: `to` makes its own, or the server has none")
    return props[len(props) - wire.vbi(props, 0, 4) :]


def _suback(s, first, i, end):
    # SUBACK and UNSUBACK, whatever they say: checks it, ends the wait, tells on_suback. Ignored when nobody waits for it.
    b = s._rx
    packet = first >> 4
    k = -0x81
    if not first & 15 and end - i > 3:
        k = wire.walk(b, i + 2, end, packet)
    if k < 0:
        s._violation(-k)
    pid = b[i] << 8 | b[i + 1]
    i += 2
    if not pid or s._noinfo and b[i]:
        s._violation(0x82)
    codes = bytes(b[k:end])
    for n in codes:
        if n > 11 - packet:  # above 2, above 0: the codes of a good day need no table
            from . import reasons

            if not reasons.legal(n, packet):
                s._violation(0x81)
    w = s._acks and s._acks.get(pid)
    if not w or w[0] != packet:
        return
    del s._acks[pid]
    if len(w[1]) != len(codes):
        s._violation(0x82, "wrong number of reason codes")
    w[2] = codes
    if b[i]:
        from . import props

        w[3] = props.decode(b, i)
    for x, n in zip(w[1], codes):
        if (n > 127) == (packet == 9):  # refused, or unsubscribed: the slot is free again
            n = subs._route(s._routes, x[0])
            s._routes[n : n + 1] = [(b"", 0, None, None)]
    s._same = -1
    if s.on_suback:
        s._at = i
        s._to = k
        s._busy = 1
        s.on_suback(s, pid, packet)
        s._busy = s._at = 0


def _denied(s, w):
    # The single filter of a SUBSCRIBE or UNSUBSCRIBE was refused.
    raise Refused("SUBACK" if w[0] == 9 else "UNSUBACK", w[2][0], w[0], w[3])
