"""The agent against mosquitto: dialogues, Wills, retained messages, sessions, limits, refusals; paho-mqtt at the other end."""

import socket
import time

import pytest

from support import brokers


@pytest.fixture(scope="module")
def plain():
    """One mosquitto for all tests that need no options."""
    brokers.require("mosquitto")
    with brokers.Mosquitto(config=["max_queued_messages 10000", "max_inflight_messages 0"]) as b:
        yield b


@pytest.fixture
def name(request):
    """A topic of this test's own."""
    return request.node.name.replace("[", "/").replace("]", "")


def connect(agent, b, client_id="", **fields):
    """The `connected` event."""
    ev = agent.do("connect", port=b.port, client_id=client_id, **fields)
    assert ev["ev"] == "connected", ev
    return ev


def test_every_qos_and_property_to_paho(agent, plain, name):
    with brokers.Subscriber(plain.port, name + "/#") as paho:
        connect(agent, plain, inflight=65535)
        given = {
            "payload_format_indicator": 1,
            "content_type": "text/plain",
            "response_topic": "r/é",
            "correlation_data_hex": "00ff00",
            "user_property": [["b", "1"], ["a", "2"], ["b", "1"]],
        }
        for qos in (0, 1, 2):
            for payload in ("", "é", "x" * 100, "y" * 20000):
                agent.do("publish", topic="%s/%d" % (name, qos), payload=payload, qos=qos, props=given)
        agent.do("ping")
        got = paho.wait(12)
        assert sorted(got) == sorted(
            ("%s/%d" % (name, qos), p) for qos in (0, 1, 2) for p in (b"", "é".encode(), b"x" * 100, b"y" * 20000)
        )
        for m in paho.got:
            p = m.properties
            assert m.qos == int(m.topic[-1])
            assert (p.ContentType, p.ResponseTopic, p.CorrelationData) == ("text/plain", "r/é", b"\0\xff\0")
            assert p.UserProperty == [("b", "1"), ("a", "2"), ("b", "1")]


def test_every_qos_and_property_from_paho(agent, plain, name):
    connect(agent, plain)
    agent.do("subscribe", filters=[[name + "/#", 2]], props={"subscription_identifier": 300000})
    with brokers.Subscriber(plain.port) as paho:
        for qos in (0, 1, 2):
            for payload in (b"", b"\x00\xff", b"x" * 400):
                paho.publish(name, payload, qos, ContentType="t", UserProperty=[("z", "1"), ("z", "2")], CorrelationData=b"\0")
        for qos in (0, 1, 2):
            for payload in (b"", b"\x00\xff", b"x" * 400):
                ev = agent.wait("message", qos=qos)
                assert bytes.fromhex(ev["payload_hex"]) == payload
                assert ev["props"] == {
                    "content_type": "t",
                    "user_property": [["z", "1"], ["z", "2"]],
                    "correlation_data_hex": "00",
                    "subscription_identifier": [300000],
                }


def test_bursts_both_ways(agent, plain, name):
    """200 messages at QoS 1 and 2, in order, none twice."""
    connect(agent, plain, inflight=20000)
    agent.do("subscribe", filters=[[name + "/in", 2]])
    with brokers.Subscriber(plain.port, name + "/out") as paho:
        for i in range(200):
            agent.send("publish", topic=name + "/out", payload=str(i), qos=1 + i % 2)
        got = [int(p) for t, p in paho.wait(200)]
        assert got[:] == sorted(got) or sorted(got) == list(range(200))
        for i in range(200):
            paho.client.publish(name + "/in", str(i), 1 + i % 2)
        for _ in range(200):
            agent.wait("message")
        assert sorted(int(p) for t, p in agent.messages()) == list(range(200))
    assert agent.do("stats")["inflight"] == 0


