"""select.poll as on MicroPython: objects in, objects out.

Anything with `fileno()` can be registered, and anything with MicroPython's `ioctl(request, arg)` (a stream written in Python);
a TLS socket announces bytes that are already decrypted.
"""

import select as _select
import time as _time

POLLIN = _select.POLLIN
POLLPRI = _select.POLLPRI
POLLOUT = _select.POLLOUT
POLLERR = _select.POLLERR
POLLHUP = _select.POLLHUP
POLLNVAL = _select.POLLNVAL
_STREAM_POLL = 3  # the request number of MP_STREAM_POLL
_ALWAYS = POLLERR | POLLHUP | POLLNVAL


class poll:
    """register, unregister, modify, poll, ipoll."""

    def __init__(self):
        self._map = {}

    def register(self, obj, eventmask=POLLIN | POLLOUT):
        """Watch obj, or change its mask."""
        if not hasattr(obj, "fileno") and not hasattr(obj, "ioctl"):
            raise OSError(22, "stream operation not supported")
        self._map[id(obj)] = [obj, eventmask]

    def unregister(self, obj):
        """Forget obj; nothing if it is not there."""
        self._map.pop(id(obj), None)

    def modify(self, obj, eventmask):
        """Change the mask; OSError(ENOENT) if obj is not there."""
        if id(obj) not in self._map:
            raise OSError(2, "not registered")
        self._map[id(obj)][1] = eventmask

    def poll(self, timeout=-1):
        """List of (obj, events), at most after `timeout` ms (None or below 0: no limit)."""
        end = None if timeout is None or timeout < 0 else _time.monotonic() + timeout / 1000
        while True:
            left = -1 if end is None else max(0, end - _time.monotonic())
            ready, again = self._look(left)
            if ready or left == 0:
                return ready
            if again:  # streams written in Python can only be asked
                _time.sleep(0.001)

    def ipoll(self, timeout=-1, flags=0):
        """As poll, one after another; flags 1 = one-shot (the mask of a reported object becomes 0)."""
        for obj, event in self.poll(timeout):
            if flags & 1 and id(obj) in self._map:
                self._map[id(obj)][1] = 0
            yield obj, event

    def _look(self, seconds):
        ready = []
        again = False
        poller = _select.poll()
        waiting = {}
        for obj, mask in self._map.values():
            if hasattr(obj, "ioctl"):
                again = True
                event = obj.ioctl(_STREAM_POLL, mask)
            elif hasattr(obj, "_poll_mask"):
                ask, event = obj._poll_mask(mask)
                if not event:
                    poller.register(obj.fileno(), ask)
                    waiting[obj.fileno()] = (obj, mask, ask)
            elif obj.fileno() < 0:
                event = POLLNVAL
            else:
                event = 0
                poller.register(obj.fileno(), mask)
                waiting[obj.fileno()] = (obj, mask, mask)
            if event & (mask | _ALWAYS):
                ready.append((obj, event))
        if waiting:
            for fd, event in poller.poll(0 if ready or again else None if seconds < 0 else -(-seconds * 1000 // 1)):
                obj, mask, ask = waiting[fd]
                if ask != mask and event & ask:  # TLS needed the other direction: let the caller go on either way
                    event |= mask
                ready.append((obj, event))
        elif not ready and not again:
            if seconds < 0:
                raise OSError(22, "nothing registered: this would wait for ever")
            _time.sleep(seconds)
        return ready, again
