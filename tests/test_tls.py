"""TLS through the agent, on CPython and MicroPython: against mosquitto, and against a server that does what it does not."""

import ssl
import subprocess
import sys
import time

import pytest

from support import brokers, harness, mpy, pki
from support.packets import CONNECT, PUBLISH, SUBSCRIBE, publish
from support.server import TcpServer

INTERPRETERS = ("host",)


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    """Certificates made now: {name: Files}."""
    pytest.importorskip("cryptography")
    return pki.make(tmp_path_factory.mktemp("pki"))


def listener(mosquitto, certs, name="server", client=False):
    """(mosquitto, port) of a TLS listener with that certificate; client: asks for a certificate of the test authority."""
    port = brokers.free_port()
    c = certs[name]
    lines = ["listener %d 127.0.0.1" % port, "certfile %s" % c.pem, "keyfile %s" % c.key, "cafile %s" % certs["ca"].pem]
    b = mosquitto(listener=lines + ["require_certificate %s" % ("true" if client else "false")])
    brokers.wait_port(port)
    return b, port


@pytest.fixture
def tls_server(certs):
    """Function that makes a TcpServer behind TLS; set: (server's context) -> None."""
    made = []

    def make(change=None, **kw):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(certs["server"].pem, certs["server"].key)
        if change:
            change(c)
        made.append(TcpServer(tls=c, **kw))
        return made[-1]

    yield make
    for s in made:
        s.stop()


def connect(agent, port, host="localhost", **tls):
    """The event that ends a try to connect."""
    tls = {k: str(v) for k, v in tls.items() if not isinstance(v, bool)} | {k: v for k, v in tls.items() if isinstance(v, bool)}
    return agent.do("connect", port=port, host=host, client_id="tls-node", rx=2000, inflight=8000, tls=tls, timeout=60)


def refused(ev, *words):
    """An OSError from connect() with one of these words."""
    assert (ev["ev"], ev["type"]) == ("error", "OSError"), ev
    assert any(w in ev["message"].lower() for w in words), ev


def dialogue(agent):
    """There and back at each QoS."""
    agent.do("subscribe", filters=[["tls/#", 2]])
    want = []
    for qos in (0, 1, 2):
        for n in (0, 1, 100, 127, 1500):
            want.append(("tls/%d" % qos, bytes(i & 255 for i in range(n))))
            agent.do("publish", topic="tls/%d" % qos, payload_hex=want[-1][1].hex(), qos=qos)
    for _ in want:
        agent.wait("message")
    assert sorted(agent.messages()) == sorted(want)
    assert agent.do("ping")["ev"] == "pong"


@pytest.mark.parametrize("form", ["pem", "der"])
def test_verified_server(agent, mosquitto, certs, form):
    _, port = listener(mosquitto, certs)
    assert connect(agent, port, ca=getattr(certs["ca"], form))["ev"] == "connected"
    dialogue(agent)
    assert agent.do("disconnect")["ev"] == "disconnected"


def test_address_in_the_certificate(agent, mosquitto, certs):
    _, port = listener(mosquitto, certs)
    assert connect(agent, port, host="127.0.0.1", ca=certs["ca"].der)["ev"] == "connected"


def test_unverified_on_request_only(agent, mosquitto, certs):
    _, port = listener(mosquitto, certs, "selfsigned")
    assert connect(agent, port, verify=False)["ev"] == "connected"
    dialogue(agent)


@pytest.mark.parametrize("form", ["pem", "der"])
def test_client_certificate(agent, mosquitto, certs, form):
    b, port = listener(mosquitto, certs, client=True)
    c = certs["client"]
    key = c.key if form == "pem" else c.key_der
    assert connect(agent, port, ca=getattr(certs["ca"], form), cert=getattr(c, form), key=key)["ev"] == "connected"
    dialogue(agent)
    assert "tls-node" in b.log()


