"""ports/examples on CPython and MicroPython, against mosquitto."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from support import mpy
from support.brokers import Subscriber

INTERPRETERS = ("host",)
EXAMPLES = mpy.ROOT / "ports" / "examples"


class Program:
    """An example as a process."""

    def __init__(self, interpreter, name, *args, cwd=None):
        env = dict(os.environ, PYTHONPATH="%s:%s:%s" % (mpy.ROOT, EXAMPLES, mpy.ROOT / "ports" / "host"), PYTHONUNBUFFERED="1")
        env["MICROPYPATH"] = "%s:%s:.frozen" % (mpy.ROOT, EXAMPLES)
        start = mpy.command("2m") if interpreter == "micropython" else [sys.executable, "-m", "umqtt5_host"]
        self.lines = []
        self.name = name
        self.process = subprocess.Popen(
            start + [str(EXAMPLES / name)] + [str(a) for a in args],
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def wait_line(self, text, seconds=60):
        end = time.monotonic() + seconds
        while text not in self.lines:
            if time.monotonic() > end:
                raise AssertionError("%r is not in %s" % (text, self))
            time.sleep(0.02)

    def ended(self, seconds=90):
        """Its exit code; by then all that it printed is in `lines`."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("does not end: %s" % self) from None
        self._reader.join(10)
        return code

    def __str__(self):
        """What it printed and how it ended: for whoever reads a failure."""
        code = self.process.poll()
        if code is not None:
            self._reader.join(10)
        return "%s, %s:\n%s" % (self.name, "running" if code is None else "exit code %d" % code, "\n".join(self.lines))

    def kill(self):
        """End it as a power failure does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def start(interpreter):
    """Function that starts an example."""
    made = []

    def make(name, *args, **kw):
        made.append(Program(interpreter, name, *args, **kw))
        return made[-1]

    yield make
    for p in made:
        print(p)  # shown with a test that failed
        p.kill()


def until(f, seconds=60):
    end = time.monotonic() + seconds
    while not f():
        if time.monotonic() > end:
            raise AssertionError("does not happen")
        time.sleep(0.02)


def test_home_assistant_finds_the_node(start, broker):
    node = start("home_assistant.py", "kitchen", "127.0.0.1", broker.port)
    with Subscriber(broker.port, "homeassistant/#", "umqtt5/#") as sub:
        until(lambda: "umqtt5/kitchen/temperature" in dict(sub.pairs()))
        got = dict(sub.pairs())
        assert got["umqtt5/kitchen/available"] == b"online"
        assert got["umqtt5/kitchen/relay"] == b"off"
        assert got["umqtt5/kitchen/temperature"] == b"21.5"
        sensor = json.loads(got["homeassistant/sensor/kitchen/temperature/config"])
        switch = json.loads(got["homeassistant/switch/kitchen/relay/config"])
        for c in (sensor, switch):  # what Home Assistant asks of a discovery message
            assert {"state_topic", "availability_topic", "unique_id", "device", "name"} <= set(c)
        assert sensor["state_topic"] == "umqtt5/kitchen/temperature"
        assert sensor["unit_of_measurement"] == "°C"

        sub.publish(switch["command_topic"], switch["payload_on"], 1)
        until(lambda: sub.pairs()[-1] != ("umqtt5/kitchen/relay", b"off") and ("umqtt5/kitchen/relay", b"on") in sub.pairs())

        n = len([1 for t, _ in sub.pairs() if t.endswith("/config")])
        sub.publish("homeassistant/status", "online")
        until(lambda: len([1 for t, _ in sub.pairs() if t.endswith("/config")]) == n + 2)

        node.kill()
        until(lambda: ("umqtt5/kitchen/available", b"offline") in sub.pairs())
    with Subscriber(broker.port, "homeassistant/#") as late:  # all of it is retained
        assert {t for t, _ in late.wait(2)} == {
            "homeassistant/sensor/kitchen/temperature/config",
            "homeassistant/switch/kitchen/relay/config",
        }


def test_home_assistant_after_a_restart_of_the_broker(start, mosquitto):
    b = mosquitto(persistence=True)
    start("home_assistant.py", "cellar", "127.0.0.1", b.port)
    with Subscriber(b.port, "umqtt5/cellar/available") as sub:
        sub.wait(1)
    b.stop()
    b.start()
    with Subscriber(b.port, "umqtt5/cellar/temperature") as sub:
        sub.wait(1)
        sub.publish("umqtt5/cellar/relay/set", "on", 1)
        with Subscriber(b.port, "umqtt5/cellar/relay") as relay:
            until(lambda: relay.pairs() and relay.pairs()[-1][1] == b"on")


def test_commands_are_answered_where_the_asker_says(start, broker):
    node = start("command.py", "127.0.0.1", broker.port, "node/1/cmd")
    node.wait_line("ready")
    with Subscriber(broker.port, "my/answers") as sub:
        for i, (line, answer) in enumerate(
            ((b"add 2 3 4", b"9"), (b"add x", b"error: ValueError"), (b"fly", b"error: KeyError"), (b"", b"error: IndexError"))
        ):
            sub.publish("node/1/cmd", line, 1, ResponseTopic="my/answers", CorrelationData=b"%d" % i)
            sub.wait(i + 1)
            assert sub.got[i].payload.startswith(answer), sub.got[i].payload
            assert sub.got[i].properties.CorrelationData == b"%d" % i
        sub.publish("node/1/cmd", b"add 1 1", 1)  # nobody wants to know: no answer, no harm
        sub.publish("node/1/cmd", b"stop", 1, ResponseTopic="my/answers", CorrelationData=b"z")
        assert sub.wait(5)[4] == ("my/answers", b"ok")
    assert node.ended() == 0, node


def ota_server(start, broker, folder):
    server = start("ota.py", "serve", "127.0.0.1", broker.port, "ota", str(folder) + "/")
    server.wait_line("ready")
    return server


def test_file_transfer(start, broker, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "app.bin").write_bytes(os.urandom(20000))
    (tmp_path / "files" / "empty").write_bytes(b"")
    ota_server(start, broker, tmp_path / "files")
    for name in ("app.bin", "empty"):
        for want in ("True", "False"):  # the second time it is there already
            p = start("ota.py", "fetch", "127.0.0.1", broker.port, "ota", name, name, cwd=tmp_path)
            assert p.ended() == 0, p
            p.wait_line(want)
        assert (tmp_path / name).read_bytes() == (tmp_path / "files" / name).read_bytes()
        assert not (tmp_path / (name + ".part")).exists()


def test_file_transfer_is_resumed_and_replaces_the_old_file_at_the_end(start, broker, tmp_path):
    (tmp_path / "files").mkdir()
    body = os.urandom(200000)  # so that it is not done before it is killed
    (tmp_path / "files" / "app.bin").write_bytes(body)
    (tmp_path / "app.bin").write_bytes(b"old")
    part = tmp_path / "app.bin.part"
    ota_server(start, broker, tmp_path / "files")
    p = start("ota.py", "fetch", "127.0.0.1", broker.port, "ota", "app.bin", "app.bin", cwd=tmp_path)
    until(lambda: part.exists() and part.stat().st_size > 8000)
    p.kill()
    assert (tmp_path / "app.bin").read_bytes() == b"old"
    at = part.stat().st_size
    assert body.startswith(part.read_bytes())
    with Subscriber(broker.port, "ota") as sub:
        p = start("ota.py", "fetch", "127.0.0.1", broker.port, "ota", "app.bin", "app.bin", cwd=tmp_path)
        assert p.ended() == 0, p
        assert sub.pairs()[1][1] == b"piece app.bin %d 256" % at
    assert hashlib.sha256((tmp_path / "app.bin").read_bytes()).digest() == hashlib.sha256(body).digest()


def test_file_transfer_refuses_what_is_wrong(start, broker, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "files" / "app.bin").write_bytes(b"new file of some length")
    (tmp_path / "app.bin.part").write_bytes(b"other")  # of another version: found by the checksum
    ota_server(start, broker, tmp_path / "files")
    for name in ("../secret", "missing", "app.bin"):
        p = start("ota.py", "fetch", "127.0.0.1", broker.port, "ota", name, "app.bin", cwd=tmp_path)
        assert p.ended() != 0
        assert not (tmp_path / "app.bin").exists()
    p = start("ota.py", "fetch", "127.0.0.1", broker.port, "ota", "app.bin", "app.bin", cwd=tmp_path)
    assert p.ended() == 0, p
    assert (tmp_path / "app.bin").read_bytes() == b"new file of some length"


UART = """
import sys
import umqtt5
import micropython
if sys.implementation.name != "micropython":
    import umqtt5_host
    umqtt5_host.adopt("uart")
import uart
class End:
    def __init__(self, out, back):
        self.write = out.write
        self.readinto = back.readinto
        self.any = back.any
up, down = micropython.RingIO(100), micropython.RingIO(100)
far = uart.bridge(End(down, up), "127.0.0.1", int(sys.argv[1]))
c = umqtt5.MQTTClient("uart", "-", transport=uart.Serial(End(up, down)))
got = []
c.on_message = lambda m: got.append(bytes(m.payload()))
def until(f):
    n = 0
    while not f():
        next(far)
        c.poll()
        n += 1
        assert n < 10000000
c.start()
until(c.isconnected)
acked = []
c.on_suback = lambda *a: acked.append(1)
c.subscribe_start([("t", 1)])
until(lambda: acked)
for i in range(20):
    c.publish("t", "%d" % i + "x" * 150, qos=1)
    until(lambda: not c.pending() and len(got) == i + 1)
print("done", len(got))
"""


def test_uart_example_and_its_bridge(interpreter, broker, tmp_path):
    (tmp_path / "x.py").write_text(UART)
    p = Program(interpreter, tmp_path / "x.py", broker.port)
    try:
        assert p.ended() == 0, p
        p.wait_line("done 20")
    finally:
        p.kill()
