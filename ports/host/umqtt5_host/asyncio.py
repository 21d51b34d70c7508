"""asyncio as on MicroPython, over CPython's own loop: `sleep_ms`, `wait_for_ms`, `ThreadSafeFlag`, `core._io_queue`.

All other names are CPython's. How code waits for a stream in the same way on both: `queue_read(stream)` puts the running task
down for it, and the value it returned must be yielded from `__next__` of an awaitable that is its own iterator:

    class Readable:                      # one object, used again and again
        def __iter__(self):
            self.asked = False
            return self
        __await__ = __iter__             # CPython asks for this name
        def __next__(self):
            if self.asked:
                raise StopIteration
            self.asked = True
            return core._io_queue.queue_read(self.stream)

    await readable                       # in an `async def`

A coroutine cannot yield (CPython would make it an asynchronous generator), so an object like this one is the only way that
works on both; on MicroPython it allocates nothing beyond what its IOQueue does.
"""

import asyncio as _asyncio
import inspect
import sys
import types
from asyncio import *  # noqa: F403
from asyncio import CancelledError, TimeoutError

from . import select

__all__ = list(_asyncio.__all__) + ["sleep_ms", "wait_for_ms", "ThreadSafeFlag", "core", "coroutines", "DONE", "Gate"]


def __getattr__(name):
    return getattr(_asyncio, name)


def coroutines(cls):
    """The generators that methods of `cls` make can be awaited, as on MicroPython every generator can be."""
    for f in vars(cls).values():
        if inspect.isgeneratorfunction(f):
            types.coroutine(f)  # marks its code


def sleep_ms(ms):
    """Awaitable: pause this task for `ms` milliseconds."""
    return _asyncio.sleep(ms / 1000 if ms > 0 else 0)


def wait_for_ms(awaitable, ms):
    """Awaitable: as wait_for, in milliseconds."""
    return _asyncio.wait_for(awaitable, ms / 1000)


class ThreadSafeFlag:
    """set() may be called from anywhere; one task waits."""

    def __init__(self):
        self._set = False
        self._waiter = None

    def set(self):
        """Let the waiting task, or the next one, go on."""
        self._set = True
        waiter = self._waiter
        if waiter is not None:
            waiter.get_loop().call_soon_threadsafe(lambda: waiter.done() or waiter.set_result(None))

    def clear(self):
        """Forget a set() nobody has seen."""
        self._set = False

    async def wait(self):
        """Until set(); clears it."""
        if not self._set:
            self._waiter = _asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._set = False


def create_task(coro, **kw):
    """A task; a generator will do, as on MicroPython."""
    if isinstance(coro, types.GeneratorType):

        async def run():
            return await coro

        return _asyncio.create_task(run(), **kw)
    return _asyncio.create_task(coro, **kw)


class _Done:
    def __await__(self):
        return iter(())

    __iter__ = __await__


DONE = _Done()  # an awaitable that is over at once: what `iter(())` is on MicroPython


class Gate:
    """Tasks park here until it opens: `yield gate.park()` in a generator. umqtt5.aio has the same for MicroPython."""

    def __init__(self):
        self._parked = []

    def park(self):
        """Value to be yielded by the running task."""
        future = _asyncio.get_running_loop().create_future()
        self._parked.append(future)
        future._asyncio_future_blocking = True
        return future

    def open(self):
        """All parked tasks go on."""
        for future in self._parked:
            if not future.done() and not future.get_loop().is_closed():
                future.set_result(None)
        self._parked.clear()


class IOQueue:
    """Lets the running task wait for a stream; the result of queue_read and queue_write is to be yielded at once."""

    def __init__(self):
        self._waiting = {}  # (id(stream), mask) -> (future, stream, task, file descriptor or None)

    def queue_read(self, stream):
        """The running task goes on when stream can be read (or has failed)."""
        return self._enqueue(stream, select.POLLIN)

    def queue_write(self, stream):
        """The running task goes on when stream can be written (or has failed)."""
        return self._enqueue(stream, select.POLLOUT)

    def remove(self, task):
        """Forget what `task` waits for; it goes on only if something else wakes it."""
        self._forget(lambda entry: entry[2] is task)

    def _dequeue(self, stream):
        # As MicroPython's: forget the stream (it is about to be closed).
        self._forget(lambda entry: entry[1] is stream)

    def _enqueue(self, stream, mask):
        key = (id(stream), mask)
        if key in self._waiting:
            raise RuntimeError("another task waits for this stream already")
        loop = _asyncio.get_running_loop()
        future = loop.create_future()
        fd = None if hasattr(stream, "ioctl") else stream.fileno()
        self._waiting[key] = (future, stream, _asyncio.current_task(), fd)
        future.add_done_callback(lambda f: self._forget(lambda entry: entry[0] is f))  # cancelled
        future._asyncio_future_blocking = True  # the protocol of `yield future`, as asyncio.Future.__await__ speaks it
        self._watch(loop, stream, fd)
        return future

    def _watch(self, loop, stream, fd):
        # The shim's poll decides who goes on (TLS, streams written in Python); the loop only says when to ask it again.
        ask = 0
        for mask in (select.POLLIN, select.POLLOUT):
            entry = self._waiting.get((id(stream), mask))
            if entry is None:
                continue
            poller = select.poll()
            poller.register(stream, mask)
            if poller.poll(0):
                del self._waiting[id(stream), mask]
                entry[0].done() or entry[0].set_result(None)
            else:
                ask |= stream._poll_mask(mask)[0] if hasattr(stream, "_poll_mask") else mask
        if fd is None:
            if ask:
                loop.call_later(0.001, self._watch, loop, stream, fd)
            return
        if fd < 0:
            return
        if ask & select.POLLIN:
            loop.add_reader(fd, self._watch, loop, stream, fd)
        else:
            loop.remove_reader(fd)
        if ask & select.POLLOUT:
            loop.add_writer(fd, self._watch, loop, stream, fd)
        else:
            loop.remove_writer(fd)

    def _forget(self, which):
        for key, entry in list(self._waiting.items()):
            if which(entry):
                del self._waiting[key]
                loop = entry[0].get_loop()
                if entry[3] is not None and entry[3] >= 0 and not loop.is_closed():
                    loop.remove_reader(entry[3])
                    loop.remove_writer(entry[3])
                    self._watch(loop, entry[1], entry[3])


class _Core(types.ModuleType):
    _io_queue = IOQueue()
    CancelledError = CancelledError
    TimeoutError = TimeoutError
    sleep_ms = staticmethod(sleep_ms)

    @property
    def cur_task(self):
        try:
            return _asyncio.current_task()
        except RuntimeError:  # no loop runs
            return None

    def __getattr__(self, name):
        return getattr(_asyncio, name)


core = _Core(__name__ + ".core")
sys.modules[core.__name__] = core
