"""Every row of the violation table: what a server may not send is answered with the DISCONNECT that the table names, then the
connection closes; what it may send leaves the connection up. Both are counted, so that a client that always closes fails."""

from support import packets as P
from support.packets import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
)
from support.peer import Peer
from support.session import connected, heard, make, settle, up, violated
from support.t import eq, raises, rows
from umqtt5 import ProtocolError, Refused

TIMEOUT = 180

KINDS = (CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH)
ACKS = (PUBACK, PUBREC, PUBREL, PUBCOMP)
_MOST = (CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH)
# identifier: (packets in which a server may send it, legal values, values of the right type that are wrong: (bytes, reason))
PROPERTIES = {
    0x01: ((PUBLISH,), (b"\0", b"\1"), ((b"\2", 0x82), (b"\xff", 0x82))),
    0x02: ((PUBLISH,), (b"\0\0\0\0", b"\xff\xff\xff\xff"), ()),
    0x03: ((PUBLISH,), (b"\0\0", b"\0\3t/p"), ()),
    0x08: ((PUBLISH,), (b"\0\1r", b"\0\3r/s"), ((b"\0\0", 0x82), (b"\0\1+", 0x82), (b"\0\3r/#", 0x82))),
    0x09: ((PUBLISH,), (b"\0\0", b"\0\2\0\xff"), ()),
    0x0B: ((PUBLISH,), (b"\1", b"\xff\xff\xff\x7f"), ((b"\0", 0x82), (b"\x80\0", 0x81), (b"\xff\xff\xff\xff\1", 0x81))),
    0x11: ((CONNACK,), (b"\0\0\0\0", b"\xff\xff\xff\xff"), ()),
    0x12: ((CONNACK,), (b"\0\1i", b"\0\2\xc3\xa9"), ()),
    0x13: ((CONNACK,), (b"\0\0", b"\xff\xff"), ()),
    0x15: ((CONNACK, AUTH), (b"\0\4echo",), ()),
    0x16: ((CONNACK, AUTH), (b"\0\0", b"\0\2\0\xff"), ()),
    0x17: ((), (b"\1",), ()),
    0x18: ((), (b"\0\0\0\1",), ()),
    0x19: ((), (b"\1",), ()),
    0x1A: ((CONNACK,), (b"\0\0", b"\0\3r/i"), ()),
    0x1C: ((CONNACK, DISCONNECT), (b"\0\0", b"\0\6other2"), ()),
    0x1F: (_MOST, (b"\0\0", b"\0\2\xc3\xa9"), ()),
    0x21: ((CONNACK,), (b"\0\1", b"\xff\xff"), ((b"\0\0", 0x82),)),
    0x22: ((CONNACK,), (b"\0\0", b"\xff\xff"), ()),
    0x23: ((PUBLISH,), (b"\0\1", b"\0\3"), ((b"\0\0", 0x94), (b"\0\4", 0x94), (b"\xff\xff", 0x94))),
    0x24: ((CONNACK,), (b"\0", b"\1"), ((b"\2", 0x82), (b"\xff", 0x82))),
    0x25: ((CONNACK,), (b"\0", b"\1"), ((b"\2", 0x82),)),
    0x26: (KINDS, (b"\0\0\0\0", b"\0\1k\0\2\xc3\xa9"), ()),
    0x27: ((CONNACK,), (b"\0\0\1\0", b"\xff\xff\xff\xff"), ((b"\0\0\0\0", 0x82),)),
    0x28: ((CONNACK,), (b"\0", b"\1"), ((b"\2", 0x82),)),
    0x29: ((CONNACK,), (b"\0", b"\1"), ((b"\2", 0x82),)),
    0x2A: ((CONNACK,), (b"\0", b"\1"), ((b"\2", 0x82),)),
}
_STRINGS = (0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F)
# bytes that are no UTF-8 string of MQTT (1.5.4): all malformed
BAD_UTF8 = (
    b"\0",
    b"a\0b",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\x80",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xfe",
    b"\xff",
)
count = {"close": 0, "stay": 0}


class Echo:
    """An authentication mechanism that says nothing and believes everything."""

    name = "echo"

    def first(self):
        return None

    def step(self, data):
        return None

    def done(self, data):
        pass


