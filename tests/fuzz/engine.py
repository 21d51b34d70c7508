"""The fuzzer: seeded mutations of the corpus, each fed whole and byte by byte, before and after CONNACK.

    run(seed, seconds) -> statistics; AssertionError with everything that is needed to repeat a case
    one(seed)             a single case: `python tests/fuzz/repeat.py SEED` shows it

Runs on all interpreters. A case is right when: nothing but ProtocolError and Refused comes out; the same events, the same bytes
to the server and the same exception whole and in pieces; a violation is answered with its DISCONNECT and the connection closed;
the number of rounds is bounded by the length of the input.
"""

import time

import corpus

from support import packets
from umqtt5 import MQTTClient, ProtocolError, Refused

_CORPUS = corpus.make()
_KINDS = sorted(_CORPUS)
_VALUES = b"\x00\x01\x02\x03\x04\x07\x0b\x10\x11\x1f\x21\x23\x26\x30\x3d\x7f\x80\x81\x82\xc0\xed\xf4\xfe\xff"
_LENGTHS = b"\x00 \x7f \x80 \xff\x7f \x80\x80 \xff\xff\x7f \xff\xff\xff\x7f \xff\xff\xff\xff \x80\x00".split(b" ")


class Random:
    """The same numbers on every interpreter (xorshift)."""

    def __init__(self, seed):
        self.x = seed * 2654435761 & 0xFFFFFFFF or 1
        for _ in range(4):
            self.below(2)

    def below(self, n):
        x = self.x
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self.x = x
        return (x >> 3) % n

    def of(self, items):
        return items[self.below(len(items))]


def mutate(r, b):
    """One change of the bytes b."""
    b = bytearray(b)
    how = r.below(9)
    i = r.below(len(b)) if b else 0
    if how == 0 and b:
        b[i] ^= 1 << r.below(8)
    elif how == 1 and b:
        b[i] = r.of(_VALUES)
    elif how == 2:
        b[i:i] = bytes((r.of(_VALUES),))
    elif how == 3:
        b[i : i + 1 + r.below(4)] = b""
    elif how == 4:
        b[i:i] = b[i : i + 1 + r.below(12)]
    elif how == 5:
        b[i:] = b""
    elif how == 6:
        j = 1 + r.below(2)
        b[1:j] = r.of(_LENGTHS)
    elif how == 7:
        other = r.of(_CORPUS[r.of(_KINDS)])
        b[i:] = other[r.below(len(other)) :]
    else:  # as a whole packet: the length is right again
        kind = b[0] if b else 0x30
        body = bytes(b[2:])
        for _ in range(1 + r.below(2)):
            k = r.below(len(body) + 1)
            body = body[:k] + bytes((r.of(_VALUES),)) + body[k + r.below(3) :]
        b = bytearray(bytes((kind,)) + packets.vbi(len(body)) + body)
    return bytes(b)


def stream(r, connected):
    """One to four packets, of which some are mutated."""
    out = b""
    for n in range(1 + r.below(4)):
        kind = packets.CONNACK if not connected and n == 0 and r.below(8) else r.of(_KINDS)
        b = r.of(_CORPUS[kind])
        for _ in range(r.below(4)):
            b = mutate(r, b)
        out += b
        if not r.below(4):  # twice: a message like the last one takes a shorter way
            out += b
    return out