def test_client_certificate_missing_or_of_a_stranger(agent, mosquitto, certs):
    _, port = listener(mosquitto, certs, client=True)
    refused(connect(agent, port, ca=certs["ca"].der), "client certificate", "certificate required")
    c = certs["stranger"]
    refused(connect(agent, port, ca=certs["ca"].der, cert=c.der, key=c.key_der), "client certificate", "unknown ca")


@pytest.mark.parametrize(
    "name, words",
    [
        ("expired", ("expired",)),
        ("future", ("not yet valid", "future")),
        ("elsewhere", ("mismatch", "does not match")),
        ("untrusted", ("unable to get", "self-signed", "not correctly signed")),
        ("selfsigned", ("self-signed", "self signed", "not correctly signed")),
    ],
)
def test_bad_certificate(agent, mosquitto, certs, name, words):
    """Refused, in words that say why, and nothing of the CONNECT leaves"""
    b, port = listener(mosquitto, certs, name)
    refused(connect(agent, port, ca=certs["ca"].der, verify=True), *words)
    time.sleep(0.1)
    assert "tls-node" not in b.log()
    _, good = listener(mosquitto, certs)
    assert connect(agent, good, ca=certs["ca"].der)["ev"] == "connected"  # the client is as good as new


def test_name_to_check_can_be_given(agent, mosquitto, certs):
    _, port = listener(mosquitto, certs, "elsewhere")
    assert connect(agent, port, ca=certs["ca"].der, server_hostname="broker.example")["ev"] == "connected"


def test_server_name_indication(agent, certs, tls_server):
    names = []
    s = tls_server(lambda c: setattr(c, "sni_callback", lambda sock, name, context: names.append(name)))
    assert connect(agent, s.port, ca=certs["ca"].der)["ev"] == "connected"
    agent.do("disconnect")
    refused(connect(agent, s.port, ca=certs["ca"].der, server_hostname="other.example"), "mismatch", "does not match")
    assert names == ["localhost", "other.example"]


def test_wrong_files_and_keys(agent, certs, tmp_path):
    (tmp_path / "no.pem").write_text("not a certificate")
    for tls, kind in (
        ({"ca": tmp_path / "missing"}, "OSError"),
        ({"ca": tmp_path / "no.pem"}, "ValueError"),
        ({"authority": "x"}, "ValueError"),
        ({"key": certs["client"].key}, "ValueError"),
    ):
        ev = connect(agent, 1, **tls)
        assert (ev["ev"], ev["type"]) == ("error", kind), (tls, ev)


def test_server_without_tls(agent, broker):
    ev = connect(agent, broker.port, verify=False)
    assert (ev["ev"], ev["type"]) == ("error", "OSError"), ev
    assert "tls" in ev["message"].lower() or "ssl" in ev["message"].lower(), ev


def test_nobody_listens(agent):
    ev = connect(agent, brokers.free_port(), verify=False)
    assert (ev["ev"], ev["type"]) == ("error", "OSError"), ev


def test_handshake_is_bounded_by_the_timeout(agent, server):
    server.raw = True  # takes the hello and says nothing
    start = time.monotonic()
    ev = agent.do("connect", port=server.port, host="localhost", tls={"verify": False}, timeout=1)
    assert (ev["ev"], ev["type"]) == ("error", "OSError"), ev
    assert 0.8 < time.monotonic() - start < 8  # and not the default, 10
    assert server.received[:1] == b"\x16"  # it was a hello


def test_handshake_that_is_cut_off(agent, mosquitto, certs, proxies):
    _, port = listener(mosquitto, certs)
    p = proxies(port)
    for cut in (1, 5, 100, 700):
        p.cut_down = cut
        ev = connect(agent, p.port, ca=certs["ca"].der)
        assert (ev["ev"], ev["type"]) == ("error", "OSError"), (cut, ev)
    assert connect(agent, p.port, ca=certs["ca"].der)["ev"] == "connected"


