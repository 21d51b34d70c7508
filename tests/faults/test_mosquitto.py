"""Faults against mosquitto: the connection cut at every byte, broker restarts, 200 SIGKILLs of the node, half-open connections.

UMQTT5_FULL=1: 200 SIGKILLs on CPython too.
"""

import os
import random
import time

import pytest

import umqtt5_host  # noqa: F401
from support.brokers import Subscriber
from umqtt5 import MQTTClient, ProtocolError

KILLS = {"micropython": 200, "cpython": 200 if os.getenv("UMQTT5_FULL") else 30}


class Node:
    """A client in this process that comes back after each cut."""

    def __init__(self, port, name):
        self.got = []
        self.c = MQTTClient(name, "127.0.0.1", port, session_expiry=1000, timeout=5)
        self.c.on_message = lambda m: self.got.append((bytes(m.payload()), m.qos(), m.dup()))

    def go(self, ms=0):
        """Connect when down, else handle what comes within `ms`."""
        try:
            if not self.c.isconnected():
                self.c.connect(False)
            while self.c.poll(ms):
                pass
        except ProtocolError:
            if not self.c._need_clean:
                raise
        except OSError:
            pass

    def until(self, done, seconds=60):
        """Go on until done() says so."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, (self.c.pending(), self.got)
            self.go(5)

    def end(self):
        """Leave no session behind."""
        self.c.disconnect(0, {"session_expiry_interval": 0})


def outbound(proxy, sub, qos, n, cut=None):
    """Three messages to the broker -> bytes passed on (up, down)."""
    node = Node(proxy.port, "out%d" % n)
    want = [b"%d.%d" % (n, i) for i in range(3)]
    if cut:
        setattr(proxy, *cut)
    node.go()
    for x in want:
        node.c.publish("out", x, qos=qos)
        node.go()
    node.until(lambda: node.c.isconnected() and not node.c.pending())
    passed = proxy.up, proxy.down
    node.end()
    end = time.monotonic() + 60
    while not set(want) <= {m.payload for m in sub.got} and time.monotonic() < end:
        time.sleep(0.002)
    got = [m.payload for m in sub.got]
    assert [x for x in got if x in want] == want if qos == 2 else set(want) <= set(got), (n, qos, cut, got)
    sub.got.clear()
    return passed


def inbound(proxy, pub, qos, n, cut=None):
    """Three messages from the broker -> bytes passed on."""
    node = Node(proxy.port, "in%d" % n)
    topic = "in/%d" % n
    node.until(node.c.isconnected)
    node.c.subscribe(topic, qos)
    node.c.drop()
    if cut:
        setattr(proxy, *cut)
    node.go()
    want = [b"%d.%d" % (n, i) for i in range(3)]
    for x in want:
        pub.client.publish(topic, x, qos)
        node.go()
    node.until(lambda: {g[0] for g in node.got} == set(want))
    for _ in range(2):
        node.go(3)
    passed = proxy.up, proxy.down
    for x in want:
        dups = [dup for payload, _, dup in node.got if payload == x]
        assert (len(dups) == 1 if qos == 2 else all(dups[1:])), (n, qos, cut, node.got)
    node.until(node.c.isconnected)
    node.end()
    return passed


@pytest.mark.parametrize("qos", (1, 2))
@pytest.mark.parametrize("way", ("out", "in"))
def test_cut_at_every_byte(broker, proxies, qos, way):
    proxy = proxies(broker.port)
    one = outbound if way == "out" else inbound
    with Subscriber(broker.port, "out") as sub:
        total = one(proxy, sub, qos, 0)
        n = 1
        for side, most in (("cut_up", total[0]), ("cut_down", total[1])):
            for k in range(1, most + 1):
                proxy.how = "reset" if n & 1 else "eof"
                one(proxy, sub, qos, n, (side, k))
                n += 1
        print("%d cuts" % n)


def test_broker_restarts_with_persistence(agent, mosquitto, proxies):
    """Messages published before, while and after the broker is away; both sessions survive in the broker's database."""
    b = mosquitto(persistence=True)
    proxy = proxies(b.port)
    fields = {"client_id": "node", "clean_start": False, "reconnect": True, "props": {"session_expiry_interval": 1000}}
    assert agent.do("connect", port=proxy.port, **fields)["ev"] == "connected"
    want = []
    for restart in range(3):
        with Subscriber(b.port, "t", client_id="sub") as sub:
            sent = _some(agent, 10, want)
            sub.wait(len(sent))
            _inflight(agent, 0)
        b.stop()
        agent.wait("disconnected")
        sent = _some(agent, 10, want)
        proxy.refuse = True
        b.start()
        with Subscriber(b.port, "t", client_id="sub") as sub:
            proxy.refuse = False
            assert agent.wait("connected")["session_present"] is True
            got = [p for _, p in sub.wait(len(sent))]
            _inflight(agent, 0)
            assert sorted(got) == sorted(sent), restart


