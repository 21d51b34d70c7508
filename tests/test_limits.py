"""What happens at the edges of our own buffers, and what stays usable after each refusal; several clients at once."""

from support import packets as P
from support.packets import PUBLISH, SUBSCRIBE
from support.peer import Peer
from support.session import again, connected, heard, make, settle, up, violated
from support.t import eq, raises, rows
from umqtt5 import MQTTClient, MQTTException, ProtocolError, Refused, ResourceError, props


def test_errors_form_one_family():
    for kind in rows((ProtocolError, Refused, ResourceError)):
        assert issubclass(kind, MQTTException)
    assert not issubclass(MQTTException, OSError)
    e = ProtocolError(0x82, "why")
    assert e.reason_code == 0x82 and "Protocol Error" in str(e) and "why" in str(e), str(e)


def test_maximum_packet_size_follows_rx():
    for rx in rows((32, 64, 512, 65535)):
        c, peer = connected(rx=rx)
        eq(peer.packets[0].prop("maximum_packet_size"), rx)
        got = heard(c)
        n = rx - 6 if rx < 131 else rx - 7 if rx < 16387 else rx - 8
        while len(P.publish("t", bytes(n))) > rx:
            n -= 1
        peer.send(P.publish("t", bytes(n)))
        settle(c)
        eq(len(got), 1)
        peer.send(P.publish("t", bytes(n + 1)))
        if len(P.publish("t", bytes(n + 1))) > rx:
            violated(c, peer, 0x95)


def test_the_smaller_maximum_of_the_user():
    c, peer = smaller()
    peer.send(P.publish("t", bytes(100)))
    violated(c, peer, 0x95)


def smaller():
    """A connection that announced 64 although rx has 512 bytes."""
    peer = Peer()
    c = make(peer, rx=512, props={"maximum_packet_size": 64})
    c.connect()
    eq(peer.expect(P.CONNECT).prop("maximum_packet_size"), 64)
    return c, peer


def test_ours_and_theirs_are_two_limits():
    """Trap: one Maximum Packet Size, one Receive Maximum, one Topic Alias Maximum for both directions."""
    c, peer = connected(
        {},
        {"maximum_packet_size": 60, "receive_maximum": 1, "topic_alias_maximum": 1},
        rx=300,
        topic_alias_maximum=3,
        receive_maximum=9,
    )
    got = heard(c)
    peer.send(P.publish("t", bytes(200), 0, None, {"topic_alias": 3}))
    peer.send(*[P.publish("t", b"", 1, i) for i in range(1, 9)])
    settle(c)
    eq(len(got), 9)
    raises(ValueError, c.publish, "t", bytes(70))
    p = again_after_drop(c, peer)
    eq((p.prop("maximum_packet_size"), p.prop("receive_maximum"), p.prop("topic_alias_maximum")), (300, 9, 3))


def again_after_drop(c, peer):
    c.drop()
    return again(c, peer, 0, True)


def test_small_tx():
    c, peer = connected(tx=16)
    c.publish("t", b"0123456789" * 10)
    c.publish("topic", b"1")
    c.publish("longer/topic/than/tx", b"2", False, 1)
    raises(ResourceError, c.publish, "longer/topic/than/tx", b"3")
    c.publish("t", b"4")
    settle(c)
    eq([(p.topic, len(p.payload)) for p in peer.of(PUBLISH)], [("t", 100), ("topic", 1), ("longer/topic/than/tx", 1), ("t", 1)])
    up(c, peer)


def test_in_flight_store_to_the_last_byte():
    """Every byte of `inflight` is used, none beyond; it is all free again afterwards."""
    for inflight in rows((64, 100, 255, 256, 257)):
        c, peer = connected({PUBLISH: None}, inflight=inflight)
        sent = 0
        for n in range(inflight, -1, -1):
            while True:
                try:
                    c.publish("t", bytes(n), False, 1)
                    sent += 1
                except ResourceError:
                    break
        assert sent > 0
        eq(len(peer.of(PUBLISH)), sent)
        for pid in range(1, sent + 1):
            peer.send(P.puback(pid))
        settle(c)
        eq(c.pending(), 0)
        largest = max([len(p.payload) for p in peer.of(PUBLISH)])
        c.publish("t", bytes(largest), False, 1)
        up(c, peer)


