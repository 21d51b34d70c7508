"""MQTT over WebSocket (section 6) through the agent, against a scripted server that frames as it likes."""

import time

import pytest

from support.packets import CONNECT, DISCONNECT, PUBLISH, SUBSCRIBE, connack, publish
from support.server import TcpServer
from support.wslayer import WebSocketLayer, frame


@pytest.fixture
def layer():
    made = WebSocketLayer()
    yield made
    assert not made.errors, made.errors


@pytest.fixture
def peer(layer):
    with TcpServer(tls=layer) as s:
        yield s


def connected(agent, peer):
    """The agent, connected and subscribed to everything."""
    assert agent.do("connect", port=peer.port, ws="/mqtt", client_id="n")["ev"] == "connected"
    agent.do("subscribe", filters=[["#", 2]])
    peer.wait_for(SUBSCRIBE)
    return agent


def controls(layer, count=1):
    """The control frames of the client, when there are that many of them."""
    end = time.monotonic() + 60
    while len(layer.control) < count and time.monotonic() < end:
        time.sleep(0.02)
    return layer.control


def closed(layer, code):
    """Waits for the client's close frame and compares its code."""
    assert [(op, int.from_bytes(p[:2], "big")) for op, p in controls(layer)] == [(8, code)]


def test_subprotocol_mqtt_is_offered(agent, peer, layer):
    """MQTT-6.0.0-3"""
    connected(agent, peer)
    lines = layer.request.lower().split(b"\r\n")
    assert lines[0] == b"get /mqtt http/1.1"
    assert b"sec-websocket-protocol: mqtt" in lines
    assert b"sec-websocket-version: 13" in lines
    assert b"host: 127.0.0.1:%d" % peer.port in lines


def test_frames_are_binary_and_masked(agent, peer, layer):
    """MQTT-6.0.0-1: the layer refuses anything else"""
    connected(agent, peer)
    for n in (0, 1, 100, 125, 126, 200, 300, 900):
        agent.do("publish", topic="t", payload="x" * n, qos=0 if n < 200 else 1)
        assert peer.expect(PUBLISH, topic="t").payload == b"x" * n
    agent.do("disconnect")
    peer.expect(DISCONNECT)
    assert peer.wait_closed() in ("eof", "reset", "ours")


def test_text_frame_closes(agent, peer, layer):
    """MQTT-6.0.0-1"""
    connected(agent, peer)
    layer.frame(publish("a", b"text"), op=1)
    assert agent.wait("disconnected")["by"] == "network"
    closed(layer, 1003)
    assert peer.wait_closed()
    assert agent.messages() == []


@pytest.mark.parametrize("bad", ["masked", "reserved bits", "reserved opcode", "continuation"])
def test_frames_that_break_rfc_6455_close(agent, peer, layer, bad):
    connected(agent, peer)
    if bad == "masked":
        layer.frame(publish("a", b"1"), mask=b"\0\0\0\0")
    elif bad == "reserved bits":
        layer.frame(publish("a", b"1"), op=0x42)
    elif bad == "reserved opcode":
        layer.frame(b"", op=3)
    else:
        layer.frame(publish("a", b"1"), op=0)
    assert agent.wait("disconnected")["by"] == "network"
    closed(layer, 1002)
    assert agent.messages() == []


def test_packets_and_frames_are_not_aligned(agent, peer, layer):
    """MQTT-6.0.0-2: one PUBLISH in three frames and in three fragments, five packets in one frame, one byte a frame"""
    connected(agent, peer)
    packet = publish("a/b", b"payload" * 10)
    for i, j in ((0, 1), (1, 2), (2, 40), (40, None)):
        layer.frame(packet[i:j])
        time.sleep(0.01)
    layer.frame(packet[:5], fin=0)
    layer.frame(packet[5:50], op=0, fin=0)
    layer.frame(b"in between", op=9)
    layer.frame(packet[50:], op=0)
    layer.frame(b"".join(publish("five", b"%d" % i) for i in range(5)))
    for i in range(len(packet)):
        layer.frame(packet[i : i + 1])
    big = publish("big", b"B" * 300, qos=1, pid=7)
    peer.send(big[:100] + big[100:])
    for _ in range(9):
        agent.wait("message")
    want = [("a/b", b"payload" * 10)] * 2 + [("five", b"%d" % i) for i in range(5)]
    assert agent.messages() == want + [("a/b", b"payload" * 10), ("big", b"B" * 300)]
    assert controls(layer) == [(10, b"in between")]