def test_records_byte_by_byte(agent, mosquitto, certs, proxies):
    """Reads that find a part of a record, in the handshake and after it"""
    _, port = listener(mosquitto, certs)
    p = proxies(port)
    p.chunk = 7
    p.delay = 0.0005
    assert connect(agent, p.port, ca=certs["ca"].der)["ev"] == "connected"
    agent.do("subscribe", filters=[["t", 1]])
    for i in range(5):
        agent.do("publish", topic="t", payload="x" * 100 + str(i), qos=1)
    for _ in range(5):
        agent.wait("message")


def test_packets_of_one_record_are_all_delivered(agent, certs, tls_server):
    """More is decrypted than one read takes, and the socket itself stays silent"""
    s = tls_server()
    tls = {"ca": str(certs["ca"].der)}
    assert agent.do("connect", port=s.port, host="localhost", tls=tls, rx=64, client_id="n")["ev"] == "connected"
    agent.do("subscribe", filters=[["t", 1]])
    s.wait_for(SUBSCRIBE)
    start = time.monotonic()
    s.send(b"".join(publish("t", b"%03d" % i, i % 2, i + 1) for i in range(100)))
    for _ in range(100):
        agent.wait("message")
    assert time.monotonic() - start < 30  # the next thing that would wake it is the keep-alive, after 45 s
    assert [p for _, p in agent.messages()] == [b"%03d" % i for i in range(100)]


