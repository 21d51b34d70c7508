"""A client of umqtt5 and its server in memory, for tests on every interpreter: makes, connects, listens, and checks how it ends.

c, peer = connected(props={"receive_maximum": 2}, inflight=2048)     # CONNECT is taken already
got = heard(c)                                                       # every message, as tuples
peer.send(P.publish("t", b"1")); settle(c)
violated(c, peer, 0x81)                                              # after peer.send(what is wrong)
"""

from umqtt5 import MQTTClient, ProtocolError

from . import packets as P
from .peer import Peer
from .t import eq, raises


def make(peer, client_id="c", **options):
    """A client whose connections go to `peer`."""
    return MQTTClient(client_id, "peer", transport=peer, **options)


def connected(answers=None, props=(), present=0, clean_start=True, network=None, **options):
    """(client, peer) after CONNACK with these properties; nothing else has been sent."""
    peer = Peer(answers, present, props, **(network or {}))
    c = make(peer, **options)
    c.connect(clean_start)
    peer.expect(P.CONNECT)
    return c, peer


def again(c, peer, present=1, clean_start=False):
    """Connect once more; the CONNECT packet."""
    peer.session_present = present
    peer.seen = len(peer.packets)
    c.connect(clean_start)
    return peer.expect(P.CONNECT)


def settle(c):
    """poll() until nothing more comes."""
    for _ in range(100000):
        if not c.poll():
            return
    raise AssertionError("the client is never done")


def seen(message):
    """(topic, payload, qos, retain, dup) of a message, copied."""
    return (
        bytes(message.topic()).decode(),
        bytes(message.payload()),
        message.qos(),
        message.retain(),
        message.dup(),
    )


def heard(c, properties=False):
    """A list that gets seen() of each message from now on; with properties, their list as a sixth."""
    got = []

    def on_message(m):
        got.append(seen(m) + ((m.properties(),) if properties else ()))

    c.on_message = on_message
    return got


def acks(c):
    """A list that gets (packet id, reason code, packet type, properties) of each finished publish from now on."""
    got = []
    c.on_ack = lambda c, pid, code, packet: got.append((pid, code, packet, c.packet_props()))
    return got


def violated(c, peer, code, step=None):
    """What the server sent ends the connection: DISCONNECT with `code`, closed, one ProtocolError that says so."""
    e = raises(ProtocolError, step or (lambda: settle(c)))
    eq(e.reason_code, code, "exception")
    last = peer.packets[-1]
    eq((last.name, last.code), ("DISCONNECT", code))
    eq((peer.link.closed, c.isconnected()), (True, False), "closed")
    return e


def up(c, peer):
    """The connection is still alive: a ping is answered."""
    n = len(peer.of(P.PINGREQ))
    eq(c.isconnected(), True, "connected")
    c.ping()
    settle(c)
    eq(len(peer.of(P.PINGREQ)), n + 1, "pings")
    eq(peer.link.closed, False, "closed")
