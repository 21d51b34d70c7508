"""CONNECT (3.1): each flag, field and property, the Will with its own, what is refused before a byte leaves, and the session."""

from support import packets as P
from support.clock import Clock
from support.packets import AUTH, CONNECT, DISCONNECT, PUBLISH, SUBSCRIBE
from support.peer import Peer
from support.session import again, connected, heard, make, settle
from support.t import eq, raises, rows
from umqtt5 import MQTTException, ProtocolError, Refused, props

time = Clock()


def sent(clean_start=True, will=None, **options):
    """The CONNECT packet of a client with these options."""
    peer = Peer()
    c = make(peer, **options)
    if will:
        c.set_last_will(*will)
    c.connect(clean_start)
    return peer.expect(CONNECT)


def mentioned(p, *names):
    """The properties of p without those that the library adds by itself."""
    return [x for x in p.props if x[0] not in ("receive_maximum", "maximum_packet_size") or x[0] in names]


def test_smallest_connect_byte_by_byte():
    p = sent(client_id="", keepalive=0, rx=512, inflight=1024)
    eq(p.raw, b"\x10\x15\x00\x04MQTT\x05\x02\x00\x00\x08\x21\x00\x10\x27\x00\x00\x02\x00\x00\x00")


def test_all_six_fields_in_their_order():
    """3.1.3-1: client identifier, Will properties, Will topic, Will payload, user name, password."""
    p = sent(True, ("w/t", b"gone", True, 2, {"will_delay_interval": 5}), client_id="id", user="us", password="pw", keepalive=258)
    i = p.raw.index(b"\x00\x02id")
    eq(p.raw[i:], b"\x00\x02id\x05\x18\x00\x00\x00\x05\x00\x03w/t\x00\x04gone\x00\x02us\x00\x02pw")
    eq(p.raw[2:12], b"\x00\x04MQTT\x05\xf6\x01\x02")


def test_protocol_name_version_and_first_packet():
    p = sent()
    eq((p.raw[0], p.raw[2:9]), (0x10, b"\x00\x04MQTT\x05"))


def test_flags_in_all_combinations():
    for user in rows((None, "", "u")):
        for password in (None, "", b"\xff\x00"):
            for clean in (True, False):
                for will in (None, ("t", b"", False, 0), ("t", b"", True, 1), ("t", b"x", False, 2)):
                    p = sent(clean, will, user=user, password=password)
                    f = p.raw[9]
                    eq(f & 1, 0, "reserved")
                    eq(f >> 1 & 1, int(clean), "clean start")
                    eq(f >> 2 & 1, int(will is not None), "will flag")
                    eq(f >> 3 & 3, will[3] if will else 0, "will qos")
                    eq(f >> 5 & 1, int(will[2]) if will else 0, "will retain")
                    eq(f >> 6 & 1, int(password is not None), "password flag")
                    eq(f >> 7, int(user is not None), "user flag")
                    eq(p.user, user)
                    eq(p.password, password if password is None or isinstance(password, bytes) else password.encode())
                    eq(p.will and (p.will.topic, p.will.payload), will and (will[0], will[1]))


def test_empty_will_is_written_in_full():
    p = sent(will=("t", b""), client_id="i")
    i = p.raw.index(b"\x00\x01i")
    eq(p.raw[i:], b"\x00\x01i\x00\x00\x01t\x00\x00")
    eq((p.will.props, p.will.payload), ([], b""))


def test_every_property_of_connect():
    for name, value in rows(
        (
            ("session_expiry_interval", 0),
            ("session_expiry_interval", 0xFFFFFFFF),
            ("receive_maximum", 1),
            ("receive_maximum", 65535),
            ("maximum_packet_size", 64),
            ("topic_alias_maximum", 5),
            ("request_response_information", 0),
            ("request_response_information", 1),
            ("request_problem_information", 0),
            ("request_problem_information", 1),
            ("user_property", ("k", "v")),
            ("user_property", ("", "")),
        )
    ):
        p = sent(props={name: value})
        eq(p.prop(name), value)
        eq(sent(props=[(name, value)]).block, p.block)
        eq(sent(props=props.encode(1, [(name, value)])).block, p.block)
    p = sent(
        props=[
            ("user_property", ("b", "1")),
            ("request_problem_information", 1),
            ("user_property", ("a", "é")),
            ("user_property", ("b", "1")),
        ]
    )
    eq(
        mentioned(p),
        [
            ("user_property", ("b", "1")),
            ("request_problem_information", 1),
            ("user_property", ("a", "é")),
            ("user_property", ("b", "1")),
        ],
    )


