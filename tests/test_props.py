"""props.py: properties by name (2.2.2)."""
from support.packets import vbi
from support.t import INTERPRETER, eq, raises, rows
from umqtt5 import props, wire

HEAP = "64m"
TIMEOUT = 180

# 2.2.2.2, transcribed from the specification: name, identifier, type, packets that a client may send it in (0: the Will).
WILL, CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH = 0, 1, 3, 8, 10, 14, 15
ACKS = (4, 5, 6, 7)
SENDS = (WILL, CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH) + ACKS
PROPERTIES = (
    ("payload_format_indicator", 0x01, "f", (PUBLISH, WILL)),
    ("message_expiry_interval", 0x02, "4", (PUBLISH, WILL)),
    ("content_type", 0x03, "s", (PUBLISH, WILL)),
    ("response_topic", 0x08, "s", (PUBLISH, WILL)),
    ("correlation_data", 0x09, "b", (PUBLISH, WILL)),
    ("subscription_identifier", 0x0B, "v", (SUBSCRIBE,)),
    ("session_expiry_interval", 0x11, "4", (CONNECT, DISCONNECT)),
    ("assigned_client_identifier", 0x12, "s", ()),
    ("server_keep_alive", 0x13, "2", ()),
    ("authentication_method", 0x15, "s", (CONNECT, AUTH)),
    ("authentication_data", 0x16, "b", (CONNECT, AUTH)),
    ("request_problem_information", 0x17, "f", (CONNECT,)),
    ("will_delay_interval", 0x18, "4", (WILL,)),
    ("request_response_information", 0x19, "f", (CONNECT,)),
    ("response_information", 0x1A, "s", ()),
    ("server_reference", 0x1C, "s", ()),
    ("reason_string", 0x1F, "s", (DISCONNECT, AUTH) + ACKS),
    ("receive_maximum", 0x21, "2z", (CONNECT,)),
    ("topic_alias_maximum", 0x22, "2", (CONNECT,)),
    ("topic_alias", 0x23, "2z", (PUBLISH,)),
    ("maximum_qos", 0x24, "f", ()),
    ("retain_available", 0x25, "f", ()),
    ("user_property", 0x26, "p", SENDS),
    ("maximum_packet_size", 0x27, "4z", (CONNECT,)),
    ("wildcard_subscription_available", 0x28, "f", ()),
    ("subscription_identifier_available", 0x29, "f", ()),
    ("shared_subscription_available", 0x2A, "f", ()),
)
# type: value, its bytes
GOOD = {
    "f": (1, b"\1"),
    "2": (258, b"\1\2"),
    "2z": (65535, b"\xff\xff"),
    "4": (0x01020304, b"\1\2\3\4"),
    "4z": (0xFFFFFFFF, b"\xff\xff\xff\xff"),
    "s": ("a\u20ac", b"\0\4a\xe2\x82\xac"),
    "b": (b"\0\xff", b"\0\2\0\xff"),
    "v": (128, b"\x80\1"),
    "p": (("k", "\u00e9"), b"\0\1k\0\2\xc3\xa9"),
}
RANGES = {
    "f": (0, 1),
    "2": (0, 65535),
    "2z": (1, 65535),
    "4": (0, 0xFFFFFFFF),
    "4z": (1, 0xFFFFFFFF),
    "v": (1, 268435455),
}
SHORT = (
    ("message_expiry", "message_expiry_interval", 60),
    ("session_expiry", "session_expiry_interval", 0xFFFFFFFF),
    ("will_delay", "will_delay_interval", 5),
    ("subscription_id", "subscription_identifier", 1),
    ("user_properties", "user_property", [("a", "b"), ("a", "c")]),
)
NOT_NAMES = (
    "", "topic", "alias", "receive_max", "reason", "available", "subscription_identifier_avail", "response", "\n", "maximum",
    "x_interval", "_interval", "_identifier", "message", "message_", "content_type_interval", "user_propert", "Content_Type",
    "content_type\t", "\t", "message_expiry_interval_interval", "retain_available\n", "subscription_id_available",
)  # fmt: skip


