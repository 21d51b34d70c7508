"""PUBLISH out (3.3): bytes on the wire, every property, arguments refused before a byte leaves, one packet in one write."""

from support import packets as P
from support.clock import Clock
from support.packets import PUBLISH
from support.session import again, connected, make, settle, up
from support.t import eq, raises, rows
from umqtt5 import ResourceError, props

time = Clock()

HEAP = "64m"
EVERY = [
    ("user_property", ("z", "1")),
    ("payload_format_indicator", 1),
    ("message_expiry_interval", 0xFFFFFFFF),
    ("user_property", ("a", "é")),
    ("content_type", "text/plain"),
    ("response_topic", "r/t"),
    ("correlation_data", b"\x00\xff"),
    ("user_property", ("z", "1")),
]


def test_bytes_of_each_qos():
    c, peer = connected({}, ())
    for qos, want in rows(
        ((0, b"\x30\x06\x00\x01t\x00xy"), (1, b"\x32\x08\x00\x01t\x00\x01\x00xy"), (2, b"\x34\x08\x00\x01t\x00\x02\x00xy"))
    ):
        pid = c.publish("t", b"xy", False, qos)
        eq(peer.expect(PUBLISH).raw, want)
        eq(pid, qos)
        settle(c)
        peer.seen = len(peer.packets)
    c.publish("t", b"xy", True)
    eq(peer.expect(PUBLISH).raw, b"\x31\x06\x00\x01t\x00xy")


def test_every_property_at_each_qos():
    c, peer = connected(inflight=4096, tx=512)
    for qos in rows((0, 1, 2)):
        c.publish("t", b"x", False, qos, props.encode(pairs=EVERY))
        eq(peer.of(PUBLISH)[-1].props, EVERY)
        eq(peer.of(PUBLISH)[-1].payload, b"x")
        for pair in EVERY:
            c.publish("t", b"x", False, qos, props.encode(pairs=[pair]))
            eq(peer.of(PUBLISH)[-1].props, [pair])
        settle(c)
        c.publish("t", b"x", False, qos)
        eq(peer.of(PUBLISH)[-1].props, [])
        settle(c)


def test_payload_lengths_around_every_boundary():
    """Remaining Length of one, two and three bytes, in tx, through the caller's own buffer and through the image (1.5.5-1)."""
    c, peer = connected(tx=256, inflight=40000)
    for qos in rows((0, 1, 2)):
        for n in (
            0,
            1,
            121,
            122,
            123,
            124,
            125,
            126,
            127,
            128,
            129,
            240,
            247,
            248,
            249,
            250,
            251,
            252,
            253,
            300,
            16378,
            16379,
            16380,
            16381,
            16390,
        ):
            payload = bytes((i & 255 for i in range(n)))
            c.publish("t", payload, False, qos)
            p = peer.of(PUBLISH)[-1]
            eq((p.topic, p.payload == payload, len(p.payload), p.qos), ("t", True, n, qos))
            settle(c)
    c.publish("t", bytes(2097152 - 4))
    eq(len(peer.of(PUBLISH)[-1].payload), 2097148)
    eq(peer.of(PUBLISH)[-1].raw[1:5], b"\x80\x80\x80\x01")
    c.publish("t", bytes(2097151 - 4))
    eq(peer.of(PUBLISH)[-1].raw[1:4], b"\xff\xff\x7f")


def test_one_packet_one_write():
    c, peer = connected(tx=256)
    p = c.publication("a/b", 20)
    q = c.publication("a/b", 20, False, 1)
    link = peer.link
    del link.writes[:]
    for qos in rows((0, 1, 2)):
        c.publish("a/b", bytes(20), False, qos)
        c.publish("a/b", bytes(200), False, qos)
        c.publish("a/c", bytes(20), False, qos, props.encode(message_expiry=9))
    c.publish("a/b", bytes(20), True)
    p.send(bytes(20))
    p.send_any(bytes(3))
    p.send_in_place(20)
    q.send(bytes(20))
    c.subscribe_start([("f", 0), ("g", 1)])
    c.ping()
    settle(c)
    n = 9 + 1 + 3 + 1 + 1 + 1 + 3  # and three PUBREL
    eq((len(peer.packets) - 1, len(link.writes)), (n, n))
    # longer than tx: header and payload
    del link.writes[:]
    c.publish("a/b", bytes(1000))
    eq(len(link.writes), 2)


def test_a_topic_buffer_may_be_reused():
    """Trap: a bytearray is known by what it holds, not by which object it is."""
    c, peer = connected(aliases=0)
    topic = bytearray(b"a/1")
    for i in rows((1, 2, 3)):
        topic[2] = 48 + i
        for qos in (0, 1):
            c.publish(topic, b"x", False, qos)
            eq(peer.of(PUBLISH)[-1].topic, "a/%d" % i)
    block = props.encode(message_expiry=5)
    other = props.encode(message_expiry=6)
    c.publish("t", b"", False, 0, block)
    c.publish("t", b"", False, 0, other)
    c.publish("t", b"", False, 0)
    c.publish("t", b"", False, 0, block)
    eq([p.prop("message_expiry_interval") for p in peer.of(PUBLISH)[-4:]], [5, 6, None, 5])


