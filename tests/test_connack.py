"""CONNACK (3.2): every reason code, every property: readable, and obeyed."""

from support import packets as P
from support.packets import CONNECT, DISCONNECT, PINGREQ, PUBLISH, SUBSCRIBE, UNSUBSCRIBE
from support.peer import Peer
from support.session import connected, make, settle, up, violated
from support.t import eq, raises, rows
from umqtt5 import Refused, props

# code: (name, action)
FAILURES = (
    (0x80, "Unspecified error", "retry-later"),
    (0x81, "Malformed Packet", "bug"),
    (0x82, "Protocol Error", "bug"),
    (0x83, "Implementation specific error", "fix-config"),
    (0x84, "Unsupported Protocol Version", "fix-config"),
    (0x85, "Client Identifier not valid", "fix-config"),
    (0x86, "Bad User Name or Password", "fix-config"),
    (0x87, "Not authorized", "fix-config"),
    (0x88, "Server unavailable", "retry-later"),
    (0x89, "Server busy", "retry-later"),
    (0x8A, "Banned", "fix-config"),
    (0x8C, "Bad authentication method", "fix-config"),
    (0x90, "Topic Name invalid", "fix-config"),
    (0x95, "Packet too large", "fix-config"),
    (0x97, "Quota exceeded", "retry-later"),
    (0x99, "Payload format invalid", "fix-config"),
    (0x9A, "Retain not supported", "fix-config"),
    (0x9B, "QoS not supported", "fix-config"),
    (0x9C, "Use another server", "redirect"),
    (0x9D, "Server moved", "redirect"),
    (0x9F, "Connection rate exceeded", "retry-later"),
)


def test_every_refusal_raises_refused_and_closes():
    for code, name, action in rows(FAILURES):
        for flag in (0, 1):  # Session Present 1 in a refusal: still a refusal (3.2.2-6)
            peer = Peer({CONNECT: P.connack(code, (), flag)})
            c = make(peer, session_expiry=10)
            down = []
            c.on_disconnect = lambda *a: down.append(a)
            e = raises(Refused, c.connect)
            eq((e.what, e.reason_code.value, e.reason_code.name, e.reason_code.action), ("CONNACK", code, name, action))
            eq((e.reason_code.getName(), e.reason_code.is_failure, e.reason_code == code), (name, True, True))
            assert name in str(e) and "CONNACK" in str(e), str(e)
            eq((peer.link.closed, c.isconnected(), c.session_present, down), (True, False, False, []))
            eq(peer.of(DISCONNECT), [])
            peer.answers = {}
            c.connect()  # one refusal does not break the client
            eq(c.isconnected(), True)


def test_refusal_carries_reason_string_and_properties():
    given = [
        ("user_property", ("a", "1")),
        ("reason_string", "no, sorry é"),
        ("user_property", ("a", "1")),
        ("server_reference", "x y"),
    ]
    peer = Peer({CONNECT: P.connack(0x9C, given)})
    e = raises(Refused, make(peer).connect)
    eq((e.reason, e.props), ("no, sorry é", given))
    assert "no, sorry é" in str(e)


def test_every_property_can_be_read():
    given = [
        ("session_expiry_interval", 0xFFFFFFFF),
        ("receive_maximum", 65535),
        ("maximum_qos", 1),
        ("retain_available", 1),
        ("maximum_packet_size", 0xFFFFFFFF),
        ("assigned_client_identifier", "né"),
        ("topic_alias_maximum", 65535),
        ("reason_string", "hello"),
        ("user_property", ("b", "1")),
        ("user_property", ("a", "2")),
        ("user_property", ("b", "1")),
        ("wildcard_subscription_available", 1),
        ("subscription_identifier_available", 1),
        ("shared_subscription_available", 1),
        ("server_keep_alive", 65535),
        ("response_information", "resp/"),
        ("server_reference", "other:1884"),
    ]
    got = []
    peer = Peer(connack_props=given)
    c = make(peer, client_id="", userdata="mine")
    c.on_connect = lambda *a: got.append(a)
    c.connect()
    client, userdata, flags, code, properties = got[0]
    eq((client is c, userdata, flags, code.value, code.name, code.is_failure), (True, "mine", 0, 0, "Success", False))
    eq(properties, given)
    eq(props.decode(c.connack), given)
    for name, value in rows(given):
        if name != "user_property":
            peer = Peer(connack_props=[(name, value)])
            c = make(peer)
            c.connect()
            eq(props.get(c.connack, 0, name), value)


def test_no_properties():
    got = []
    peer = Peer()
    c = make(peer)
    c.on_connect = lambda *a: got.append(a[4])
    c.connect()
    eq(got, [[]])
    eq(props.decode(c.connack), [])


