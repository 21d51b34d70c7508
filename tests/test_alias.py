"""Topic aliases (3.3.2.3.4), both ways: assigned within the server's maximum, never stored, never kept over a connection."""

from support import packets as P
from support.packets import PUBACK, PUBLISH, PUBREC
from support.session import again, connected, heard, settle, up, violated
from support.t import eq, raises, rows
from umqtt5 import props


def of(peer):
    """(topic, alias, payload) of all PUBLISH so far; the list starts anew."""
    out = [(p.topic, p.prop("topic_alias"), p.payload) for p in peer.of(PUBLISH)]
    del peer.packets[:]
    peer.seen = 0
    return out


# --- out


def test_a_repeated_topic_shrinks_to_its_alias():
    c, peer = connected({}, {"topic_alias_maximum": 5})
    for i in range(4):
        c.publish("telemetry/room/1", b"%d" % i)
    eq(of(peer), [("telemetry/room/1", 1, b"0"), ("", 1, b"1"), ("", 1, b"2"), ("", 1, b"3")])


def test_never_above_the_servers_maximum():
    """3.2.2-17, 3.3.2-9: two aliases, three topics: the third goes in full."""
    for limit, slots, want in rows(((2, 8, 2), (8, 2, 2), (1, 8, 1), (65535, 3, 3))):
        c, peer = connected({}, {"topic_alias_maximum": limit}, aliases=slots)
        for _ in range(3):
            for topic in ("a", "b", "c", "d", "e"):
                c.publish(topic, b"x")
        got = of(peer)
        used = [x[1] for x in got if x[1]]
        assert used and max(used) == want and min(used) == 1, used
        for topic, alias, _ in got:
            assert topic or alias, got


def test_an_alias_makes_no_packet_too_large():
    """3.2.2-15: what the server takes without an alias only, leaves without one; the next one has it again."""
    for size in range(84, 91):  # with 90: 1 + 1 + 2 + 5 + 1 + 90 = 100 bytes
        c, peer = connected({}, {"topic_alias_maximum": 5, "maximum_packet_size": 100})
        for n in (size, 1, size, 1):
            c.publish("topic", b"x" * n)
        eq([len(p.payload) for p in peer.of(PUBLISH)], [size, 1, size, 1])
        eq(max(len(p.raw) for p in peer.of(PUBLISH)) <= 100, True)
        eq([(topic, alias) for topic, alias, _ in of(peer)][2:], [("", 1), ("", 1)])
    raises(ValueError, c.publish, "other", b"x" * 91)


def test_none_without_permission():
    """3.2.2-18: absent, 0, or switched off here."""
    for given, options in rows((((), {}), ({"topic_alias_maximum": 0}, {}), ({"topic_alias_maximum": 5}, {"aliases": 0}))):
        c, peer = connected({}, given, **options)
        for i in range(3):
            c.publish("a", b"%d" % i)
        eq(of(peer), [("a", None, b"0"), ("a", None, b"1"), ("a", None, b"2")])
        if not given or options == {}:
            raises(ValueError, c.publish, "a", b"x", False, 0, props.encode(topic_alias=1))


def test_every_message_resolves_to_its_topic():
    """A receiver that follows the rules sees the right topics: mixed QoS, properties, lengths, prepared ones."""
    c, peer = connected({}, {"topic_alias_maximum": 3}, inflight=4096)
    block = props.encode(content_type="x", user_property=("k", "v"))
    big = props.encode(user_property=("k", "v" * 130))
    p = c.publication("prepared", 5, props=block)
    want = []
    for i in range(40):
        topic = ("alpha", "beta", "gamma", "delta")[i * 7 % 4]
        given = (b"", block, big)[i % 3]
        payload = b"x" * (i * 13 % 200)
        qos = (0, 0, 1, 0, 2)[i % 5]
        c.publish(topic, payload, i % 4 == 1, qos, given)
        settle(c)
        want.append((topic, payload, int(i % 4 == 1), (b"", block, big)[i % 3]))
        p.send(b"12345")
        want.append(("prepared", b"12345", 0, block))
    table = {}
    for p, (topic, payload, retain, given) in rows(list(zip(peer.of(PUBLISH), want))):
        alias = p.prop("topic_alias")
        if alias:
            assert 1 <= alias <= 3, alias
            if p.topic:
                table[alias] = p.topic
        eq((p.topic or table[alias], p.payload, p.retain), (topic, payload, retain))
        eq([x for x in p.props if x[0] != "topic_alias"], props.decode(given) if given else [])


