# Time, for both boards: what the date is (NTP, needed before a TLS certificate can be checked) and how long the node has run.
# Imports time and ntptime. Waits at most ntptime's own second per try.
import time

import ntptime

_EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0  # boards count from 2000, the unix build and CPython from 1970
_2024 = 1704067200


def unix():
    """Seconds since 1970 (UTC), or 0 while the clock has not been set."""
    t = time.time() + _EPOCH
    return int(t) if t > _2024 else 0


class Clock:
    """Keeps the clock set by NTP.

    host: a time server, "" for none.  every: seconds between two settings, at most 500000.  feed: called before a try (it takes
    up to a second) and in wait().  A failed try is repeated after 2, 4, 8 ... 300 s, not sooner; `why` holds its cause.
    """

    def __init__(self, host="pool.ntp.org", every=86400, feed=None):
        self.host = host
        self.every_ms = every * 1000
        self.feed = feed
        self.why = ""
        self._pause = 2000
        self._due = time.ticks_ms()

    def sync(self):
        """One step: asks the time server when a try is due. True when the date is known. Does not raise."""
        now = time.ticks_ms()
        if self.host and time.ticks_diff(now, self._due) >= 0:
            if self.feed is not None:
                self.feed()
            try:
                ntptime.host = self.host
                ntptime.settime()
                self.why = ""
                self._pause = 2000
                self._due = time.ticks_add(now, self.every_ms)
            except (OSError, IndexError, OverflowError) as e:  # no route, no answer, half an answer, a date nobody can hold
                self.why = str(e)
                self._due = time.ticks_add(now, self._pause)
                self._pause = min(self._pause * 2, 300000)
        return unix() > 0

    def wait(self, timeout_ms):
        """Step until the date is known or `timeout_ms` have passed, feeding the watchdog. True when known.

        Asks nobody when the date is known already (the ESP32 keeps it over deep sleep)."""
        end = time.ticks_add(time.ticks_ms(), timeout_ms)
        while not (unix() or self.sync()):
            if self.feed is not None:
                self.feed()
            if time.ticks_diff(end, time.ticks_ms()) <= 0:
                return False
            time.sleep_ms(100)
        return True


class Uptime:
    """Seconds since the node started, right although ticks_ms() wraps (after 12.4 days): call seconds() once a day or more."""

    def __init__(self):
        self._last = time.ticks_ms()
        self._s = 0

    def seconds(self):
        now = time.ticks_ms()
        d = time.ticks_diff(now, self._last) // 1000
        self._s += d
        self._last = time.ticks_add(self._last, d * 1000)
        return self._s
