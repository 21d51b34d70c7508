"""Methods of MQTTClient for programs that poll several things themselves.

What belongs here: methods of the face that most nodes never call; each becomes a method when it is first called (`_LAZY` in
client.py). What does not: anything about packets.
"""
import time


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