def _refused(*args):
    # encode([(name, value)], packet) raises ValueError whose text names the property
    e = raises(ValueError, props.encode, args[2] if len(args) > 2 else None, [args[:2]])
    assert args[0] in str(e) or "surrogates" in str(e), e
    return str(e)


def test_each_property_becomes_its_bytes_and_comes_back():
    for name, pid, kind, _ in rows(PROPERTIES):
        value, coded = GOOD[kind]
        block = bytes((len(coded) + 1, pid)) + coded
        eq(props.encode(None, [(name, value)]), block)
        eq(props.encode(None, **{name: value}), block)
        eq(props.decode(block), [(name, value)])
        eq(props.decode(bytearray(b"\xff\xff" + block + b"\xff"), 2), [(name, value)])
        eq(props.get(block, 0, name), value)
        eq(props.get(b"\xff" + block, 1, name), value)


def test_each_property_is_sent_in_exactly_the_packets_of_the_table():
    for name, _, kind, packets in rows(PROPERTIES):
        value = GOOD[kind][0]
        for packet in range(16):
            if packet in packets:
                assert len(props.encode(packet, [(name, value)])) > 2
            else:
                assert str(packet) in _refused(name, value, packet), packet


def test_a_property_given_twice_is_refused():
    for name, _, kind, packets in rows(PROPERTIES):
        value = GOOD[kind][0]
        for packet in packets:
            twice = [(name, value), (name, value)]
            if kind == "p":
                eq(len(props.decode(props.encode(packet, twice))), 2)
            else:
                assert name in str(raises(ValueError, props.encode, packet, twice))
    for short, name, value in rows(SHORT[:3]):
        raises(ValueError, props.encode, 1, [(short, value)], **{name: value})


def test_all_properties_of_a_packet_together():
    for packet in rows(SENDS):
        some = [p for p in PROPERTIES if packet in p[3]]
        pairs = [(p[0], GOOD[p[2]][0]) for p in some]
        want = b"".join([bytes((p[1],)) + GOOD[p[2]][1] for p in some])
        eq(props.encode(packet, pairs), vbi(len(want)) + want)
        pairs.reverse()
        eq(props.decode(props.encode(packet, pairs)), pairs)


