"""A clock that moves only when somebody sleeps: waits take no time, and a busy machine changes nothing. For transports in memory.

from support.clock import Clock

time = Clock()          # instead of `import time`: from now on the library, as far as it is loaded in this process, waits by it
time.sleep_ms(1300)     # later
"""

import time as real

_MODULES = ("core", "client", "image", "extra", "link", "outbox", "rpc", "setup", "slow", "subs", "waiting")


def part(name):
    """The module of that name of the library. On a board, core and client are the package itself."""
    import umqtt5

    return getattr(umqtt5, name, umqtt5) if name in ("core", "client") else __import__("umqtt5." + name, None, None, (name,))


class _Clock:
    """What `time` is to the blocking face and its link. Not for asyncio or sockets, which wait by themselves."""

    def __init__(self):
        self.ticks_add = real.ticks_add
        self.ticks_diff = real.ticks_diff
        self._start = self._now = real.ticks_ms()
        self._epoch = real.time()
        for name in _MODULES:
            module = part(name)
            module.time = self
            if hasattr(module, "_ticks"):
                module._ticks = self.ticks_ms

    def ticks_ms(self):
        """Milliseconds; wraps as the real ones do."""
        return self._now

    def sleep_ms(self, ms):
        """Let that much time go by."""
        self._now = real.ticks_add(self._now, max(0, ms))

    def sleep(self, seconds):
        """Let that much time go by."""
        self.sleep_ms(int(seconds * 1000))

    def time(self):
        """Seconds since the epoch."""
        return self._epoch + real.ticks_diff(self._now, self._start) // 1000


_clock = _Clock()


def Clock():
    """The one clock of this process: test files may import each other (test_faces.py)."""
    return _clock
