"""Packet identifiers (2.2.1) over 70,000 messages and more, of which some are never acknowledged."""

from support.packets import puback, pubcomp, pubrec
from support.t import INTERPRETER, eq, rows
from umqtt5 import MQTTClient

TIMEOUT = 300


class Counter:
    """A transport that acknowledges each PUBLISH by itself, but not the identifiers in `never`; fast: no parsing of properties.

    `used` identifiers are in flight; one that is used twice is a fault."""

    def __init__(self, never=()):
        self.never = never
        self.used = {}
        self.count = 0
        self.inbox = b""
        self.last = 0
        self.started = False

    def write(self, buf, off, n):
        first = buf[off]
        if not self.started:
            self.started = True
            self.inbox += b"\x20\x03\x00\x00\x00"
        elif first >> 4 == 3:
            i = off + 2
            i += 2 + (buf[i] << 8 | buf[i + 1])
            pid = buf[i] << 8 | buf[i + 1]
            if pid in self.used or not pid:
                raise AssertionError("identifier %d is in use" % pid)
            self.count += 1
            self.last = pid
            if self.count in self.never:
                self.used[pid] = self.count
            else:
                self.inbox += puback(pid) if first & 2 else pubrec(pid)
        elif first >> 4 == 6:
            pid = buf[off + 2] << 8 | buf[off + 3]
            self.inbox += pubcomp(pid)
        elif first >> 4 == 8:
            pid = buf[off + 2] << 8 | buf[off + 3]
            if pid in self.used:
                raise AssertionError("SUBSCRIBE uses identifier %d of a PUBLISH" % pid)
            self.last = pid
            self.inbox += bytes((0x90, 4, pid >> 8, pid & 255, 0, 0))
        return n

    def readinto(self, buf, n=-1):
        n = min(len(buf) if n < 0 else n, len(self.inbox))
        if not n:
            return None
        buf[0:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n

    def close(self):
        pass


def connected(t, **kw):
    c = MQTTClient("i", "peer", keepalive=0, transport=lambda c: t, **kw)
    c.connect()
    return c


def count(n):
    """So many messages; the 32-bit build has no collector, and is slow: it starts near the end."""
    return n if INTERPRETER == "cpython" else min(n, 70000 if INTERPRETER == "micropython" else 3000)


def test_70000_messages_some_never_acknowledged():
    for qos in rows((1, 2)):
        t = Counter((1, 2, 500, 65530, 65535, 65537))
        c = connected(t)
        n = count(70000 if qos == 1 or INTERPRETER == "cpython" else 20000)
        for _ in range(n):
            c.publish("t", b"", qos=qos)
            c.poll()
            c.poll()
        eq(t.count, n)
        eq(sorted(t.used.values()), [x for x in (1, 2, 500, 65530, 65535, 65537) if x <= n])
        eq(c.pending(), len(t.used))
        assert len(c.image) == 10 + len(t.used) * 13, len(c.image)


def test_the_count_wraps_to_one():
    for last, want in rows(((65533, [65534, 65535, 1, 2]), (65535, [1, 2, 3]), (0, [1, 2]), (65534, [65535, 1]))):
        t = Counter()
        c = connected(t)
        c.image[2] = last >> 8
        c.image[3] = last & 255
        c._idfree = 0
        got = []
        for _ in want:
            got.append(c.publish("t", b"", qos=1))
            c.poll()
        eq(got, want)


def test_wrap_skips_what_is_in_flight():
    t = Counter((1, 2, 3, 7))
    c = connected(t)
    for _ in range(8):
        c.publish("t", b"", qos=1)
        c.poll()
    c.image[2] = c.image[3] = 255
    c._idfree = 0
    got = []
    for _ in range(6):
        got.append(c.publish("t", b"", qos=1))
        c.poll()
    eq(got, [4, 5, 6, 8, 9, 10])


def test_subscribe_shares_the_identifiers():
    t = Counter((1, 2))
    c = connected(t)
    c.publish("t", b"", qos=1)
    c.publish("t", b"", qos=1)
    c.image[2] = c.image[3] = 255
    c._idfree = 0
    c.subscribe("x")
    eq(t.last, 3)
    eq(c.publish("t", b"", qos=1), 4)


def test_a_publish_does_not_take_the_identifier_of_a_subscribe_that_waits():
    t = Counter()
    c = connected(t)
    t.write = lambda buf, off, n: n  # nothing is answered
    pids = [c.subscribe_start([("x", 0)]) for _ in range(3)]
    c.image[2] = c.image[3] = 255
    c._idfree = 0
    eq(pids, [1, 2, 3])
    eq(c.publish("t", b"", qos=1), 4)


def test_inbound_identifiers_are_the_servers_own():
    """An inbound QoS 2 message with the identifier of one of ours: two different flows."""
    from support.packets import publish, pubrel

    t = Counter((1,))
    c = connected(t)
    got = []
    c.on_message = lambda m: got.append(bytes(m.payload()))
    c.subscribe("in", 2)
    c.publish("t", b"", qos=2)
    pid = t.last
    t.inbox += publish("in", b"a", 2, pid) + publish("in", b"a", 2, pid, dup=True)
    while c.poll():
        pass
    eq(got, [b"a"])
    eq(c.pending(), 1)
    t.inbox += pubrel(pid)
    while c.poll():
        pass
    t.inbox += publish("in", b"b", 2, pid)
    while c.poll():
        pass
    eq(got, [b"a", b"b"])
