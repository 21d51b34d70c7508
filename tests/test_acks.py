"""PUBACK, PUBREC, PUBREL, PUBCOMP as they come in: every length, every code, in any order, repeated, for nobody."""

from support import packets as P
from support.packets import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL
from support.session import acks, again, connected, settle, up
from support.t import eq, raises, rows
from umqtt5 import Refused

MANY = [("reason_string", "why é"), ("user_property", ("b", "1")), ("user_property", ("a", "2")), ("user_property", ("b", "1"))]
# what may follow the packet identifier: (bytes, properties)
FORMS = (
    (b"", []),
    (b"\0", []),
    (b"\0\0", []),
    (b"\0" + P.props(MANY), MANY),
    (b"\0" + P.props([("reason_string", "x" * 150)]), [("reason_string", "x" * 150)]),
)
# acknowledgements of a publish: (QoS, packets before, kind of the last one)
LAST = ((1, (), PUBACK), (2, (), PUBREC), (2, (b"\x50\x02\x00\x01",), PUBCOMP))


def ack(kind, pid, rest=b""):
    """An acknowledgement with these bytes behind its identifier."""
    return P.packet(kind, 2 if kind == PUBREL else 0, P.number(pid, 2) + rest)


def test_every_length_of_every_acknowledgement():
    """U-22: 2 bytes mean success, 3 no properties; PUBREC and PUBREL in the middle of a flow too."""
    for rest, given in rows(FORMS):
        for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            c, peer = connected({PUBLISH: None, PUBREL: None, PUBREC: None})
            told = acks(c)
            if kind == PUBREL:
                peer.send(P.publish("t", b"x", 2, 1))
                settle(c)
                peer.expect(PUBREC, pid=1)
                peer.send(ack(kind, 1, rest))
                settle(c)
                peer.expect(PUBCOMP, pid=1, code=0)
                peer.nothing()
                continue
            c.publish("t", b"", False, 1 if kind == PUBACK else 2)
            peer.expect(PUBLISH)
            if kind == PUBCOMP:
                peer.send(P.pubrec(1))
                settle(c)
                peer.expect(PUBREL, pid=1, code=0)
            peer.send(ack(kind, 1, rest))
            settle(c)
            if kind == PUBREC:
                eq(peer.expect(PUBREL, pid=1, code=0).raw, b"\x62\x02\x00\x01")
                eq((told, c.pending()), ([], 1))
            else:
                eq(told, [(1, 0, kind, given)])
                eq(c.pending(), 0)
            peer.nothing()


def test_every_refusal():
    """0x80 and more end the message: its identifier is free, wait() raises, no PUBREL; on_ack tells."""
    for code in rows((0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)):
        for kind, qos in ((PUBACK, 1), (PUBREC, 2)):
            for rest, given in ((b"", []), (b"\0", []), (P.props(MANY), MANY)):
                c, peer = connected({PUBLISH: None})
                told = acks(c)
                pid = c.publish("t", b"", False, qos)
                peer.send(ack(kind, pid, bytes((code,)) + rest))
                e = raises(Refused, c.wait, pid)
                eq((e.what, e.reason_code.value, e.reason, list(e.props)), (P.NAMES[kind], code, "why é" if given else "", given))
                eq(told, [(pid, code, kind, given)])
                eq((c.pending(), peer.of(PUBREL)), (0, []))
                c.wait()  # told once
                up(c, peer)


def test_success_with_information():
    """0x10 No matching subscribers is no failure."""
    for qos in rows((1, 2)):
        c, peer = connected({PUBLISH: lambda peer, p: ack(PUBACK if p.qos == 1 else PUBREC, p.pid, b"\x10")})
        told = acks(c)
        c.wait(c.publish("t", b"", False, qos))
        eq([x[:3] for x in told], [(1, 0x10 if qos == 1 else 0, PUBACK if qos == 1 else PUBCOMP)])


def test_pubcomp_not_found_ends_the_message():
    c, peer = connected({PUBREL: b"\x70\x03\x00\x01\x92"})
    told = acks(c)
    pid = c.publish("t", b"", False, 2)
    try:
        c.wait(pid)
    except Refused as e:
        eq(e.reason_code.value, 0x92)
    eq([x[:3] for x in told], [(1, 0x92, PUBCOMP)])
    eq(c.pending(), 0)
    up(c, peer)


def test_acknowledgements_in_any_order():
    c, peer = connected({PUBLISH: None})
    told = acks(c)
    for i in range(6):
        c.publish("t", b"%d" % i, False, 1)
    for pid in rows((3, 1, 6, 2, 5, 4)):
        peer.send(P.puback(pid))
        settle(c)
        eq(told[-1][0], pid)
        eq(c.pending(pid), 0)
    eq(c.pending(), 0)


