"""The tests' servers, proxy, brokers and agent driver, each shown to do what its name says."""

import socket
import ssl
import time

import pytest

from support import brokers
from support import packets as P
from support.ejabberd import Ejabberd
from support.proxy import Proxy
from support.server import TcpServer

CONNECT = P.packet(1, 0, b"\0\4MQTT\5\2\0\x3c\0\0\2id")
SUBSCRIBE = b"\x82\x07\x00\x09\x00\x00\x01a\x02"


def dial(port, connect=True):
    """A connected socket; the CONNACK is read."""
    s = socket.create_connection(("127.0.0.1", port), 60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if connect:
        s.sendall(CONNECT)
        assert s.recv(100)[0] == 0x20
    return s


def test_server_answers_records_and_ends(server):
    s = dial(server.port)
    server.expect(P.CONNECT, client_id="id")
    s.sendall(SUBSCRIBE[:3])
    server.nothing(0.05)
    s.sendall(SUBSCRIBE[3:])
    server.expect(P.SUBSCRIBE, filters=[("a", 2)])
    assert s.recv(100) == P.suback(9, [2])
    server.send(P.publish("a", b"x"), split=1, pause=0.001)
    got = b""
    while len(got) < 7:
        got += s.recv(100)
    assert got == P.publish("a", b"x")
    assert b"".join(r[3] for r in server.record if r[2] == "in") == CONNECT + SUBSCRIBE
    server.close()
    assert s.recv(1) == b""
    s.close()
    assert server.wait_closed() == "ours"
    s = dial(server.port)
    server.reset()
    with pytest.raises(ConnectionResetError):
        s.recv(1)
    s = dial(server.port)
    s.close()
    assert server.wait_closed() == "eof"


def test_server_refuses_what_no_client_may_send(server):
    s = dial(server.port)
    server.expect(P.CONNECT)
    s.sendall(P.connack())
    with pytest.raises(AssertionError, match="client's packet"):
        server.expect(timeout=2)


def test_server_that_waits_in_vain_says_so(server):
    dial(server.port)
    server.expect(P.CONNECT)
    with pytest.raises(AssertionError, match="PUBLISH did not happen"):
        server.expect(P.PUBLISH, timeout=0.1)


def test_server_over_tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(brokers.CERTS / "server.pem", brokers.CERTS / "server.key")
    with TcpServer(tls=context) as server:
        ours = ssl.create_default_context(cafile=str(brokers.CERTS / "ca.pem"))
        s = ours.wrap_socket(socket.create_connection(("127.0.0.1", server.port)), server_hostname="localhost")
        s.sendall(CONNECT)
        assert s.recv(100) == P.connack()


@pytest.mark.parametrize("how", ["reset", "eof", "silence"])
@pytest.mark.parametrize("up", range(len(CONNECT) + 1))
def test_proxy_cuts_at_every_byte_up(server, how, up):
    with Proxy(server.port) as p:
        p.cut_up, p.how = up or None, how
        s = dial(p.port, connect=False)
        if up == 0:  # no cut
            s.sendall(CONNECT)
            assert s.recv(100) == P.connack()
            return
        s.sendall(CONNECT)
        server.wait_connected()
        server.wait_closed()
        assert server.received == CONNECT[:up]
        s.settimeout(0.1 if how == "silence" else 60)
        ends(s, how)


def ends(s, how):
    """The connection ends like that, after whatever was on its way."""
    try:
        while True:
            data = s.recv(100)
            if not data:
                seen = "eof"
                break
    except ConnectionResetError:
        seen = "reset"
    except socket.timeout:
        seen = "silence"
    assert seen == how


@pytest.mark.parametrize("down", range(1, 6))
def test_proxy_cuts_at_every_byte_down(server, down):
    with Proxy(server.port) as p:
        p.cut_down, p.how = down, "eof"
        s = dial(p.port, connect=False)
        s.sendall(CONNECT)
        got = b""
        while True:
            data = s.recv(100)
            if not data:
                break
            got += data
        assert got == P.connack()[:down]
        s = dial(p.port)  # the next connection is not cut
        s.sendall(b"\xc0\0")
        assert s.recv(10) == P.pingresp()
        assert (p.up, p.down, p.total) == (len(CONNECT) + 2, 7, 2)


def test_proxy_splits_delays_joins_and_stalls(server):
    with Proxy(server.port) as p:
        p.chunk, p.delay = 1, 0.01
        start = time.monotonic()
        s = dial(p.port)
        assert time.monotonic() - start > len(CONNECT) * 0.01
        assert p.current.pieces["up"] == [1] * len(CONNECT)
        assert len([r for r in server.record if r[2] == "in"]) > 1  # a server that is late reads several of them at once
        p.chunk = p.delay = 0
        p.join = 0.5
        for _ in range(5):
            s.sendall(b"\xc0\0")
        for _ in range(5):
            server.wait_for(P.PINGREQ)
        assert [r[3] for r in server.record if r[2] == "in"][-1] == b"\xc0\0" * 5
        p.join = 0
        p.stall()
        s.sendall(b"\xc0\0")
        time.sleep(0.1)
        assert len(server.of(P.PINGREQ)) == 5
        p.go()
        server.wait_for(P.PINGREQ)
        p.cut("eof")
        ends(s, "eof")


def test_mosquitto_listens_logs_and_comes_back(mosquitto):
    b = mosquitto(users={"node": "secret"}, ws=True, tls=True, persistence=True)
    s = dial(b.port, connect=False)
    s.sendall(CONNECT)
    assert s.recv(100)[3] == 0x87  # nobody gets in without a password
    b.wait_log("not authorised")
    ours = ssl.create_default_context(cafile=str(brokers.CERTS / "ca.pem"))
    ours.wrap_socket(socket.create_connection(("127.0.0.1", b.tls_port)), server_hostname="localhost").close()
    socket.create_connection(("127.0.0.1", b.ws_port)).close()
    pid = b.process.pid
    b.stop()
    with pytest.raises(OSError):
        dial(b.port, connect=False)
    assert b.start().process.pid != pid
    dial(b.port, connect=False).close()


def test_a_broker_that_cannot_start_says_why(mosquitto):
    with pytest.raises(RuntimeError, match="no_such_option"):
        mosquitto(config=["no_such_option 1"])


@pytest.mark.parametrize("kind", [brokers.Mosquitto, brokers.Iotcore, Ejabberd])
def test_independent_subscriber(kind):
    brokers.require(kind.name)
    with kind() as b, brokers.Subscriber(b.port, "a/#", user="u", password="any") as s:
        s.publish("a/b", b"x", qos=1, ContentType="text/plain")
        assert s.wait() == [("a/b", b"x")]
        assert s.got[0].properties.ContentType == "text/plain"


def test_ejabberd_knows_its_users():
    brokers.require("ejabberd")
    with Ejabberd(users={"node": "secret"}) as b:
        brokers.Subscriber(b.port, "a", user="node@localhost", password="secret").close()
        with pytest.raises(RuntimeError, match="could not subscribe"):
            brokers.Subscriber(b.port, "a", user="node@localhost", password="wrong", patience=1)


def test_agent_driver(agent, server):
    assert agent.ready["runtime"] == agent.interpreter
    assert agent.do("connect", port=server.port, client_id="x")["ev"] == "connected"
    server.expect(P.CONNECT, client_id="x")
    agent.do("publish", topic="t", payload="y", qos=1)
    assert agent.wait("acked")["reason_code"] == 0
    server.send(P.publish("in", b"\xff"))
    agent.wait("message", topic="in")
    assert agent.messages() == [("in", b"\xff")]
    with pytest.raises(AssertionError, match="no pong"):
        agent.wait("pong", timeout=0.2)
    server.wait_for(P.PUBLISH, payload=b"y")
    assert agent.end() == 0
    server.expect(P.DISCONNECT, code=0)
    with pytest.raises(AssertionError, match="exited with 0"):
        agent.wait("pong")