def before(kind):
    """(client, peer): a packet of that kind is what the client waits for, or may get at any time."""
    if kind in (CONNACK, AUTH):
        peer = Peer({CONNECT: None})
        c = make(peer, auth=Echo())
        c.start()
        c.poll()
        peer.expect(CONNECT)
        return c, peer
    c, peer = connected({PUBLISH: None, SUBSCRIBE: None, P.UNSUBSCRIBE: None, PUBREL: None, PUBREC: None}, topic_alias_maximum=3)
    if kind == PUBACK:
        c.publish("t", b"", qos=1)
    elif kind == PUBREC or kind == PUBCOMP:
        c.publish("t", b"", qos=2)
        if kind == PUBCOMP:
            peer.send(P.pubrec(1))
    elif kind == PUBREL:
        peer.send(P.publish("t", b"", 2, 1))
    elif kind == SUBACK:
        c.subscribe_start([("f", 0)])
    elif kind == UNSUBACK:
        c.unsubscribe_start(["f"])
    settle(c)
    return c, peer


def build(kind, block, code=None):
    """A packet of that kind with this property block, or, with bytes as `code`, with that in place of its reason code."""
    if kind == PUBLISH:
        return P.packet(kind, 0, P.field("t") + block + b"payload")
    if kind == CONNACK:
        return P.packet(kind, 0, b"\0" + (code or b"\0") + block)
    if kind in ACKS:
        return P.packet(kind, 2 if kind == PUBREL else 0, b"\0\1" + (code or b"\0") + block)
    if kind in (SUBACK, UNSUBACK):
        return P.packet(kind, 0, b"\0\1" + block + (code or b"\0"))
    if kind == DISCONNECT:
        return P.packet(kind, 0, (code or b"\x8b") + block)
    return P.packet(kind, 0, (code or b"\x18") + block)


def block(kind, body):
    """Property block of these properties; an AUTH names its method first, unless they do, and so does a CONNACK with data."""
    if (kind == AUTH or kind == CONNACK and body[:1] == b"\x16") and body[:1] != b"\x15":
        body = b"\x15\0\4echo" + body
    return P.vbi(len(body)) + body


def closes(kind, raw, code):
    """The client answers with DISCONNECT `code` and is gone, however the packet arrives."""
    for arrives in (0, 1):
        closes_once(kind, raw, code, arrives)


def closes_once(kind, raw, code, arrives):
    c, peer = before(kind)
    peer.link.arrives = arrives
    n = len(peer.packets)
    peer.send(raw)
    violated(c, peer, code)
    eq(len(peer.packets), n + 1, "packets")
    count["close"] += 1


def stays(kind, raw):
    """The client takes it."""
    c, peer = before(kind)
    peer.send(raw)
    if kind == DISCONNECT:
        e = raises(Refused, settle, c)
        eq((e.what, e.reason_code.value), ("DISCONNECT", 0x8B))
        eq(peer.of(DISCONNECT), [])
    else:
        settle(c)
        if kind == AUTH:
            peer.expect(AUTH, code=0x18)
            peer.send(P.connack(0, {"authentication_method": "echo"}))
            settle(c)
        up(c, peer)
    count["stay"] += 1


def test_every_property_in_every_packet():
    for kind in rows(KINDS):
        for ident in PROPERTIES:
            where, good, bad = PROPERTIES[ident]
            value = good[0]
            if kind not in where:
                closes(kind, build(kind, block(kind, bytes((ident,)) + value)), 0x81)
                continue
            for value in good:
                stays(kind, build(kind, block(kind, bytes((ident,)) + value)))
            for value, code in bad:
                closes(kind, build(kind, block(kind, bytes((ident,)) + value)), code)


def test_unknown_properties():
    for kind in rows(KINDS):
        for ident in range(128) if kind == PUBLISH else (0, 4, 0x0A, 0x10, 0x14, 0x1B, 0x20, 0x2B, 0x7F):
            if ident not in PROPERTIES:
                closes(kind, build(kind, block(kind, bytes((ident,)) + b"\0\0\0\0")), 0x81)
        closes(kind, build(kind, block(kind, b"\x80\x01\0\0\0\0")), 0x81)  # identifiers are variable byte integers
        closes(kind, build(kind, block(kind, b"\xa6\x00\0\0\0\0")), 0x81)