def test_constructor_arguments_become_properties():
    p = sent(session_expiry=0xFFFFFFFE, rx=256, receive_maximum=7, topic_alias_maximum=9)
    eq(p.prop("session_expiry_interval"), 0xFFFFFFFE)
    eq(p.prop("maximum_packet_size"), 256)
    eq(p.prop("receive_maximum"), 7)
    eq(p.prop("topic_alias_maximum"), 9)
    eq(sent().prop("session_expiry_interval"), None)
    eq(sent().prop("topic_alias_maximum"), None)


def test_every_property_of_the_will():
    all_of_them = [
        ("user_property", ("z", "1")),
        ("will_delay_interval", 0xFFFFFFFF),
        ("payload_format_indicator", 1),
        ("user_property", ("a", "2")),
        ("message_expiry_interval", 60),
        ("content_type", "text/plain"),
        ("response_topic", "r/t"),
        ("correlation_data", b"\x00\xff"),
        ("user_property", ("z", "1")),
    ]
    p = sent(will=("t", "x", False, 1, all_of_them))
    eq(p.will.props, all_of_them)
    for pair in rows(all_of_them):
        eq(sent(will=("t", "x", False, 0, [pair])).will.props, [pair])
        eq(sent(will=("t", "x", False, 0, props.encode(0, [pair]))).will.props, [pair])
    eq(len(sent(will=("t", "x", False, 0, {"content_type": "c" * 300})).will.prop("content_type")), 300)


def test_client_first_authentication_data_in_connect():
    class First:
        name = "M-1"

        def first(self):
            return b"\x00first"

        def step(self, data):
            return b""

        def done(self, data):
            pass

    p = sent(auth=First())
    eq((p.prop("authentication_method"), p.prop("authentication_data")), ("M-1", b"\x00first"))
    assert b"\x15\x00\x03M-1\x16\x00\x06\x00first" in p.raw
    First.first = lambda self: None
    eq(sent(auth=First()).prop("authentication_data"), None)


def test_strings_are_counted_in_bytes():
    p = sent(will=("é/ü", "ñ"), client_id="né", user="ü", password="ö", props={"user_property": ("ä", "€")})
    eq((p.client_id, p.user, p.password, p.will.topic, p.will.payload), ("né", "ü", "ö".encode(), "é/ü", "ñ".encode()))
    eq(p.prop("user_property"), ("ä", "€"))


def test_bytes_are_taken_like_str():
    p = sent(will=(b"t", bytearray(b"x")), client_id=b"id", user=b"u", password=bytearray(b"p"))
    eq((p.client_id, p.user, p.password, p.will.topic), ("id", "u", b"p", "t"))


def test_long_fields():
    p = sent(client_id="c" * 300, user="u" * 65535, password="p" * 65535, will=("w" * 65535, "x" * 65535))
    eq(
        (len(p.client_id), len(p.user), len(p.password), len(p.will.topic), len(p.will.payload)),
        (300, 65535, 65535, 65535, 65535),
    )