def test_same_topic_object_with_different_arguments():
    c, peer = connected()
    want = []
    for payload in (b"", b"1", b"22", bytes(130), b"4"):
        for retain in (False, True):
            for qos in (0, 1, 2):
                c.publish("same", payload, retain, qos)
                want.append(("same", payload, int(retain), qos))
                settle(c)
    eq([(p.topic, p.payload, p.retain, p.qos) for p in peer.of(PUBLISH)], want)


def test_text_is_counted_in_bytes():
    c, peer = connected()
    for qos in rows((0, 1, 2)):
        c.publish("tür/é", "größe €", False, qos)
        p = peer.of(PUBLISH)[-1]
        eq((p.topic, p.payload), ("tür/é", "größe €".encode()))
        settle(c)
    c.publish(b"t\xc3\xbcr", bytearray(b"\xff\x00"))
    c.publish("tür", memoryview(b"abc"))
    eq([(p.topic, p.payload) for p in peer.of(PUBLISH)[-2:]], [("tür", b"\xff\x00"), ("tür", b"abc")])


def test_a_byte_order_mark_is_kept():
    """1.5.4-3"""
    c, peer = connected()
    c.publish("\ufeffx", b"")
    assert b"\xef\xbb\xbfx" in peer.of(PUBLISH)[-1].raw


BAD_TOPICS = (
    "",
    "a/+",
    "a/#",
    "+",
    "#",
    "a\0b",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    "a\ud800",
    b"",
    bytearray(b"a+"),
    "x" * 65536,
)


def test_bad_topics_are_refused():
    c, peer = connected(inflight=1024)
    for topic in rows(BAD_TOPICS):
        for qos in (0, 1, 2):
            raises(ValueError, c.publish, topic, b"x", False, qos)
            raises(ValueError, c.publication, topic, 5, False, qos)
    for topic in rows((None, 5, ["t"])):
        raises((TypeError, ValueError), c.publish, topic, b"x")
    eq(c.pending(), 0)
    peer.nothing()
    up(c, peer)
    c.publish("t", b"x")
    eq(peer.of(PUBLISH)[-1].topic, "t")


def test_longest_topic():
    c, peer = connected(tx=65535, inflight=65535)
    c.publish("x" * 65520, b"1")
    eq((len(peer.of(PUBLISH)[-1].topic), peer.of(PUBLISH)[-1].payload), (65520, b"1"))
    p = c.publication("y" * 65535, 1)
    p.send(b"2")
    eq((len(peer.of(PUBLISH)[-1].topic), peer.of(PUBLISH)[-1].payload), (65535, b"2"))


def test_wrong_qos():
    c, peer = connected()
    for qos in rows((3, -1, 4, 7)):
        raises(ValueError, c.publish, "t", b"x", False, qos)
        raises(ValueError, c.publication, "t", 1, False, qos)
    c.drop()
    raises(ValueError, c.publish, "t", b"x", False, 3)
    eq(c.pending(), 0)
    eq(peer.of(PUBLISH), [])


def test_wrong_properties_are_refused():
    c, peer = connected()
    for wrong in rows(
        (
            {"payload_format_indicator": 2},
            {"message_expiry_interval": -1},
            {"message_expiry_interval": 0x100000000},
            {"response_topic": "a/#"},
            {"response_topic": ""},
            {"response_topic": b"\xff"},
            {"content_type": b"\xff"},
            {"content_type": "a\0"},
            {"user_property": ("a\0", "b")},
            {"user_property": ("a", b"\xed\xa0\x80")},
            {"correlation_data": b"x" * 65536},
            {"topic_alias": 0},
            {"topic_alias": 65536},
            {"subscription_identifier": 1},
            {"session_expiry_interval": 1},
            {"reason_string": "x"},
            {"will_delay_interval": 1},
        )
    ):
        raises(ValueError, props.encode, 3, wrong)
        raises(ValueError, c.publication, "t", 1, False, 0, wrong)
    # a block made by hand is checked too
    for block in rows(
        (
            b"\x02\x0b\x01",
            b"\x02\x01\x02",
            b"\x05\x02\x00\x00\x00",
            b"\x01\x7f",
            b"\x04\x01\x01\x01\x00",
            b"\x03\x23\x00\x00",
            b"\x80\x00",
        )
    ):
        for qos in (0, 1):
            raises(ValueError, c.publish, "t", b"x", False, qos, block)
    raises((TypeError, ValueError), c.publish, "t", b"x", False, 0, {"content_type": "x"})
    peer.nothing()
    up(c, peer)