def test_session_present_is_told():
    c, peer = connected(session_expiry=100)
    eq(c.session_present, False)
    c.drop()
    flags = []
    c.on_connect = lambda c, u, f, r, p: flags.append(f)
    for present in rows((1, 0, 1)):
        peer.session_present = present
        eq(c.connect(False), bool(present))
        eq((c.session_present, flags.pop()), (bool(present), present))
        c.drop()


def test_receive_maximum_of_the_server():
    c, peer = connected({PUBLISH: None}, {"receive_maximum": 2})
    for i in range(6):
        c.publish("t", bytes((i,)), qos=1 + i % 2)
    eq(len(peer.of(PUBLISH)), 2)
    settle(c)
    eq(len(peer.of(PUBLISH)), 2)
    peer.send(P.puback(1))
    settle(c)
    eq(len(peer.of(PUBLISH)), 3)


def test_receive_maximum_is_65535_when_absent():
    c, peer = connected({PUBLISH: None}, inflight=8192)
    for _ in range(300):
        c.publish("t", b"", qos=1)
    eq(len(peer.of(PUBLISH)), 300)


def test_maximum_qos():
    for limit in rows((0, 1)):
        c, peer = connected({}, {"maximum_qos": limit})
        for qos in (0, 1, 2):
            if qos > limit:
                e = raises(ValueError, c.publish, "t", b"", False, qos)
                assert "QoS" in str(e), e
                raises(ValueError, c.publication("t", 1, qos=qos).send, b"x")
            else:
                c.publish("t", b"", False, qos)
                settle(c)
        eq([p.qos for p in peer.of(PUBLISH)], [0, 1][: limit + 1])
        eq(c.pending(), 0)
        # 3.2.2-10: a subscription with a higher QoS stays legal
        eq(c.subscribe("a", 2), b"\2")
        eq(peer.of(SUBSCRIBE)[0].filters, [("a", 2)])
        up(c, peer)


def test_maximum_qos_can_lower_the_qos():
    for limit in rows((0, 1)):
        c, peer = connected({}, {"maximum_qos": limit}, downgrade_qos=True)
        c.publish("t", b"0", qos=0)
        c.publish("t", b"1", qos=1)
        c.publish("t", b"2", qos=2)
        settle(c)
        eq([(p.payload, p.qos) for p in peer.of(PUBLISH)], [(b"0", 0), (b"1", min(1, limit)), (b"2", limit)])
        eq(c.pending(), 0)


def test_queued_messages_above_the_limits_are_not_sent():
    peer = Peer(connack_props={"maximum_qos": 1, "retain_available": 0, "maximum_packet_size": 30})
    c = make(peer)
    told = []
    c.on_ack = lambda c, pid, code, packet: told.append((pid, code))
    ids = [c.publish("t", b"", False, 2), c.publish("t", b"", True, 1), c.publish("t", bytes(40), False, 1)]
    ok = c.publish("t", b"ok", False, 1)
    c.connect()
    settle(c)
    eq([(p.payload, p.qos, p.retain) for p in peer.of(PUBLISH)], [(b"ok", 1, 0)])
    eq(c.pending(), 0)
    eq(sorted(told), sorted([(ids[0], 0x9B), (ids[1], 0x9A), (ids[2], 0x95), (ok, 0)]))


def test_retain_available_0():
    c, peer = connected({}, {"retain_available": 0})
    for qos in rows((0, 1, 2)):
        e = raises(ValueError, c.publish, "t", b"", True, qos)
        assert "etain" in str(e), e
        raises(ValueError, c.publication("t", 1, True, qos).send, b"x")
        c.publish("t", b"", False, qos)
        settle(c)
    eq([p.retain for p in peer.of(PUBLISH)], [0, 0, 0])
    c, peer = connected({}, {"retain_available": 1})
    c.publish("t", b"", True)
    eq([p.retain for p in peer.of(PUBLISH)], [1])


def test_maximum_packet_size_of_the_server():
    """3.2.2-15: a packet one byte larger is refused here, one that fits is sent; each kind of packet."""
    c, peer = connected({}, {"maximum_packet_size": 30})
    for qos in rows((0, 1, 2)):
        n = 30 - 2 - 3 - 1 - (2 if qos else 0)
        e = raises(ValueError, c.publish, "t", bytes(n + 1), False, qos)
        assert "30" in str(e), e
        raises(ValueError, c.publication("t", n + 1, False, qos).send, bytes(n + 1))
        raises(ValueError, c.publication("t", n + 1, False, qos).send_any, bytes(n + 1))
        c.publish("t", bytes(n), False, qos)
        c.publication("t", n, False, qos).send(bytes(n))
        settle(c)
    eq([len(p.raw) for p in peer.of(PUBLISH)], [30] * 6)
    n = 30 - 2 - 2 - 1 - 3
    raises(ValueError, c.subscribe, "f" * (n + 1))
    c.subscribe("f" * n)
    raises(ValueError, c.unsubscribe, "f" * (n + 2))
    c.unsubscribe("f" * (n + 1))
    eq([len(p.raw) for p in peer.of(SUBSCRIBE) + peer.of(UNSUBSCRIBE)], [30, 30])
    # properties that are not needed are left out instead (3.14.2-3, 3.14.2-4)
    c.disconnect(4, {"reason_string": "x" * 40, "user_property": [("k", "v" * 40)]})
    eq([(p.code, p.props) for p in peer.of(DISCONNECT)], [(4, [])])


