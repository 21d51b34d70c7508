"""The client over a transport of one's own: a line of two RingIOs, with ports/examples/uart.py at the node's end."""

import sys

import micropython

from support import packets as P
from support.peer import Server
from support.t import eq, raises, skip

ONLY = {"test_polled_line": ("micropython",), "test_no_bytes_of_heap_over_the_line": ("micropython",)}  # CPython counts no bytes

if not hasattr(micropython, "RingIO"):
    micropython.RingIO = None

sys.path.append(sys.path[0].replace("/tests", "/ports/examples"))
from uart import Serial  # noqa: E402

from umqtt5 import MQTTClient  # noqa: E402


class End:
    """One end of the line, as a UART: written to one ring, read from the other."""

    def __init__(self, out, back):
        self._out = out
        self._in = back
        self.write = out.write
        self.readinto = back.readinto
        self.any = back.any


def line(size):
    """(node's end, server's end)"""
    if micropython.RingIO is None:
        skip("no RingIO")
    up, down = micropython.RingIO(size), micropython.RingIO(size)
    return End(up, down), End(down, up)


class Far(Server):
    """A server at the far end; pump() lets it work."""

    def __init__(self, end, **kw):
        super().__init__(**kw)
        self.end = end
        self._b = bytearray()
        self._out = bytearray()

    def send(self, raw):
        self._out.extend(raw)

    def pump(self):
        buf = bytearray(20)
        n = self.end.readinto(buf)
        if n:
            self._b.extend(buf[:n])
        whole, rest = P.split(bytes(self._b))
        self._b = bytearray(rest)
        for raw in whole:
            p = P.parse(raw)
            self.packets.append(p)
            self._out.extend(self.answer(p) or b"")
        n = self.end.write(bytes(self._out[:20]))
        if n:
            self._out = self._out[n:]


def connected(size=32, **kw):
    """(client, far end) over a line whose buffers are smaller than most packets."""
    near, far = line(size)
    srv = Far(far)
    c = MQTTClient("node", "-", transport=Serial(near), **kw)
    c.start()
    settle(c, srv, c.isconnected)
    srv.expect(P.CONNECT)
    return c, srv


def settle(c, srv, f):
    """Both ends work until f() is true."""
    for _ in range(5000):
        srv.pump()
        c.poll()
        if f():
            return
    raise AssertionError("does not happen")


def test_dialogue_through_small_buffers():
    c, srv = connected()
    got = []
    c.on_message = lambda m: got.append((bytes(m.topic()), bytes(m.payload()), m.qos()))
    for qos in (0, 1, 2):
        c.publish("a/b", b"%d" % qos + b"x" * 100, qos=qos)
        settle(c, srv, lambda: not c.wants_write() and not c.pending())
    eq([(p.qos, len(p.payload)) for p in srv.of(P.PUBLISH)], [(0, 101), (1, 101), (2, 101)])
    for qos in (0, 1, 2):
        srv.send(P.publish("in", b"%d" % qos + b"y" * 200, qos, 5 + qos))
    settle(c, srv, lambda: len(got) == 3 and len(srv.of(P.PUBCOMP)) == 1)
    eq([(g[0], g[1][:1], len(g[1]), g[2]) for g in got], [(b"in", b"0", 201, 0), (b"in", b"1", 201, 1), (b"in", b"2", 201, 2)])
    c.ping()
    settle(c, srv, lambda: srv.of(P.PINGREQ))
    c.disconnect()
    settle2(srv, lambda: srv.of(P.DISCONNECT))


def settle2(srv, f):
    for _ in range(100):
        srv.pump()
        if f():
            return
    raise AssertionError("does not happen")


def test_a_new_connection_does_not_see_what_is_left_of_the_old_one():
    c, srv = connected(size=200)
    srv.send(P.publish("old", b"x"))
    settle2(srv, lambda: not srv._out)
    c.drop()
    srv._b = bytearray()
    got = []
    c.on_message = lambda m: got.append(1)
    c.start()
    settle(c, srv, c.isconnected)
    settle(c, srv, lambda: True)
    eq(got, [])


def test_silence_on_the_line_is_noticed_by_the_timeout():
    near, far = line(100)
    c = MQTTClient("node", "-", transport=Serial(near))
    e = raises(OSError, c.connect, True, 0.2)
    eq(e.args[0], 110)
    eq(c.isconnected(), False)


def test_polled_line():
    near, far = line(200)
    srv = Far(far)
    tr = Serial(near)
    tr.sock = near._in
    c = MQTTClient("node", "-", transport=tr)
    c.start()
    settle(c, srv, c.isconnected)
    assert c._pr is not None
    eq(c.pollable() is near._in, True)


def test_no_bytes_of_heap_over_the_line():
    near, far = line(200)
    srv = Far(far)
    c = MQTTClient("node", "-", transport=Serial(near))
    c.start()
    settle(c, srv, c.isconnected)
    sink = bytearray(200)
    topic = b"a/b"
    c.publish(topic, b"x")
    far.readinto(sink)
    before = micropython.mem_total()
    for _ in range(100):
        c.publish(topic, b"x")
        far.readinto(sink)
        c.poll()
    eq(micropython.mem_total() - before, 0)