def test_many_small_frames_in_one_segment(agent, peer, layer):
    connected(agent, peer)
    layer.newest.socket.sendall(b"".join(frame(publish("t", b"%d" % i)) for i in range(300)))
    for _ in range(300):
        agent.wait("message")
    assert agent.messages() == [("t", b"%d" % i) for i in range(300)]


def test_everything_byte_by_byte(agent, peer, layer):
    connected(agent, peer)
    data = frame(publish("t", b"1" * 130)) + frame(b"p", op=9) + frame(publish("t", b"2"))
    for i in range(len(data)):
        layer.newest.socket.sendall(data[i : i + 1])
        time.sleep(0.001)
    agent.wait("message")
    agent.wait("message")
    assert agent.messages() == [("t", b"1" * 130), ("t", b"2")]
    assert controls(layer) == [(10, b"p")]


def test_server_closes(agent, peer, layer):
    connected(agent, peer)
    layer.frame(b"\x03\xe9going away", op=8)
    assert agent.wait("disconnected")["by"] == "network"
    closed(layer, 1001)
    assert peer.wait_closed()
    assert agent.do("connect", port=peer.port, ws="/mqtt", client_id="n")["ev"] == "connected"


def test_clean_end_says_1000(agent, peer, layer):
    connected(agent, peer)
    agent.do("disconnect")
    peer.expect(DISCONNECT)
    peer.wait_closed()
    assert layer.control in ([], [(8, b"\x03\xe8")])  # the scripted server may be faster to close


REFUSALS = {
    "no subprotocol": lambda r, k: (
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n" % k
    ),
    "another subprotocol": lambda r, k: (
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        b"Sec-WebSocket-Protocol: mqttv3.1\r\n\r\n" % k
    ),
    "wrong accept key": lambda r, k: (
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        b"Sec-WebSocket-Protocol: mqtt\r\n\r\n" % k[::-1]
    ),
    "not found": lambda r, k: b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno!",
    "no http": lambda r, k: connack(0) + b"\r\n",
}


@pytest.mark.parametrize("how", REFUSALS)
def test_upgrade_that_is_no_upgrade_is_refused(agent, peer, layer, how):
    """MQTT-6.0.0-4"""
    layer.answer = REFUSALS[how]
    ev = agent.do("connect", port=peer.port, ws="/mqtt")
    assert (ev["ev"], ev["type"]) == ("error", "OSError")
    assert "WebSocket" in ev["message"]
    assert peer.packets == []
    assert peer.wait_closed()


def test_silent_server_is_given_up_after_the_timeout(agent, peer, layer):
    layer.answer = lambda r, k: b"HTTP/1.1 101 Switching"
    begin = time.monotonic()
    ev = agent.do("connect", port=peer.port, ws="/mqtt", timeout=1)
    assert (ev["ev"], ev["type"]) == ("error", "OSError")
    assert 0.8 < time.monotonic() - begin < 8  # and not the default, 10


def test_header_without_a_space(agent, peer, layer):
    """ejabberd writes Sec-Websocket-Protocol:mqtt, mosquitto Upgrade: WebSocket"""
    layer.answer = lambda r, k: (
        b"HTTP/1.1 101 x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        b"Sec-Websocket-Protocol:mqtt\r\n\r\n" % k
    )
    connected(agent, peer)


def test_answer_and_first_frames_in_one_segment(agent, peer, layer):
    peer.answers[CONNECT] = None
    layer.answer = lambda r, k: (
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        b"Sec-WebSocket-Protocol: mqtt\r\n\r\n" % k + frame(b"early", op=9) + frame(connack(0)[:2])
    )
    agent.send("connect", 1, port=peer.port, ws="/mqtt")
    peer.expect(CONNECT)
    peer.send(connack(0)[2:])
    assert agent.wait(None, tag=1)["ev"] == "connected"
    assert controls(layer) == [(10, b"early")]
