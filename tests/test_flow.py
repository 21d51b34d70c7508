"""Flow control (4.9) and replay (4.4, 4.6): how many are on their way, in which order, and when again."""

from support import packets as P
from support.packets import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE
from support.session import again, connected, heard, settle, up
from support.t import eq, rows
from umqtt5 import props


def window(n, **options):
    """A connection with that Receive Maximum whose server acknowledges nothing by itself."""
    return connected({PUBLISH: None, PUBREL: None, PUBREC: None}, {"receive_maximum": n}, inflight=4096, **options)


def test_never_more_than_the_receive_maximum():
    """3.3.4-7, 4.9.0-1: QoS 1 and 2 together."""
    for n in rows((1, 2, 5)):
        c, peer = window(n)
        for i in range(10):
            c.publish("t", b"%d" % i, False, 1 + i % 2)
            settle(c)
        eq(len(peer.of(PUBLISH)), n)
        eq(c.pending(), 10)
        eq([p.payload for p in peer.of(PUBLISH)], [b"%d" % i for i in range(n)])


def test_what_returns_quota():
    """4.9.0-2: PUBACK, PUBCOMP and a failed PUBREC do; a successful PUBREC does not (a trap)."""
    c, peer = window(1)
    for i in range(6):
        c.publish("t", b"%d" % i, False, (1, 2, 2, 1, 2, 1)[i])

    def out():
        settle(c)
        return len(peer.of(PUBLISH))

    eq(out(), 1)
    peer.send(P.puback(1))
    eq(out(), 2)
    peer.send(P.pubrec(2))
    eq(out(), 2)
    peer.send(P.pubrec(2))
    eq(out(), 2)
    peer.send(P.pubcomp(2))
    eq(out(), 3)
    peer.send(P.pubrec(3, 0x97))
    eq(out(), 4)
    peer.send(P.puback(4, 0x87))
    eq(out(), 5)
    peer.send(P.pubrec(5, 0x10))
    eq(out(), 5)
    peer.send(P.pubcomp(5, 0x92))
    eq(out(), 6)
    peer.send(P.puback(6))
    settle(c)
    eq(c.pending(), 0)


def test_acknowledgements_for_nothing_return_no_quota():
    c, peer = window(1)
    for _ in range(4):
        c.publish("t", b"", False, 1)
    peer.send(P.puback(9), P.pubcomp(9), P.pubrec(9, 0x80), P.puback(2), P.puback(3), P.pubcomp(1), P.puback(1), P.puback(1))
    settle(c)
    eq([p.pid for p in peer.of(PUBLISH)], [1, 2])


