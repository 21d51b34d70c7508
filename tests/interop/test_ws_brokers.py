"""MQTT over WebSocket through the agent, against real brokers: mosquitto (libwebsockets) and ejabberd."""

import hashlib

import pytest

from support import brokers, ejabberd, harness, mpy, pki


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Files of the test authority."""
    pytest.importorskip("cryptography")
    return pki.make(tmp_path_factory.mktemp("pki"))


def body(n):
    """n different bytes."""
    return bytes(i * 7 + (i >> 8) & 255 for i in range(n))


def listening(mosquitto, **kw):
    """mosquitto with a WebSocket listener, which is there a little later than the other."""
    b = mosquitto(ws=True, **kw)
    brokers.wait_port(b.ws_port)
    return b


def dialogue(agent, port, **more):
    """Publish at every QoS and size, and get it back."""
    ev = agent.do("connect", port=port, ws="/mqtt", client_id="ws-node", inflight=4000, rx=2000, **more)
    assert ev["ev"] == "connected", ev
    ev = agent.do("subscribe", filters=[["ws/#", 2]])
    assert ev["reason_codes"] == [2]
    want = []
    for qos in (0, 1, 2):
        for n in (0, 1, 60, 115, 116, 117, 125, 126, 127, 240, 250, 1500):
            if qos == 0 and n > 240:
                continue
            topic = "ws/%d" % qos
            want.append((topic, body(n)))
            ev = agent.do("publish", topic=topic, payload_hex=body(n).hex(), qos=qos)
            assert ev["ev"] == "published", ev
            if qos:
                assert agent.wait("acked", packet_id=ev["packet_id"])["reason_code"] in (0, 0x10)
    for _ in want:
        agent.wait("message")
    assert sorted(agent.messages()) == sorted(want)
    assert agent.do("ping")["ev"] == "pong"
    assert agent.do("disconnect")["ev"] == "disconnected"


def test_mosquitto(agent, mosquitto):
    b = listening(mosquitto)
    dialogue(agent, b.ws_port)
    dialogue_again = agent.do("connect", port=b.ws_port, ws="/mqtt", client_id="ws-node")
    assert dialogue_again["ev"] == "connected"
    assert agent.end() == 0
    b.wait_log("Client ws-node disconnected")
    assert "Client ws-node closed its connection" not in b.log()


def test_mosquitto_and_a_tcp_client(agent, mosquitto):
    """Cross-delivery with paho over TCP, in bursts"""
    b = listening(mosquitto, config=["max_queued_messages 0", "max_inflight_messages 0"])
    assert agent.do("connect", port=b.ws_port, ws="/", rx=2000)["ev"] == "connected"
    agent.do("subscribe", filters=[["to/ws", 1]])
    with brokers.Subscriber(b.port, "to/tcp") as paho:
        for i in range(200):
            agent.do("publish", topic="to/tcp", payload_hex=body(i).hex())
        paho.wait(200)
        assert [p for _, p in paho.pairs()] == [body(i) for i in range(200)]
        for i in range(200):
            paho.client.publish("to/ws", body(i * 7), qos=i & 1)
        for _ in range(200):
            agent.wait("message")
    got = [p for _, p in agent.messages()]  # QoS 0 may overtake QoS 1
    assert sorted(got) == sorted([body(i * 7) for i in range(200)])


def test_will_when_the_websocket_is_dropped(agent, mosquitto):
    b = listening(mosquitto)
    with brokers.Subscriber(b.port, "will") as paho:
        assert agent.do("connect", port=b.ws_port, ws="/mqtt", will={"topic": "will", "payload": "gone"})["ev"] == "connected"
        agent.send("drop")
        assert paho.wait(1) == [("will", b"gone")]


def test_session_goes_on_over_a_new_websocket(agent, mosquitto):
    b = listening(mosquitto)
    more = {"port": b.ws_port, "ws": "/mqtt", "client_id": "keeper", "props": {"session_expiry_interval": 600}}
    ev = agent.do("connect", **more)
    assert ev["ev"] == "connected", ev
    agent.do("subscribe", filters=[["t", 1]])
    agent.send("drop")
    agent.wait("disconnected")
    assert agent.do("publish", topic="t", payload="while down", qos=1)["ev"] == "published"
    ev = agent.do("connect", clean_start=False, **more)
    assert (ev["ev"], ev.get("session_present")) == ("connected", True), ev
    assert bytes.fromhex(agent.wait("message")["payload_hex"]) == b"while down"


def test_broker_goes_and_comes_back(agent, mosquitto):
    """The transport object is used again"""
    b = listening(mosquitto)
    more = {"port": b.ws_port, "ws": "/mqtt", "client_id": "keeper"}
    for _ in range(3):
        ev = agent.do("connect", **more)
        assert ev["ev"] == "connected", ev
        b.stop()
        agent.wait("disconnected")
        b.start()
        brokers.wait_port(b.ws_port)


def test_plain_mqtt_port_is_no_websocket(agent, broker):
    ev = agent.do("connect", port=broker.port, ws="/mqtt", timeout=3)
    assert (ev["ev"], ev["type"]) == ("error", "OSError"), ev


COST = """
import gc, sys, micropython
from umqtt5 import MQTTClient, ws
got = [0]
qos = a = t = i = 0
def on_message(m):
    got[0] += 1
