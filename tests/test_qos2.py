"""QoS 2 both ways (4.3.3): exactly once, whatever is repeated, refused, lost or answered late, and over a reconnect."""

from support import packets as P
from support.clock import Clock
from support.packets import DISCONNECT, PUBCOMP, PUBLISH, PUBREC, PUBREL
from support.session import acks, again, connected, heard, settle, up
from support.t import eq, rows

time = Clock()

SILENT = (PUBLISH, PUBREC, PUBREL)


def silent(**options):
    """A connection whose server acknowledges nothing by itself."""
    return connected({kind: None for kind in SILENT}, session_expiry=100, **options)


def lost(c, peer):
    """The connection breaks; what the client has sent so far is forgotten here."""
    c.drop()
    del peer.packets[:]
    peer.seen = 0


# --- out


def test_the_flow_out():
    c, peer = silent()
    told = acks(c)
    pid = c.publish("t", b"x", False, 2)
    p = peer.expect(PUBLISH)
    eq((p.qos, p.dup, p.pid), (2, 0, pid))
    peer.send(P.pubrec(pid))
    settle(c)
    eq(peer.expect(PUBREL).raw, b"\x62\x02\x00\x01")
    eq((told, c.pending()), ([], 1))
    peer.send(P.pubcomp(pid))
    settle(c)
    eq(told, [(pid, 0, PUBCOMP, [])])
    eq(c.pending(), 0)
    peer.nothing()


def test_pubrel_for_every_success_and_for_no_failure():
    """4.3.3-4"""
    for code in rows((None, 0, 0x10)):
        c, peer = silent()
        c.publish("t", b"x", False, 2)
        peer.send(P.pubrec(1, code))
        settle(c)
        eq([(p.pid, p.code) for p in peer.of(PUBREL)], [(1, 0)])
    for code in rows((0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)):
        c, peer = silent()
        c.publish("t", b"x", False, 2)
        peer.send(P.pubrec(1, code))
        settle(c)
        eq((peer.of(PUBREL), c.pending()), ([], 0))


def test_pubrels_leave_in_the_order_of_pubrecs():
    """4.6.0-4"""
    c, peer = silent()
    for _ in range(3):
        c.publish("t", b"x", False, 2)
    peer.send(P.pubrec(3), P.pubrec(1), P.pubrec(2))
    settle(c)
    eq([p.pid for p in peer.of(PUBREL)], [3, 1, 2])


def test_pubrels_leave_in_order_although_writes_are_taken_in_part():
    for takes, busy in rows(((1, 0), (0, 3), (3, 2))):
        c, peer = silent()
        for _ in range(4):
            c.publish("t", b"x", False, 2)
        peer.link.takes = takes
        peer.link.busy = busy
        peer.send(P.pubrec(1), P.pubrec(2), P.pubrec(4), P.pubrec(3))
        for _ in range(30):
            c.poll()
        eq([p.pid for p in peer.of(PUBREL)], [1, 2, 4, 3])
        peer.send(P.pubcomp(4), P.pubcomp(3), P.pubcomp(1), P.pubcomp(2))
        settle(c)
        eq(c.pending(), 0)


def test_lost_before_pubrec_sends_the_publish_again():
    c, peer = silent()
    c.publish("t", b"x", True, 2)
    lost(c, peer)
    again(c, peer)
    settle(c)
    p = peer.expect(PUBLISH)
    eq((p.raw, p.dup), (b"\x3d\x07\x00\x01t\x00\x01\x00x", 1))
    peer.nothing()
    peer.send(P.pubrec(1))
    settle(c)
    peer.expect(PUBREL, pid=1)


def test_lost_after_pubrec_sends_pubrel_only():
    """4.3.3-6, U-32: never the PUBLISH again; PUBREL keeps its identifier and has no DUP."""
    c, peer = silent()
    c.publish("t", b"x", False, 2)
    peer.send(P.pubrec(1))
    settle(c)
    for _ in rows((1, 2, 3)):
        lost(c, peer)
        again(c, peer)
        settle(c)
        eq(peer.expect().raw, b"\x62\x02\x00\x01")
        peer.nothing()
        eq(c.pending(), 1)
    peer.send(P.pubcomp(1))
    settle(c)
    lost(c, peer)
    again(c, peer)
    settle(c)
    peer.nothing()


