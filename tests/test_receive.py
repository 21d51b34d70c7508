"""PUBLISH in (3.3): checked, delivered once with everything it carries, acknowledged by its QoS, in any number of pieces."""

from support import packets as P
from support.packets import PUBACK, PUBLISH, PUBREC
from support.session import connected, heard, settle, up, violated
from support.t import eq, raises, rows
from umqtt5 import ProtocolError, ResourceError

EVERY = [
    ("user_property", ("b", "1")),
    ("payload_format_indicator", 1),
    ("subscription_identifier", 7),
    ("message_expiry_interval", 97),
    ("user_property", ("a", "é")),
    ("content_type", "text/plain"),
    ("response_topic", "r/t"),
    ("subscription_identifier", 300000),
    ("correlation_data", b"\x00\xff\x00"),
    ("user_property", ("b", "1")),
]


def test_every_field_reaches_the_handler():
    c, peer = connected()
    got = heard(c, True)
    for qos in rows((0, 1, 2)):
        for retain in (0, 1):
            for dup in (0, 1) if qos else (0,):
                peer.send(P.publish("a/é", b"\x00\xff", qos, 9, EVERY, retain, dup))
                settle(c)
                eq(got.pop(), ("a/é", b"\x00\xff", qos, retain, dup, EVERY))
    for pair in rows(EVERY):
        peer.send(P.publish("t", b"x", 0, None, [pair]))
        settle(c)
        eq(got.pop()[5], [pair])
    peer.send(P.publish("t", b"x"))
    settle(c)
    eq(got.pop()[5], [])


def test_acknowledgement_by_qos():
    """3.3.4-1, 2.2.1-5"""
    c, peer = connected()
    got = heard(c)
    peer.send(P.publish("t", b"0"))
    settle(c)
    peer.nothing()
    for pid in rows((1, 255, 256, 65535)):
        peer.send(P.publish("t", b"1", 1, pid))
        settle(c)
        eq(peer.expect(PUBACK).raw, b"\x40\x02" + P.number(pid, 2))
        peer.send(P.publish("t", b"2", 2, pid))
        settle(c)
        eq(peer.expect(PUBREC).raw, b"\x50\x02" + P.number(pid, 2))
        peer.expect(P.PUBCOMP)
    peer.nothing()
    eq(len(got), 9)


def test_each_packet_is_counted_once():
    c, peer = connected()
    c.subscribe("t")
    c.on_message = lambda m: m.is_topic(b"t")
    for together in rows((False, True)):
        n = c.received
        packets = [P.publish("t", b"x")] * 4 + [P.publish("t", b"x", 1, 1), P.publish("u", b"y"), P.pingresp()]
        for p in [b"".join(packets)] if together else packets:
            peer.send(p)
            settle(c)
        eq(c.received - n, 7)


def test_dup_says_nothing_about_qos_1():
    """3.3.1-3, 4.3.2-5: the same identifier twice, second time with DUP: delivered twice, acknowledged twice."""
    c, peer = connected()
    got = heard(c)
    peer.send(P.publish("t", b"1", 1, 5), P.publish("t", b"2", 1, 5, dup=True), P.publish("t", b"3", 1, 6, dup=True))
    settle(c)
    eq([(m[1], m[4]) for m in got], [(b"1", 0), (b"2", 1), (b"3", 1)])
    eq([p.pid for p in peer.of(PUBACK)], [5, 5, 6])


def test_unwanted_messages_are_acknowledged():
    """4.5.0-2, 3.3.2-3: no handler at all, or none that matches; after UNSUBSCRIBE too (3.10.4-3)."""
    c, peer = connected()
    peer.send(P.publish("t", b"1", 1, 1), P.publish("t", b"2", 2, 2), P.publish("t", b"0"))
    settle(c)
    got = []
    c.subscribe("only/this", 1, to=lambda m: got.append(1))
    peer.send(P.publish("other", b"3", 1, 3))
    settle(c)
    c.unsubscribe("only/this")
    peer.send(P.publish("only/this", b"4", 1, 4))
    settle(c)
    eq([p.pid for p in peer.of(PUBACK)], [1, 3, 4])
    eq([p.pid for p in peer.of(PUBREC)], [2])
    eq(got, [])
    up(c, peer)


def test_a_handler_that_raises_leaves_the_message_unacknowledged():
    """4.3.2-4: the acknowledgement is sent once the handler has taken the message; its exception reaches the caller."""
    c, peer = connected()

    def handler(m):
        raise ValueError("mine")

    for qos in rows((0, 1, 2)):
        c.on_message = handler
        peer.send(P.publish("t", b"x", qos, 5))
        eq(raises(ValueError, settle, c).args[0], "mine")
        peer.nothing()
        eq(c.isconnected(), True)
        got = heard(c)
        peer.send(P.publish("t", b"y", qos, 6))
        settle(c)
        eq([m[1] for m in got], [b"y"])
        if qos:
            peer.expect(PUBACK if qos == 1 else PUBREC, pid=6)
            if qos == 2:
                peer.expect(P.PUBCOMP)
    up(c, peer)


