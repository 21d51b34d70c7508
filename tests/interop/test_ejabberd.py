"""The agent against ejabberd: reason strings, 0x8D, 0x8E, 0x99, a capped session; paho-mqtt at the other end."""

import socket
import time

import pytest

from support import brokers, ejabberd, harness, packets

WHO = {"user": "node@localhost", "password": "x", "rx": 2000}


@pytest.fixture(scope="module")
def jabber():
    """One ejabberd for all tests of this file."""
    try:
        b = ejabberd.Ejabberd(options=["session_expiry: 60 seconds", "max_topic_depth: 5"], publish={"ej/#": "all"})
    except FileNotFoundError as e:
        harness.leave_out(str(e))
    with b:
        yield b


def connect(agent, b, client_id="", **fields):
    """The `connected` event."""
    ev = agent.do("connect", port=b.port, client_id=client_id, **{**WHO, **fields})
    assert ev["ev"] == "connected", ev
    return ev


def test_dialogue_with_paho(agent, jabber):
    with brokers.Subscriber(jabber.port, "ej/out", user="paho@localhost", password="x") as paho:
        connect(agent, jabber)
        agent.do("subscribe", filters=[["ej/in", 2]])
        for qos in (0, 1, 2):
            agent.do(
                "publish",
                topic="ej/out",
                payload=str(qos),
                qos=qos,
                props={"content_type": "t", "user_property": [["a", "b"], ["a", "b"]]},
            )
            paho.publish("ej/in", str(qos), qos, ContentType="t", CorrelationData=b"\0\1")
        assert sorted(paho.wait(3)) == [("ej/out", b"0"), ("ej/out", b"1"), ("ej/out", b"2")]
        assert all(m.properties.ContentType == "t" and m.properties.UserProperty == [("a", "b")] * 2 for m in paho.got)
        for _ in range(3):
            ev = agent.wait("message")
            assert (ev["props"]["content_type"], ev["props"]["correlation_data_hex"]) == ("t", "0001")
    assert agent.do("unsubscribe", filters=["ej/in", "ej/none"])["reason_codes"] in ([0, 0x11], [0, 0])


def test_what_it_announces(agent, jabber):
    """U-15: no shared subscriptions, refused here; an assigned client identifier."""
    ev = connect(agent, jabber)
    assert ev["client_id"] == ev["props"]["assigned_client_identifier"]
    if ev["props"].get("shared_subscription_available") == 0:
        assert agent.do("subscribe", filters=[["$share/g/t", 0]])["type"] == "ValueError"
    agent.do("ping")


def test_session_expiry_is_capped(agent, jabber):
    """U-11"""
    ev = connect(agent, jabber, "capped", props={"session_expiry_interval": 100000})
    assert ev["props"]["session_expiry_interval"] == 60


def test_reason_strings(agent, jabber):
    connect(agent, jabber)
    pid = agent.do("publish", topic="no/entry", payload="x", qos=1)["packet_id"]
    ev = agent.wait("acked", packet_id=pid)
    assert ev["reason_code"] in (0x87, 0x90) and ev["props"]["reason_string"], ev
    ev = agent.do("subscribe", filters=[["a/b/c/d/e/f/g/h", 0]])
    assert ev["reason_codes"][0] >= 0x80 and ev["props"]["reason_string"], ev
    assert agent.do("ping")["ev"] == "pong"


def test_payload_format(agent, jabber):
    """U-09: ejabberd looks: 0x99 for a payload that is no UTF-8 although it is said to be."""
    connect(agent, jabber)
    props = {"payload_format_indicator": 1}
    agent.do("publish", topic="ej/t", payload_hex="ff", qos=1, props=props)
    ev = agent.wait(None)
    while ev["ev"] not in ("acked", "disconnected"):
        ev = agent.wait(None)
    assert (ev["reason_code"], ev["reason"]) == (0x99, "Payload format invalid"), ev


def test_taken_over(agent, jabber):
    connect(agent, jabber, "taken")
    with socket.create_connection(("127.0.0.1", jabber.port)) as other:
        body = b"\x00\x04MQTT\x05\xc2\x00\x3c\x00" + b"".join(packets.field(x) for x in ("taken", "node@localhost", "x"))
        other.sendall(packets.packet(packets.CONNECT, 0, body))
        ev = agent.wait("disconnected")
    assert (ev["by"], ev["reason_code"], ev["reason"]) == ("server", 142, "Session taken over")


def test_keep_alive_timeout(agent, jabber):
    """3.1.2-22: a client whose loop stands still gets 0x8D."""
    connect(agent, jabber, keepalive=1)
    agent.send("hold", on=True)
    time.sleep(4)  # it looks after 1.5 s, on a busy machine later
    agent.send("hold", on=False)
    ev = agent.wait("disconnected")
    assert (ev["by"], ev["reason_code"], ev["reason"]) == ("server", 0x8D, "Keep Alive timeout"), ev


def test_wrong_password(agent):
    try:
        b = ejabberd.Ejabberd(users={"node": "right"})
    except FileNotFoundError as e:
        harness.leave_out(str(e))
    with b:
        ev = agent.do("connect", port=b.port, user="node@localhost", password="wrong")
        assert (ev["ev"], ev["what"], ev["action"]) == ("refused", "CONNACK", "fix-config"), ev
        assert ev["reason_code"] in (0x86, 0x87)
        connect(agent, b, password="right")


def test_session_and_will(agents, jabber):
    with brokers.Subscriber(jabber.port, "ej/will", user="paho@localhost", password="x") as paho:
        a = agents()
        fields = {"props": {"session_expiry_interval": 30}, "will": {"topic": "ej/will", "payload": "gone", "qos": 1}}
        connect(a, jabber, "keeper", **fields)
        a.do("subscribe", filters=[["ej/keep", 1]])
        a.do("drop")
        assert paho.wait(1) == [("ej/will", b"gone")]
        paho.publish("ej/keep", b"1", 1)
        assert connect(a, jabber, "keeper", clean_start=False, **fields)["session_present"] is True
        assert bytes.fromhex(a.wait("message")["payload_hex"]) == b"1"