def test_wrong_payloads():
    c, peer = connected()
    for wrong in rows((None, 5, ["x"])):
        for qos in (0, 1):
            raises(TypeError, c.publish, "t", wrong, False, qos)
    eq(c.pending(), 0)
    peer.nothing()
    c.publish("t", b"ok", False, 1)
    eq(peer.expect(PUBLISH).payload, b"ok")
    up(c, peer)


def test_no_room():
    """ResourceError before a byte is sent; the client works on."""
    c, peer = connected({PUBLISH: None}, inflight=128)
    raises(ResourceError, c.publish, "t", bytes(200), False, 1)
    n = 0
    try:
        while True:
            c.publish("t", bytes(20), False, 1)
            n += 1
    except ResourceError:
        pass
    eq((n, len(peer.of(PUBLISH)), c.pending()), (3, 3, 3))
    c.publish("t", b"qos 0 is not held up")
    peer.send(P.puback(1))
    settle(c)
    c.publish("t", bytes(20), False, 1)
    eq(len(peer.of(PUBLISH)), 5)
    raises(ResourceError, c.publish, "t" * 300, b"")
    up(c, peer)


def test_publications():
    c, peer = connected()
    for qos in rows((0, 1, 2)):
        p = c.publication("p/t", 6, True, qos, {"content_type": "x"})
        p.send(b"123456")
        p.send_any(b"12")
        p.send_any(b"")
        p.buf[:] = b"abcdef"
        p.send_in_place(6)
        p.send_in_place(3)
        p.send(b"654321")
        got = peer.of(PUBLISH)[-6:]
        eq([x.payload for x in got], [b"123456", b"12", b"", b"abcdef", b"abc", b"654321"])
        for x in got:
            eq((x.topic, x.retain, x.qos, x.props), ("p/t", 1, qos, [("content_type", "x")]))
        raises(ValueError, p.send, b"12345")
        raises(ValueError, p.send, b"1234567")
        raises(ValueError, p.send_any, b"1234567")
        raises(ValueError, p.send_in_place, 7)
        raises(ValueError, p.send_in_place, -1)
        settle(c)
        eq(c.pending(), 0)
    eq(len(peer.of(PUBLISH)), 18)


def test_publications_outlive_a_connection():
    c, peer = connected(session_expiry=100)
    p = c.publication("p/t", 4)
    q = c.publication("q/t", 4, False, 1)
    p.send(b"0000")
    c.drop()
    raises(OSError, p.send, b"1111")
    q.send(b"1111")
    again(c, peer)
    p.send(b"2222")
    settle(c)
    eq([x.payload for x in peer.of(PUBLISH)], [b"0000", b"1111", b"2222"])
    c.disconnect()
    raises(OSError, p.send, b"1111")
    raises(OSError, p.send_any, b"1")
    raises(OSError, p.send_in_place, 1)


def test_publications_obey_limits_of_each_connection():
    c, peer = connected(session_expiry=100)
    p = c.publication("t", 30, True)
    p.send(bytes(30))
    c.drop()
    peer.connack_props = {"maximum_packet_size": 30}
    again(c, peer)
    raises(ValueError, p.send, bytes(30))
    p.send_any(bytes(24))
    raises(ValueError, p.send_any, bytes(25))
    raises(ValueError, p.send_in_place, 30)
    c.drop()
    peer.connack_props = {"retain_available": 0}
    again(c, peer)
    raises(ValueError, p.send, bytes(30))
    raises(ValueError, p.send_any, b"")
    eq(len(peer.of(PUBLISH)), 2)


def test_partial_writes():
    """A socket that takes some bytes, or none, in the middle of a packet."""
    for takes, busy in rows(((1, 0), (3, 0), (0, 2), (7, 1))):
        c, peer = connected(inflight=4096)
        link = peer.link
        link.takes = takes
        for i in range(5):
            for qos in (0, 1, 2):
                link.busy = busy
                c.publish("t%d" % i, b"payload %d" % qos, False, qos)
        link.busy = busy
        c.publish("t", bytes(400))
        for _ in range(60):
            c.poll()
        got = peer.of(PUBLISH)
        eq([(p.topic, p.payload) for p in got if p.qos == 0], [("t%d" % i, b"payload 0") for i in range(5)] + [("t", bytes(400))])
        eq([p.payload for p in got if p.qos], [b"payload 1", b"payload 2"] * 5)
        eq(c.pending(), 0)


