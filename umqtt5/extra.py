"""Methods of MQTTClient for programs that were written for umqtt.simple, or that poll several things themselves.

What belongs here: methods of the face that most nodes never call; each becomes a method when it is first called (`_LAZY` in
__init__.py). What does not: anything about packets.
"""
import time


def set_callback(s, f):
    """f(topic, msg) with two bytes objects, as in umqtt.simple; `on_message` is the one that allocates nothing."""
    s._cb = f


def wait_msg(s) -> None:
    """Wait until a packet was handled, as in umqtt.simple."""
    n = s.received
    while n == s.received:
        s.poll(1000)


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
