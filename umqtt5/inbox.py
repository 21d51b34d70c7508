"""messages() of the asyncio face: what arrives waits in one buffer for the task that loops over it.

What belongs here: the queue between the engine and `async for`. What does not: handlers, which need none of this.

A message is acknowledged when it is in the queue. It gets there unless a `to` handler of subscribe() takes it. A full queue
stops the engine (nothing is read, acknowledgements wait too; the keep-alive goes on) until the loop goes on: give `room` for
what arrives while the body of the loop waits for an answer of the server. The message, the same object each time, is valid
until the next round. The loop ends with disconnect(); a lost connection raises there, unless a link brings it back. close()
ends the queue. One loop at a time. Memory: room + rx + 192 bytes, made once. 0 B a message (a topic that came as an alias only:
its length twice).
"""

from . import subs, wire

_len = len


class Inbox(subs.Message):
    """The queue, its iterator and its one message. Record: size (2), first byte of the packet (1), topic with its length ...
    payload.
    """

    def __init__(self, s, room):
        subs.register(s)
        self._s = s
        self._b = self._tb = q = bytearray(room + _len(s._rx) + 128)
        q[:] = b""
        self._cap = room
        self._t = 5
        self._now = 0  # size of the record that the body of the loop has
        self._stop = StopIteration(self)
        s._live[3] = self._arrived
        s.on_message = self._put

    def close(self):
        """No more messages for this queue; those in it are gone."""
        s = self._s
        s._box = s.on_message = None
        s._live[3] = subs._publish_in
        self._b[:] = b""
        self._resume()

    def _resume(self):
        # The engine may go on with the packet that did not fit.
        s = self._s
        if s._halt:
            s._halt = False
            s._e = self._stopped
            s._ready = False
            s._gate.open()

    def _arrived(self, s, first, i, end):
        # The engine's handler of PUBLISH: stop in front of a packet that may not fit.
        if self._b and _len(self._b) + end - i + 67 > self._cap:
            end = wire.vbi_size(end - i)
            self._stopped = s._e
            s._i = s._e = i - 1 - end
            s._halt = True
            s.received -= 1
        else:
            subs._publish_in(s, first, i, end)
            s._same = -1  # each packet has to come here

    def _put(self, m):
        # on_message: copy the packet from its topic to its end. Whole objects and cuts: slices would allocate.
        q = self._b
        n = _len(q) + 3
        q.extend(b"\0\0\0")
        q.extend(m._b)
        q[n + m._e :] = b""
        if m._tb is m._b:
            q[n : n + m._t - 2] = b""
        else:  # the topic is in the alias table
            q[n : n + m._p - (2 if m._f & 6 else 0)] = bytes((m._n >> 8, m._n & 255)) + bytes(m.topic())
        n -= 3
        q[n] = _len(q) - n >> 8
        q[n + 1] = _len(q) - n & 255
        q[n + 2] = m._f

    def __aiter__(self):
        return self

    __anext__ = __iter__ = __await__ = __aiter__

    def throw(self, e, value=None, trace=None):
        """Its task was cancelled. Here, because MicroPython looks for it, and Message has a __getattr__ that raises."""
        raise value or e

    def __next__(self):
        q = self._b
        s = self._s
        if self._now:
            q[0 : self._now] = b""
            self._now = 0
            self._e = -1
            self._resume()
        if not q:
            if s._state == 2 or s._link:
                return s._gate.park()
            if s._lost:
                raise s._lost
            raise StopAsyncIteration
        # the first record is the message now
        self._now = self._e = q[0] << 8 | q[1]
        self._f = q[2]
        self._n = q[3] << 8 | q[4]
        i = self._n + (7 if self._f & 6 else 5)
        self._p = 0
        if q[i]:
            self._p = i
            i = wire.vbi(q, i, self._e)
            i += self._p + wire.vbi_size(i) - 1
        self._d = i + 1
        self._stop.__traceback__ = None
        raise self._stop