def test_numbers_in_their_range():
    for name, _, kind, _ in rows(PROPERTIES):
        if kind in RANGES:
            low, high = RANGES[kind]
            for value in (low, high, (low + high) // 2):
                block = props.encode(None, [(name, value)])
                eq(props.get(block, 0, name), value)
                eq(props.decode(block), [(name, value)])
            for value in (low - 1, high + 1, -1, 1 << 32, -(1 << 40)):
                text = _refused(name, value)
                assert str(value) in text and "%d..%d" % (low, high) in text, text
            for value in (None, "1", b"1", 1.0, [1]):
                text = _refused(name, value)
                assert repr(value) in text, text


def test_flags_may_be_booleans():
    eq(props.encode(1, request_problem_information=False), b"\2\x17\0")
    eq(props.encode(3, payload_format_indicator=True), b"\2\1\1")


def test_subscription_identifier_boundaries():
    for value, coded in rows(
        ((1, b"\1"), (127, b"\x7f"), (128, b"\x80\1"), (16383, b"\xff\x7f"), (16384, b"\x80\x80\1"), (2097151, b"\xff\xff\x7f"),
         (2097152, b"\x80\x80\x80\1"), (268435455, b"\xff\xff\xff\x7f"))
    ):  # fmt: skip
        block = props.encode(8, subscription_id=value)
        eq(block, bytes((len(coded) + 1, 11)) + coded)
        eq(props.get(block, 0, "subscription_identifier"), value)


def test_strings_are_checked():
    for name, _, kind, _ in rows(PROPERTIES):
        if kind == "s":
            for value in ("a\0b", b"\xff", b"\xed\xa0\x80", "\ud800", "x" * 65536):
                _refused(name, value)
            for value in (5, None, 1.5):
                raises(TypeError, props.encode, None, [(name, value)])
            eq(props.encode(None, [(name, b"x")]), props.encode(None, [(name, "x")]))
            eq(props.get(props.encode(None, [(name, "x" * 65535)]), 0, name), "x" * 65535)


def test_response_topic_is_a_topic_name():
    for value in rows(("", b"", "a/+", "#")):
        _refused("response_topic", value)


def test_binary_data():
    for value in rows((b"", b"\0", bytearray(b"\xff\0"), memoryview(b"abc"), b"x" * 65535)):
        eq(props.get(props.encode(3, correlation_data=value), 0, "correlation_data"), bytes(value))
    _refused("correlation_data", b"x" * 65536)
    raises(TypeError, props.encode, 3, [("correlation_data", 5)])


def test_user_properties_keep_their_order_and_may_repeat():
    pairs = [("b", "1"), ("a", "2"), ("b", "1"), ("", "")]
    want = [("user_property", p) for p in pairs]
    eq(props.decode(props.encode(3, user_property=pairs)), want)
    eq(props.decode(props.encode(3, user_properties=tuple(pairs))), want)
    eq(props.decode(props.encode(3, want)), want)
    eq(props.decode(props.encode(3, user_property=("k", b"v"))), [("user_property", ("k", "v"))])
    eq(props.decode(props.encode(3, user_property=["k", "v"])), [("user_property", ("k", "v"))])
    eq(props.decode(props.encode(3, user_property=[["k", "v"], ["l", "w"]]))[1], ("user_property", ("l", "w")))
    eq(props.encode(3, user_property={"k": "v"}), props.encode(3, user_property=("k", "v")))
    eq(props.encode(3, user_property=[]), b"\0")
    mixed = [("user_property", ("1", "1")), ("content_type", "t"), ("user_property", ("2", "2"))]
    eq(props.decode(props.encode(3, mixed)), mixed)


def test_user_properties_are_checked():
    for value in rows((("a",), ("a", "b", "c"), [("a", "b", "c")], [()])):
        _refused("user_property", value)
    for value in rows((("a", "\0"), ("\0", "a"), (b"\xff", "a"), ("a", "x" * 65536))):
        _refused("user_property", value)
    _refused("user_property", [{"a": "b"}])
    for value in rows((5, None, [5], ("a", 5), {"a": 5}, {5: "a"})):
        raises(TypeError, props.encode, 3, [("user_property", value)])


def test_short_names():
    for short, name, value in rows(SHORT):
        eq(props.encode(None, [(short, value)]), props.encode(None, [(name, value)]))
        eq(props.get(props.encode(None, [(name, value)]), 0, short), value[0] if short == "user_properties" else value)


def test_other_names_are_refused():
    for name in rows(NOT_NAMES):
        assert name in str(raises(ValueError, props.encode, None, [(name, 1)]))
        raises(ValueError, props.get, b"\0", 0, name)
    for name in rows((5, None, b"content_type", ("a",))):
        raises(TypeError, props.encode, None, [(name, 1)])


def test_nothing():
    for value in rows((None, [], {}, ())):
        eq(props.encode(3, value), b"\0")
    eq(props.encode(), b"\0")
    eq(props.decode(b"\0"), [])
    eq(props.decode(b""), [])
    eq(props.get(b"\0", 0, "content_type"), None)
    eq(props.get(b"", 0, "content_type"), None)


def test_pairs_come_before_keywords_and_a_dictionary_will_do():
    eq(props.encode(pairs=[("content_type", "t")], topic_alias=5), b"\7\x03\0\1t\x23\0\5")
    eq(props.encode(packet=14, pairs={"reason_string": "x"}), b"\4\x1f\0\1x")


def test_block_takes_what_the_application_has():
    made = props.encode(3, [("message_expiry", 60), ("user_property", ("k", "v"))])
    for value in rows((b"", None, {}, [], ())):
        eq(props.block(value, 3), b"")
    for value in rows((made, bytearray(made), memoryview(made))):
        eq(props.block(value, 3), made)
        assert type(props.block(value, 3)) is bytes
    eq(props.block([("message_expiry", 60), ("user_property", ("k", "v"))], 3), made)
    eq(props.block({"content_type": "t"}, 3), b"\4\x03\0\1t")
    eq(props.block(b"\0", 3), b"\0")


def test_block_refuses_bytes_that_a_client_may_not_send():
    for value, packet in rows(
        (
            (b"\1", 3),
            (b"\2\1\1\1", 3),  # bytes left over
            (b"\2\1\1", 1),  # not in CONNECT
            (b"\2\1\2", 3),
            (b"\4\1\1\1\1", 3),  # twice
            (b"\x82\0\1\1", 3),  # length not in its shortest form
            (b"\3\x23\0\0", 3),
            (b"\2\x7f\0", 3),
            (b"\4\x03\0\1\xff", 3),
            (b"\4\x03\0\2t", 3),
            (b"\3\x0b\x81\0", 8),
            (b"\xff\xff\xff\xff\1", 3),
            (b"\x80", 3),
            (b"abc", 3),
        )
    ):
        raises(ValueError, props.block, value, packet)


def test_block_cut_at_every_byte_is_refused():
    for packet in SENDS:
        pairs = [(p[0], GOOD[p[2]][0]) for p in PROPERTIES if packet in p[3]]
        made = props.encode(packet, pairs)
        for n in range(1, len(made)):
            raises(ValueError, props.block, made[:n], packet)
            raises(ValueError, props.block, vbi(n - 1) + made[len(vbi(len(made))) :][: n - 1] + b"\xff", packet)


def test_block_of_random_bytes_is_refused_or_unchanged():
    x = 5
    for n in range(400 if INTERPRETER == "wasm32" else 3000):
        b = bytearray(1 + n % 12)
        for i in range(len(b)):
            x = (x * 25173 + 13849) & 0xFFFF
            b[i] = (x >> 5) & (0x2F if x & 0x1000 else 0xFF)
        b[0] = len(b) - 1
        try:
            eq(props.block(b, SENDS[n % 11]), bytes(b))
        except ValueError:
            pass


def test_what_a_server_may_send_is_decoded_and_what_it_sent_passes_walk():
    pairs = [
        ("session_expiry_interval", 0xFFFFFFFF),
        ("receive_maximum", 20),
        ("maximum_qos", 1),
        ("retain_available", 0),
        ("maximum_packet_size", 1 << 30),
        ("assigned_client_identifier", "auto-\u00e9"),
        ("topic_alias_maximum", 10),
        ("reason_string", "fine"),
        ("user_property", ("k", "v")),
        ("user_property", ("k", "v")),
        ("wildcard_subscription_available", 1),
        ("subscription_identifier_available", 0),
        ("shared_subscription_available", 0),
        ("server_keep_alive", 30),
        ("response_information", "r/"),
        ("server_reference", "other:1883"),
        ("authentication_method", "M"),
        ("authentication_data", b"\0\1"),
    ]
    block = props.encode(None, pairs)
    eq(wire.walk(block, 0, len(block), 2), len(block))
    eq(props.decode(block), pairs)
    block = props.encode(None, [("subscription_identifier", 1), ("subscription_identifier", 300)])
    eq(wire.walk(block, 0, len(block), 3), len(block))
    eq(props.decode(block), [("subscription_identifier", 1), ("subscription_identifier", 300)])
    eq(props.get(block, 0, "subscription_id"), 1)