def test_a_full_window_holds_nothing_else_up():
    """3.3.4-8, 4.9.0-3"""
    c, peer = window(1)
    got = heard(c)
    c.publish("t", b"", False, 2)
    c.publish("t", b"waits", False, 1)
    c.publish("t", b"qos 0")
    up(c, peer)
    c.subscribe("f", 1)
    c.unsubscribe("f")
    peer.send(P.publish("in", b"1", 1, 1), P.publish("in", b"2", 2, 2), P.pubrec(1))
    settle(c)
    peer.send(P.pubrel(2))
    settle(c)
    names = [p.name for p in peer.packets[1:]]
    eq(names, ["PUBLISH", "PUBLISH", "PINGREQ", "SUBSCRIBE", "UNSUBSCRIBE", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"])
    eq(len(got), 2)
    eq([p.payload for p in peer.of(PUBLISH)], [b"", b"qos 0"])


def test_several_are_on_their_way_at_once():
    c, peer = connected({PUBLISH: None}, inflight=4096)
    for i in range(20):
        c.publish("t", b"%d" % i, False, 1)
    eq(len(peer.of(PUBLISH)), 20)


def test_nothing_is_sent_again_on_a_live_connection():
    """4.4.0-1"""
    import time

    c, peer = connected({PUBLISH: None, PUBREL: None}, keepalive=0)
    c.publish("t", b"", False, 1)
    c.publish("t", b"", False, 2)
    c.publish("t", b"", False, 2)
    peer.send(P.pubrec(3))
    settle(c)
    n = len(peer.packets)
    for _ in range(20):
        time.sleep_ms(20)
        c.poll()
    eq(len(peer.packets), n)
    eq(c.pending(), 3)


def test_replay_in_the_original_order():
    """4.6.0-1, 3.3.1-1, 4.4.0-1: once each, DUP, the same identifiers, properties and payloads, before what is new."""
    c, peer = connected({PUBLISH: None, PUBREL: None, PUBREC: None}, session_expiry=100, inflight=4096)
    block = props.encode(pairs=[("content_type", "x"), ("user_property", ("a", "b")), ("correlation_data", b"\0")])
    for i in range(10):
        c.publish("topic/%d" % i, b"%d" % i, i == 3, 1 + i % 2, block if i % 3 else b"")
    settle(c)
    first = peer.of(PUBLISH)
    c.drop()
    c.publish("new", b"", False, 1)
    again(c, peer)
    settle(c)
    second = peer.of(PUBLISH)[10:]
    eq(len(second), 11)
    for a, b in rows([(first[i], second[i]) for i in range(10)]):
        eq(b.raw, bytes((a.raw[0] | 8,)) + a.raw[1:])
    eq((second[10].topic, second[10].dup), ("new", 0))


def test_replay_keeps_to_the_receive_maximum():
    """3.3.4-7 during replay, and PUBRELs count against it."""
    c, peer = connected({PUBLISH: None, PUBREL: None}, session_expiry=100, inflight=4096)
    for i in range(8):
        c.publish("t", b"%d" % i, False, 2)
    peer.send(P.pubrec(1), P.pubrec(2))
    settle(c)
    c.drop()
    del peer.packets[:]
    peer.connack_props = {"receive_maximum": 3}
    again(c, peer)
    settle(c)
    eq([(p.name, p.pid) for p in peer.packets[1:]], [("PUBREL", 1), ("PUBREL", 2), ("PUBLISH", 3)])
    peer.send(P.pubcomp(1))
    settle(c)
    eq([(p.name, p.pid) for p in peer.packets[4:]], [("PUBLISH", 4)])
    peer.send(P.pubrec(3))
    settle(c)
    eq([(p.name, p.pid) for p in peer.packets[5:]], [("PUBREL", 3)])
    peer.send(P.pubcomp(2), P.pubcomp(3))
    settle(c)
    eq([(p.name, p.pid, p.dup) for p in peer.packets[6:]], [("PUBLISH", 5, 1), ("PUBLISH", 6, 1)])


def test_replay_once_for_each_connection():
    c, peer = connected({PUBLISH: None}, session_expiry=100)
    c.publish("t", b"1", False, 1)
    c.publish("t", b"2", False, 2)
    for _ in rows((1, 2, 3)):
        c.drop()
        del peer.packets[:]
        peer.seen = 0
        again(c, peer)
        settle(c)
        eq([(p.pid, p.dup) for p in peer.of(PUBLISH)], [(1, 1), (2, 1)])
    eq(c.pending(), 2)


def test_unsent_messages_are_new_ones_after_a_reconnect():
    """Those that waited for quota had never left: no DUP."""
    c, peer = window(2, session_expiry=100)
    for i in range(5):
        c.publish("t", b"%d" % i, False, 1)
    c.drop()
    del peer.packets[:]
    peer.connack_props = ()
    again(c, peer)
    settle(c)
    eq([(p.payload, p.dup) for p in peer.of(PUBLISH)], [(b"0", 1), (b"1", 1), (b"2", 0), (b"3", 0), (b"4", 0)])


def test_a_packet_cut_in_the_middle_is_sent_whole_again():
    for cut in rows(range(1, 14)):
        c, peer = connected(session_expiry=100)
        link = peer.link
        link.cut_out = link.written + cut
        try:
            c.publish("topic", b"x" * 5, False, 1)
            for _ in range(5):
                c.poll()
        except OSError:
            pass
        if c.isconnected():
            c.drop()
        del peer.packets[:]
        again(c, peer)
        settle(c)
        eq([(p.topic, p.payload, p.pid) for p in peer.of(PUBLISH)], [("topic", b"x" * 5, 1)])
        eq(c.pending(), 0)


def test_inbound_messages_are_delivered_in_order():
    """4.6.0-5"""
    c, peer = connected(rx=256)
    got = heard(c)
    for i in range(200):
        peer.send(P.publish("t", b"%d" % i, i % 3, i + 1 if i % 3 else None))
    settle(c)
    eq([m[1] for m in got], [b"%d" % i for i in range(200)])


def test_our_receive_maximum_follows_the_space():
    for inflight, want in rows(((1024, 16), (64, 1), (65535, 1023))):
        c, peer = connected(inflight=inflight)
        eq(peer.packets[0].prop("receive_maximum"), want)
    c, peer = connected(receive_maximum=3, inflight=1024)
    eq(peer.packets[0].prop("receive_maximum"), 3)


def test_no_operation_drops_what_is_on_its_way():
    """4.1.0-1"""
    c, peer = connected({PUBLISH: None, PUBREL: None}, inflight=4096)
    c.publish("t", b"", False, 1)
    c.publish("t", b"", False, 2)
    for i in range(50):
        c.publish("t", b"")
        c.ping()
        c.subscribe("f%d" % (i % 3))
        peer.send(P.publish("f0", b"", 1 + i % 2, i + 1), P.puback(1000), P.pubcomp(1000))
        if i % 2:
            peer.send(P.pubrel(i + 1))
        settle(c)
    c.unsubscribe("f0")
    eq((c.pending(1), c.pending(2), c.pending()), (1, 1, 2))


def test_messages_out_of_session_are_new_messages():
    """QoS 1 and 2 that were never acknowledged, after Session Present 0: sent as new ones, the caller told by session_present."""
    c, peer = connected({PUBLISH: None}, session_expiry=100)
    c.publish("t", b"1", False, 1)
    c.publish("t", b"2", False, 2)
    c.drop()
    del peer.packets[:]
    peer.answers = {}
    again(c, peer, 0)
    settle(c)
    eq([(p.payload, p.dup) for p in peer.of(PUBLISH)], [(b"1", 0), (b"2", 0)])
    eq((c.pending(), len(peer.of(PUBREL))), (0, 1))
    eq((len(peer.of(PUBACK)), len(peer.of(PUBCOMP)), len(peer.of(SUBSCRIBE))), (0, 0, 0))
