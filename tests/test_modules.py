"""Which modules a node has in memory, and when."""

import sys

from support import packets as P
from support.peer import Peer
from support.session import connected, settle
from support.t import eq, rows
from umqtt5 import MQTTClient

LATER = "image subs message qos2 outbox slow rare resume props reasons alias publication link extra".split()


def loaded():
    return [m for m in LATER if "umqtt5." + m in sys.modules]


def test_a_node_that_publishes_qos_0_has_the_core_only():
    """First test of this file, in a process of its own: nothing has loaded anything yet."""
    eq(loaded(), [])
    c, _ = connected()
    c.publish(b"t", b"1")
    c.ping()
    settle(c)
    eq(loaded(), [])
    c.publish(b"t", b"1", False, 1)
    settle(c)
    eq(loaded(), ["image"])
    c.disconnect()


def test_reading_a_message_loads_nothing():
    """Second test of this file: what a handler may call for nothing costs nothing the first time either."""
    c, peer = connected()
    got = []

    def read(m):
        buf = bytearray(2)
        got.append((m.startswith(b"t"), m.payload_len(), m.byte(0), m.int(), m.copy_into(buf), m.qos(), m.retain(), m.dup()))
        got.append((m.is_topic(b"t"), bytes(m.topic()), bytes(m.payload())))

    c.on_message = read
    c.subscribe("t")
    before = loaded()
    peer.send(P.publish("t", b"42"))
    settle(c)
    eq(got, [(True, 2, 52, 42, 2, 0, 0, 0), (True, b"t", b"42")])
    eq(loaded(), before)


def test_what_is_needed_once_is_dropped_and_comes_back():
    for lean in rows((False, True)):
        peer = Peer()
        c = MQTTClient("c", "peer", transport=peer, lean=lean)
        eq("umqtt5.construct" in sys.modules, False)
        for _ in range(3):
            c.set_last_will("w", b"x")
            c.connect()
            eq("umqtt5.setup" in sys.modules, not lean)
            c.publish("t", b"1", False, 1)
            settle(c)
            c.disconnect()
        eq([len(peer.of(P.CONNECT)), c.pending()], [3, 0])
        d = MQTTClient("d", "peer", transport=Peer())
        d.connect()
        d.disconnect()


def test_lean_never_has_a_module_twice():
    """wire.py, loaded for the CONNACK's properties, goes with setup.py; not when another module holds it."""
    for m in ("auth", "props", "chunks", "message", "topics", "simple", "alias", "slow", "wire"):
        if sys.modules.pop("umqtt5." + m, None):  # from the tests before
            delattr(sys.modules["umqtt5"], m)
    c = MQTTClient("c", "peer", transport=Peer(connack_props={"receive_maximum": 9}), lean=True)
    for _ in range(2):
        c.connect()
        c.publish("t", b"1")
        eq("umqtt5.wire" in sys.modules, False)
        c.disconnect()
    from umqtt5 import props, wire

    c.connect()
    eq(sys.modules["umqtt5.wire"] is wire and props.wire is wire, True)
    c.disconnect()
