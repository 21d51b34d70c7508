"""Large messages: a PUBLISH beyond rx in chunks, a payload beyond tx from a reader or in place. 10 MB in 64 KB: tests/alloc/."""

from support import packets as P
from support.packets import PUBACK, PUBLISH, PUBREC
from support.session import acks, again, connected, heard, settle, up, violated
from support.t import eq, raises, rows
from umqtt5 import ResourceError, props

TIMEOUT = 180


def chunks(c):
    """A list that gets (offset, total, bytes of the piece, topic at offset 0, properties at offset 0) of each piece."""
    got = []

    def on_chunk(m, offset, total):
        got.append(
            (offset, total, bytes(m.payload()), bytes(m.topic()) if not offset else None, m.properties() if not offset else None)
        )

    c.on_chunk = on_chunk
    return got


def pattern(n):
    return bytes((i * 31 + i // 251 & 255 for i in range(n)))


def test_a_message_beyond_rx_arrives_in_chunks():
    payload = pattern(1500)
    for qos in rows((0, 1, 2)):
        for size in (0, 1, 50, 129):
            c, peer = connected(rx=128)
            got = chunks(c)
            small = heard(c)
            peer.link.arrives = size
            peer.send(P.publish("ota/image", payload, qos, 9, [("content_type", "bin"), ("user_property", ("v", "2"))], True))
            peer.send(P.publish("after", b"small"))
            while peer.link.inbox:
                c.poll()
            settle(c)
            at = 0
            for offset, total, piece, _, _ in got:
                eq((offset, total), (at, 1500))
                assert piece, "an empty piece"
                at += len(piece)
            eq(b"".join([x[2] for x in got]) == payload, True)
            eq(got[0][3:], (b"ota/image", [("content_type", "bin"), ("user_property", ("v", "2"))]))
            eq([m[:2] for m in small], [("after", b"small")])
            eq([p.name for p in peer.packets[1:]], [[], ["PUBACK"], ["PUBREC", "PUBCOMP"]][qos])
            up(c, peer)


def test_acknowledged_after_the_last_piece():
    c, peer = connected(rx=64)
    got = chunks(c)
    raw = P.publish("t", bytes(500), 1, 7)
    peer.send(raw[:-1])
    settle(c)
    peer.nothing()
    eq(sum([len(x[2]) for x in got]), 499)
    peer.send(raw[-1:])
    settle(c)
    peer.expect(PUBACK, pid=7, code=0)


def test_qos_2_in_chunks_is_delivered_once():
    c, peer = connected({PUBREC: None}, rx=64, session_expiry=100)
    got = chunks(c)
    peer.send(P.publish("t", bytes(300), 2, 7))
    settle(c)
    peer.expect(PUBREC, pid=7, code=0)
    n = len(got)
    c.drop()
    again(c, peer)
    peer.send(P.publish("t", bytes(300), 2, 7, dup=True))
    settle(c)
    peer.expect(PUBREC, pid=7, code=0)
    eq(len(got), n)
    peer.send(P.pubrel(7))
    settle(c)
    peer.expect(P.PUBCOMP, pid=7, code=0)
    peer.send(P.publish("t", bytes(300), 2, 7))
    settle(c)
    eq(sum([len(x[2]) for x in got]), 600)


def test_cut_in_the_middle_of_the_chunks():
    c, peer = connected(rx=64, session_expiry=100)
    got = chunks(c)
    raw = P.publish("t", bytes(300), 1, 7)
    peer.send(raw[:150])
    settle(c)
    peer.reset()
    raises(OSError, settle, c)
    again(c, peer)
    del got[:]
    peer.send(raw)
    settle(c)
    eq((sum([len(x[2]) for x in got]), got[0][0]), (300, 0))
    peer.expect(PUBACK, pid=7)


def test_a_rejected_large_message():
    c, peer = connected(rx=64)

    def on_chunk(m, offset, total):
        if offset + m.payload_len() == total:
            m.reject(0x97)

    c.on_chunk = on_chunk
    peer.send(P.publish("t", bytes(300), 1, 7))
    settle(c)
    peer.expect(PUBACK, pid=7, code=0x97)


def test_a_handler_that_raises():
    c, peer = connected(rx=64)

    def on_chunk(m, offset, total):
        raise ValueError("flash is full")

    c.on_chunk = on_chunk
    peer.send(P.publish("t", bytes(100), 1, 7))
    for _ in range(20):
        try:
            settle(c)
            break
        except ValueError:
            pass
    eq(peer.of(PUBACK), [])
    c.on_chunk = None
    got = heard(c)
    peer.send(P.publish("t", b"1"))
    settle(c)
    eq(len(got), 1)


def test_without_a_handler_it_is_too_large():
    c, peer = connected(rx=64)
    peer.send(P.publish("t", bytes(100)))
    violated(c, peer, 0x95)


def test_violations_in_a_large_packet():
    for raw, code in rows(
        (
            (P.packet(3, 6, P.field("t") + b"\0\1\0" + bytes(200)), 0x81),
            (P.packet(3, 8, P.field("t") + b"\0" + bytes(200)), 0x81),
            (P.packet(3, 0, P.field("a/+") + b"\0" + bytes(200)), 0x82),
            (P.packet(3, 0, P.field(b"\xff") + b"\0" + bytes(200)), 0x81),
            (P.packet(3, 0, P.field("") + b"\0" + bytes(200)), 0x82),
            (P.packet(3, 2, P.field("t") + b"\0\0\0" + bytes(200)), 0x82),
            (P.packet(3, 0, P.field("t") + b"\2\x01\2" + bytes(200)), 0x82),
            (P.packet(3, 0, P.field("t") + b"\2\x13\0" + bytes(200)), 0x81),
            (P.packet(3, 0, P.field("t") + b"\x80\0" + bytes(200)), 0x81),
            (P.packet(3, 0, P.field("t") + b"\xff\xff\xff\x7f" + bytes(200)), 0x81),
            (P.packet(3, 0, P.field("t" * 190) + b"\0" + bytes(200)), 0x95),
            (P.packet(3, 0, P.field("t") + b"\3\x23\0\1" + bytes(200)), 0x94),
            (P.packet(4, 0, bytes(200)), 0x95),
        )
    ):
        for size in (0, 1):
            c, peer = connected(rx=64)
            chunks(c)
            peer.link.arrives = size
            peer.send(raw)
            violated(c, peer, code)


class Reader:
    """readinto() of n bytes of a pattern, at most `most` at a time."""

    def __init__(self, n, most=1000000):
        self.n = n
        self.most = most
        self.at = 0

    def readinto(self, buf):
        k = min(len(buf), self.n - self.at, self.most)
        for i in range(k):
            buf[i] = (self.at + i) * 7 & 255
        self.at += k
        return k


def test_a_payload_from_a_reader():
    block = props.encode(content_type="bin")
    for qos in rows((0, 1, 2)):
        for most in (1000000, 7):
            c, peer = connected({}, (), tx=64)
            told = acks(c)
            pid = c.publish_from("ota/up", Reader(1000, most), 1000, True, qos, block)
            settle(c)
            p = peer.of(PUBLISH)[0]
            eq((p.topic, p.qos, p.retain, p.props, p.pid), ("ota/up", qos, 1, [("content_type", "bin")], pid or None))
            eq(p.payload == bytes((i * 7 & 255 for i in range(1000))), True)
            eq((len(told), c.pending()), (1 if qos else 0, 0))
            c.publish("t", b"small")
            eq(peer.of(PUBLISH)[1].topic, "t")
            up(c, peer)


def test_a_reader_that_ends_early():
    c, peer = connected(tx=64)
    raises(ValueError, c.publish_from, "t", Reader(500), 1000)
    eq((c.isconnected(), peer.link.closed), (False, True))


def test_publish_from_is_checked_first():
    c, peer = connected({PUBLISH: None}, {"maximum_packet_size": 1000, "maximum_qos": 1, "retain_available": 0}, tx=64)
    raises(ValueError, c.publish_from, "t", Reader(1000), 1000)
    raises(ValueError, c.publish_from, "a/+", Reader(10), 10)
    raises(ValueError, c.publish_from, "t", Reader(10), 10, True)
    raises(ValueError, c.publish_from, "t", Reader(10), 10, False, 2)
    raises(ValueError, c.publish_from, "t", Reader(10), -1)
    raises(ResourceError, c.publish_from, "t" * 100, Reader(10), 10)
    peer.nothing()
    c.publish_from("t", Reader(996), 996 - 4)
    eq(len(peer.of(PUBLISH)), 1)
    up(c, peer)


def test_a_payload_beyond_tx_is_sent_in_place():
    c, peer = connected(tx=64)
    payload = pattern(3000)
    for takes in rows((0, 1000, 7)):
        peer.link.takes = takes
        c.publish("t", payload)
        settle(c)
        eq(peer.of(PUBLISH)[-1].payload == payload, True)