def test_wills(agents, plain, name):
    """3.1.2-7, -8, -10: sent when the connection breaks or DISCONNECT 0x04 asks for it, not after a normal one."""
    with brokers.Subscriber(plain.port, name) as paho:
        will = {"topic": name, "payload": "gone", "qos": 1, "props": {"content_type": "w", "user_property": [["k", "v"]]}}
        for how, count in (("drop", 1), (("disconnect", 4), 2), (("disconnect", 0), 2), ("quit", 3)):
            a = agents()
            connect(a, plain, will=will)
            if how == "drop":
                a.do("drop")
            elif how == "quit":
                a.send("quit")
            else:
                a.do("disconnect", reason_code=how[1])
            if how != ("disconnect", 0):
                paho.wait(count)
        time.sleep(0.2)
        assert len(paho.got) == 3
        assert paho.got[0].properties.ContentType == "w"


def test_will_delay_ends_with_a_new_connection(agents, plain, name):
    """3.1.3-9"""
    with brokers.Subscriber(plain.port, name) as paho:
        will = {"topic": name, "payload": "late", "props": {"will_delay_interval": 2}}
        a = agents()
        connect(a, plain, name, will=will, props={"session_expiry_interval": 30})
        a.do("drop")
        connect(a, plain, name, will=will, props={"session_expiry_interval": 30}, clean_start=False)
        time.sleep(2.6)
        assert paho.got == []
        a.do("drop")
        paho.wait(1)


def test_retained_messages_and_subscription_options(agent, plain, name):
    """3.3.1-5 to -13"""
    connect(agent, plain)

    def got(filters, publish=None):
        agent.do("subscribe", filters=filters)
        if publish is not None:
            agent.do("publish", topic=name, payload=publish, retain=True, qos=1)
            agent.wait("acked")
        agent.do("ping")
        out = [(bytes.fromhex(e["payload_hex"]), e["retain"]) for e in agent.unused if e["ev"] == "message"]
        agent.unused[:] = [e for e in agent.unused if e["ev"] != "message"]
        return out

    agent.do("publish", topic=name, payload="kept", retain=True, qos=1)
    agent.wait("acked")
    assert got([[name, 1]]) == [(b"kept", True)]
    assert got([[name, 1, {"retain_handling": 1}]]) == []  # the subscription exists already
    assert got([[name, 1, {"retain_handling": 2}]]) == []
    assert got([[name, 1, {"retain_handling": 2}]], "live") == [(b"live", False)]
    agent.do("unsubscribe", filters=[name])
    assert got([[name, 1, {"retain_handling": 2, "retain_as_published": True}]], "live2") == [(b"live2", True)]
    agent.do("unsubscribe", filters=[name])
    assert got([[name, 1, {"retain_handling": 2, "no_local": True}]], "own") == []
    agent.do("unsubscribe", filters=[name])
    agent.do("publish", topic=name, payload="", retain=True, qos=1)
    agent.wait("acked")
    assert got([[name, 1]]) == []


def test_shared_subscription(agents, plain, name):
    a, b = agents(), agents()
    for x in (a, b):
        connect(x, plain)
        assert x.do("subscribe", filters=[["$share/g/" + name, 1]])["reason_codes"] == [1]
    with brokers.Subscriber(plain.port) as paho:
        for i in range(10):
            paho.publish(name, str(i), 1)
    a.wait("message")
    b.wait("message")
    end = time.monotonic() + 60
    while len(a.messages() + b.messages()) < 10 and time.monotonic() < end:
        time.sleep(0.02)
    assert sorted(int(p) for t, p in a.messages() + b.messages()) == list(range(10))


