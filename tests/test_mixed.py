"""Everything at once, from a seed: publishes, messages, pings, subscriptions, while the socket takes and gives a few bytes."""

from support import packets as P
from support.packets import PUBLISH
from support.session import connected, up
from support.t import eq, rows
from umqtt5 import ResourceError

TIMEOUT = 180


class Dice:
    """The same numbers on every interpreter (wasm32 has no random)."""

    def __init__(self, seed):
        self.n = seed * 7919 + 1

    def roll(self, sides):
        self.n = (self.n * 1103 + 12345) % 1000003
        return self.n // 7 % sides


def resolved(peer):
    """(topic, payload) of all PUBLISH, aliases followed."""
    table = {}
    out = []
    for p in peer.of(PUBLISH):
        alias = p.prop("topic_alias")
        if alias and p.topic:
            table[alias] = p.topic
        out.append((p.topic or table[alias], p.payload))
    return out


def test_handlers_publish_while_the_socket_takes_little():
    for takes, busy in rows(((1, 0), (3, 0), (0, 1), (2, 1))):
        for qos in (0, 1, 2):
            c, peer = connected({}, {"topic_alias_maximum": 2}, inflight=4096, rx=256)

            def on_message(m, c=c, qos=qos):
                for i in range(3):
                    c.publish("echo/%d" % i, bytes(m.payload()) * 3, False, (i + qos) % 3)
                    c.publish("same", bytes(m.payload()), False, 0)

            c.on_message = on_message
            peer.link.takes = takes
            want = []
            for i in range(6):
                peer.link.busy = busy
                peer.send(P.publish("in", b"%d" % i * 20, qos, i + 1))
                for _ in range(40):
                    c.poll()
                for k in range(3):
                    want += [("echo/%d" % k, b"%d" % i * 60), ("same", b"%d" % i * 20)]
            for _ in range(200):
                c.poll()
            eq([p.pid for p in peer.packets if p.name in ("PUBACK", "PUBREC")], list(range(1, 7)) if qos else [])
            eq(sorted(resolved(peer)), sorted(want))
            eq(c.pending(), 0)
            up(c, peer)


def test_random_operations_on_a_bad_connection():
    """Each message out and in arrives once, in order within its QoS, whatever the network does to the bytes."""
    for seed in rows(range(40)):
        dice = Dice(seed)
        limits = {"topic_alias_maximum": 2, "receive_maximum": 1 + seed % 4}
        c, peer = connected({}, limits, inflight=4096, rx=256, session_expiry=100)
        got = []
        c.on_message = lambda m, got=got: got.append(bytes(m.payload()))
        sent = []
        came = []
        for n in range(80):
            kind = dice.roll(8)
            peer.link.takes = (0, 1, 3, 10)[dice.roll(4)]
            peer.link.busy = dice.roll(2)
            peer.link.arrives = (0, 1, 3, 10)[dice.roll(4)]
            try:
                if kind < 3:
                    c.publish("t%d" % (n % 4), b"%d" % n, False, kind)
                    sent.append(("t%d" % (n % 4), b"%d" % n))
                elif kind < 6:
                    peer.send(P.publish("x", b"%d" % n, kind - 3, n + 1))
                    came.append(b"%d" % n)
                elif kind == 6:
                    c.ping()
                else:
                    c.subscribe_start([("f%d" % (n % 3), 0)])
            except ResourceError:
                pass
            for _ in range(dice.roll(4)):
                c.poll()
        peer.link.takes = peer.link.busy = peer.link.arrives = 0
        for _ in range(300):
            c.poll()
        eq(got, came)
        eq(sorted(resolved(peer)), sorted(sent))
        eq(c.pending(), 0)
        up(c, peer)