def test_forgotten_with_the_connection():
    """3.3.2-7, and the trap: replay with an alias, or an alias table kept over a reconnect."""
    c, peer = connected({PUBLISH: None}, {"topic_alias_maximum": 5}, session_expiry=100)
    c.publish("a", b"0")
    c.publish("a", b"1")
    c.publish("a", b"q1", False, 1)
    c.drop()
    of(peer)
    again(c, peer)
    settle(c)
    c.publish("a", b"2")
    c.publish("a", b"3")
    eq(of(peer), [("a", None, b"q1"), ("a", 1, b"2"), ("", 1, b"3")])
    c.drop()
    peer.connack_props = ()
    again(c, peer)
    settle(c)
    of(peer)
    c.publish("a", b"4")
    eq(of(peer), [("a", None, b"4")])


def test_a_topic_that_was_not_sent_gets_no_alias():
    """A publish that fails leaves no alias behind that the server does not know."""
    c, peer = connected({}, {"topic_alias_maximum": 5, "maximum_packet_size": 40})
    raises(ValueError, c.publish, "abc", bytes(50))
    raises(TypeError, c.publish, "abc", None)
    c.publish("abc", b"1")
    c.publish("abc", b"2")
    table = {}
    for p in peer.of(PUBLISH):
        if p.topic and p.prop("topic_alias"):
            table[p.prop("topic_alias")] = p.topic
        eq(p.topic or table[p.prop("topic_alias")], "abc")


def test_bytes_saved():
    """A telemetry stream of 100 messages of 12 bytes to one topic."""
    sizes = []
    for limit in (0, 5):
        c, peer = connected({}, {"topic_alias_maximum": limit} if limit else ())
        before = peer.link.written
        for _ in range(100):
            c.publish("site/4/building/2/room/17/temperature", b"21.5 degrees")
        sizes.append(peer.link.written - before)
    print("without aliases %d bytes, with %d" % tuple(sizes))
    assert sizes[1] < 0.45 * sizes[0], sizes


def test_aliases_of_the_user():
    c, peer = connected({}, {"topic_alias_maximum": 5}, aliases=0)
    raises(ValueError, props.encode, 3, {"topic_alias": 0})
    for qos in rows((0, 1)):
        raises(ValueError, c.publish, "a", b"x", False, qos, props.encode(topic_alias=6))
    eq(of(peer), [])
    up(c, peer)


# --- in


def test_every_alias_up_to_our_maximum():
    """3.3.2-10"""
    c, peer = connected(topic_alias_maximum=5)
    eq(peer.packets[0].prop("topic_alias_maximum"), 5)
    got = heard(c)
    for alias in range(1, 6):
        peer.send(P.publish("topic/%d" % alias, b"1", alias % 3, alias, {"topic_alias": alias}))
    settle(c)
    for alias in (5, 1, 3, 2, 4, 4, 1):
        peer.send(P.publish("", b"2", (alias + 1) % 3, 10 + alias, {"topic_alias": alias}))
        settle(c)
    eq([m[0] for m in got], ["topic/%d" % i for i in (1, 2, 3, 4, 5, 5, 1, 3, 2, 4, 4, 1)])
    eq([m[1] for m in got], [b"1"] * 5 + [b"2"] * 7)