def test_broker_restarts_without_persistence(agent, mosquitto, proxies):
    b = mosquitto()
    proxy = proxies(b.port)
    fields = {"client_id": "node", "clean_start": False, "reconnect": True, "props": {"session_expiry_interval": 1000}}
    assert agent.do("connect", port=proxy.port, **fields)["ev"] == "connected"
    assert agent.do("subscribe", filters=[["back", 1]])["ev"] == "subscribed"
    want = []
    for _ in range(2):
        proxy.stall()  # what is published now is in flight, or never arrives
        sent = _some(agent, 5, want)
        b.kill()
        proxy.refuse = True
        proxy.go()
        proxy.cut()
        agent.wait("disconnected")
        sent += _some(agent, 5, want)
        b.start()
        with Subscriber(b.port, "t") as sub:
            proxy.refuse = False
            assert agent.wait("connected")["session_present"] is False
            got = [p for _, p in sub.wait(len(sent))]
            _inflight(agent, 0)
            assert sorted(got) == sorted(sent)
            agent.wait("subscribed")  # the subscription has been made again
            sub.publish("back", b"x", 1)
            assert agent.wait("message")["topic"] == "back"


def _some(agent, count, want):
    """Publish so many, QoS 1 and 2 in turn -> their payloads."""
    out = []
    for _ in range(count):
        x = b"%d" % len(want)
        want.append(x)
        out.append(x)
        assert agent.do("publish", topic="t", payload=x.decode(), qos=1 + len(want) % 2)["ev"] == "published"
    return out


def _inflight(agent, n, seconds=60):
    end = time.monotonic() + seconds
    while agent.do("stats")["inflight"] != n:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_sigkills_lose_nothing(agents, interpreter, broker, tmp_path):
    """The node is killed at random moments; no message is lost whose publish() had returned, none arrives twice at QoS 2."""
    r = random.Random(interpreter)
    fields = {"client_id": "node", "clean_start": False, "reconnect": True, "props": {"session_expiry_interval": 100000}}
    fields.update(port=broker.port, store=str(tmp_path / "store"), inflight=4000)
    promised = []
    begun = 0
    with Subscriber(broker.port, "#") as sub:
        for n in range(KILLS[interpreter] + 1):
            a = agents(heap="1m")
            a.send("connect", **fields)
            tags = {}
            for i in range(r.randrange(1, 12)):
                x = str(begun)
                tags[x] = 1 + (i + n) % 2
                a.send("publish", tag=x, topic="q%d" % tags[x], payload=x, qos=tags[x])
                begun += 1
            if n == KILLS[interpreter]:
                a.wait("connected")
                _inflight(a, 0)
                assert a.end() == 0
            else:
                if not n % 4:  # on a busy machine it would never get as far as the broker
                    a.wait("connected")
                time.sleep(r.random() * 0.12)
                a.kill()
                time.sleep(0.002)
            assert "Traceback" not in a.stderr, a.stderr
            for e in a.events:
                if e["ev"] == "published":
                    promised.append((e["tag"], tags[e["tag"]]))
                full = e.get("type") == "ResourceError"  # it was told that this one is not taken
                assert e["ev"] not in ("error", "garbage") or full, e
        end = time.monotonic() + 60
        while len({m.payload for m in sub.got}) < len(promised) and time.monotonic() < end:
            time.sleep(0.05)
        got = [m.payload.decode() for m in sub.got]
    lost = [x for x, _ in promised if x not in got]
    twice = [x for x in set(got) if got.count(x) > 1 and sub.got[got.index(x)].topic == "q2"]
    print("%d kills, %d begun, %d promised, %d arrived" % (KILLS[interpreter], begun, len(promised), len(got)))
    assert not lost and not twice, (lost, twice)
    assert len(promised) > KILLS[interpreter] // 2


def test_half_open_connection_is_given_up(agent, broker, proxies):
    """Everything sent disappears: no PINGRESP. The next connection delivers."""
    proxy = proxies(broker.port)
    fields = {"client_id": "node", "clean_start": False, "reconnect": True, "keepalive": 1, "timeout": 2}
    fields["props"] = {"session_expiry_interval": 1000}
    with Subscriber(broker.port, "t") as sub:
        assert agent.do("connect", port=proxy.port, **fields)["ev"] == "connected"
        proxy.cut("silence")
        pid = agent.do("publish", topic="t", payload="x", qos=2)["packet_id"]
        assert agent.wait("disconnected", timeout=30)["by"] == "network"
        agent.wait("acked", packet_id=pid)
        assert sub.wait() == [("t", b"x")]


def test_stall_in_the_middle_of_a_packet(agent, broker, proxies):
    proxy = proxies(broker.port)
    fields = {"client_id": "node", "clean_start": False, "reconnect": True, "keepalive": 1, "timeout": 2}
    fields["props"] = {"session_expiry_interval": 1000}
    assert agent.do("connect", port=proxy.port, **fields)["ev"] == "connected"
    assert agent.do("subscribe", filters=[["t", 1]])["ev"] == "subscribed"
    proxy.current.cuts["down"] = proxy.down + 7
    proxy.how = "silence"
    with Subscriber(broker.port) as pub:
        pub.publish("t", b"a longer payload", 1)
    assert agent.wait("disconnected", timeout=30)["by"] == "network"
    agent.wait("connected")
    assert agent.wait("message")["payload_hex"] == b"a longer payload".hex()
