"""Waiting for acknowledgements of QoS 1 and 2 messages.

What belongs here: pending() and wait(), which become methods when they are first called. What does not: the records (image.py);
on_ack, which tells without waiting.
"""
import time

from . import Refused


def pending(s, packet_id=None) -> int:
    """How many messages (QoS 1 and 2, sent or queued) are not acknowledged; of that identifier: 0 or 1."""
    m = s.image
    i = 10  # behind the image's header
    n = 0
    while i < len(m):
        if m[i] & 7 < 4 and (packet_id is None or m[i + 1] << 8 | m[i + 2] == packet_id):
            n += 1
        i += 5 + (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)
    return n


def wait(s, packet_id=None, timeout=None) -> None:
    """Wait until that message, or all, are acknowledged; `timeout` in seconds (default: the constructor's).

    Raises Refused when the server refused it (PUBACK or PUBREC of 0x80 or more), OSError when time is up or the link is lost.
    """
    t = time.ticks_add(time.ticks_ms(), int((timeout or s.timeout) * 1000))
    while pending(s, packet_id):
        s.poll(time.ticks_diff(t, time.ticks_ms()))
        if time.ticks_diff(t, time.ticks_ms()) <= 0:
            raise OSError(110, "no acknowledgement in time")
    if s._refused:
        _tell(s, packet_id)


def _tell(s, packet_id):
    # wait() for that message, or all, is over: has one of them been refused?
    r = s._refused
    if packet_id is None or r[0] == packet_id:
        s._refused = None
        raise Refused("PUBACK" if r[2] == 4 else "PUBREC", r[1], r[2], r[3])
