"""The agent against iotcore (rumqttd): aliases towards the client, dialogues, paho-mqtt at the other end."""

import pytest

from support import brokers


@pytest.fixture(scope="module")
def iot():
    """One iotcore for all tests of this file."""
    brokers.require("iotcore")
    with brokers.Iotcore() as b:
        yield b


def connect(agent, b, client_id, **fields):
    """The `connected` event."""
    ev = agent.do("connect", port=b.port, client_id=client_id, **fields)
    assert ev["ev"] == "connected", ev
    return ev


def test_dialogue_with_paho(agent, iot, interpreter):
    with brokers.Subscriber(iot.port, "iot/out/" + interpreter, client_id="paho-out-" + interpreter, qos=1) as paho:
        connect(agent, iot, "agent-" + interpreter)
        agent.do("subscribe", filters=[["iot/in/" + interpreter, 1]])
        for qos in (0, 1, 2):
            agent.do("publish", topic="iot/out/" + interpreter, payload=str(qos), qos=qos)
            paho.publish("iot/in/" + interpreter, str(qos), min(qos, 1))
        assert sorted(p for t, p in paho.wait(3)) == [b"0", b"1", b"2"]
        for _ in range(3):
            agent.wait("message")
        assert sorted(p for t, p in agent.messages()) == [b"0", b"1", b"2"]
        agent.wait("acked", packet="PUBACK")
        agent.wait("acked", packet="PUBCOMP")
    assert agent.do("ping")["ev"] == "pong"


def test_aliases_towards_the_client(agent, iot, interpreter):
    """It sends a topic once and its alias from then on: the application sees the topic each time."""
    name = "iot/alias/%s/with/a/long/topic" % interpreter
    connect(agent, iot, "aliased-" + interpreter, props={"topic_alias_maximum": 10})
    agent.do(
        "subscribe", filters=[["%s/%d" % (name, i), 1] for i in range(3)]
    )  # with a wildcard, 0.4.0 gives all topics one alias
    with brokers.Subscriber(iot.port, client_id="paho-alias-" + interpreter) as paho:
        for i in range(12):
            paho.publish("%s/%d" % (name, i % 3), str(i), 1)
    for _ in range(12):
        ev = agent.wait("message")
        assert ev["topic"] == "%s/%d" % (name, int(bytes.fromhex(ev["payload_hex"])) % 3)
    aliases = [e["props"].get("topic_alias") for e in agent.events if e["ev"] == "message"]
    assert any(aliases), aliases