class Wire:
    """A transport: what it reads, in pieces of `size` (0: whole); what was written."""

    def __init__(self, size):
        self.size = size
        self.inbox = b""
        self.out = b""
        self.reads = 0
        self.closed = False

    def write(self, buf, off=0, n=None):
        self.out += bytes(buf[off : off + (len(buf) - off if n is None else n)])
        return n

    def readinto(self, buf, n=-1):
        self.reads += 1
        n = len(buf) if n < 0 else n
        if self.size:
            n = min(n, self.size)
        n = min(n, len(self.inbox))
        if not n:
            return None
        buf[0:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n

    def close(self):
        self.closed = True


class Echo:
    """An authentication mechanism that takes everything."""

    name = "m"

    def first(self):
        return b"first"

    def step(self, data):
        return data

    def done(self, data):
        pass


# constructor arguments, chunk handler or not
CONFIGS = (
    ({}, False),
    ({"strict": True, "receive_maximum": 2}, True),
    ({"rx": 128, "topic_alias_maximum": 3}, True),
    ({"rx": 64}, False),
    ({"auth": True, "props": {"request_problem_information": 0}}, False),
    ({"topic_alias_maximum": 1, "inflight": 200}, False),
)


def feed(config, connected, data, size):
    """One client, one stream -> (events, bytes it wrote, exception or None, still open, number of steps)."""
    wire = Wire(size)
    kw, chunks = config
    kw = dict(kw)
    if kw.get("auth"):
        kw["auth"] = Echo()
    c = MQTTClient("f", "peer", keepalive=0, transport=lambda c: wire, timeout=100, **kw)
    events = []

    def message(m):
        events.append(("message", bytes(m.topic()), bytes(m.payload()), m.qos(), m.retain(), m.dup(), m.properties()))

    def chunk(m, at, total):
        if not at:
            events.append(["chunks", bytes(m.topic()), m.properties(), total, b""])
        events[-1][4] += bytes(m.payload())

    c.on_message = message
    if chunks:
        c.on_chunk = chunk
    c.on_ack = lambda c, pid, code, packet: events.append(("ack", pid, code, packet, c.packet_props()))
    c.on_suback = lambda c, pid, packet: events.append(("suback", pid, packet, bytes(c.packet_codes()), c.packet_props()))
    c.on_pong = lambda c: events.append(("pong",))
    c.on_connect = lambda c, u, flags, code, props: events.append(("connect", flags, props))
    c.on_disconnect = lambda c, u, flags, code, props: events.append(("disconnect", flags, code, props))
    c.start()
    steps = 0
    if connected:
        wire.inbox = packets.connack(0, [("topic_alias_maximum", 2), ("receive_maximum", 10)])
        if kw.get("auth"):
            wire.inbox = packets.connack(0, [("authentication_method", "m"), ("topic_alias_maximum", 2)])
        while wire.inbox:
            c.poll()
        c.subscribe_start([("in/+", 1), ("c", 2)])
        c.publish("o", b"1", qos=1)
        c.publish("o", b"2", qos=2)
        c.unsubscribe_start(["in/+"])
    wire.out = b""
    wire.inbox = data
    error = None
    bound = 40 + 4 * len(data)
    try:
        while True:
            steps += 1
            if steps > bound:
                raise AssertionError("%d rounds for %d bytes" % (steps, len(data)))
            if not c.poll() and not wire.inbox:
                break
    except (ProtocolError, Refused) as e:
        error = (type(e).__name__, int(getattr(e.reason_code, "value", e.reason_code)))
        if isinstance(e, ProtocolError):
            want = bytes((0xE0, 1, e.reason_code))
            if wire.out[-3:] != want:
                raise AssertionError("the violation was answered with %r" % wire.out[-8:]) from None
        if not wire.closed or c.isconnected():
            raise AssertionError("still open after %r" % (error,)) from None
    return events, wire.out, error, wire.closed, c.received, steps


def same(whole, pieces):
    """AssertionError unless both feedings ended alike."""
    window = ("ProtocolError", 0x93)  # strict=True counts what waits in the buffer: it depends on the pieces
    if window in (whole[2], pieces[2]):
        return
    parts = 4 if whole[2] and whole[2][0] == "ProtocolError" else 5  # a first byte may be refused before the packet is there
    for i in range(parts):
        if whole[i] != pieces[i]:
            raise AssertionError("%r whole, %r in pieces" % (whole[i], pieces[i]))


def one(seed, show=None):
    """One case; returns (length of the input, how it ended)."""
    r = Random(seed)
    connected = r.below(3) > 0
    config = r.of(CONFIGS)
    data = stream(r, connected)
    size = 1 if r.below(3) else 1 + r.below(70)
    if show:
        show("connected %s, %s\ninput %r" % (connected, config, data))
    whole = None
    try:
        whole = feed(config, connected, data, 0)
        if show:
            show("whole %r" % (whole,))
        pieces = feed(config, connected, data, size)
        if show:
            show("pieces of %d: %r" % (size, pieces))
        same(whole, pieces)
    except Exception as e:
        raise AssertionError(
            "seed %d: %s: %s\nconnected %s, %r\ninput %r" % (seed, type(e).__name__, e, connected, config, data)
        ) from e
    return len(data), whole[2]


def run(seed, seconds, most=1 << 30):
    """Cases from `seed` on for so many seconds (or so many cases) -> {how they ended: number}."""
    t = time.time()
    ends = {"cases": 0, "bytes": 0}
    while ends["cases"] < most:
        n, how = one(seed + ends["cases"])
        ends["cases"] += 1
        ends["bytes"] += n
        ends[how] = ends.get(how, 0) + 1
        if not ends["cases"] & 63 and time.time() - t >= seconds:
            break
    return ends
