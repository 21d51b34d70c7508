"""MQTTClient: the asyncio face.

What belongs here: how to wait with asyncio. What does not: anything about packets. The names are the blocking face's; what waits
there is awaited here. Three tasks a connection: the reader (the only one that waits for bytes), the keeper (one tick a second:
keep-alive and timeouts), and, while a packet is half written, the flusher. Who waits for something parks at one gate, which those
open. No streams: publish() is a plain function that tries at once; the reader waits for the socket itself.

    async with MQTTClient("id", "host") as c:
        await c.subscribe("in/#", 1)
        await c.publish("out", b"1", qos=1)      # waits only for room to write or to store; in a handler: without await
        async for m in c.messages():             # or handlers, plain functions: c.on_message = f, subscribe(..., to=f)
            print(m.topic(), m.payload())

Bytes allocated (32-bit; the frames of asyncio's own loop apart): publish 0 at QoS 0, 48 at QoS 1 and 2 (the awaitable with the
packet identifier); a wake-up of the reader 16 (the poller's entry): that is what a received message or an acknowledgement
costs, by handler or by messages(); wait() 72; idle 0. (64-bit: twice as much; mqtt_as with v5 took
3,328 a publish, 2,912 a message, and over 134,000 a second while idle there.)

Cancellation: a task may be cancelled at any await. A publish that was put off is then not sent, one that was begun is sent to its
end; a SUBSCRIBE is on its way and its answer is taken; a connect is given up and the socket closed. Name look-up blocks the loop.
"""

import asyncio
import time
from asyncio import core

from . import Refused, ResourceError
from .client import MQTTClient as _B
from .core import Session
from .image import _enqueue

_publish = Session.publish
_ticks = time.ticks_ms
_diff = time.ticks_diff

try:
    from asyncio import DONE, Gate, coroutine  # CPython: ports/host
except (ImportError, AttributeError):
    DONE = iter(())  # an awaitable that is over at once

    def coroutine(f):
        return f

    class Gate:
        """Tasks park here, `yield gate.park()`, until it opens. 0 B."""

        def __init__(self):
            self._q = core.TaskQueue()

        def park(self):
            self._q.push(core.cur_task)
            core.cur_task.data = self._q  # so that cancel() takes it out

        def open(self):
            while self._q.peek():
                core._task_queue.push(self._q.pop())


@coroutine
def _value(x):
    return x
    yield


