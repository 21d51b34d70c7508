"""The connection cut at every byte of a QoS 1 and a QoS 2 dialogue, in both directions, against a server with sessions in memory.

0 lost at QoS 1 and 2, 0 duplicates at QoS 2, duplicates at QoS 1 only with DUP set: when the client goes on after the cut, and
when the node was switched off in that moment and starts again from its store.
"""

import os

from support.broker import Broker
from support.t import INTERPRETER, eq, rows
from umqtt5 import MQTTClient, ProtocolError

INTERPRETERS = ("cpython", "micropython", "wasm32")
TIMEOUT = 300
FULL = hasattr(os, "getenv") and os.getenv("UMQTT5_FULL")
DEATHS = ("reset", "eof")


class Memory:
    """A store that survives the client object."""

    def __init__(self):
        self.image = None
        self.saves = 0

    def load(self, image):
        if self.image is None:
            return False
        image[:] = self.image
        return True

    def save(self, image):
        self.image = bytes(image)
        self.saves += 1


class Node:
    """A client that comes back after each cut; reset: as a new one from its store."""

    def __init__(self, broker, reset=False, more=(), **kw):
        self.more = list(more)  # (side, byte) of the next cuts
        self.b = broker
        self.reset = reset
        self.kw = kw
        self.got = []  # (payload, qos, dup) that the application saw
        self.store = Memory() if reset else None
        self.boots = 0
        self.boot()

    def boot(self):
        self.boots += 1
        self.c = MQTTClient("node", "peer", keepalive=0, session_expiry=1000, transport=self.b, store=self.store, **self.kw)
        self.c.on_message = self.message

    def message(self, m):
        self.got.append((bytes(m.payload()), m.qos(), m.dup()))

    def go(self, rounds=1):
        """Connect when down, else handle what there is."""
        for _ in range(rounds):
            try:
                if not self.c.isconnected():
                    self.c.connect(False)
                while self.c.poll():
                    pass
            except ProtocolError:
                if not self.c._need_clean:  # the server has a session of which the CONNACK was cut
                    raise
            except OSError:
                self.b.cut_out = self.b.cut_in = None
                if self.more:
                    setattr(self.b, *self.more.pop(0))
                if self.reset:
                    self.boot()

    def publish(self, payload, qos):
        """QoS 1 and 2 never fail for want of a connection."""
        self.c.publish("t", payload, qos=qos)

    def done(self):
        return not self.c.pending() and not self.b.out and self.c.isconnected()


def dialogue(broker, direction, qos, reset, count=3, **kw):
    """One dialogue to its end -> Node. direction: "out", "in" or "both"."""
    n = Node(broker, reset, **kw)
    while not n.c.isconnected():
        n.go()
    for i in range(count):
        if direction != "in":
            n.publish(b"%d" % i, qos)
        if direction != "out":
            broker.deliver("s", b"in%d" % i, qos)
        n.go()
    for _ in range(30):
        if n.done():
            break
        n.go()
    else:
        raise AssertionError("%d of the client's and %d of the server's messages never ended" % (n.c.pending(), len(broker.out)))
    n.go()
    return n


def judge(n, direction, qos, count=3, new_session=False):
    """What arrived on both sides."""
    sent = [b"%d" % i for i in range(count)] if direction != "in" else []
    n.b.check(sent if qos == 1 else [], sent if qos == 2 else [], new_session)
    if direction != "out":
        for i in range(count):
            x = b"in%d" % i
            flags = [dup for payload, q, dup in n.got if payload == x]
            assert flags and not [d for d in flags[1:] if not d], (x, flags)
            assert qos == 1 or len(flags) == 1, (x, flags)


def every_cut(direction, qos, reset, step=1, second=None, **network):
    kw = network.pop("client", {})
    b = Broker(**network)
    n = dialogue(b, direction, qos, reset, **kw)
    judge(n, direction, qos)
    eq(len(b.links), 1)
    total = {"cut_out": b.link.written, "cut_in": b.link.read}
    cuts = 0
    for side in total:
        for k in range(0, total[side] + 1, step):
            for death in DEATHS if INTERPRETER == "cpython" else (DEATHS[k % 2],):
                row = (side, k, death)
                for _ in rows((row,)):
                    b = Broker(**network)
                    b.death = death
                    setattr(b, side, k)
                    n = dialogue(b, direction, qos, reset, **kw)
                    judge(n, direction, qos)
                cuts += 1
    return cuts


def both_ways(qos, reset):
    step = 1 if INTERPRETER == "cpython" else 3
    for direction in ("out", "in", "both"):
        every_cut(direction, qos, reset, step)


def test_cut_at_every_byte_qos1():
    both_ways(1, False)