BAD_TEXT = ("a\0b", "\ud800", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", "x" * 65536)


def refused(**options):
    """This raises ValueError or TypeError before anything is sent."""
    peer = Peer()
    will = options.pop("will", None)

    def go():
        c = make(peer, **options)
        if will:
            c.set_last_will(*will)
        c.connect()

    raises((ValueError, TypeError), go)
    eq(peer.packets, [])
    eq([link.written for link in peer.links], [0] * len(peer.links))


def test_bad_strings_are_refused_before_a_byte():
    for text in rows(BAD_TEXT):
        refused(client_id=text)
        refused(user=text)
        refused(will=(text, b""))
        refused(props=[("user_property", (text, "v"))])
        refused(props=[("user_property", ("k", text))])
        refused(will=("t", b"", False, 0, [("user_property", (text, "v"))]))
        refused(will=("t", b"", False, 0, [("user_property", ("k", text))]))
        refused(will=("t", b"", False, 0, [("content_type", text)]))
        refused(will=("t", b"", False, 0, [("response_topic", text)]))
    refused(password="p" * 65536)
    refused(will=("t", b"x" * 65536))
    refused(will=("t", b"", False, 0, [("correlation_data", b"x" * 65536)]))


def test_bad_wills():
    for topic in rows(("", "a/+", "#", "a#")):
        refused(will=(topic, b""))
    for qos in rows((3, -1, 4)):
        refused(will=("t", b"", False, qos))
    refused(will=("t", b"", False, 0, {"response_topic": "a/+"}))
    refused(will=("t", b"", False, 0, {"response_topic": ""}))
    refused(will=("t", b"", False, 0, {"payload_format_indicator": 2}))
    refused(will=("t", b"", False, 0, {"topic_alias": 1}))
    refused(will=("t", b"", False, 0, {"subscription_identifier": 1}))
    refused(will=("t", b"", False, 0, [("content_type", "a"), ("content_type", "b")]))


def test_bad_arguments():
    for name, value in rows(
        (
            ("keepalive", -1),
            ("keepalive", 65536),
            ("port", 65536),
            ("rx", 0),
            ("session_expiry", -1),
            ("session_expiry", 0x100000000),
            ("receive_maximum", 65536),
            ("receive_maximum", -1),
            ("topic_alias_maximum", -1),
            ("drop", "maybe"),
        )
    ):
        refused(**{name: value})
    for name, value in rows(
        (
            ("receive_maximum", 0),
            ("receive_maximum", 65536),
            ("maximum_packet_size", 0),
            ("maximum_packet_size", 0x100000000),
            ("maximum_packet_size", 100000),
            ("session_expiry_interval", -1),
            ("request_problem_information", 2),
            ("request_response_information", 2),
            ("topic_alias_maximum", 65536),
            ("authentication_data", b"x"),
            ("server_keep_alive", 1),
            ("will_delay_interval", 1),
            ("topic_alias", 1),
            ("reason_string", "x"),
            ("no_such_property", 1),
        )
    ):
        refused(props={name: value})
    refused(props=[("receive_maximum", 1), ("receive_maximum", 1)])
    refused(props=b"\x05\x21\x00")


def test_connecting_twice_is_refused():
    c, peer = connected()
    raises(MQTTException, c.connect)
    raises(MQTTException, c.start)
    eq(len(peer.of(CONNECT)), 1)
    eq(c.isconnected(), True)
    c.disconnect()
    c.connect()
    eq([len([p for p in peer.packets if p.type == CONNECT and p.link is link]) for link in peer.links], [1, 1])


def test_nothing_leaves_before_connack():
    """3.1.0-1, 3.1.2-30: publishes queued early leave after the CONNACK; subscribe and QoS 0 say that there is no connection."""
    for auth in rows((False, True)):
        peer = Peer({CONNECT: None})
        options = {"auth": Nothing()} if auth else {}
        c = make(peer, **options)
        pid = c.publish("t", b"0", qos=1)
        c.start()
        c.poll()
        c.publish("t", b"1", qos=1)
        c.publish("t", b"2", qos=2)
        raises(OSError, c.publish, "t", b"3")
        raises(OSError, c.subscribe_start, [("t", 0)])
        raises(OSError, c.ping)
        settle(c)
        eq(c.isconnected(), False)
        peer.expect(CONNECT)
        peer.nothing()
        if auth:
            peer.send(P.auth(0x18, {"authentication_method": "nothing"}))
            settle(c)
            peer.expect(AUTH, code=0x18)
            peer.nothing()
        peer.send(P.connack())
        settle(c)
        peer.expect(PUBLISH, payload=b"0", pid=pid)
        peer.expect(PUBLISH, payload=b"1")
        peer.expect(PUBLISH, payload=b"2")


class Nothing:
    """A mechanism without any data."""

    name = "nothing"

    def first(self):
        return None

    def step(self, data):
        return None

    def done(self, data):
        pass


def test_connected_only_after_connack():
    peer = Peer({CONNECT: None})
    c = make(peer)
    told = []
    c.on_connect = lambda *a: told.append(a)
    c.start()
    for _ in range(5):
        c.poll()
    eq((c.isconnected(), told), (False, []))
    peer.send(P.connack())
    settle(c)
    eq((c.isconnected(), len(told)), (True, 1))


def test_no_connack_in_time_closes():
    peer = Peer({CONNECT: None})
    c = make(peer)
    raises(OSError, c.connect, True, 0.2)
    eq((peer.link.closed, c.isconnected()), (True, False))
    peer.answers = {}
    c.connect()
    eq(c.isconnected(), True)


def test_a_timeout_of_one_connect_is_no_other():
    """Neither the next connect() nor wait() takes it over; it bounds a CONNECT that cannot be written, too."""
    peer = Peer({CONNECT: None})
    c = make(peer, timeout=1)
    for stalled in rows((False, True)):
        peer.stalled = stalled
        start = time.ticks_ms()
        raises(OSError, c.connect, True, 0.1)
        assert time.ticks_diff(time.ticks_ms(), start) < 700
        eq(c.timeout, 1)
    peer.stalled = False
    peer.answers = {PUBLISH: None}
    c.connect(True, 0.1)
    c.publish("t", b"", False, 1)
    start = time.ticks_ms()
    raises(OSError, c.wait)
    assert time.ticks_diff(time.ticks_ms(), start) > 800


def test_close_without_connack_is_an_oserror():
    for step in rows(("close", "reset")):
        peer = Peer({CONNECT: lambda peer, p: getattr(peer, step)()})
        c = make(peer)
        raises(OSError, c.connect)
        eq((c.isconnected(), peer.link.closed), (False, True))
    peer = Peer()
    peer.refuse = OSError(111)
    c = make(peer)
    eq(raises(OSError, c.connect).args[0], 111)
    peer.refuse = None
    c.connect()
    eq(c.isconnected(), True)


def test_connack_in_every_number_of_pieces():
    """U-33: split anywhere, or together with what follows it in one read."""
    for size in rows((1, 2, 3, 5, 0)):
        peer = Peer(connack_props={"reason_string": "hello", "server_keep_alive": 9})
        peer.arrives = size
        peer.takes = size
        peer.gaps = bool(size)
        c = make(peer, user="u", password="p")
        got = heard(c)
        peer.answers[CONNECT] = P.connack(0, {"reason_string": "hello", "server_keep_alive": 9}) + P.publish("t", b"first")
        c.connect()
        settle(c)
        while c.poll() or peer.link.inbox:
            pass
        eq((c.keepalive_now, [m[:2] for m in got]), (9, [("t", b"first")]))


# --- the session


def test_clean_start_forgets_what_was_sent():
    """3.1.2-4"""
    c, peer = connected({PUBLISH: None}, session_expiry=100)
    c.publish("t", b"1", qos=1)
    c.publish("t", b"2", qos=2)
    c.drop()
    eq(c.pending(), 2)
    peer.seen = len(peer.packets)
    eq(again(c, peer, 0, True).clean_start, 1)
    settle(c)
    peer.nothing()
    eq(c.pending(), 0)


def test_clean_start_forgets_inbound_identifiers():
    c, peer = connected({P.PUBREC: None}, session_expiry=100)
    got = heard(c)
    peer.send(P.publish("t", b"1", 2, 5))
    settle(c)
    c.drop()
    peer.seen = len(peer.packets)
    again(c, peer, 0, True)
    peer.send(P.publish("t", b"2", 2, 5, dup=True))
    settle(c)
    eq([m[1] for m in got], [b"1", b"2"])


def test_resumed_session_continues():
    """3.1.2-23, 3.1.2-5: the same identifiers again, DUP set; messages that come with the CONNACK are delivered."""
    c, peer = connected({PUBLISH: None}, session_expiry=100)
    got = heard(c)
    one = c.publish("a", b"1", qos=1)
    two = c.publish("b", b"2", qos=2)
    peer.reset()
    raises(OSError, settle, c)
    del peer.answers[PUBLISH]
    peer.seen = len(peer.packets)
    peer.answers[CONNECT] = P.connack(0, (), 1) + P.publish("in", b"x", 1, 1)
    c.connect(False)
    settle(c)
    eq(peer.expect(CONNECT).clean_start, 0)
    eq(c.session_present, True)
    names = [peer.expect() for _ in range(4)]
    eq(sorted([p.name for p in names]), ["PUBACK", "PUBLISH", "PUBLISH", "PUBREL"])
    eq([(p.topic, p.pid, p.dup) for p in peer.of(PUBLISH)[2:]], [("a", one, 1), ("b", two, 1)])
    eq([m[1] for m in got], [b"x"])
    eq(c.pending(), 0)


def test_session_present_0_discards_the_session():
    """3.2.2-5: no PUBREL, no DUP, no identifier that means something in the old session."""
    c, peer = connected({PUBLISH: None}, session_expiry=100)
    c.publish("q2", b"2", qos=2)
    peer.send(P.pubrec(1))
    peer.answers[P.PUBREL] = None
    settle(c)
    c.publish("q1", b"1", qos=1)
    c.drop()
    told = []
    c.on_connect = lambda c, u, flags, code, props: told.append(flags)
    peer.seen = len(peer.packets)
    del peer.answers[PUBLISH]
    again(c, peer, 0)
    settle(c)
    eq(told, [0])
    eq(c.session_present, False)
    for p in peer.packets[peer.seen :]:
        eq((p.name, p.dup, p.topic), ("PUBLISH", 0, "q1"))
    eq(c.pending(), 0)


def test_another_client_identifier_is_another_session():
    """3.1.3-2"""
    c, peer = connected({PUBLISH: None}, session_expiry=100)
    c.publish("t", b"1", qos=1)
    c.drop()
    c.client_id = "other"
    peer.seen = len(peer.packets)
    eq(again(c, peer, 0).client_id, "other")
    settle(c)
    eq([p.dup for p in peer.of(PUBLISH)[1:]], [])
    c2 = make(Peer(), client_id="third")
    c2.connect(False)


def test_assigned_client_identifier_is_used_again():
    """3.1.3-7, 3.2.2-16"""
    peer = Peer(connack_props={"assigned_client_identifier": "auto-1"})
    c = make(peer, client_id="", session_expiry=100)
    c.connect()
    eq(peer.expect(CONNECT).client_id, "")
    eq(c.client_id, "auto-1")
    eq(props.get(c.connack, 0, "assigned_client_identifier"), "auto-1")
    c.drop()
    peer.connack_props = ()
    eq(again(c, peer).client_id, "auto-1")
    eq(c.session_present, True)


def test_session_ends_when_its_interval_is_over():
    """4.1.0-2: interval 0, at close; interval 1 s, after it."""
    for expiry in rows((0, 1)):
        c, peer = connected({PUBLISH: None}, session_expiry=expiry)
        c.publish("t", b"1", qos=2)
        peer.send(P.pubrec(1))
        peer.answers[P.PUBREL] = None
        settle(c)
        c.drop()
        time.sleep_ms(1100 if expiry else 10)
        peer.seen = len(peer.packets)
        again(c, peer, 0)
        settle(c)
        peer.nothing()
        eq(c.pending(), 0)


def test_server_may_shorten_the_session():
    """U-11: the interval in CONNACK is the one in force."""
    c, peer = connected({PUBLISH: None}, {"session_expiry_interval": 1}, session_expiry=1000)
    c.publish("t", b"1", qos=2)
    peer.send(P.pubrec(1))
    peer.answers[P.PUBREL] = None
    settle(c)
    c.drop()
    time.sleep_ms(1200)
    # the server has none either; if it lies, that is a violation
    e = raises(ProtocolError, again, c, peer, 1)
    eq(e.reason_code, 0x82)


def test_disconnect_can_change_the_interval():
    c, peer = connected({PUBLISH: None}, session_expiry=1000)
    c.publish("t", b"1", qos=1)
    c.disconnect(0, {"session_expiry_interval": 0})
    eq(peer.of(DISCONNECT)[0].props, [("session_expiry_interval", 0)])
    peer.seen = len(peer.packets)
    raises(ProtocolError, again, c, peer, 1)


def test_the_window_and_limits_of_the_last_connection_are_gone():
    """Trap: what one server set is not kept for the next one."""
    c, peer = connected(
        {PUBLISH: None},
        {"receive_maximum": 1, "maximum_packet_size": 40, "maximum_qos": 1, "retain_available": 0, "server_keep_alive": 5,
         "wildcard_subscription_available": 0, "topic_alias_maximum": 1, "shared_subscription_available": 0},
        keepalive=60,
        session_expiry=100,
    )  # fmt: skip
    eq(c.keepalive_now, 5)
    raises(ValueError, c.publish, "t", bytes(50))
    c.drop()
    peer.connack_props = ()
    peer.answers = {}
    p = again(c, peer)
    eq((p.prop("receive_maximum"), p.prop("maximum_packet_size"), p.keepalive), (16, 512, 60))
    eq(c.keepalive_now, 60)
    c.publish("t", bytes(50), True)
    c.publish("t", b"", qos=2)
    c.publish("t", b"", qos=2)
    c.subscribe("a/#")
    c.subscribe("$share/g/a")
    eq(len(peer.of(PUBLISH)), 3)
    eq([p.prop("topic_alias") for p in peer.of(PUBLISH)], [None] * 3)


def test_a_pipelined_operation_fails_with_the_connect():
    """3.1.4-6: refused after subscribe_start at the first moment: nothing is reported done."""
    peer = Peer({CONNECT: P.connack(0x87)})
    c = make(peer)
    done = []
    c.on_suback = lambda *a: done.append(a)
    c.on_ack = lambda *a: done.append(a)
    c.publish("t", b"1", qos=1)
    raises(Refused, c.connect)
    eq((done, c.pending(), len(peer.of(PUBLISH)), len(peer.of(SUBSCRIBE))), ([], 1, 0, 0))