def test_callback_of_umqtt_simple():
    c, peer = connected()
    got = []
    c.set_callback(lambda topic, msg: got.append((topic, msg)))
    peer.send(P.publish("a", b"1"), P.publish("é", b"", 1, 1))
    settle(c)
    eq(got, [(b"a", b"1"), (b"\xc3\xa9", b"")])
    assert type(got[0][0]) is bytes and type(got[0][1]) is bytes


def test_accessors_of_a_message():
    c, peer = connected()
    out = []
    buf = bytearray(10)

    def handler(m):
        n = m.payload_len()
        out.append(
            (
                n,
                m.is_topic(b"a/b"),
                m.is_topic(b"a/c"),
                m.is_topic(b"a"),
                m.startswith(b"a/"),
                m.startswith(b"b"),
                m.startswith(b"a/bc"),
            )
        )
        out.append([m.byte(i) for i in range(n)])
        for i in (-1, n, 100):
            raises(IndexError, m.byte, i)
        out.append((m.copy_into(buf), bytes(buf[:n])))
        raises(ValueError, m.copy_into, bytearray(n - 1))
        raises(ValueError, m.int)

    c.on_message = handler
    peer.send(P.publish("a/b", b"\x00ab\xff"))
    settle(c)
    eq(out, [(4, True, False, False, True, False, False), [0, 97, 98, 255], (4, b"\x00ab\xff")])


def test_numbers():
    c, peer = connected()
    out = []

    def handler(m):
        try:
            out.append(m.int())
        except ValueError:
            out.append(None)

    c.on_message = handler
    for text, want in rows(
        ((b"0", 0), (b"7", 7), (b"-12", -12), (b"+3", 3), (b"2147483648", 2147483648), (b"007", 7))
        + tuple((t, None) for t in (b"", b"-", b"+", b"1.5", b" 1", b"1 ", b"x", b"--1", b"\xff"))
    ):
        peer.send(P.publish("t", text))
        settle(c)
        eq(out.pop(), want)


def test_a_message_cannot_be_read_afterwards():
    c, peer = connected()
    kept = []
    c.on_message = kept.append
    peer.send(P.publish("t", b"x", 1, 1, EVERY))
    settle(c)
    m = kept[0]
    raises(ValueError, m.topic)
    raises(ValueError, m.payload)
    raises(ValueError, m.properties)
    eq(m.is_topic(b"t"), False)
    raises((ValueError, IndexError), m.byte, 0)


def test_a_message_whose_handler_raised_cannot_be_read_afterwards():
    c, peer = connected()
    c.subscribe("t")
    kept = []

    def handler(m):
        kept.append(m)
        raise KeyError("handler")

    c.on_message = handler
    for _ in range(3):
        peer.send(P.publish("t", b"x"))
        raises(KeyError, settle, c)
        raises(ValueError, kept[-1].payload)
        raises(ValueError, kept[-1].topic)
    c.on_message = None
    up(c, peer)


def test_calls_from_a_handler():
    """Waiting calls say ResourceError; the engine goes on."""
    c, peer = connected()
    errors = []

    def handler(m):
        for f in (c.poll, c.check_msg, c.wait_msg, lambda: c.subscribe("a"), lambda: c.unsubscribe("a")):
            try:
                f()
            except ResourceError as e:
                errors.append(e)

    c.on_message = handler
    peer.send(P.publish("t", b"1", 1, 1), P.publish("t", b"2", 1, 2))
    settle(c)
    eq(len(errors), 10)
    eq([p.pid for p in peer.of(PUBACK)], [1, 2])
    up(c, peer)


def test_disconnect_and_drop_from_a_handler():
    for how in rows(("disconnect", "drop")):
        c, peer = connected()
        got = []

        def handler(m, got=got, c=c, how=how):
            got.append(1)
            getattr(c, how)()

        c.on_message = handler
        peer.send(P.publish("t", b"1", 1, 1), P.publish("t", b"2", 1, 2))
        try:
            settle(c)
        except OSError:
            pass
        eq((got, c.isconnected(), peer.link.closed), ([1], False, True))
        eq(peer.of(PUBACK), [])


