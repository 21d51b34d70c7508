"""SUBSCRIBE and UNSUBSCRIBE (3.8 to 3.11): options, several filters, results, routing to handlers, matching."""

from support import packets as P
from support.packets import SUBSCRIBE, UNSUBSCRIBE
from support.session import connected, settle, up
from support.t import eq, raises, rows
from umqtt5 import Refused, topics

MANY = [
    ("reason_string", "because é"),
    ("user_property", ("b", "1")),
    ("user_property", ("a", "2")),
    ("user_property", ("b", "1")),
]


def test_bytes():
    c, peer = connected()
    c.subscribe("a/b", 1)
    eq(peer.expect(SUBSCRIBE).raw, b"\x82\x09\x00\x01\x00\x00\x03a/b\x01")
    c.unsubscribe("a/b")
    eq(peer.expect(UNSUBSCRIBE).raw, b"\xa2\x08\x00\x02\x00\x00\x03a/b")


def test_all_combinations_of_options():
    """3.8.3-5: bits 6 and 7 are zero"""
    c, peer = connected()
    for qos in rows((0, 1, 2)):
        for nl in (False, True):
            for rap in (False, True):
                for rh in (0, 1, 2):
                    c.subscribe("f", qos, no_local=nl, retain_as_published=rap, retain_handling=rh)
                    eq(peer.expect(SUBSCRIBE).filters, [("f", qos | nl << 2 | rap << 3 | rh << 4)])
                    c.subscribe([("f", qos, {"no_local": nl, "retain_as_published": rap, "retain_handling": rh})])
                    eq(peer.expect(SUBSCRIBE).filters, [("f", qos | nl << 2 | rap << 3 | rh << 4)])


def test_several_filters_in_one_packet():
    """3.8.4-5, 3.10.4-6"""
    c, peer = connected()
    codes = c.subscribe([("a", 0), ("é/+", 1, {"no_local": True}), ("$share/g/x/#", 2)])
    eq(codes, b"\0\1\2")
    eq(peer.expect(SUBSCRIBE).filters, [("a", 0), ("é/+", 5), ("$share/g/x/#", 2)])
    c.unsubscribe(["é/+", "a"])
    eq(peer.expect(UNSUBSCRIBE).filters, ["é/+", "a"])


def test_properties():
    c, peer = connected()
    c.subscribe("f", props=[("user_property", ("b", "1")), ("subscription_identifier", 268435455), ("user_property", ("a", "2"))])
    eq(
        peer.expect(SUBSCRIBE).props,
        [("user_property", ("b", "1")), ("subscription_identifier", 268435455), ("user_property", ("a", "2"))],
    )
    c.unsubscribe("f", props={"user_property": ("k", "v")})
    eq(peer.expect(UNSUBSCRIBE).props, [("user_property", ("k", "v"))])
    c.subscribe("f", props={"user_property": [("k", "v" * 200)]})
    eq(len(peer.expect(SUBSCRIBE).prop("user_property")[1]), 200)


def test_long_properties_with_a_handler():
    c, peer = connected()
    for n in rows((50, 120, 121, 122, 123, 124, 128, 16375, 16376, 16377, 16378, 16379, 16380, 20000)):
        c.subscribe("f", to=lambda m: None, props={"user_property": ("k", "v" * n)})
        p = peer.expect(SUBSCRIBE)
        eq((len(p.prop("user_property")[1]), p.prop("subscription_identifier"), p.filters), (n, 1, [("f", 0)]))