def test_session_goes_on(agent, plain, name):
    """Messages queued while away arrive once, with the time that is left; a subscription is still there."""
    fields = {"props": {"session_expiry_interval": 60}}
    assert connect(agent, plain, name, **fields)["session_present"] is False
    agent.do("subscribe", filters=[[name, 2]])
    agent.do("drop")
    with brokers.Subscriber(plain.port) as paho:
        for qos in (1, 2):
            paho.publish(name, str(qos), qos, MessageExpiryInterval=100)
    time.sleep(1.2)
    assert connect(agent, plain, name, clean_start=False, **fields)["session_present"] is True
    got = [agent.wait("message") for _ in range(2)]
    assert [bytes.fromhex(e["payload_hex"]) for e in got] == [b"1", b"2"]
    assert all(40 <= e["props"]["message_expiry_interval"] < 100 for e in got)
    agent.do("ping")
    agent.none("message")
    agent.do("disconnect", props={"session_expiry_interval": 0})
    assert connect(agent, plain, name + "/x", **fields)["session_present"] is False


def test_queued_messages_leave_after_the_reconnect(agent, plain, name):
    with brokers.Subscriber(plain.port, name) as paho:
        fields = {"props": {"session_expiry_interval": 60}}
        connect(agent, plain, name, **fields)
        agent.do("drop")
        for qos in (1, 2):
            agent.do("publish", topic=name, payload=str(qos), qos=qos)
        connect(agent, plain, name, clean_start=False, **fields)
        assert sorted(paho.wait(2)) == [(name, b"1"), (name, b"2")]
        agent.wait("acked", packet="PUBACK")
        agent.wait("acked", packet="PUBCOMP")


def test_taken_over(agent, plain, name):
    """mosquitto 2.0.11 closes the older connection without a word; ejabberd says 142 (test_ejabberd.py)."""
    connect(agent, plain, "taken")
    with socket.create_connection(("127.0.0.1", plain.port)) as other:
        other.sendall(b"\x10\x12\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x05taken")
        ev = agent.wait("disconnected")
    assert (ev["by"], ev["reason_code"]) in (("server", 142), ("network", None))
    agent.none("disconnected")


def test_empty_client_id(agent, plain):
    ev = connect(agent, plain, "")
    assert ev["client_id"] and ev["client_id"] == ev["props"]["assigned_client_identifier"]


def test_a_topic_of_four_byte_characters_and_a_byte_order_mark(agent, plain, name):
    topic = name + "/\ufeff/😀/é"
    connect(agent, plain)
    agent.do("subscribe", filters=[[topic, 0]])
    agent.do("publish", topic=topic, payload="x")
    assert agent.wait("message")["topic"] == topic


def test_overlapping_subscriptions(agent, plain, name):
    """mosquitto sends one copy for each."""
    connect(agent, plain)
    agent.do("subscribe", filters=[[name + "/#", 1]], props={"subscription_identifier": 1})
    agent.do("subscribe", filters=[[name + "/x", 1]], props={"subscription_identifier": 2})
    agent.do("publish", topic=name + "/x", payload="1", qos=1)
    agent.do("ping")
    ids = []
    for e in agent.events:
        if e["ev"] == "message":
            ids += e["props"]["subscription_identifier"]
    assert sorted(ids) == [1, 2]


def test_limits(agent, mosquitto, name):
    """Each limit that mosquitto announces is refused here, before a byte is sent, and the connection stays."""
    b = mosquitto(
        config=["max_keepalive 10", "retain_available false", "max_inflight_messages 3"],
        listener=["max_qos 1", "max_topic_alias 2"],
    )
    ev = connect(agent, b, keepalive=60)
    p = ev["props"]
    assert ev["keepalive"] == p["server_keep_alive"] == 10
    assert (p["maximum_qos"], p["retain_available"], p["topic_alias_maximum"]) == (1, 0, 2)
    for fields in ({"qos": 2}, {"retain": True}):
        assert agent.do("publish", topic=name, payload="x", **fields)["type"] == "ValueError"
    agent.do("subscribe", filters=[[name + "/#", 1]])
    for i in range(6):
        agent.do("publish", topic="%s/%d" % (name, i % 3), payload=str(i), qos=i % 2)
    for _ in range(6):
        agent.wait("message")
    assert sorted(int(x) for t, x in agent.messages()) == list(range(6))


