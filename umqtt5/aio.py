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
import sys
import time
from asyncio import core

from micropython import const

from . import MQTTClient as _B
from . import Refused, ResourceError
from .image import _enqueue

_publish = _B.publish
_ticks = time.ticks_ms
_diff = time.ticks_diff
_BIG = const(0x0FFFFFFF)

if sys.implementation.name != "micropython":  # CPython: ports/host
    from asyncio import DONE, Gate, coroutines
else:
    DONE = iter(())  # an awaitable that is over at once
    coroutines = None

    class Gate(core.TaskQueue):
        """Tasks park here, `yield gate.park()`, until it opens. 0 B."""

        def park(self):
            self.push(core.cur_task)
            core.cur_task.data = self  # so that cancel() takes it out

        def open(self):
            while self.peek():
                core._task_queue.push(self.pop())


class MQTTClient(_B):
    """MQTT 5.0 client for asyncio. Arguments as umqtt5.MQTTClient."""

    _fl = _halt = _big = _wants = False  # a packet is half written; messages() is full; in a large payload; waiting for room
    _lost = _box = _link = None

    def __init__(self, *a, **k):
        self._gate = Gate()
        self._ts = []  # the tasks of this connection
        _B.__init__(self, *a, **k)
        self._zero = DONE  # what a prepared publication returns

    def connect(self, clean_start=True, timeout=None):
        """Connect; returns Session Present. Raises as the blocking face's."""
        self.start(clean_start, timeout)
        try:
            while self._state == 1:
                if not self._work():
                    yield from asyncio.sleep_ms(10)
        finally:
            if self._state == 1:
                self.close(0)
        self._start_tasks()
        return self.session_present

    def _start_tasks(self):
        # Connected: the tasks of this connection.
        if self._state != 2:
            raise OSError(104, "connection closed while connecting")
        self._lost = None
        self._turn = self._rounds().send
        for k in self._reader(), self._keeper():
            self._ts.append(asyncio.create_task(k))
        self._gate.open()

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

    def disconnect(self, reason=0, props=b""):
        """DISCONNECT after what is half written, then close; ends the link and messages()."""
        t = self._by(None)
        while self._fl and _diff(t, _ticks()) > 0:
            yield self._gate.park()
        if self._link:
            self._link.stopped = True
        _B.disconnect(self, reason, props)
        self._lost = None

    def __aenter__(self):
        yield from self.connect()
        return self

    def __aexit__(self, *e):
        return self.disconnect()

    def up(self):
        """Until connected."""
        while self._state != 2:
            yield self._gate.park()

    def down(self):
        """Until the connection is lost or closed; returns the exception, None after disconnect()."""
        s = self._sock
        while s and s is self._sock:
            yield self._gate.park()
        return self._lost

    def close(self, by, code=0, props=()):
        """As the blocking face's; ends the tasks of this connection."""
        while self._ts:
            k = self._ts.pop()
            if k is not core.cur_task:
                core._io_queue.remove(k)
                k.cancel()
        if self._fl:
            self._fl = False
            del self.publish
        self._halt = False
        _B.close(self, by, code, props)
        self._gate.open()

    # ---------------------------------------------------------------- the tasks

    def _reader(self):
        e = None
        n = 8
        while self._state == 2:
            if self._turn(None):
                n -= 1
                if not n:  # others get their turn
                    n = 8
                    yield from asyncio.sleep_ms(0)
            elif self._wn or self._halt:
                yield self._gate.park()
            elif self._state == 2:
                if self._pr is None:  # a transport that cannot be polled
                    yield from asyncio.sleep_ms(5)
                    continue
                s = getattr(self._sock, "sock", self._sock)
                q = core._io_queue
                m = getattr(q, "map", None)
                k = id(s)
                if e is None or k in m:
                    s = q.queue_read(s)
                    e = m and m[k]
                    yield s
                else:  # wait for bytes, with the queue's entry of the last time: 16 B (queue_read alone: 64)
                    m[k] = e
                    e[0] = core.cur_task
                    q.poller.register(s, 1)
                    e[0].data = q
                    yield

    def _rounds(self):
        # A round of the engine each time it is resumed: true when there may be more. A generator, because a function with this
        # `try` takes a heap frame each time.
        while True:
            some = False
            try:
                if self._halt:
                    self.flush()
                elif self._link:
                    some = not self._link.step()
                    if some and not self._state:
                        self._lost = self._link.error
                else:
                    some = self._work()
            except Exception as e:
                some = True
                if self._state != 2:
                    self._lost = e  # the connection's end stays there for those who wait
                else:  # what a handler raises goes to the loop
                    c = {"message": "umqtt5: handler failed", "exception": e}
                    if not coroutines:  # MicroPython prints this too; CPython 3.12 would enter the task's context again
                        c["future"] = core.cur_task
                    asyncio.get_event_loop().call_exception_handler(c)
            if some:
                self._gate.open()
            yield some and self._state == 2

    def _keeper(self):
        while self._state == 2:
            k = _diff(self._due, _ticks())
            yield from asyncio.sleep_ms(min(k, 1000))
            self._gate.open()  # those who wait look at their clocks
            k = _diff(self._due, _ticks()) <= 0
            if self._halt:  # the engine stands still: no answer can be seen
                if k:
                    self.ping()
                    self._pong = False
            elif self._wn or self._err or k:
                if self._wn:
                    self._due = _ticks()
                self._turn(None)

    def _flusher(self):
        while self._wn:
            if self._pr is None:
                yield from asyncio.sleep_ms(5)
            else:
                yield core._io_queue.queue_write(getattr(self._sock, "sock", self._sock))
            self._turn(None)
        if self._fl:
            self._fl = False
            del self.publish
            self._ts.remove(core.cur_task)
        self._gate.open()

    # ---------------------------------------------------------------- publish

    def publish(self, topic, msg, retain=False, qos=0, props=b""):
        """As the blocking face's; what it returns can be awaited: the packet identifier, None for QoS 0."""
        self._also = qos  # two steps, so that neither frame goes to the heap
        self._block = props
        return self._publish(topic, msg, retain) or DONE

    def _publish(self, topic, msg, retain):
        return _publish(self, topic, msg, retain, self._also, self._block)

    def _rest(self, *a):
        # A packet is half written: from now on publish() waits, and a task sends the rest.
        _B._rest(self, *a)
        if self._state == 2 and not self._fl:
            self._fl = True
            self.publish = self._defer
            self._ts.append(asyncio.create_task(self._flusher()))

    def _defer(self, topic, msg, *a, **k):
        n = self._in_handler()
        if n:  # a handler does not await, and what it has is gone when it returns
            topic = topic if isinstance(topic, str) else bytes(topic)
            msg = msg if isinstance(msg, str) else bytes(msg)
        k = self._later(_BIG, (topic, msg) + a, k)
        return asyncio.create_task(k) if n else k

    def _later(self, n, a, k):
        # publish(*a, **k) when no packet is half written and the image has become smaller than n.
        while self._fl or self._state == 2 and len(self.image) >= n:
            yield self._gate.park()
        return (yield from self.publish(*a, **k))

    def drained(self):
        """Until no packet is half written. OSError when the connection ends meanwhile."""
        while self._fl:
            yield self._gate.park()
        if self._state != 2:
            raise self._lost or OSError(107, "not connected")

    def _drain(self):
        """For the core, which may not wait here (but in publish_from)."""
        if self._big == 2:
            from . import slow

            return slow._drain(self)
        if self._wn and not self._big and not self.flush():
            raise ResourceError("a packet is half written: await drained() first")

    def _value(self, k):
        return k
        yield

    def _enqueue(self, msg, qos, retain):
        k = _enqueue(self, msg, qos, retain)
        if self._wants:
            self._wants = False
            k = self._tb, msg, retain, qos, self._pb
            return self._later(len(self.image), k, {})
        return self._value(k) if type(k) is int else k

    def _room(self, n):
        # The in-flight store is full: who awaits can wait for acknowledgements.
        from . import outbox

        try:
            return outbox._room(self, n)
        except ResourceError:
            if self._in_handler() or self._state != 2 or len(self.image) == 10:
                raise
            self._wants = True
            return True

    def _publish_slow(self, msg, retain):
        self._big = True
        try:
            self.publish_slow(msg, retain)
        finally:
            self._big = False
        return self.drained() if self._fl else DONE

    def publish_from(self, topic, reader, size, retain=False, qos=0, props=b""):
        """As the blocking face's: waits for the window; then the loop stands still until the payload has left."""
        from . import publication

        t = self._by(None)
        m = self.image
        while self._fl or qos and (self._flight >= self._rmax or m[4] << 8 | m[5] != len(m)):
            yield self._still(t)
        self._big = 2
        try:
            return publication.publish_from(self, topic, reader, size, retain, qos, props)
        finally:
            self._big = False

    # ---------------------------------------------------------------- what waits for an answer

    def _by(self, timeout):
        return time.ticks_add(_ticks(), int((timeout or self.timeout) * 1000))

    def _still(self, t):
        # Whoever waits until ticks t (None: without a bound) parks here, if it is still worth it.
        if self._state != 2 and not self._link:
            raise self._lost or OSError(107, "not connected")
        if t is not None and _diff(t, _ticks()) <= 0:
            raise OSError(110, "no answer in time")
        return self._gate.park()

    def wait(self, packet_id=None, timeout=None):
        """Until that message, or all, are acknowledged. Raises as the blocking face's; times are rounded up to a second."""
        t = self._by(timeout)
        while self.pending(packet_id):
            yield self._still(t)
        if self._refused:
            self._tell(packet_id)

    def wait_msg(self):
        """Until a packet was handled."""
        n = self.received
        while n == self.received or self._state != 2:
            yield self._still(None)

    def _acked(self, timeout, start, *a):
        t = self._by(timeout)
        while self._fl:
            yield self._gate.park()
        n = start(*a)
        w = self._acks[n]
        name = "SUBACK" if w[0] == 9 else "UNSUBACK"
        try:
            while w[2] is None:
                if n not in self._acks and (self._link or self._state == 2):
                    raise OSError(104, "connection lost before the " + name)
                yield self._still(t)
        except OSError:
            if self._acks:
                self._acks.pop(n, None)
            raise
        if len(w[2]) == 1 and w[2][0] > 127:
            raise Refused(name, w[2][0], w[0], w[3])
        return w[2]

    def subscribe(self, topic, qos=0, to=None, props=b"", timeout=None, **options):
        """To be awaited: subscribe and wait for the SUBACK; arguments, result and exceptions as the blocking face's."""
        if isinstance(topic, (str, bytes)):
            topic = [(topic, qos, options) if options else (topic, qos)]
        return self._acked(timeout, self.subscribe_start, topic, props, to)

    def unsubscribe(self, topic, props=b"", timeout=None):
        """To be awaited, as subscribe()."""
        if isinstance(topic, (str, bytes)):
            topic = [topic]
        return self._acked(timeout, self.unsubscribe_start, topic, props)

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
                yield self._still(t)
            return r[2][k]
        finally:
            del r[2][k]

    def messages(self, room=1024):
        """`async for message in client.messages()`: see inbox.py; `room`: bytes for messages that wait."""
        if not self._box:
            from .inbox import Inbox

            self._box = Inbox(self, room)
        return self._box


if sys.implementation.name != "micropython":
    coroutines(MQTTClient)