def test_repeated_properties():
    for kind in rows(KINDS):
        for ident in PROPERTIES:
            where, good, bad = PROPERTIES[ident]
            if kind in where:
                one = bytes((ident,)) + good[0]
                raw = build(kind, block(kind, one + one))
                if ident == 0x26 or ident == 0x0B:
                    stays(kind, raw)
                else:
                    closes(kind, raw, 0x82)
                    # with another between them
                    closes(kind, build(kind, block(kind, one + b"\x26\0\0\0\0" + one)), 0x82)


def test_properties_cut_short():
    for kind in rows(KINDS):
        for ident in PROPERTIES:
            where, good, bad = PROPERTIES[ident]
            if kind in where:
                one = bytes((ident,)) + good[-1]
                for n in range(1, len(one)):
                    closes(kind, build(kind, block(kind, one[:n])), 0x81)
        one = b"\x26\0\1k\0\1v"  # the block passes the end of its packet
        closes(kind, build(kind, b"\x40" + one) if kind != PUBLISH else P.packet(3, 0, b"\0\1t\x40" + one), 0x81)


def test_property_length():
    for kind in rows(KINDS):
        for raw in (b"\x80\x00", b"\x80\x80\x00", b"\xff\xff\xff\xff\x01", b"\x80", b"\xff\xff\xff\x7f"):
            if kind in (SUBACK, UNSUBACK, PUBLISH) and raw == b"\x80":
                continue
            closes(kind, build(kind, raw), 0x81)
    # where the format demands one: 2.2.2-1
    closes(CONNACK, b"\x20\x02\x00\x00", 0x81)
    closes(PUBLISH, b"\x30\x03\x00\x01t", 0x81)
    closes(PUBLISH, b"\x32\x05\x00\x01t\x00\x01", 0x81)
    closes(SUBACK, b"\x90\x02\x00\x01", 0x81)
    closes(UNSUBACK, b"\xb0\x02\x00\x01", 0x81)


def test_bad_utf8_in_every_string():
    for kind in rows(KINDS):
        for ident in _STRINGS:
            if kind in PROPERTIES[ident][0]:
                for text in BAD_UTF8:
                    closes(kind, build(kind, block(kind, bytes((ident,)) + P.field(text))), 0x81)
        for text in BAD_UTF8:
            closes(kind, build(kind, block(kind, b"\x26" + P.field(text) + P.field("v"))), 0x81)
            closes(kind, build(kind, block(kind, b"\x26" + P.field("k") + P.field(text))), 0x81)
    for text in BAD_UTF8:
        closes(PUBLISH, P.packet(3, 0, P.field(text) + b"\0"), 0x81)
        closes(PUBLISH, P.packet(3, 2, P.field(text) + b"\0\1\0"), 0x81)
    # binary data takes anything
    for text in BAD_UTF8:
        stays(PUBLISH, build(PUBLISH, block(PUBLISH, b"\x09" + P.field(text))))
        stays(AUTH, build(AUTH, block(AUTH, b"\x16" + P.field(text))))


def test_odd_but_legal_utf8():
    """Control characters, U+FFFF, U+FEFF, four-byte characters are accepted (1.5.4) and arrive as sent."""
    for text in rows(
        (b"\x01", b"\x7f", b"\xef\xbf\xbf", b"\xef\xbb\xbfx", b"\xc2\x80", b"\xf4\x8f\xbf\xbf", b"\xed\x9f\xbf", b"\xee\x80\x80")
    ):
        c, peer = connected()
        got = []
        c.on_message = lambda m: got.append(bytes(m.topic()))
        peer.send(P.packet(3, 0, P.field(text) + block(3, b"\x03" + P.field(text)) + b"p"))
        settle(c)
        eq(got, [text])
        up(c, peer)
        count["stay"] += 1


