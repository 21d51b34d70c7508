"""The millisecond and microsecond counters of a board: they wrap at 2**30.

The counter starts ten seconds before it wraps, so that code which compares two readings with `<` fails on a desk and not
after twelve days on a roof. `set_ticks(ms)` (or UMQTT5_TICKS in the environment) puts it anywhere else.
"""

import os
import time

PERIOD = 1 << 30
_HALF = PERIOD >> 1
_offset_ns = 0


def set_ticks(ms):
    """Make `ticks_ms()` read `ms` now and count on from there."""
    global _offset_ns
    _offset_ns = ms * 1000000 - time.monotonic_ns()


def ticks_ms():
    """Milliseconds, modulo 2**30."""
    return (time.monotonic_ns() + _offset_ns) // 1000000 & PERIOD - 1


def ticks_us():
    """Microseconds, modulo 2**30."""
    return (time.monotonic_ns() + _offset_ns) // 1000 & PERIOD - 1


def ticks_diff(end, start):
    """Signed distance from `start` to `end`, right while it is below 2**29."""
    return ((end - start + _HALF) & PERIOD - 1) - _HALF


def ticks_add(ticks, delta):
    """`ticks` moved by `delta`; OverflowError from 2**29 on, as on a board."""
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return ticks + delta & PERIOD - 1


def sleep_ms(ms):
    """Sleep; nothing for zero or less."""
    time.sleep(ms / 1000 if ms > 0 else 0)


def sleep_us(us):
    """Sleep; nothing for zero or less."""
    time.sleep(us / 1000000 if us > 0 else 0)


set_ticks(int(os.environ.get("UMQTT5_TICKS", PERIOD - 10000)))