def test_lost_after_pubcomp_sends_nothing():
    c, peer = connected(session_expiry=100)
    c.publish("t", b"x", False, 2)
    settle(c)
    lost(c, peer)
    again(c, peer)
    settle(c)
    peer.nothing()


def test_repeated_pubrec_is_answered_again():
    c, peer = silent()
    c.publish("t", b"x", False, 2)
    for n in rows((1, 2, 3)):
        peer.send(P.pubrec(1))
        settle(c)
        eq([(p.pid, p.code) for p in peer.of(PUBREL)], [(1, 0)] * n)
    eq(c.pending(), 1)


def test_a_failed_pubrec_after_pubrel_changes_nothing_bad():
    c, peer = silent()
    told = acks(c)
    c.publish("t", b"x", False, 2)
    peer.send(P.pubrec(1), P.pubrec(1, 0x80))
    settle(c)
    peer.send(P.pubcomp(1))
    settle(c)
    eq(c.pending(), 0)
    eq(len(told), 1)
    up(c, peer)


# --- in


def test_the_flow_in():
    """4.3.3-8, -11, -12: one delivery a flow; afterwards the identifier is new."""
    c, peer = silent()
    got = heard(c)
    for pid in rows((1, 65535, 256, 1, 1)):
        peer.send(P.publish("t", b"%d" % pid, 2, pid))
        settle(c)
        peer.expect(PUBREC, pid=pid, code=0)
        peer.send(P.pubrel(pid))
        settle(c)
        peer.expect(PUBCOMP, pid=pid, code=0)
    eq([m[1] for m in got], [b"1", b"65535", b"256", b"1", b"1"])
    peer.nothing()


def test_repeated_publish_is_delivered_once():
    """4.3.3-10, 3.3.1-3: whether DUP is set or not, and over a reconnect."""
    c, peer = silent()
    got = heard(c)
    for dup in rows((False, True, True, False)):
        peer.send(P.publish("t", b"x", 2, 5, dup=dup))
        settle(c)
        peer.expect(PUBREC, pid=5, code=0)
    eq(len(got), 1)
    lost(c, peer)
    again(c, peer)
    peer.send(P.publish("t", b"x", 2, 5, dup=True))
    settle(c)
    peer.expect(PUBREC, pid=5, code=0)
    eq(len(got), 1)
    peer.send(P.pubrel(5))
    settle(c)
    peer.expect(PUBCOMP, pid=5, code=0)
    peer.send(P.publish("t", b"y", 2, 5, dup=True))
    settle(c)
    eq([m[1] for m in got], [b"x", b"y"])


def test_pubrel_over_a_reconnect():
    c, peer = silent()
    got = heard(c)
    peer.send(P.publish("t", b"x", 2, 7))
    settle(c)
    lost(c, peer)
    again(c, peer)
    settle(c)
    peer.nothing()  # the server repeats, not the client
    peer.send(P.pubrel(7))
    settle(c)
    peer.expect(PUBCOMP, pid=7, code=0)
    peer.send(P.pubrel(7))
    settle(c)
    peer.expect(PUBCOMP, pid=7, code=0x92)
    eq(len(got), 1)


def test_acknowledgements_leave_in_the_order_of_arrival():
    """4.6.0-2, 4.6.0-3"""
    c, peer = silent()
    got = heard(c)
    peer.send(*[P.publish("t", b"%d" % i, 2, i) for i in (9, 3, 7)])
    peer.send(*[P.publish("t", b"%d" % i, 1, i) for i in (19, 13, 17)])
    peer.send(P.pubrel(3), P.pubrel(9), P.pubrel(7))
    settle(c)
    eq([p.pid for p in peer.of(PUBREC)], [9, 3, 7])
    eq([p.pid for p in peer.of(P.PUBACK)], [19, 13, 17])
    eq([p.pid for p in peer.of(PUBCOMP)], [3, 9, 7])
    eq([m[1] for m in got], [b"9", b"3", b"7", b"19", b"13", b"17"])