def test_topic_names():
    for topic in rows(("+", "#", "a/+", "a/#", "a+", "#b", "/+/")):
        closes(PUBLISH, P.publish(topic), 0x82)
        closes(PUBLISH, P.publish(topic, b"", 1, 1), 0x82)
        closes(PUBLISH, P.publish(topic, b"", 2, 1), 0x82)
    for topic in rows(("a/#", "+", "x" * 70 + "/+")):  # as topics, though they are filters of ours
        c, peer = connected()
        c.subscribe(topic)
        peer.send(P.publish(topic))
        violated(c, peer, 0x82)
    for qos in rows((0, 1, 2)):
        closes(PUBLISH, P.publish("", b"x", qos), 0x82)  # empty, no alias
        closes(PUBLISH, P.publish("", b"x", qos, None, {"topic_alias": 1}), 0x82)  # an alias nobody defined
        closes(PUBLISH, P.publish("t", b"x", qos, None, {"topic_alias": 0}), 0x94)
        closes(PUBLISH, P.publish("t", b"x", qos, None, {"topic_alias": 4}), 0x94)
        closes(PUBLISH, P.publish("", b"x", qos, None, {"topic_alias": 4}), 0x94)
    for topic in rows(("/", "$SYS/x", "a//b", " ", "a b")):
        stays(PUBLISH, P.publish(topic))


def test_fields_past_the_end():
    for kind in rows(KINDS):
        good = build(kind, block(kind, b"\x26\0\1k\0\1v"))
        body = good[2:]
        for n in range(len(body)):
            short = body[:n]
            if kind == PUBLISH and n >= 11:
                stays(kind, P.packet(kind, good[0] & 15, short))  # less payload
            elif kind in ACKS and n in (2, 3) or kind == DISCONNECT and n == 1:
                stays(kind, P.packet(kind, good[0] & 15, short))
            elif kind == DISCONNECT and n == 0 or kind in (SUBACK, UNSUBACK) and n == len(body) - 1:
                pass  # test_short_forms, test_suback_needs_one_code_for_each_filter
            elif kind == AUTH and n < 2:
                closes(kind, P.packet(kind, good[0] & 15, short), 0x82)  # no method, no continue: 3.15.2.2.2
            else:
                closes(kind, P.packet(kind, good[0] & 15, short), 0x81)


def test_bytes_left_over():
    for kind in rows(KINDS):
        if kind not in (PUBLISH, SUBACK, UNSUBACK):
            raw = build(kind, block(kind, b"\x26\0\1k\0\1v"))
            for more in (b"\0", b"xyz"):
                closes(kind, P.packet(kind, raw[0] & 15, raw[2:] + more), 0x81)
    closes(PUBACK, b"\xd0\x01\x00", 0x81)  # PINGRESP
    closes(CONNACK, b"\x20\x04\x00\x00\x00\x00", 0x81)


def test_fixed_header_flags():
    """2.1.3-1: every flag nibble but the one that the specification gives is malformed."""
    for kind in rows(KINDS + (P.PINGRESP,)):
        good = b"\xd0\x00" if kind == P.PINGRESP else build(kind, block(kind, b""))
        for flags in range(16):
            raw = bytes((kind << 4 | flags,)) + good[1:]
            if kind == PUBLISH:
                if flags & 6 == 6 or flags == 8 or flags == 9:
                    closes(kind, raw, 0x81)
            elif flags != (2 if kind == PUBREL else 0):
                closes(kind if kind != P.PINGRESP else PUBACK, raw, 0x81)
    for flags in rows((0, 1, 2, 3, 4, 5, 10, 11, 12, 13)):
        stays(PUBLISH, P.packet(3, flags, P.field("t") + (b"\0\1" if flags & 6 else b"") + b"\0"))


def test_remaining_length():
    for kind in rows((CONNACK, PUBLISH, PUBACK, SUBACK, DISCONNECT, AUTH)):
        first = build(kind, b"\0")[:1]
        for n in (b"\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\x00", b"\x82\x00", b"\x85\x80\x00", b"\x80\x80\x80\x00"):
            closes(kind, first + n + bytes(8), 0x81)
    stays(PUBLISH, P.publish("t", bytes(122)))
    stays(PUBLISH, P.publish("t", bytes(123)))
    stays(PUBLISH, P.publish("t", bytes(124)))


