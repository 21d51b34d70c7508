"""The tests' own server and packets, against bytes from the specification and a minimal dialogue written by hand."""

from support import packets as P
from support.peer import Peer
from support.t import eq, raises, rows

# built -> the bytes of the specification, written out
BUILT = (
    (P.connack(), b"\x20\x03\x00\x00\x00"),
    (P.connack(0x87, (("reason_string", "no"),), 1), b"\x20\x08\x01\x87\x05\x1f\x00\x02no"),
    (P.publish("a/b", b"xy"), b"\x30\x08\x00\x03a/b\x00xy"),
    (P.publish("a", "é", 2, 258, retain=True, dup=True), b"\x3d\x08\x00\x01a\x01\x02\x00\xc3\xa9"),
    (P.puback(7), b"\x40\x02\x00\x07"),
    (P.puback(7, 0x10), b"\x40\x03\x00\x07\x10"),
    (P.puback(7, 0, ()), b"\x40\x04\x00\x07\x00\x00"),
    (P.pubrel(7), b"\x62\x02\x00\x07"),
    (P.suback(1, [0, 0x80]), b"\x90\x05\x00\x01\x00\x00\x80"),
    (P.unsuback(1, [17]), b"\xb0\x04\x00\x01\x00\x11"),
    (P.pingresp(), b"\xd0\x00"),
    (P.disconnect(), b"\xe0\x00"),
    (P.disconnect(0x8E), b"\xe0\x01\x8e"),
    (P.disconnect(0x8E, ()), b"\xe0\x02\x8e\x00"),
    (P.auth(0x18, (("authentication_method", "m"),)), b"\xf0\x06\x18\x04\x15\x00\x01m"),
    (P.props({"message_expiry_interval": 60}), b"\x05\x02\x00\x00\x00\x3c"),
    (P.props([("user_property", ("a", "b"))] * 2), b"\x0e\x26\x00\x01a\x00\x01b\x26\x00\x01a\x00\x01b"),
    (P.props([("subscription_identifier", 268435455)]), b"\x05\x0b\xff\xff\xff\x7f"),
    (P.vbi(127) + P.vbi(128) + P.vbi(16383) + P.vbi(16384), b"\x7f\x80\x01\xff\x7f\x80\x80\x01"),
)
CONNECT = (
    b"\x10\x2a\x00\x04MQTT\x05\xee\x00\x3c\x05\x11\x00\x00\x00\x0a\x00\x02id"
    b"\x05\x18\x00\x00\x00\x05\x00\x01w\x00\x03bye\x00\x02us\x00\x02\xff\x00"
)
# what no client may send, and a word of the complaint
WRONG = (
    (b"\x20\x03\x00\x00\x00", "client's packet"),
    (b"\x60\x02\x00\x01", "flags"),
    (b"\x36\x06\x00\x01a\x00\x01\x00", "flags"),
    (b"\x38\x04\x00\x01a\x00", "flags"),
    (b"\x32\x06\x00\x01a\x00\x00\x00", "identifier 0"),
    (b"\x30\x04\x00\x01+\x00", "wildcard"),
    (b"\x30\x03\x00\x00\x00", "alias"),
    (b"\x30\x05\x00\x02\xff\xff\x00", "UTF-8"),
    (b"\x30\x04\x00\x01\x00\x00", "U+0000"),
    (b"\x30\x05\x00\x01a\x02\x01", "end"),
    (b"\x30\x05\x00\x01a\x01\x7f", "unknown property"),
    (b"\x30\x08\x00\x01a\x04\x01\x00\x01\x00", "twice"),
    (b"\x40\x06\x00\x01\x00\x00zz", "left over"),
    (b"\x82\x03\x00\x01\x00", "no topic filter"),
    (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\x00", "not MQTT 5.0"),
    (b"\x30\x06\x00\x01a\x80\x00\x00", "overlong"),
)


def test_builders_make_the_bytes_of_the_specification():
    for got, want in rows(BUILT):
        eq(got, want)


def test_parser_reads_every_field_of_connect():
    p = P.parse(CONNECT)
    eq((p.name, p.client_id, p.clean_start, p.keepalive), ("CONNECT", "id", 1, 60))
    eq(p.props, [("session_expiry_interval", 10)])
    eq((p.user, p.password), ("us", b"\xff\x00"))
    w = p.will
    eq((w.topic, w.payload, w.qos, w.retain, w.props), ("w", b"bye", 1, 1, [("will_delay_interval", 5)]))
    eq(P.parse(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00").will, None)


def test_parser_reads_packets():
    p = P.parse(P.publish("a/b", b"xy", 1, 5, {"content_type": "t"}, dup=True))
    eq((p.topic, p.payload, p.qos, p.pid, p.dup, p.retain), ("a/b", b"xy", 1, 5, 1, 0))
    eq(p.prop("content_type"), "t")
    eq(p.block, b"\x04\x03\x00\x01t")
    p = P.parse(b"\x82\x0c\x00\x09\x02\x0b\x05\x00\x01a\x01\x00\x00\x2c")
    eq((p.pid, p.filters, p.props), (9, [("a", 1), ("", 0x2C)], [("subscription_identifier", 5)]))
    eq(P.parse(b"\xa2\x06\x00\x09\x00\x00\x01a").filters, ["a"])
    eq(P.parse(b"\xe0\x00").code, 0)
    eq(P.parse(P.disconnect(4, ())).code, 4)
    eq(P.parse(P.pubrec(3, 0x91)).code, 0x91)


def test_parser_refuses_what_no_client_may_send():
    for raw, why in rows(WRONG):
        text = str(raises(P.Malformed, P.parse, raw))
        assert why in text, text


def test_split_cuts_a_stream_into_packets():
    stream = P.publish("a", b"x" * 200) + P.disconnect()
    for n in range(len(stream)):
        whole, rest = P.split(stream[:n])
        eq((len(whole), len(b"".join(whole)) + len(rest)), (n >= len(stream) - 2, n))
    raises(P.Malformed, P.split, b"\x30\xff\xff\xff\xff\x01")
    raises(P.Malformed, P.split, b"\x30\x80\x00")


def connected(**kw):
    """(peer, the client's end) after CONNECT and CONNACK, with the bytes counted from here."""
    peer = Peer(**kw)
    link = peer()
    busy, link.busy = link.busy, 0
    takes, link.takes = link.takes, 0
    eq(link.write(CONNECT, 0, len(CONNECT)), len(CONNECT))
    peer.expect(P.CONNECT, client_id="id")
    buf = bytearray(5)
    got = b""
    while len(got) < 5:
        got += bytes(buf[: link.readinto(buf) or 0])
    eq(got, P.connack())
    link.busy, link.takes = busy, takes
    return peer, link


def test_default_answers():
    peer, link = connected()
    buf = bytearray(100)
    for sent, want in rows(
        (
            (P.publish("t", b"", 0), None),
            (P.publish("t", b"", 1, 5), P.puback(5)),
            (P.publish("t", b"", 2, 6), P.pubrec(6)),
            (P.pubrel(6), P.pubcomp(6)),
            (P.pubrec(7), P.pubrel(7)),
            (P.pubrec(7, 0x80), None),
            (b"\x82\x07\x00\x09\x00\x00\x01a\x02", P.suback(9, [2])),
            (b"\xa2\x06\x00\x09\x00\x00\x01a", P.unsuback(9, [0])),
            (b"\xc0\x00", P.pingresp()),
        )
    ):
        link.write(sent)
        n = link.readinto(buf)
        eq(n and bytes(buf[:n]), want)
        peer.expect(sent[0] >> 4)
    peer.nothing()
    link.write(b"\xe0\x00")
    eq(link.readinto(buf), 0)


def test_own_answers():
    peer, link = connected()
    buf = bytearray(100)
    peer.answers[P.PUBLISH] = [None, P.puback(9), lambda peer, p: P.puback(p.pid, 0x87)]
    for want in (None, P.puback(9), P.puback(1, 0x87), P.puback(1)):
        link.write(P.publish("t", b"", 1, 1))
        n = link.readinto(buf)
        eq(n and bytes(buf[:n]), want)
    raises(AssertionError, peer.nothing)
    raises(AssertionError, peer.expect, P.PUBACK)
    raises(AssertionError, peer.expect, P.PUBLISH, topic="x")
    eq(len(peer.of(P.PUBLISH)), 4)


def test_network_splits_and_takes_part():
    peer, link = connected(arrives=1, gaps=True, takes=3)
    buf = bytearray(8)
    eq(link.readinto(buf), None)
    peer.send(b"abc")
    eq([link.readinto(buf), link.readinto(buf), link.readinto(buf), buf[0:1]], [1, None, 1, b"b"])
    message = P.publish("t", b"0123456789", 1, 1)
    off = 0
    while off < len(message):
        n = link.write(message, off, len(message) - off)
        assert n <= 3
        off += n
    peer.expect(P.PUBLISH, payload=b"0123456789")
    eq(sum(link.writes[1:]), len(message))


def test_network_is_busy_and_stalls():
    peer, link = connected(busy=2)
    eq([link.write(b"\xc0\x00") for _ in range(3)], [None, None, 2])
    link.stalled = True
    eq((link.write(b"\xc0\x00"), link.readinto(bytearray(4))), (None, None))
    link.stalled = False
    eq(link.readinto(bytearray(4)), 2)


def test_network_dies_after_n_bytes_out():
    peer, link = connected()
    link.cut_out = link.written + 3
    eq(link.write(b"\xc0\x00\xc0\x00"), 3)
    eq(raises(OSError, link.write, b"\x00").errno, 104)
    peer.expect(P.PINGREQ)
    peer.nothing()
    eq(link.readinto(bytearray(9)), 2)  # what was on its way still arrives
    raises(OSError, link.readinto, bytearray(9))


def test_network_dies_after_n_bytes_in():
    for death in rows(("reset", "eof", "silence")):
        peer, link = connected()
        link.cut_in = link.read + 3
        link.death = death
        peer.send(b"abcdef")
        buf = bytearray(9)
        eq(link.readinto(buf), 3)
        if death == "reset":
            raises(OSError, link.readinto, buf)
        else:
            eq(link.readinto(buf), 0 if death == "eof" else None)
        if death == "silence":
            eq(link.write(b"\xc0\x00"), None)
        else:
            raises(OSError, link.write, b"\xc0\x00")


def test_closing():
    peer, link = connected()
    peer.send(b"ab")
    peer.close()
    buf = bytearray(9)
    eq((link.readinto(buf), link.readinto(buf)), (2, 0))
    peer, link = connected()
    peer.send(b"ab")
    peer.reset()
    raises(OSError, link.readinto, buf)
    link.close()
    raises(OSError, link.readinto, buf)
    raises(OSError, link.write, b"x")
    peer.refuse = OSError(111)
    raises(OSError, peer)