def test_a_rejected_message_leaves_its_identifier_free():
    """4.3.3-9: after PUBREC of 0x80 and more the same identifier is a new message."""
    c, peer = silent()
    got = []

    def handler(m):
        got.append(bytes(m.payload()))
        if len(got) == 1:
            m.reject(0x83)

    c.on_message = handler
    peer.send(P.publish("t", b"1", 2, 5))
    settle(c)
    peer.expect(PUBREC, pid=5, code=0x83)
    peer.send(P.publish("t", b"2", 2, 5))
    settle(c)
    peer.expect(PUBREC, pid=5, code=0)
    eq(got, [b"1", b"2"])
    up(c, peer)


def test_reason_codes_of_ours_are_legal_ones():
    """3.4.2-1, 3.5.2-1, 3.7.2-1; the trap: never a code that the packet cannot carry."""
    c, peer = silent()
    legal = (0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)
    for qos in rows((1, 2)):
        for code in (0x10, 0x11, 0x18, 0x7F, 0x80, 0x81, 0x82, 0x83, 0x87, 0x8D, 0x90, 0x91, 0x92, 0x93, 0x97, 0x99, 0xFF):
            errors = []

            def handler(m, code=code, errors=errors):
                try:
                    m.reject(code)
                except ValueError as e:
                    errors.append(e)

            c.on_message = handler
            peer.send(P.publish("t", b"", qos, 3))
            settle(c)
            eq(len(errors), 0 if code in legal else 1)
            kind = P.PUBACK if qos == 1 else PUBREC
            eq(peer.of(kind)[-1].code, code if code in legal else 0)
            if qos == 2:
                peer.send(P.pubrel(3))
                settle(c)
    eq(peer.of(DISCONNECT), [])


def test_properties_of_a_rejection():
    """3.4.2-2, -3, 3.5.2-2, -3: left out where the packet would pass the server's Maximum Packet Size."""
    given = [("reason_string", "because"), ("user_property", ("k", "v"))]
    for qos, kind in rows(((1, P.PUBACK), (2, PUBREC))):
        for limit, want in (
            (100, given),
            (None, given),
            (30, given),
            (20, [("user_property", ("k", "v"))]),
            (14, [("user_property", ("k", "v"))]),
            (12, []),
            (8, []),
        ):
            c, peer = connected({kind: None for kind in SILENT}, {"maximum_packet_size": limit} if limit else ())
            c.on_message = lambda m: m.reject(0x87, given)
            peer.send(P.publish("t", b"", qos, 3))
            settle(c)
            p = peer.of(kind)[0]
            eq((p.code, p.pid), (0x87, 3))
            assert not limit or len(p.raw) <= limit, p
            if limit != 20 and limit != 14 and limit != 30:
                eq(p.props, want)
            up(c, peer)


def test_long_properties_of_a_rejection():
    for n in rows((100, 118, 119, 120, 121, 122, 123, 128, 16374, 16375, 16376, 16377, 16378, 20000)):
        c, peer = connected()
        c.on_message = lambda m, n=n: m.reject(0x87, {"reason_string": "x" * n})
        peer.send(P.publish("t", b"", 1, 3))
        settle(c)
        eq(len(peer.expect(P.PUBACK).prop("reason_string")), n)


def test_both_sides_use_the_same_identifiers():
    """U-31"""
    c, peer = silent()
    got = heard(c)
    told = acks(c)
    c.publish("out", b"x", False, 2)
    peer.send(P.publish("in", b"y", 2, 1))
    settle(c)
    peer.expect(PUBLISH, pid=1)
    peer.expect(PUBREC, pid=1)
    peer.send(P.pubrec(1))
    settle(c)
    peer.expect(PUBREL, pid=1, code=0)
    peer.send(P.pubrel(1))
    settle(c)
    peer.expect(PUBCOMP, pid=1, code=0)
    eq(told, [])
    peer.send(P.pubcomp(1))
    settle(c)
    eq((len(told), len(got), c.pending()), (1, 1, 0))
    peer.nothing()