def test_packets_that_a_server_never_sends():
    for raw in rows(
        (
            b"\x00\x00",
            b"\x00\x02\x00\x00",
            b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x00",
            b"\x82\x06\x00\x01\x00\x00\x01a",
            b"\xa2\x05\x00\x01\x00\x00\x01a",
            b"\xc0\x00",
        )
    ):
        closes(PUBLISH, raw, 0x82)
        closes(CONNACK, raw, 0x82)


def test_packets_before_connack():
    for raw in rows(
        (
            P.publish("t"),
            P.publish("t", b"", 1, 1),
            P.puback(1),
            P.pubrec(1),
            P.pubrel(1),
            P.pubcomp(1),
            P.suback(1, [0]),
            P.unsuback(1, [0]),
            P.pingresp(),
        )
    ):
        closes(CONNACK, raw, 0x82)


def test_second_connack():
    for raw in rows((P.connack(), P.connack(0x87), P.connack(0, (), 1))):
        closes(PUBLISH, raw, 0x82)


def test_disconnect_before_connack_ends_the_attempt():
    c, peer = before(CONNACK)
    peer.send(b"\xe0\x01\x8b")
    e = raises(Refused, settle, c)
    eq((e.what, e.reason_code.value, peer.link.closed), ("DISCONNECT", 0x8B, True))
    eq(peer.of(DISCONNECT), [])


def test_packet_identifier_zero():
    closes(PUBLISH, P.publish("t", b"x", 1, 0), 0x82)
    closes(PUBLISH, P.publish("t", b"x", 2, 0), 0x82)
    for kind, raw in rows(
        (
            (PUBACK, P.puback(0)),
            (PUBREC, P.pubrec(0)),
            (PUBREL, P.pubrel(0)),
            (PUBCOMP, P.pubcomp(0)),
            (SUBACK, P.suback(0, [0])),
            (UNSUBACK, P.unsuback(0, [0])),
        )
    ):
        closes(kind, raw, 0x82)


CODES = {
    CONNACK: (0, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B)
    + (0x9C, 0x9D, 0x9F),
    PUBACK: (0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99),
    PUBREC: (0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99),
    PUBREL: (0, 0x92),
    PUBCOMP: (0, 0x92),
    SUBACK: (0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2),
    UNSUBACK: (0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91),
    DISCONNECT: (
        0,
        0x80,
        0x81,
        0x82,
        0x83,
        0x87,
        0x89,
        0x8B,
        0x8C,
        0x8D,
        0x8E,
        0x8F,
        0x90,
        0x93,
        0x94,
        0x95,
        0x96,
        0x97,
        0x98,
        0x99,
    )
    + (0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2),
}
_WRONG_HERE = (0x01, 0x04)  # codes of the specification that no server sends in DISCONNECT: a protocol error


def test_reason_codes():
    """All 256 values in all packets: legal ones are taken, the others are malformed (0x82 where only a client may send it)."""
    for kind in rows(tuple(CODES.keys())):
        # every value where it is cheap, the edges of each run elsewhere
        for code in range(256):
            near = code in CODES[kind] or code - 1 in CODES[kind] or code + 1 in CODES[kind] or code in (0x7F, 0xFF, 0x20, 0x40)
            if not near:
                continue
            raw = build(kind, b"\0", bytes((code,)))
            if code not in CODES[kind]:
                closes(kind, raw, 0x82 if kind == DISCONNECT and code in _WRONG_HERE else 0x81)
                continue
            c, peer = before(kind)
            peer.send(raw)
            if kind == DISCONNECT or kind == CONNACK and code:
                e = raises(Refused, settle, c)
                eq((e.what, e.reason_code.value, peer.link.closed), (P.NAMES[kind], code, True))
                eq(peer.of(DISCONNECT), [], "answers")
            else:
                settle(c)
                up(c, peer)
            count["stay"] += 1


def test_auth_reason_codes():
    for code in rows((0x00, 0x19, 0x17, 0x1A, 0x80, 0x87, 0xFF)):
        # 0x19 is the client's, 0x00 has no place in the handshake
        closes(AUTH, build(AUTH, block(AUTH, b""), bytes((code,))), 0x82 if code in (0, 0x19) else 0x81)