def test_large_message_through_a_stalled_network(agent, mosquitto, certs, proxies):
    """Writes that take a part, or nothing, in the middle of a record"""
    b, port = listener(mosquitto, certs)
    p = proxies(port)
    assert connect(agent, p.port, ca=certs["ca"].der)["ev"] == "connected"
    with brokers.Subscriber(b.port, "big") as sub:
        p.stall()
        body = bytes(i * 31 & 255 for i in range(6_000_000 if agent.interpreter == "cpython" else 2_000_000))
        half = body[: len(body) // 2]
        agent.send("publish", topic="big", payload_hex=half.hex(), qos=0)
        time.sleep(0.7)
        p.go()
        assert sub.wait(1) == [("big", half)]
    assert agent.do("ping")["ev"] == "pong"


def test_connection_cut_while_up(agent, mosquitto, certs, proxies):
    _, port = listener(mosquitto, certs)
    p = proxies(port)
    for how in ("reset", "eof"):
        p.how = how
        assert connect(agent, p.port, ca=certs["ca"].der)["ev"] == "connected"
        p.cut()
        agent.wait("disconnected")


def test_server_disconnect_is_seen(agent, certs, tls_server):
    s = tls_server()
    assert connect(agent, s.port, ca=certs["ca"].der)["ev"] == "connected"
    s.expect(CONNECT)
    agent.do("publish", topic="t", payload="x", qos=1)
    s.expect(PUBLISH)
    s.send(b"\xe0\x01\x8b")
    s.close()
    assert agent.wait("disconnected")["reason_code"] == 0x8B


NO_CLOCK = """
import sys
from umqtt5 import tls
class Clock:
    def gmtime(self):
        return (2000, 1, 1, 0, 5, 0, 5, 1)
class Socket:
    def write(self, buf, off, n):
        raise ValueError("\\nThe certificate validity starts in the future\\n")
    readinto = None
class Session:
    ssl = True
tls.time = Clock()
try:
    s = Session()
    tls.connect(s, Socket())
    s._sw(b"x", 0, 1)
except OSError as e:
    print(e)
"""


def test_no_clock_is_named_as_the_reason(tmp_path):
    harness.require("micropython")
    (tmp_path / "x.py").write_text(NO_CLOCK)
    out = mpy.run([tmp_path / "x.py"])
    assert "certificate refused" in out.stdout and "clock is not set" in out.stdout, out


ALERT = """
from umqtt5 import tls
class Socket:
    def write(self, buf, off, n):
        raise OSError(*error)
    readinto = None
class Session:
    pass
for error in ((-30592, "MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE"), (-30592,), (104,), (32,), ()):
    for Session.ssl in (True, {"cert": "x"}):
        try:
            s = Session()
            tls.connect(s, Socket())
            s._sw(b"x", 0, 1)
        except OSError as e:
            print("it may not like the client certificate" in str(e) or "it may want a client certificate" in str(e))
"""


def test_a_server_that_ends_the_handshake_is_told_the_same_way_however_it_is_noticed(tmp_path):
    """Whether the alert is read or the end of the connection is seen first is a matter of time."""
    harness.require("micropython")
    (tmp_path / "x.py").write_text(ALERT)
    out = mpy.run([tmp_path / "x.py"])
    assert out.stdout.split() == ["True"] * 10, out


COST = """
import gc, micropython, sys
from umqtt5 import MQTTClient
got = [0]
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
c = MQTTClient("cost", "localhost", int(sys.argv[1]), ssl={"ca": sys.argv[2]})
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


def test_no_byte_of_heap_a_packet(tmp_path, mosquitto, certs):
    """Publish and receive at each QoS, ping, idle: the claim in tls.py's header"""
    harness.require("micropython")
    _, port = listener(mosquitto, certs)
    (tmp_path / "cost.py").write_text(COST)
    done = mpy.run([tmp_path / "cost.py", port, certs["ca"].der])
    assert done.code == 0, done
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == 5 and all(line[2:] == ["0", "0"] for line in lines), done.stdout


AIO = """
import sys
from umqtt5.aio import MQTTClient
if sys.implementation.name == "micropython":
    import asyncio
else:
    from umqtt5_host import asyncio
async def publish(c):
    for i in range(50):
        await c.publish("t", "%d" % i + "x" * (i * 20), qos=i % 2)
async def main():
    got = []
    async with MQTTClient("aio", "localhost", int(sys.argv[1]), ssl={"ca": sys.argv[2]}, rx=2000) as c:
        box = c.messages(4000)
        await c.subscribe("t", 1)
        task = asyncio.create_task(publish(c))
        async for m in box:
            got.append(int(bytes(m.payload()).split(b"x")[0]))
            if len(got) == 50:
                break
        await task
        await c.wait()
    print(sorted(got) == list(range(50)))
asyncio.run(main())
"""


def program(interpreter, args):
    """Run a program with its arguments, to its end."""
    if interpreter == "micropython":
        return mpy.run(args, heap="2m")
    env = {"PYTHONPATH": str(mpy.ROOT)}
    return subprocess.run([sys.executable] + [str(a) for a in args], capture_output=True, text=True, timeout=120, env=env)


def test_asyncio_face(tmp_path, interpreter, mosquitto, certs):
    _, port = listener(mosquitto, certs)
    (tmp_path / "aio.py").write_text(AIO)
    args = [tmp_path / "aio.py", port, certs["ca"].der]
    done = program(interpreter, args)
    assert done.stdout == "True\n", done


CONTEXT = """
import sys
import ssl
from umqtt5 import MQTTClient
with open(sys.argv[2], "rb") as f:
    ca = f.read()
c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
c.verify_mode = ssl.CERT_REQUIRED
c.load_verify_locations(cadata=ca)
for how in (c, {"ca": ca}):
    m = MQTTClient("context", "localhost", int(sys.argv[1]), ssl=how)
    m.connect()
    m.wait(m.publish("t", b"x", qos=1))
    m.disconnect()
m = MQTTClient("context", "127.0.0.2", int(sys.argv[1]), ssl=c)
try:
    m.connect()
except OSError as e:
    print("refused" in str(e))
"""


def test_context_of_the_program_and_bytes(tmp_path, interpreter, mosquitto, certs):
    """An SSLContext made by the program (CPython's own class there), and an authority given as bytes"""
    port = brokers.free_port()
    c = certs["server"]
    mosquitto(listener=["listener %d" % port, "certfile %s" % c.pem, "keyfile %s" % c.key])
    brokers.wait_port(port)
    (tmp_path / "context.py").write_text(CONTEXT)
    args = [tmp_path / "context.py", port, certs["ca"].der]
    done = program(interpreter, args)
    assert done.stdout == "True\n", done