def test_server_keep_alive():
    c, peer = connected({}, {"server_keep_alive": 7}, keepalive=60)
    eq((peer.packets[0].keepalive, c.keepalive_now), (60, 7))
    assert 4000 < c.due_ms() <= 5250, c.due_ms()
    c, peer = connected({}, {"server_keep_alive": 0}, keepalive=60)
    eq(c.keepalive_now, 0)
    c, peer = connected({}, (), keepalive=8)
    eq(c.keepalive_now, 8)
    assert 5000 < c.due_ms() <= 6000, c.due_ms()


def test_wildcard_subscription_available_0():
    c, peer = connected({}, {"wildcard_subscription_available": 0})
    for f in rows(("a/#", "+", "a/+/b", "#")):
        e = raises(ValueError, c.subscribe, f)
        assert "ildcard" in str(e), e
        raises(ValueError, c.subscribe_start, [("a", 0), (f, 0)])
    peer.nothing()
    c.subscribe("a/b")
    up(c, peer)


def test_subscription_identifier_available_0():
    """U-14: asking for one raises; `to` works without one, by comparing topics."""
    c, peer = connected({}, {"subscription_identifier_available": 0})
    raises(ValueError, c.subscribe, "a", props={"subscription_identifier": 1})
    peer.nothing()
    got = []
    c.subscribe("a/+", to=lambda m: got.append(bytes(m.topic())))
    eq(peer.expect(SUBSCRIBE).props, [])
    peer.send(P.publish("a/b"), P.publish("b"), P.publish("a/c"))
    settle(c)
    eq(got, [b"a/b", b"a/c"])


def test_shared_subscription_available_0():
    c, peer = connected({}, {"shared_subscription_available": 0})
    e = raises(ValueError, c.subscribe, "$share/g/t")
    assert "hared" in str(e), e
    peer.nothing()
    c.subscribe("$shared/t")
    up(c, peer)


def test_response_information():
    """U-16, 3.1.2-28: handed out whether it was asked for or not."""
    for asked in rows((True, False)):
        peer = Peer(connack_props={"response_information": "resp/7"})
        c = make(peer, props={"request_response_information": 1} if asked else b"")
        c.connect()
        eq(props.get(c.connack, 0, "response_information"), "resp/7")


def test_server_reference():
    """U-17: given with the refusal and with a DISCONNECT; following it is link.py's."""
    for text in rows(("localhost:1884", "a b:1 [::1]:1883", "")):
        for code in (0x9C, 0x9D):
            peer = Peer({CONNECT: P.connack(code, {"server_reference": text})})
            e = raises(Refused, make(peer).connect)
            eq((e.props, e.reason_code.action), ([("server_reference", text)], "redirect"))
            c, peer = connected()
            peer.send(P.disconnect(code, {"server_reference": text}))
            e = raises(Refused, settle, c)
            eq((e.what, e.props, e.reason_code.action), ("DISCONNECT", [("server_reference", text)], "redirect"))


def test_connack_of_exactly_our_maximum():
    text = "x" * (64 - 2 - 3 - 3)
    peer = Peer(connack_props={"reason_string": text})
    c = make(peer, rx=64)
    c.connect()
    eq(props.get(c.connack, 0, "reason_string"), text)
    peer = Peer(connack_props={"reason_string": text + "y"})
    c = make(peer, rx=64)
    violated(c, peer, 0x95, c.connect)


def test_properties_without_end():
    """U-34: 60 KiB of user properties against a limit of 4 KiB: closed, nothing allocated for them."""
    many = [("user_property", ("k" * 100, "v" * 100))] * 290
    peer = Peer({CONNECT: P.connack(0, many)})
    c = make(peer, rx=4096)
    violated(c, peer, 0x95, c.connect)


def test_no_ping_without_keep_alive():
    c, peer = connected(keepalive=0)
    assert c.due_ms() > 10000
    for _ in range(20):
        c.poll()
    eq(peer.of(PINGREQ), [])