def test_queued_while_there_is_no_connection():
    """QoS 1 and 2 go to the image; QoS 0 raises OSError unless queue_qos0."""
    for queue in rows((False, True)):
        c, peer = connected(session_expiry=100, queue_qos0=queue)
        c.drop()
        if queue:
            eq(c.publish("zero", b"0"), 0)
        else:
            raises(OSError, c.publish, "zero", b"0")
        assert c.publish("one", b"1", True, 1)
        assert c.publish("two", b"2", False, 2, props.encode(content_type="x"))
        eq(c.pending(), 2)
        again(c, peer)
        settle(c)
        got = [(p.topic, p.payload, p.qos, p.retain, p.dup, p.props) for p in peer.of(PUBLISH)]
        want = [("one", b"1", 1, 1, 0, []), ("two", b"2", 2, 0, 0, [("content_type", "x")])]
        eq(got, ([("zero", b"0", 0, 0, 0, [])] if queue else []) + want)
        eq(c.pending(), 0)


def test_drop_policies():
    for drop, want in rows((("oldest", [b"2", b"3", b"4"]), ("newest", [b"0", b"1", b"2"]))):
        c, peer = connected(session_expiry=100, inflight=128, drop=drop)
        c.drop()
        for i in range(5):
            c.publish("t", b"%d" % i + bytes(20), False, 1)
        eq((c.pending(), c.dropped), (3, 2))
        again(c, peer)
        settle(c)
        eq([p.payload[:1] for p in peer.of(PUBLISH)], want)


def test_expired_messages_are_dropped_and_the_interval_shrinks():
    c, peer = connected(session_expiry=100)
    c.drop()
    short = props.encode(message_expiry=1)
    long = props.encode(pairs=[("content_type", "x"), ("message_expiry_interval", 100), ("user_property", ("a", "b"))])
    c.publish("short", b"1", False, 1, short)
    c.publish("long", b"2", False, 1, long)
    c.publish("none", b"3", False, 1)
    c.publish("long2", b"4", False, 2, long)
    time.sleep_ms(2100)
    again(c, peer)
    settle(c)
    eq([p.topic for p in peer.of(PUBLISH)], ["long", "none", "long2"])
    for p in rows((peer.of(PUBLISH)[0], peer.of(PUBLISH)[2])):
        assert 97 <= p.prop("message_expiry_interval") <= 98, p
        eq((p.prop("content_type"), p.prop("user_property")), ("x", ("a", "b")))
    eq(c.pending(), 0)
    eq(long, props.encode(pairs=[("content_type", "x"), ("message_expiry_interval", 100), ("user_property", ("a", "b"))]))


def test_retained_empty_message():
    c, peer = connected()
    c.publish("t", b"", True)
    c.publish("t", b"", True, 1)
    eq([(p.retain, p.payload) for p in peer.of(PUBLISH)], [(1, b""), (1, b"")])


def test_publish_in_a_handler():
    c, peer = connected()
    c.on_message = lambda m: c.publish("echo", bytes(m.payload()), False, m.qos())
    peer.send(P.publish("a", b"0"), P.publish("a", b"1", 1, 7), P.publish("a", b"2", 2, 8))
    settle(c)
    eq([(p.topic, p.payload, p.qos) for p in peer.of(PUBLISH)], [("echo", b"0", 0), ("echo", b"1", 1), ("echo", b"2", 2)])
    eq((len(peer.of(P.PUBACK)), len(peer.of(P.PUBREC)), len(peer.of(P.PUBCOMP)), c.pending()), (1, 1, 1, 0))


def test_waiting_for_acknowledgement():
    c, peer = connected()
    one = c.publish("t", b"", False, 1)
    two = c.publish("t", b"", False, 2)
    c.wait(one)
    c.wait(two)
    c.publish("t", b"", False, 1)
    c.wait()
    eq(c.pending(), 0)
    peer.answers[PUBLISH] = None
    one = c.publish("t", b"", False, 1)
    raises(OSError, c.wait, one, 0.05)
    eq((c.pending(one), c.isconnected()), (1, True))


def test_before_the_first_connection():
    c = make(None)
    raises(OSError, c.publish, "t", b"")
    raises(OSError, c.poll)
    raises(OSError, c.ping)
    raises(OSError, c.subscribe, "t")
    raises(OSError, c.check_msg)
    eq((c.isconnected(), c.pending()), (False, 0))
    c.disconnect()
    c.drop()


def test_payload_format_is_the_servers_to_check():
    """U-09: a payload that is no UTF-8 although its format indicator says so leaves as it is; a refusal of it is told."""
    from umqtt5 import Refused

    c, peer = connected({PUBLISH: lambda peer, p: P.puback(p.pid, 0x99) if p.qos else None})
    text = props.encode(payload_format_indicator=1)
    c.publish("t", b"\xff", False, 0, text)
    pid = c.publish("t", b"\xff", False, 1, text)
    e = raises(Refused, c.wait, pid)
    eq((e.reason_code.value, [p.payload for p in peer.of(PUBLISH)]), (0x99, [b"\xff", b"\xff"]))