def test_the_wrong_kind_of_acknowledgement_changes_nothing():
    """4.3.2-3, 4.3.3-3: PUBACK at QoS 2, PUBREC or PUBCOMP at QoS 1, a PUBCOMP before PUBREC, other identifiers."""
    c, peer = connected({PUBLISH: None, PUBREL: None})
    told = acks(c)
    one = c.publish("t", b"", False, 1)
    two = c.publish("t", b"", False, 2)
    peer.seen = len(peer.packets)
    for raw in rows((P.puback(two), P.pubcomp(one), P.pubcomp(two), P.puback(77), P.puback(two, 0x87), P.pubrec(one, 0x87))):
        peer.send(raw)
        settle(c)
        eq((c.pending(one), c.pending(two), told), (1, 1, []))
    peer.nothing()
    peer.send(P.pubrec(one))  # unknown as a QoS 2 identifier
    settle(c)
    peer.expect(PUBREL, pid=one, code=0x92)
    peer.send(P.puback(one), P.pubrec(two), P.pubcomp(two))
    settle(c)
    eq([x[:3] for x in told], [(one, 0, PUBACK), (two, 0, PUBCOMP)])


def test_repeated_acknowledgements():
    c, peer = connected({PUBLISH: None, PUBREL: None})
    told = acks(c)
    c.publish("t", b"", False, 1)
    c.publish("t", b"", False, 2)
    peer.send(P.puback(1), P.puback(1), P.puback(1, 0x80), P.pubrec(2), P.pubrec(2), P.pubrec(2, 0x10))
    settle(c)
    eq([p.pid for p in peer.of(PUBREL)], [2, 2, 2])
    eq([p.code for p in peer.of(PUBREL)], [0, 0, 0])
    peer.send(P.pubcomp(2), P.pubcomp(2))
    settle(c)
    eq([x[:3] for x in told], [(1, 0, PUBACK), (2, 0, PUBCOMP)])
    up(c, peer)


def test_an_identifier_is_busy_until_pubcomp():
    """4.3.3-5"""
    c, peer = connected({PUBLISH: None, PUBREL: None})
    two = c.publish("t", b"", False, 2)
    peer.send(P.pubrec(two))
    settle(c)
    eq(c.pending(two), 1)
    c._idfree = 0
    c.image[2] = c.image[3] = 0  # the next identifier would be this one
    assert c.publish("t", b"", False, 1) != two
    raises(OSError, c.wait, two, 0.05)
    peer.send(P.pubcomp(two))
    c.wait(two)


def test_refused_messages_are_never_sent_again():
    """4.4.0-2, and the trap: one refusal is neither a dead connection nor a delivery."""
    c, peer = connected({PUBLISH: None}, session_expiry=100)
    c.publish("t", b"1", False, 1)
    c.publish("t", b"2", False, 2)
    peer.send(P.puback(1, 0x87), P.pubrec(2, 0x97))
    settle(c)
    eq(c.isconnected(), True)
    c.drop()
    del peer.packets[:]
    peer.seen = 0
    again(c, peer)
    settle(c)
    peer.nothing()
    eq(c.pending(), 0)


def test_all_of_them_in_one_read_and_byte_by_byte():
    for size in rows((0, 1, 3)):
        c, peer = connected({PUBLISH: None, PUBREL: None})
        told = acks(c)
        for i in range(8):
            c.publish("t", b"", False, 1 + i % 2)
        out = b""
        for pid in range(1, 9):
            out += P.puback(pid, 0, MANY) if pid % 2 else P.pubrec(pid) + P.pubcomp(pid, 0, MANY)
        peer.link.arrives = size
        peer.link.gaps = bool(size)
        peer.send(out)
        while peer.link.inbox:
            settle(c)
        settle(c)
        eq([x[0] for x in told], [1, 2, 3, 4, 5, 6, 7, 8])
        eq([x[3] for x in told], [MANY] * 8)
        eq(c.pending(), 0)


def test_swapped_subacks_find_their_calls():
    """2.2.1-6, 3.8.4-2"""
    c, peer = connected({P.SUBSCRIBE: None, P.UNSUBSCRIBE: None})
    told = []
    c.on_suback = lambda c, pid, packet: told.append((pid, packet, bytes(c.packet_codes()), c.packet_props()))
    a = c.subscribe_start([("a", 1), ("b", 2)])
    b = c.subscribe_start([("c", 0)])
    u = c.unsubscribe_start(["d"])
    peer.send(P.suback(u, [0]), P.unsuback(u, [0x11], MANY), P.suback(b, [0x87], MANY), P.suback(a, [1, 0]), P.suback(a, [2, 2]))
    settle(c)
    eq(told, [(u, 11, b"\x11", MANY), (b, 9, b"\x87", MANY), (a, 9, b"\1\0", [])])
    up(c, peer)