def test_an_alias_can_be_mapped_anew():
    """U-20"""
    c, peer = connected(topic_alias_maximum=2)
    got = heard(c)
    for topic, alias in (
        ("a", 1),
        ("", 1),
        ("longer/topic", 1),
        ("", 1),
        ("b", 2),
        ("", 1),
        ("x", 1),
        ("", 2),
        ("", 1),
        ("x", 1),
        ("", 1),
    ):
        peer.send(P.publish(topic, b"", 0, None, {"topic_alias": alias}))
    settle(c)
    eq([m[0] for m in got], ["a", "a", "longer/topic", "longer/topic", "b", "longer/topic", "x", "b", "x", "x", "x"])


def test_topic_accessors_see_the_resolved_topic():
    c, peer = connected(topic_alias_maximum=1)
    got = []
    c.on_message = lambda m: got.append(
        (m.is_topic(b"a/b"), m.startswith(b"a/"), m.is_topic(b""), bytes(m.topic()), bytes(m.payload()), m.properties())
    )
    peer.send(
        P.publish("a/b", b"1", 0, None, {"topic_alias": 1}),
        P.publish("", b"2", 0, None, {"topic_alias": 1}),
        P.publish("a/b", b"3"),
    )
    settle(c)
    alias = [("topic_alias", 1)]
    eq(
        got,
        [
            (True, True, False, b"a/b", b"1", alias),
            (True, True, False, b"a/b", b"2", alias),
            (True, True, False, b"a/b", b"3", []),
        ],
    )
    out = []
    c.on_message = None
    c.set_callback(lambda topic, msg: out.append((topic, msg)))
    peer.send(P.publish("", b"4", 0, None, {"topic_alias": 1}))
    settle(c)
    eq(out, [(b"a/b", b"4")])


def test_what_is_no_alias():
    """3.1.2-26, -27, 3.3.2-8, -11, U-19"""
    for maximum, topic, alias, code in rows(
        (
            (0, "a", 1, 0x94),
            (0, "", 1, 0x94),
            (2, "a", 3, 0x94),
            (2, "", 3, 0x94),
            (2, "a", 0, 0x94),
            (2, "a", 65535, 0x94),
            (2, "", 1, 0x82),
            (2, "", 2, 0x82),
        )
    ):
        for qos in (0, 1, 2):
            c, peer = connected(topic_alias_maximum=maximum)
            got = heard(c)
            peer.send(P.publish(topic, b"", qos, 1, {"topic_alias": alias}))
            violated(c, peer, code)
            eq((got, peer.of(PUBACK), peer.of(PUBREC)), ([], [], []))


def test_inbound_aliases_die_with_the_connection():
    c, peer = connected(topic_alias_maximum=3, session_expiry=100)
    got = heard(c)
    peer.send(P.publish("a", b"", 0, None, {"topic_alias": 1}))
    settle(c)
    c.drop()
    again(c, peer)
    peer.send(P.publish("", b"", 0, None, {"topic_alias": 1}))
    violated(c, peer, 0x82)
    eq(len(got), 1)


def test_long_topics_behind_aliases():
    c, peer = connected(topic_alias_maximum=4, rx=512)
    got = heard(c)
    peer.send(P.publish("x" * 200, b"1", 0, None, {"topic_alias": 2}), P.publish("", b"2", 0, None, {"topic_alias": 2}))
    settle(c)
    eq([(len(m[0]), m[1]) for m in got], [(200, b"1"), (200, b"2")])


def test_in_pieces():
    for size in rows((1, 3)):
        c, peer = connected(topic_alias_maximum=3)
        got = heard(c)
        peer.link.arrives = size
        peer.link.gaps = True
        for topic in ("abc", "", "d", "", ""):
            peer.send(P.publish(topic, b"xyz", 1, 1, {"topic_alias": 2, "content_type": "t"}))
        while peer.link.inbox:
            c.poll()
        settle(c)
        eq([m[0] for m in got], ["abc", "abc", "d", "d", "d"])
        eq(len(peer.of(PUBACK)), 5)