def test_auth_without_a_method():
    """4.12.0-6: no AUTH, and no method in CONNACK, when CONNECT named none; 3.15.2.2.2: AUTH names its method."""
    for raw in rows(
        (b"\xf0\x00", P.auth(0x18, {"authentication_method": "echo"}), P.auth(0x19, {"authentication_method": "echo"}))
    ):
        closes(PUBLISH, raw, 0x82)
    closes(AUTH, b"\xf0\x00", 0x82)
    closes(AUTH, b"\xf0\x02\x18\x00", 0x82)
    closes(AUTH, P.auth(0x18, {"authentication_method": "other"}), 0x82)
    closes(AUTH, P.auth(0x18, {"authentication_data": b"x"}), 0x82)
    closes(AUTH, P.connack(0, {"authentication_method": "other"}), 0x82)
    closes(AUTH, P.connack(0, {"authentication_data": b"x"}), 0x82)
    for given in rows(({"authentication_method": "echo"}, {"authentication_data": b"x"})):
        peer = Peer(connack_props=given)
        c = make(peer)
        violated(c, peer, 0x82, c.connect)


def test_connack_flags():
    for flags in rows((2, 4, 0x80, 0xFE, 0xFF, 3)):
        closes(CONNACK, P.packet(2, 0, bytes((flags, 0, 0))), 0x81)


def test_session_present_without_a_session():
    """3.2.2-2, 3.2.2-4: close, then Clean Start."""
    for clean in rows((True, False)):
        peer = Peer(session_present=1)
        c = make(peer, session_expiry=100)
        e = raises(ProtocolError, c.connect, clean)
        eq((e.reason_code, peer.link.closed, c.isconnected()), (0x82, True, False))
        eq(peer.expect(CONNECT).clean_start, int(clean))
        eq(peer.packets[-1].name, "DISCONNECT")
        peer.session_present = 0
        peer.seen = len(peer.packets)
        c.connect(False)
        eq(peer.expect(CONNECT).clean_start, 1)
        eq(c.isconnected(), True)


def test_too_large():
    """Above what CONNECT announced: 0x95, whatever the type, before its bytes arrive."""
    for first in rows((0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xE0, 0xF0)):
        c, peer = connected(rx=64)
        eq(peer.packets[0].prop("maximum_packet_size"), 64)
        peer.send(bytes((first,)) + b"\xff\xff\x7f")
        violated(c, peer, 0x95)
        count["close"] += 1
    c, peer = connected(rx=64)
    got = heard(c)
    peer.send(P.publish("t", bytes(58)))  # 64 bytes
    settle(c)
    eq(len(got), 1)
    peer.send(P.publish("t", bytes(59)))
    violated(c, peer, 0x95)
    peer = Peer({CONNECT: b"\x20\xff\x01"})
    c = make(peer, rx=64)
    violated(c, peer, 0x95, c.connect)


def test_receive_maximum():
    """Our own: overrun is tolerated (mosquitto 2.0.11 does it) unless strict."""
    for strict, qos in rows(((False, 1), (False, 2), (True, 1), (True, 2))):
        c, peer = connected({PUBREC: None}, receive_maximum=2, strict=strict, rx=512)
        eq(peer.packets[0].prop("receive_maximum"), 2)
        got = heard(c)
        peer.send(*[P.publish("t", b"", qos, i) for i in (1, 2, 3)])
        if strict:
            violated(c, peer, 0x93)
        else:
            settle(c)
            eq(len(got), 3)
            up(c, peer)
    c, peer = connected(receive_maximum=2, strict=True)
    got = heard(c)
    for i in range(1, 9):  # acknowledged ones do not count
        peer.send(P.publish("t", b"", 1, i), P.publish("t", b"", 0))
        settle(c)
        peer.send(P.publish("t", b"", 2, i))
        settle(c)
    eq(len(got), 24)
    up(c, peer)


def test_pubrec_and_pubrel_for_unknown_identifiers():
    """No DISCONNECT: PUBREL and PUBCOMP with 0x92 (4.3.3)."""
    c, peer = connected({PUBREL: None})
    for pid in rows((1, 256, 65535)):
        peer.send(P.pubrec(pid))
        settle(c)
        peer.expect(PUBREL, pid=pid, code=0x92)
        peer.send(P.pubrel(pid))
        settle(c)
        peer.expect(PUBCOMP, pid=pid, code=0x92)
        peer.send(P.pubrec(pid, 0x87))
        settle(c)
        peer.nothing()
    up(c, peer)