BAD_FILTERS = (
    "",
    "a#",
    "a/#/b",
    "#/a",
    "a+",
    "+a",
    "a/+b",
    "a/b+/c",
    "##",
    "++",
    "a\0b",
    "$share//t",
    "$share/g",
    "$share/g/",
    "$share/g+/t",
    "$share/g#/t",
) + ("$share/", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", "x" * 65536, "$share/g/a#")
GOOD_FILTERS = (
    "#",
    "+",
    "a/#",
    "+/#",
    "a/+/b",
    "/+",
    "+/",
    "/",
    "//",
    "$SYS/#",
    "$share/g/#",
    "$share/g/a/+",
    "$share/g//",
    "x" * 65535,
    "$shared/g",
    "a b",
)


def test_bad_filters_are_refused():
    """4.7.1-1, -2, 4.7.3-1, -2, -3, 4.8.2-1, -2, 3.8.3-1, 3.10.3-1"""
    c, peer = connected()
    for f in rows(BAD_FILTERS):
        raises(ValueError, c.subscribe, f)
        raises(ValueError, c.subscribe_start, [("ok", 0), (f, 0)])
        raises(ValueError, c.unsubscribe, f)
        raises(ValueError, c.unsubscribe_start, ["ok", f])
    peer.nothing()
    up(c, peer)


def test_good_filters_are_sent():
    c, peer = connected()
    for f in rows(GOOD_FILTERS):
        c.subscribe(f)
        eq(peer.expect(SUBSCRIBE).filters, [(f, 0)])
        c.unsubscribe(f)
        eq(peer.expect(UNSUBSCRIBE).filters, [f])


def test_bad_arguments():
    """3.8.3-2, -4, -5, 3.10.3-2"""
    c, peer = connected()
    for f in rows(([], (), None)):
        raises((ValueError, TypeError), c.subscribe, f)
        raises((ValueError, TypeError), c.unsubscribe, f)
    for qos in rows((3, -1, 4)):
        raises(ValueError, c.subscribe, "f", qos)
    raises(ValueError, c.subscribe, "f", retain_handling=3)
    raises(ValueError, c.subscribe, "f", retain_handling=-1)
    raises(ValueError, c.subscribe, "$share/g/t", no_local=True)
    raises(ValueError, c.subscribe, [("$share/g/t", 0, {"no_local": True})])
    for given in rows(
        (
            {"subscription_identifier": 0},
            {"subscription_identifier": 268435456},
            {"content_type": "x"},
            {"topic_alias": 1},
            [("subscription_identifier", 1), ("subscription_identifier", 2)],
        )
    ):
        raises(ValueError, c.subscribe, "f", props=given)
    raises(ValueError, c.unsubscribe, "f", props={"subscription_identifier": 1})
    peer.nothing()
    up(c, peer)


def test_granted_qos_and_failures_by_position():
    """3.8.4-7, 3.8.4-8, 3.9.3-1, 3.11.3-1"""
    c, peer = connected({SUBSCRIBE: lambda peer, p: P.suback(p.pid, [0, 1, 2, 0x87, 0])})
    eq(c.subscribe([("a", 0), ("b", 1), ("c", 2), ("d", 2), ("e", 2)]), b"\0\1\2\x87\0")
    peer.answers[UNSUBSCRIBE] = lambda peer, p: P.unsuback(p.pid, [0, 0x11, 0x87])
    eq(c.unsubscribe(["a", "b", "c"]), b"\0\x11\x87")
    peer.answers[SUBSCRIBE] = lambda peer, p: P.suback(p.pid, [0])
    eq(c.subscribe("f", 2), b"\0")


def test_a_single_refusal_raises():
    for code in rows((0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2)):
        c, peer = connected({SUBSCRIBE: lambda peer, p, code=code: P.suback(p.pid, [code], MANY)})
        e = raises(Refused, c.subscribe, "f")
        eq((e.what, e.reason_code.value, e.reason, e.props), ("SUBACK", code, "because é", MANY))
        up(c, peer)
    for code in rows((0x80, 0x83, 0x87, 0x8F, 0x91)):
        c, peer = connected({UNSUBSCRIBE: lambda peer, p, code=code: P.unsuback(p.pid, [code], MANY)})
        e = raises(Refused, c.unsubscribe, "f")
        eq((e.what, e.reason_code.value, e.reason, e.props), ("UNSUBACK", code, "because é", MANY))
        up(c, peer)
    c, peer = connected({UNSUBSCRIBE: lambda peer, p: P.unsuback(p.pid, [0x11])})
    eq(c.unsubscribe("f"), b"\x11")  # no subscription existed: done


def test_properties_of_the_answers():
    """3.9.2-1, -2, 3.11.2-1, -2"""
    c, peer = connected(
        {SUBSCRIBE: lambda peer, p: P.suback(p.pid, [1], MANY), UNSUBSCRIBE: lambda peer, p: P.unsuback(p.pid, [0], MANY)}
    )
    told = []
    c.on_suback = lambda c, pid, packet: told.append((pid, packet, bytes(c.packet_codes()), c.packet_props()))
    c.subscribe("f", 1)
    c.unsubscribe("f")
    eq(told, [(1, 9, b"\1", MANY), (2, 11, b"\0", MANY)])


def test_an_answer_that_never_comes():
    """3.8.4-1, 3.10.4-4"""
    c, peer = connected({SUBSCRIBE: None, UNSUBSCRIBE: None})
    raises(OSError, c.subscribe, "f", timeout=0.05)
    raises(OSError, c.unsubscribe, "f", timeout=0.05)
    peer.send(P.suback(1, [0]), P.unsuback(2, [0]))  # too late: ignored
    settle(c)
    up(c, peer)


def test_without_a_connection():
    c, peer = connected()
    c.drop()
    raises(OSError, c.subscribe, "f")
    raises(OSError, c.unsubscribe, "f")
    raises(OSError, c.subscribe_start, [("f", 0)])


def test_handlers_by_subscription_identifier():
    c, peer = connected()
    got = {"a": [], "b": [], "other": []}
    c.on_message = lambda m: got["other"].append(bytes(m.topic()))
    c.subscribe("a/#", 0, to=lambda m: got["a"].append(bytes(m.topic())))
    c.subscribe("b/+", 0, to=lambda m: got["b"].append(bytes(m.topic())))
    c.subscribe("c")
    ids = [p.prop("subscription_identifier") for p in peer.of(SUBSCRIBE)]
    assert ids[0] and ids[1] and ids[0] != ids[1], ids
    for topic, ident in rows((("a/1", ids[0]), ("b/1", ids[1]), ("a/2", ids[0]), ("c", None), ("c", 99), ("c", 268435455))):
        peer.send(P.publish(topic, b"", 0, None, {"subscription_identifier": ident} if ident else ()))
    settle(c)
    eq(got, {"a": [b"a/1", b"a/2"], "b": [b"b/1"], "other": [b"c"] * 3})
    c.unsubscribe("a/#")
    peer.send(P.publish("a/3", b"", 0, None, {"subscription_identifier": ids[0]}))
    settle(c)
    eq(got["other"], [b"c"] * 3 + [b"a/3"])
    c.subscribe("d", to=lambda m: got["a"].append(b"d"))
    peer.send(P.publish("d", b"", 0, None, {"subscription_identifier": peer.of(SUBSCRIBE)[-1].prop("subscription_identifier")}))
    settle(c)
    eq(got["a"], [b"a/1", b"a/2", b"d"])


def test_many_handlers():
    """Identifiers of two bytes"""
    c, peer = connected()
    got = []

    def handler(i):
        return lambda m: got.append(i)

    for i in range(140):
        c.subscribe("t/%d" % i, to=handler(i))
    for i in rows((0, 126, 127, 128, 139)):
        peer.send(
            P.publish(
                "t/%d" % i, b"", 0, None, {"subscription_identifier": peer.of(SUBSCRIBE)[i].prop("subscription_identifier")}
            )
        )
        settle(c)
        eq(got.pop(), i)
    eq(got, [])


def test_handlers_by_topic_where_the_server_has_no_identifiers():
    c, peer = connected({}, {"subscription_identifier_available": 0})
    got = []
    c.on_message = lambda m: got.append(("other", bytes(m.topic())))
    c.subscribe("a/#", to=lambda m: got.append(("a", bytes(m.topic()))))
    c.subscribe("$share/g/b/+", to=lambda m: got.append(("b", bytes(m.topic()))))
    c.subscribe("#", to=lambda m: got.append(("all", bytes(m.topic()))))
    c.unsubscribe("#")
    for topic in ("a", "a/x", "b/x", "b/x/y", "c", "$SYS/x"):
        peer.send(P.publish(topic, b""))
    settle(c)
    eq(got, [("a", b"a"), ("a", b"a/x"), ("b", b"b/x"), ("other", b"b/x/y"), ("other", b"c"), ("other", b"$SYS/x")])


def test_a_refused_subscription_gets_no_messages():
    c, peer = connected({SUBSCRIBE: lambda peer, p: P.suback(p.pid, [0x87])}, {"subscription_identifier_available": 0})
    got = []
    raises(Refused, c.subscribe, "a", to=lambda m: got.append(1))
    peer.send(P.publish("a", b""))
    settle(c)
    eq(got, [])


MATCHES = (
    ("a", "a", True), ("a", "b", False), ("a", "a/", False), ("a/", "a", False), ("a/b", "a/b", True),
    ("a/b", "a/bc", False), ("#", "a", True), ("#", "a/b/c", True), ("#", "/", True), ("#", "$SYS/x", False),
    ("+", "a", True), ("+", "a/b", False), ("+", "", True), ("+/+", "/a", True), ("/+", "/a", True),
    ("+", "/a", False), ("+", "$x", False), ("+/x", "$SYS/x", False), ("$SYS/#", "$SYS/x", True),
    ("$SYS/+", "$SYS/x", True), ("a/#", "a", True), ("a/#", "a/", True), ("a/#", "a/b/c", True), ("a/#", "ab", False),
    ("a/+/c", "a/b/c", True), ("a/+/c", "a//c", True), ("a/+/c", "a/b/d", False), ("a/+", "a", False),
    ("a/+", "a/", True), ("a/+/#", "a", False), ("a/+/#", "a/b", True), ("a/+/#", "a/b/c", True), ("é", "é", True),
    ("é", "e\u0301", False), ("a/$x/#", "a/$x/y", True), ("+/$x", "a/$x", True), ("$share/g/a/+", "a/b", True),
    ("$share/g/#", "$SYS/x", False), ("$share/g/a", "$share/g/a", False), ("A", "a", False), ("a//b", "a/b", False),
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False), ("sport/+", "sport", False),
)  # fmt: skip


def test_matching():
    """4.7: the examples of the specification, `$` topics (4.7.2-1), no normalisation (4.7.3-4), shared filters."""
    for f, topic, want in rows(MATCHES):
        eq(bool(topics.matches(f, topic)), want)
        eq(bool(topics.matches(f.encode(), bytearray(topic.encode()))), want)