def test_expiry_takes_its_four_bytes():
    c, peer = connected({PUBLISH: None}, inflight=64)
    block = props.encode(message_expiry=60)
    sizes = []
    for b in (b"", block):
        n = 60
        while n:
            try:
                c.publish("t", bytes(n), False, 1, b)
                break
            except ResourceError:
                n -= 1
        sizes.append(n)
        peer.send(P.puback(len(sizes)))
        settle(c)
        eq(c.pending(), 0)
    eq(sizes[0] - sizes[1] >= 4 + 5, True)


def test_many_subscriptions_waiting():
    c, peer = connected({SUBSCRIBE: None})
    ids = [c.subscribe_start([("f%d" % i, i % 3)]) for i in range(50)]
    eq(len(set(ids)), 50)
    told = []
    c.on_suback = lambda c, pid, packet: told.append(pid)
    for pid in ids:
        peer.send(P.suback(pid, [0]))
    settle(c)
    eq(told, ids)


def test_two_clients_do_not_meet():
    a, pa = connected(client_id="a")
    b, pb = connected(client_id="b")
    ga, gb = heard(a), heard(b)
    for i in range(10):
        a.publish("a", b"%d" % i, False, i % 3)
        b.publish("b", b"%d" % i, False, i % 3)
        pa.send(P.publish("to/a", b"%d" % i, i % 3, i + 1))
        pb.send(P.publish("to/b", b"%d" % i, i % 3, i + 1))
        settle(a)
        settle(b)
    eq((len(ga), len(gb)), (10, 10))
    eq([p.topic for p in pa.of(PUBLISH)], ["a"] * 10)
    eq([p.topic for p in pb.of(PUBLISH)], ["b"] * 10)


def test_lean_gives_the_same_client():
    c, peer = connected(lean=True, session_expiry=10)
    c.publish("t", b"1", False, 1)
    settle(c)
    c.drop()
    again(c, peer)
    up(c, peer)
    c.disconnect()
    peer.session_present = 0
    c.connect()
    eq(c.isconnected(), True)


def test_counters():
    c, peer = connected()
    sent, received = c.sent, c.received
    c.publish("t", b"", False, 1)
    c.ping()
    settle(c)
    eq((c.sent - sent, c.received - received), (2, 2))


def test_unknown_options_and_names():
    raises(TypeError, MQTTClient, "c", "peer", no_such_option=1)
    c, peer = connected()
    raises(AttributeError, lambda: c.no_such_method)
    up(c, peer)


def test_request_and_response():
    """4.10: response topic, correlation data, response information; an answer for another request is passed over."""

    def answer(peer, p):
        if p.topic == "service":
            wrong = P.publish(p.prop("response_topic"), b"wrong", 0, None, sub(p, b"other"))
            return wrong + P.publish(
                p.prop("response_topic"), b"answer to " + p.payload, 0, None, sub(p, p.prop("correlation_data"))
            )
        return None

    def sub(p, data):
        ident = [x for x in peer.of(SUBSCRIBE)[-1].props if x[0] == "subscription_identifier"]
        return [("correlation_data", data)] + ident

    for given, topic in rows((((), "response/c"), ({"response_information": "resp"}, "resp/c"))):
        c, peer = connected({PUBLISH: answer}, given)
        eq(c.request("service", b"1"), b"answer to 1")
        eq(c.request("service", b"2"), b"answer to 2")
        first, second = peer.of(PUBLISH)
        eq((first.prop("response_topic"), second.prop("response_topic")), (topic, topic))
        assert first.prop("correlation_data") != second.prop("correlation_data")
        eq(len(peer.of(SUBSCRIBE)), 1)
        raises(OSError, c.request, "nobody", b"", 0.05)
        up(c, peer)