def test_in_any_number_of_pieces():
    """U-33, byte by byte and all at once, with gaps: the same messages."""
    stream = b""
    want = []
    for i in range(30):
        qos = i % 3
        payload = bytes((i,)) * (i * 7 % 150)
        stream += P.publish("t/%d" % i, payload, qos, i + 1, EVERY if i % 4 == 1 else ())
        want.append(("t/%d" % i, payload, qos))
    for size in rows((1, 2, 3, 7, 31, 64, 65, 100, 0)):
        c, peer = connected(rx=320, inflight=2048)
        got = heard(c)
        peer.link.arrives = size
        peer.link.gaps = size in (1, 7, 64)
        peer.send(stream)
        while peer.link.inbox:
            c.poll()
        settle(c)
        eq([m[:3] for m in got], want)
        eq((len(peer.of(PUBACK)), len(peer.of(PUBREC)), len(peer.of(P.PUBCOMP))), (10, 10, 10))
        up(c, peer)


def test_packets_of_every_length_up_to_the_buffer():
    for size in rows((0, 1, 50)):
        c, peer = connected(rx=200)
        got = heard(c)
        peer.link.arrives = size
        for n in range(194):
            raw = P.publish("t", bytes(n))
            if len(raw) <= 200:
                peer.send(raw)
                while peer.link.inbox:
                    c.poll()
        eq([len(m[1]) for m in got], list(range(len(got))))
        assert len(got) > 190, len(got)


def test_replies_while_the_socket_takes_nothing():
    """The client stands still until its acknowledgement has left; nothing is lost."""
    c, peer = connected()
    got = heard(c)
    peer.send(P.publish("t", b"1", 1, 1), P.publish("t", b"2", 2, 2), P.publish("t", b"3", 1, 3))
    peer.link.busy = 3
    for _ in range(10):
        c.poll()
    eq([m[1] for m in got], [b"1", b"2", b"3"])
    eq([p.name for p in peer.packets[1:]], ["PUBACK", "PUBREC", "PUBACK", "PUBCOMP"])


def test_two_styles_of_overlapping_subscriptions():
    """3.3.4-2: one copy with two identifiers, or two copies."""
    c, peer = connected()
    a = []
    b = []
    c.subscribe("x/#", to=lambda m: a.append(bytes(m.payload())))
    c.subscribe("x/y", to=lambda m: b.append(bytes(m.payload())))
    ids = [p.prop("subscription_identifier") for p in peer.of(P.SUBSCRIBE)]
    eq(len(set(ids)), 2)
    peer.send(P.publish("x/y", b"1", 0, None, [("subscription_identifier", i) for i in ids]))
    peer.send(P.publish("x/y", b"2", 0, None, [("subscription_identifier", ids[0])]))
    peer.send(P.publish("x/y", b"2", 0, None, [("subscription_identifier", ids[1])]))
    settle(c)
    eq((a, b), ([b"1", b"2"], [b"1", b"2"]))


def test_end_of_the_connection():
    for how, error in rows((("close", OSError), ("reset", OSError))):
        c, peer = connected()
        got = heard(c)
        told = []
        c.on_disconnect = lambda c, u, flags, code, props: told.append((flags, code, list(props)))
        if how == "close":
            peer.send(P.publish("t", b"last"))
        getattr(peer, how)()
        raises(error, settle, c)
        eq((c.isconnected(), peer.link.closed, told), (False, True, [(0, None, [])]))
        eq(len(got), 1 if how == "close" else 0)
        raises(OSError, c.poll)
        eq(len(told), 1)
        raises(OSError, c.publish, "t", b"")


def test_half_a_packet_and_the_end():
    c, peer = connected()
    peer.send(P.publish("t", b"12345")[:-2])
    settle(c)
    peer.close()
    raises(OSError, settle, c)
    eq(c.isconnected(), False)


def test_nothing_yet_is_not_the_end():
    c, peer = connected()
    for _ in range(5):
        eq(bool(c.poll()), False)
    up(c, peer)


def test_a_mebibyte_that_nobody_asked_for():
    """U-34: closed by its length alone."""
    c, peer = connected(rx=4096)
    peer.send(b"\x30\x80\x80\x40\x00\x01t\x00")
    violated(c, peer, 0x95)
    raises(OSError, c.poll)


def test_a_violation_is_raised_once():
    c, peer = connected()
    told = []
    c.on_disconnect = lambda c, u, flags, code, props: told.append((flags, code.value))
    peer.send(b"\x00\x00" * 5)
    eq(raises(ProtocolError, settle, c).reason_code, 0x82)
    raises(OSError, c.poll)
    eq(told, [(2, 0x82)])
    eq(len(peer.of(P.DISCONNECT)), 1)


def test_an_empty_payload_and_a_zero_topic_level():
    c, peer = connected()
    got = heard(c)
    peer.send(P.publish("/", b""), P.publish("a", b"", 1, 1), P.publish("$SYS/x", b""))
    settle(c)
    eq([m[:2] for m in got], [("/", b""), ("a", b""), ("$SYS/x", b"")])
    eq(len(peer.of(PUBLISH)), 0)