def test_handshake_is_finished_although_the_message_has_expired():
    """4.3.3-13"""
    c, peer = silent()
    got = heard(c)
    peer.send(P.publish("t", b"x", 2, 5, {"message_expiry_interval": 1}))
    settle(c)
    time.sleep_ms(1200)
    peer.send(P.pubrel(5))
    settle(c)
    peer.expect(PUBREC, pid=5)
    peer.expect(PUBCOMP, pid=5, code=0)
    eq(len(got), 1)


def test_a_sent_message_never_expires():
    """4.3.3-7"""
    from umqtt5 import props

    c, peer = silent()
    for qos in (1, 2):
        c.publish("t", b"x", False, qos, props.encode(message_expiry=1))
    time.sleep_ms(2100)
    lost(c, peer)
    again(c, peer)
    settle(c)
    eq([(p.pid, p.dup) for p in peer.of(PUBLISH)], [(1, 1), (2, 1)])


def test_no_room_for_an_inbound_identifier():
    """Quota exceeded, and no delivery: the server may send it again."""
    c, peer = silent(inflight=64)
    got = heard(c)
    n = 0
    for pid in range(1, 40):
        peer.send(P.publish("t", b"", 2, pid))
        settle(c)
        if peer.of(PUBREC)[-1].code:
            eq(peer.of(PUBREC)[-1].code, 0x97)
            break
        n += 1
    eq(len(got), n)
    assert n >= 5, n
    peer.send(P.pubrel(1))
    settle(c)
    peer.send(P.publish("t", b"", 2, 99))
    settle(c)
    eq(peer.of(PUBREC)[-1].code, 0)
    eq(len(got), n + 1)


def test_byte_by_byte():
    c, peer = connected(session_expiry=100)
    peer.link.arrives = peer.link.takes = 1
    peer.link.gaps = True
    got = heard(c)
    told = acks(c)
    for _ in range(3):
        c.publish("t", b"out", False, 2)
        peer.send(P.publish("t", b"in", 2, 9))
        for _ in range(300):
            c.poll()
    eq((len(got), len(told), c.pending()), (3, 3, 0))


def test_pubrel_and_pubcomp_of_ours_carry_no_properties():
    """3.6.2-2, -3, 3.7.2-2, -3: they are never too large for any server, so nothing has to be left out."""
    for limit in rows((5, 100, None)):
        c, peer = connected({PUBREL: None}, {"maximum_packet_size": limit} if limit else ())
        if limit != 5:
            c.publish("t", b"x", False, 2)
        peer.send(P.pubrec(9), P.pubrel(9))
        peer.send(P.publish("t", b"", 2, 3))
        settle(c)
        for kind in (PUBREL, PUBCOMP):
            assert peer.of(kind)
            for p in peer.of(kind):
                assert len(p.raw) <= 5 and p.props == () and p.block == b"", p


def test_first_bytes_of_every_packet_of_ours():
    """2.1.3-1: the flags of each packet; 3.6.2-1: no PUBREL but 0x00 and 0x92."""
    c, peer = silent()
    for qos in (0, 1, 2):
        c.publish("t", b"", False, qos)
        c.publish("t", b"", True, qos)
    peer.send(P.pubrec(3), P.pubrec(99), P.publish("t", b"", 1, 1), P.publish("t", b"", 2, 2), P.pubrel(2), P.pubrel(3))
    settle(c)
    c.subscribe("f")
    c.unsubscribe("f")
    c.ping()
    settle(c)
    c.disconnect()
    eq(
        sorted(set([p.raw[0] for p in peer.packets])),
        [0x10, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0],
    )
    eq(sorted(set([p.code for p in peer.of(PUBREL)])), [0, 0x92])
    eq(sorted(set([p.code for p in peer.of(PUBCOMP)])), [0, 0x92])