def test_cut_at_every_byte_qos2():
    both_ways(2, False)


def test_switched_off_at_every_byte_qos1():
    both_ways(1, True)


def test_switched_off_at_every_byte_qos2():
    both_ways(2, True)


def test_cut_at_every_byte_with_a_window_of_one():
    for qos in (1, 2):
        every_cut("out", qos, False, 1 if INTERPRETER == "cpython" else 7, receive_maximum=1)


def test_cut_at_every_byte_in_single_bytes():
    """Every read and write moves one byte: the half-written packet is in the image."""
    for qos in (1, 2):
        every_cut("both", qos, False, 1 if INTERPRETER == "cpython" else 7, takes=1, arrives=1)


def test_server_restarted_without_persistence_at_every_byte():
    """Nothing is lost; what the old server had may come as a new message."""
    for qos in (1, 2):
        for reset in (False, True):
            b = Broker()
            total = dialogue(b, "out", qos, reset).b.link.written
            for k in range(0, total + 1, 1 if INTERPRETER == "cpython" else 3):
                b = Broker(session=False)
                b.cut_out = k
                for _ in rows(((qos, reset, k),)):
                    judge(dialogue(b, "out", qos, reset), "out", qos, new_session=True)


def test_cut_twice():
    """Every pair of cuts of a QoS 2 dialogue, or a sample of them."""
    if INTERPRETER != "cpython":
        return
    import random

    r = random.Random(5)
    b = Broker()
    n = dialogue(b, "both", 2, False)
    sides = (("cut_out", n.b.link.written), ("cut_in", n.b.link.read))
    pairs = [(s1, a, s2, c) for s1, m in sides for a in range(m) for s2, k in sides for c in range(k)]
    if not FULL:
        pairs = r.sample(pairs, 1200)
    for pair in rows(pairs):
        for reset in (False, True):
            b = Broker()
            setattr(b, pair[0], pair[1])
            judge(dialogue(b, "both", 2, reset, more=[pair[2:]]), "both", 2)


class Off(Exception):
    """The node is switched off."""


class Fragile(Memory):
    """A store that dies with its node: in the save number `when`, before it is done or right after."""

    when = -1
    after = False

    def save(self, image):
        if self.saves == self.when:
            self.saves += 1
            if self.after:
                self.image = bytes(image)
            raise Off
        super().save(image)


def until_off(b, qos, when, after):
    """The dialogue of a node that is switched off in its save number `when` -> (Node, payloads whose publish() returned)."""
    n = Node(b, True)
    n.store = Fragile()
    n.store.when = when
    n.store.after = after
    n.boot()
    done = []
    todo = [b"%d" % i for i in range(3)]
    for _ in range(40):
        try:
            n.go()
            if not n.c.isconnected():
                continue
            if todo:
                if len(todo) > 1:
                    b.deliver("s", b"in" + todo[0], qos)
                x = todo.pop(0)
                n.publish(x, qos)
                done.append(x)
            elif n.done():
                return n, done
        except Off:
            n.boot()
    raise AssertionError("never ended: %d %d" % (n.c.pending(), len(b.out)))


def test_switched_off_in_every_save():
    """Before it is done, or right after: no message lost whose publish() had returned, whole images only."""
    for qos in (1, 2):
        saves = until_off(Broker(), qos, -1, False)[0].store.saves
        assert saves > 6, saves
        for when in range(saves):
            for after in (False, True):
                for _ in rows(((qos, when, after),)):
                    b = Broker()
                    n, done = until_off(b, qos, when, after)
                    eq(n.store.saves > when, True)
                    eq([x for x in done if x not in [m for m, q, d in b.log]], [])
                    if qos == 2:
                        eq(len(b.log), len(set([m for m, q, d in b.log])))
                    eq([d for m, q, d in b.log if q == 1 and [y for y, _, _ in b.log].count(m) > 1 and not d][1:], [])
                    eq(b.faults, [])


def test_flash_writes_of_a_message():
    """What store.py promises: QoS 1 two, QoS 2 three, one more when it was queued, two for an inbound QoS 2 message."""
    for qos, want in rows(((1, 2), (2, 3))):
        b = Broker()
        n = Node(b, True)
        n.go()
        before = n.store.saves
        n.publish(b"0", qos)
        n.go(3)
        eq(n.store.saves - before, want)
        before = n.store.saves
        b.deliver("s", b"in0", qos)
        n.go(3)
        eq(n.store.saves - before, 2 * (qos - 1))
        n.c.drop()
        before = n.store.saves
        n.publish(b"1", qos)
        eq(n.store.saves - before, 1)
        n.go(3)
        eq(n.store.saves - before, want + 2)  # one of them is the connection's