def there_and_back():
    n = got[0]
    c.publish(b"t", b"payload of some length", False, qos)
    while got[0] == n or c.pending():
        c.poll(100)
def ping():
    c.ping()
    c.poll(100)
def idle():
    c.poll(0)
tls = {"ca": sys.argv[2]} if len(sys.argv) > 2 else None
c = MQTTClient("cost", "localhost", int(sys.argv[1]), ssl=tls, transport=ws.client())
c.on_message = on_message
c.connect()
c.subscribe(b"t", 2)
for qos, f in ((0, there_and_back), (1, there_and_back), (2, there_and_back), (0, ping), (0, idle)):
    i = 5
    while i:
        i -= 1
        f()
    gc.collect()
    gc.disable()
    a = gc.mem_alloc()
    t = micropython.mem_total()
    i = 500
    while i:
        i -= 1
        f()
    t = micropython.mem_total() - t
    a = gc.mem_alloc() - a
    gc.enable()
    micropython.heap_lock()
    f()
    micropython.heap_unlock()
    print(f.__name__, qos, a, t)
c.disconnect()
"""


@pytest.mark.parametrize("tls", [False, True])
def test_no_byte_of_heap_a_packet(tmp_path, mosquitto, certificates, tls):
    """The whole client on MicroPython: publish, receive, acknowledge at each QoS, ping, idle, over ws and wss"""
    harness.require("micropython")
    b, port = wss(mosquitto, certificates) if tls else (None, listening(mosquitto).ws_port)
    program = tmp_path / "cost.py"
    program.write_text(COST)
    done = mpy.run([program, port] + ([certificates["ca"].der] if tls else []))
    assert done.code == 0, done
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 5 and all(line[2:] == ["0", "0"] for line in lines), done.stdout


@pytest.fixture(scope="module")
def jabber():
    """ejabberd, one for all tests of this file."""
    try:
        b = ejabberd.Ejabberd()
    except FileNotFoundError as e:
        harness.leave_out(str(e))
    with b:
        yield b


def test_ejabberd(agent, jabber):
    dialogue(agent, jabber.ws_port, user="node@localhost", password="x")


def test_ejabberd_and_a_tcp_client(agents, jabber):
    """From WebSocket to TCP and back"""
    who = {"user": "node@localhost", "password": "x"}
    ws, tcp = agents(), agents()
    assert ws.do("connect", port=jabber.ws_port, ws="/mqtt", client_id="ws", rx=2000, **who)["ev"] == "connected"
    assert tcp.do("connect", port=jabber.port, client_id="tcp", rx=2000, **who)["ev"] == "connected"
    ws.do("subscribe", filters=[["to/ws", 1]])
    tcp.do("subscribe", filters=[["to/tcp", 1]])
    for i in range(50):
        ws.do("publish", topic="to/tcp", payload_hex=body(i * 4).hex(), qos=1)
        tcp.do("publish", topic="to/ws", payload_hex=body(i * 4).hex(), qos=1)
    for a in (ws, tcp):
        for _ in range(50):
            a.wait("message")
        assert sorted([p for _, p in a.messages()]) == sorted([body(i * 4) for i in range(50)])


def test_ejabberd_on_another_path_is_no_websocket(agent, jabber):
    ev = agent.do("connect", port=jabber.ws_port, ws="/nothing/here", user="node@localhost", password="x", timeout=5)
    assert (ev["ev"], ev["type"]) == ("error", "OSError"), ev
    assert "404" in ev["message"], ev


def wss(mosquitto, certificates):
    """(mosquitto with a wss listener, its port)."""
    port = brokers.free_port()
    c = certificates["server"]
    lines = ["listener %d 127.0.0.1" % port, "protocol websockets", "cafile %s" % certificates["ca"].pem]
    b = mosquitto(listener=lines + ["certfile %s" % c.pem, "keyfile %s" % c.key])
    brokers.wait_port(port)
    return b, port


def test_wss(agent, mosquitto, certificates):
    _, port = wss(mosquitto, certificates)
    tls = {"ca": str(certificates["ca"].der if agent.interpreter == "micropython" else certificates["ca"].pem)}
    dialogue(agent, port, host="localhost", tls=tls)


def test_wss_with_a_certificate_of_nobody(agent, mosquitto, certificates):
    _, port = wss(mosquitto, certificates)
    tls = {"ca": str(certificates["other"].der if agent.interpreter == "micropython" else certificates["other"].pem)}
    ev = agent.do("connect", port=port, host="localhost", tls=tls, ws="/mqtt")
    assert (ev["ev"], ev["type"]) == ("error", "OSError"), ev
    assert "certificate" in ev["message"].lower(), ev


def test_large_payload_keeps_its_bytes(agent, mosquitto):
    b = listening(mosquitto)
    data = body(60000)
    ev = agent.do("connect", port=b.ws_port, ws="/mqtt", inflight=65000, rx=65000)
    assert ev["ev"] == "connected", ev
    with brokers.Subscriber(b.port, "big") as paho:
        agent.do("subscribe", filters=[["big", 1]])
        agent.do("publish", topic="big", payload_hex=data.hex(), qos=1)
        agent.wait("acked")
        assert hashlib.sha256(paho.wait(1)[0][1]).digest() == hashlib.sha256(data).digest()
    agent.wait("message")
    assert agent.messages() == [("big", data)]