class MQTTClient(Session):
    """MQTT 5.0 client for asyncio. Arguments as umqtt5.MQTTClient."""

    _ts = ()  # tasks: reader, keeper, flusher
    _fl = _halt = _big = _wants = False  # a packet is half written; messages() is full; in a large payload; waiting for room
    _lost = _entry = _box = _link = None

    isconnected = _B.isconnected
    set_callback = _B.set_callback
    pending = _B.pending
    _wait = _B._wait
    feed = None
    _lazy = _B._lazy

    def __init__(self, *a, **k):
        self._gate = Gate()
        _B.__init__(self, *a, **k)
        self._zero = DONE  # what a prepared publication returns

    @coroutine
    def connect(self, clean_start=True, timeout=None):
        """Connect; returns Session Present. Raises as the blocking face's."""
        self.start(clean_start, timeout)
        try:
            while self._state == 1:
                if not self.work():
                    yield from asyncio.sleep_ms(10)
        finally:
            if self._state == 1:
                self.close(0)
        self._start_tasks()
        return self.session_present

    def start(self, clean_start=True, timeout=None):
        from . import setup

        self._entry = None
        setup.start(self, clean_start, timeout)
        self._ts = [None] * 3

    def _start_tasks(self):
        # Connected: the tasks of this connection.
        if self._state != 2:
            raise OSError(104, "connection closed while connecting")
        self._lost = None
        self._ts[0] = asyncio.create_task(self._reader())
        self._ts[1] = asyncio.create_task(self._keeper())
        self._gate.open()
        if self.lean:
            self._unload()

    @coroutine
    def keep(self, **options):
        """Keep connected, for ever: a task of its own, instead of connect(). Options: link.Link's. Raises Refused when the link
        stops.
        """
        from .link import Link

        self._link = link = Link(self, **options)
        try:
            while not link.stopped:
                k = link.step()
                if self._state == 2:
                    self._start_tasks()
                    while self._state == 2:
                        yield self._gate.park()
                else:
                    yield from asyncio.sleep_ms(10 if self._state else k)
        finally:
            self._link = None
            self.close(0)
        if self._lost:
            raise self._lost

    @coroutine
    def disconnect(self, reason=0, props=b""):
        """DISCONNECT after what is half written, then close; ends the link and messages()."""
        t = self._by(None)
        while self._fl and _diff(t, _ticks()) > 0:
            yield self._gate.park()
        if self._link:
            self._link.stopped = True
        _B.disconnect(self, reason, props)
        self._lost = None

    async def __aenter__(self):
        await self.connect()
        return self

    async def __aexit__(self, *e):
        await self.disconnect()

    @coroutine
    def up(self):
        """Until connected."""
        while self._state != 2:
            yield self._gate.park()

    @coroutine
    def down(self):
        """Until the connection is lost or closed; returns the exception, None after disconnect()."""
        s = self._sock
        while s and s is self._sock:
            yield self._gate.park()
        return self._lost

    def close(self, by, code=0, props=()):
        """As Session.close(); ends the tasks of this connection."""
        t = self._ts
        self._ts = ()
        for k in t:
            if k and k is not core.cur_task:
                core._io_queue.remove(k)
                k.cancel()
        if self._fl:
            self._fl = False
            del self.publish
        self._halt = False
        Session.close(self, by, code, props)
        self._gate.open()

    # ---------------------------------------------------------------- the tasks

    @coroutine
    def _reader(self):
        n = 8
        while self._state == 2:
            try:  # as _step(), but there it would take a heap frame each time
                r = self._round()
            except Exception as e:
                r = self._failed(e)
            if r:
                n -= 1
                if not n:  # others get their turn
                    n = 8
                    yield from asyncio.sleep_ms(0)
            elif self._wn or self._halt:
                yield self._gate.park()
            elif self._state == 2:
                if self._pr is None:  # a transport that cannot be polled
                    yield from asyncio.sleep_ms(5)
                else:
                    yield self._arm()

    def _arm(self):
        # Wait for bytes, with the queue's entry of the last time: 16 B (queue_read alone: 64).
        s = getattr(self._sock, "sock", self._sock)
        q = core._io_queue
        m = getattr(q, "map", None)
        e = self._entry
        if m is None or e is None or id(s) in m:
            e = q.queue_read(s)
            self._entry = m and m[id(s)]
            return e
        e[0] = t = core.cur_task
        m[id(s)] = e
        q.poller.register(s, 1)
        t.data = q

    def _step(self):
        # One round of the engine: True when there may be more.
        try:
            return self._round()
        except Exception as e:
            return self._failed(e)

    def _round(self):
        if self._halt:
            self.flush()
            return False
        if self._link:
            if self._link.step():
                return False
            if not self._state:
                self._lost = self._link.error
        elif not self.work():
            return False
        self._gate.open()
        return self._state == 2

    def _failed(self, e):
        # The connection's end stays in _lost for those who wait; what a handler raises goes to the loop.
        if self._state == 2:
            c = {"message": "umqtt5: handler failed", "exception": e}
            if Gate.__module__ == __name__:  # MicroPython prints this too; CPython 3.12 would enter the task's context again
                c["future"] = core.cur_task
            asyncio.get_event_loop().call_exception_handler(c)
        else:
            self._lost = e
        self._gate.open()
        return self._state == 2

    @coroutine
    def _keeper(self):
        while self._state == 2:
            k = _diff(self._due, _ticks())
            yield from asyncio.sleep_ms(1000 if k > 1000 else k)
            self._gate.open()  # those who wait look at their clocks
            k = _diff(self._due, _ticks()) <= 0
            if self._halt:  # the engine stands still: no answer can be seen
                if k:
                    self.ping()
                    self._pong = False
            elif self._wn or self._err or k:
                if self._wn:
                    self._due = _ticks()
                self._step()

    @coroutine
    def _flusher(self):
        while self._wn:
            if self._pr is None:
                yield from asyncio.sleep_ms(5)
            else:
                yield core._io_queue.queue_write(getattr(self._sock, "sock", self._sock))
            self._step()
        if self._fl:
            self._fl = False
            del self.publish
        self._gate.open()

    # ---------------------------------------------------------------- publish

    def publish(self, topic, msg, retain=False, qos=0, props=b""):
        """As Session.publish(); what it returns can be awaited: the packet identifier, None for QoS 0."""
        self._also = qos  # two steps, so that neither frame goes to the heap
        self._block = props
        return self._publish(topic, msg, retain) or DONE

    def _publish(self, topic, msg, retain):
        return _publish(self, topic, msg, retain, self._also, self._block)

    def _rest(self, *a):
        # A packet is half written: from now on publish() waits, and a task sends the rest.
        Session._rest(self, *a)
        if self._ts and self._state == 2 and not self._fl:
            self._fl = True
            self.publish = self._defer
            self._ts[2] = asyncio.create_task(self._flusher())

    def _defer(self, topic, msg, *a, **k):
        if not self.in_handler():
            return self._later(topic, msg, a, k)
        # a handler does not await, and what it has is gone when it returns
        topic = topic if isinstance(topic, str) else bytes(topic)
        msg = msg if isinstance(msg, str) else bytes(msg)
        return asyncio.create_task(self._later(topic, msg, a, k))

    @coroutine
    def _later(self, topic, msg, a, k):
        while self._fl:
            yield self._gate.park()
        return (yield from self.publish(topic, msg, *a, **k))

    @coroutine
    def drained(self):
        """Until no packet is half written. OSError when the connection ends meanwhile."""
        while self._fl:
            yield self._gate.park()
        if self._state != 2:
            raise self._lost or OSError(107, "not connected")

    def drain(self):
        """For the core, which may not wait here (but in publish_from)."""
        if self._big == 2:
            from . import outbox

            return outbox.drain(self)
        if self._wn and not self._big and not self.flush():
            raise ResourceError("a packet is half written: await drained() first")

    def _enqueue(self, msg, qos, retain):
        k = _enqueue(self, msg, qos, retain)
        if self._wants:
            return self._put_off(msg, retain, qos)
        return _value(k) if type(k) is int else k

    def _put_off(self, msg, retain, qos):
        self._wants = False
        return self._when_room(self._tb, msg, retain, qos, self._pb)

    def _room(self, n):
        # The in-flight store is full: who awaits can wait for acknowledgements.
        from . import outbox

        try:
            return outbox._room(self, n)
        except ResourceError:
            if self.in_handler() or self._state != 2 or len(self.image) == 10:
                raise
            self._wants = True
            return True

    @coroutine
    def _when_room(self, *a):
        n = len(self.image)
        while self._state == 2 and len(self.image) >= n:
            yield self._gate.park()
        return (yield from self.publish(*a))

    def _publish_slow(self, msg, retain):
        self._big = True
        try:
            Session._publish_slow(self, msg, retain)
        finally:
            self._big = False
        return self.drained() if self._fl else DONE

    @coroutine
    def publish_from(self, topic, reader, size, retain=False, qos=0, props=b""):
        """As the blocking face's: waits for the window; then the loop stands still until the payload has left."""
        from . import publication

        t = self._by(None)
        m = self.image
        while self._fl or qos and (self._flight >= self._rmax or m[4] << 8 | m[5] != len(m)):
            self._still(t)
            yield self._gate.park()
        self._big = 2
        try:
            return publication.publish_from(self, topic, reader, size, retain, qos, props)
        finally:
            self._big = False

    # ---------------------------------------------------------------- what waits for an answer

    def _by(self, timeout):
        return time.ticks_add(_ticks(), int((timeout or self.timeout) * 1000))

    def _still(self, t):
        # Whoever waits until ticks t (None: without a bound): still worth it?
        if self._state != 2 and not self._link:
            raise self._lost or OSError(107, "not connected")
        if t is not None and _diff(t, _ticks()) <= 0:
            raise OSError(110, "no answer in time")

    @coroutine
    def wait(self, packet_id=None, timeout=None):
        """Until that message, or all, are acknowledged. Raises as the blocking face's; times are rounded up to a second."""
        t = self._by(timeout)
        while self.pending(packet_id):
            self._still(t)
            yield self._gate.park()
        r = self._refused
        if r and (packet_id is None or r[0] == packet_id):
            self._refused = None
            raise Refused("PUBACK" if r[2] == 4 else "PUBREC", r[1], r[2], r[3])

    @coroutine
    def wait_msg(self):
        """Until a packet was handled."""
        n = self.received
        while n == self.received or self._state != 2:
            self._still(None)
            yield self._gate.park()

    @coroutine
    def _acked(self, start, topic, props, to, timeout, name):
        t = self._by(timeout)
        while self._fl:
            yield self._gate.park()
        n = start(self, topic, props, *to)
        w = self._acks[n]
        try:
            while w[2] is None:
                self._still(t)
                if n not in self._acks:
                    raise OSError(104, "connection lost before the " + name)
                yield self._gate.park()
        except OSError:
            if self._acks:
                self._acks.pop(n, None)
            raise
        if len(w[2]) == 1 and w[2][0] > 127:
            raise Refused(name, w[2][0], w[0], w[3])
        return w[2]

    def subscribe(self, topic, qos=0, to=None, props=b"", timeout=None, **options):
        """To be awaited: subscribe and wait for the SUBACK; arguments, result and exceptions as the blocking face's."""
        from . import subs

        if isinstance(topic, (str, bytes)):
            topic = [(topic, qos, options)]
        return self._acked(subs.subscribe_start, topic, props, (to,), timeout, "SUBACK")

    def unsubscribe(self, topic, props=b"", timeout=None):
        """To be awaited, as subscribe()."""
        from . import subs

        return self._acked(
            subs.unsubscribe_start, [topic] if isinstance(topic, (str, bytes)) else topic, props, (), timeout, "UNSUBACK"
        )

    @coroutine
    def request(self, topic, msg, timeout=None, qos=0, props=(), response_topic=None):
        """As the blocking face's (rpc.py); several tasks may ask at once."""
        from . import rpc

        t = self._by(timeout)
        r, to = rpc._prepare(self, response_topic)
        if to:
            yield from self.subscribe(r[0], qos, to)
        k, p = rpc.packet(r, props)
        try:
            yield from self.publish(topic, msg, False, qos, p)
            while r[2][k] is None:
                self._still(t)
                yield self._gate.park()
            return r[2][k]
        finally:
            del r[2][k]

    def messages(self, room=1024):
        """`async for message in client.messages()`: see inbox.py; `room`: bytes for messages that wait."""
        if self._box is None:
            from .inbox import Inbox

            self._box = Inbox(self, room)
        return self._box