def test_maximum_packet_size(agent, mosquitto, name):
    b = mosquitto(config=["max_packet_size 200"])
    assert connect(agent, b)["props"]["maximum_packet_size"] == 200
    agent.do("subscribe", filters=[[name, 1]])
    n = 200 - 3 - 2 - len(name) - 2 - 1
    assert agent.do("publish", topic=name, payload="x" * (n + 1), qos=1)["type"] == "ValueError"
    assert agent.do("publish", topic=name, payload="x" * n, qos=1)["ev"] == "published"
    assert len(agent.wait("message")["payload_hex"]) == 2 * n


def test_will_beyond_the_limits(agent, mosquitto):
    """3.2.2-12, -13: 0x9B and 0x9A in CONNACK."""
    b = mosquitto(config=["retain_available false"], listener=["max_qos 1"])
    ev = agent.do("connect", port=b.port, client_id="w", will={"topic": "t", "payload": "x", "qos": 2})
    assert (ev["ev"], ev["what"], ev["reason_code"], ev["action"]) == ("refused", "CONNACK", 0x9B, "fix-config"), ev
    ev = agent.do("connect", port=b.port, client_id="w", will={"topic": "t", "payload": "x", "retain": True})
    assert (ev["ev"], ev["reason_code"], ev["reason"]) == ("refused", 0x9A, "Retain not supported"), ev
    connect(agent, b, "w", will={"topic": "t", "payload": "x", "qos": 1})


def test_wrong_password(agent, mosquitto):
    b = mosquitto(users={"node": "sécret"})
    for user, password in (("node", "wrong"), ("nobody", "sécret"), (None, None)):
        ev = agent.do("connect", port=b.port, user=user, password=password)
        assert (ev["ev"], ev["what"]) == ("refused", "CONNACK"), ev
        assert ev["reason_code"] in (0x86, 0x87) and ev["action"] == "fix-config"
        assert ev["reason"] in ("Not authorized", "Bad User Name or Password")
    connect(agent, b, user="node", password="sécret")


def test_a_publish_that_access_control_refuses(agent, mosquitto, tmp_path):
    """The trap: neither a dead connection nor a delivery. QoS 1 and 2 are told by their acknowledgement, a SUBACK by its code."""
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite ok/#\n")
    b = mosquitto(config=["acl_file %s" % acl])
    connect(agent, b)
    for qos, packet in ((1, "PUBACK"), (2, "PUBREC")):
        pid = agent.do("publish", topic="no/t", payload="x", qos=qos)["packet_id"]
        ev = agent.wait("acked", packet_id=pid)
        assert (ev["packet"], ev["reason_code"], ev["reason"]) == (packet, 0x87, "Not authorized"), ev
    assert agent.do("subscribe", filters=[["ok/#", 1], ["no/#", 1]])["reason_codes"][0] == 1
    agent.do("publish", topic="ok/t", payload="y", qos=2)
    agent.wait("message", topic="ok/t")
    agent.wait("acked", packet="PUBCOMP")
    agent.none("disconnected", 0.1)
    assert agent.do("stats")["inflight"] == 0


def test_keep_alive_holds_the_connection(agent, mosquitto):
    b = mosquitto()
    connect(agent, b, keepalive=2)
    time.sleep(3.6)  # longer than the broker waits for a silent client
    assert agent.do("ping")["ev"] == "pong"
    agent.none("disconnected", 0.05)


def test_the_broker_goes_and_comes_back(agent, mosquitto, name):
    b = mosquitto(persistence=True)
    fields = {"props": {"session_expiry_interval": 600}}
    connect(agent, b, name, clean_start=False, **fields)  # 2.0.11 keeps no other sessions
    agent.do("subscribe", filters=[[name, 1]])
    b.stop()
    assert agent.wait("disconnected")["by"] in ("server", "network")
    agent.do("publish", topic=name, payload="while away", qos=1)
    b.start()
    assert connect(agent, b, name, clean_start=False, **fields)["session_present"] is True
    assert bytes.fromhex(agent.wait("message")["payload_hex"]) == b"while away"