def test_acknowledgements_nobody_waits_for():
    c, peer = connected()
    for raw in rows((P.puback(9), P.puback(9, 0x87), P.pubcomp(9), P.suback(9, [0]), P.unsuback(9, [0]), P.pingresp())):
        peer.send(raw)
        settle(c)
        peer.nothing()
        count["stay"] += 1
    up(c, peer)


def test_version_three_connack():
    """A server of MQTT 3.1.1 refuses with `20 02 00 01`: Refused with 0x84 (3.1.2.2)."""
    for code in rows((1, 2, 5, 0x84)):
        peer = Peer({CONNECT: bytes((0x20, 2, 0, code))})
        c = make(peer)
        e = raises(Refused, c.connect)
        eq((e.what, e.reason_code.value, e.reason_code.action), ("CONNACK", 0x84, "fix-config"))
        eq((peer.link.closed, c.isconnected()), (True, False))


def test_suback_needs_one_code_for_each_filter():
    for codes in rows(([], [0], [0, 0, 0])):
        c, peer = connected({SUBSCRIBE: None})
        c.subscribe_start([("a", 0), ("b", 1)])
        peer.send(P.suback(1, codes))
        e = raises(ProtocolError, settle, c)
        assert e.reason_code in (0x81, 0x82), e.reason_code
        eq(peer.packets[-1].code, e.reason_code)
        c, peer = connected({P.UNSUBSCRIBE: None})
        c.unsubscribe_start(["a", "b"])
        peer.send(P.unsuback(1, codes))
        e = raises(ProtocolError, settle, c)
        assert e.reason_code in (0x81, 0x82), e.reason_code


def test_problem_information_that_was_not_wanted():
    """3.1.2-29: after Request Problem Information 0 only PUBLISH, CONNACK and DISCONNECT carry these two properties."""
    for body in rows((b"\x1f\0\1r", b"\x26\0\1k\0\1v")):
        for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK):
            none = {PUBLISH: None, SUBSCRIBE: None, P.UNSUBSCRIBE: None, PUBREL: None, PUBREC: None}
            c, peer = connected_without_information(none)
            if kind in (PUBACK, PUBREC, PUBCOMP):
                c.publish("t", b"", qos=1 if kind == PUBACK else 2)
            if kind == PUBCOMP:
                peer.send(P.pubrec(1))
            if kind == PUBREL:
                peer.send(P.publish("t", b"", 2, 1))
            if kind == SUBACK:
                c.subscribe_start([("a", 0)])
            if kind == UNSUBACK:
                c.unsubscribe_start(["a"])
            settle(c)
            peer.send(build(kind, block(kind, body)))
            violated(c, peer, 0x82)
            count["close"] += 1
    c, peer = connected_without_information()
    heard(c)
    peer.send(P.publish("t", b"", 0, None, [("user_property", ("k", "v"))]))
    settle(c)
    up(c, peer)
    peer.send(P.disconnect(0x8B, {"reason_string": "bye"}))
    eq(raises(Refused, settle, c).reason, "bye")
    peer = Peer(connack_props={"reason_string": "hello"})
    make(peer, props={"request_problem_information": 0}).connect()


def connected_without_information(answers=None):
    """A connection whose CONNECT said Request Problem Information 0."""
    peer = Peer(answers)
    c = make(peer, props={"request_problem_information": 0})
    c.connect()
    eq(peer.expect(CONNECT).prop("request_problem_information"), 0)
    return c, peer


def test_both_are_counted():
    """Last in this file: a client that always closes, or never, is none."""
    if count["close"] < 3800:  # only a part of this file was asked for
        count["close"] = count["stay"] = 0
        for name in sorted(globals()):
            if name[:5] == "test_" and name != "test_both_are_counted":
                globals()[name]()
    print("close %d, stay %d" % (count["close"], count["stay"]))
    assert count["close"] > 3800 and count["stay"] > 230, count
