"""The asyncio face dressed as the blocking one, so that dialogue tests written for that run against both.

from support import faces
faces.run(test_publish, "test_x", ...)      # every test function of that module, or those named, with clients of the asyncio face
"""

import asyncio

from umqtt5 import aio

from . import session

_loop = asyncio.new_event_loop()
_made = []


def _wait(awaitable, ms=60000):
    async def main():
        return await asyncio.wait_for(awaitable, ms / 1000)

    return _loop.run_until_complete(main())


async def _tick(c):
    if c._state == 1:
        c._work()
        if c._state == 2:
            c._start_tasks()
    if c._state == 2 and not c._lost:  # its reader may be due at the same time, and have found the end before us
        c._turn(None)  # it looks every 5 ms only: the server in memory cannot be polled
    await asyncio.sleep_ms(0)


class Client(aio.MQTTClient):
    """Its names wait, as the blocking face's; poll() lets the tasks work."""

    def __init__(self, *a, **k):
        aio.MQTTClient.__init__(self, *a, **k)
        _made.append(self)

    def connect(self, *a, **k):
        return _wait(aio.MQTTClient.connect(self, *a, **k))

    def poll(self, timeout_ms=0):
        before = self._progress()
        if not self._lost:  # a task may have found the end already
            if self._sock is None:
                raise OSError(107, "not connected")
            _wait(_tick(self))
        if self._lost:
            e = self._lost
            self._lost = None
            raise e
        return bool(self._err) or before != self._progress()

    def _progress(self):
        link = self._sock
        return self.received, self.sent, link and (link.read, link.written), self._state

    def check_msg(self):
        return self.poll()


def _method(name):
    function = getattr(aio.MQTTClient, name)

    def call(self, *a, **k):
        async def inside():
            return await function(self, *a, **k)

        if self._in_handler():  # which does not wait
            return function(self, *a, **k)
        return _wait(inside()) or 0

    return call


for _name in ("subscribe", "unsubscribe", "wait", "wait_msg", "disconnect", "request", "publish"):
    setattr(Client, _name, _method(_name))


def run(module, *names, leave_out=()):
    """Run test functions of a module with the asyncio face; AssertionError that names those which failed."""
    before = session.MQTTClient
    session.MQTTClient = Client
    failed = []
    try:
        for name in names or [n for n in dir(module) if n.startswith("test_")]:
            if name in leave_out:
                continue
            try:
                getattr(module, name)()
            except Exception as e:
                failed.append("%s: %r" % (name, e))
            while _made:
                _made.pop().close(0)
    finally:
        session.MQTTClient = before
    if failed:
        raise AssertionError("\n".join(failed))
