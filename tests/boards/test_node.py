"""From nothing to telemetry: deploy, main.py on the board, mosquitto, the monitor; mip install of each profile."""

import json
import sys
import time

import paho.mqtt.client as paho
import pytest
from conftest import ROOT, mpremote, tool, until

from support import brokers

PROFILES = {"telemetry": "package-telemetry.json", "typical": "package-typical.json", "everything": "package.json"}


@pytest.fixture
def listen(broker):
    """All messages at the broker from now on: list of (topic, payload, retain)."""
    got = []
    c = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=5)
    ready = []
    c.on_connect = lambda *a: c.subscribe("#", 2)
    c.on_subscribe = lambda *a: ready.append(1)
    c.on_message = lambda c, u, m: got.append((m.topic, m.payload, m.retain))
    c.connect("127.0.0.1", broker.port)
    c.loop_start()
    assert until(lambda: ready, 120)
    yield got
    c.loop_stop()


@pytest.fixture
def put(broker, tmp_path):
    """put(board, kind, **settings): deploy the node to a board and start it."""

    def run(b, kind, *args, **change):
        s = {"wifi": [{"ssid": "home", "password": "secret"}], "server": "127.0.0.1", "port": broker.port, "interval": 1,
             "ntp": "", "watchdog": 30}  # fmt: skip
        s.update(change)
        f = tmp_path / "settings.json"
        f.write_text(json.dumps(s))
        p = tool("deploy.py", "--port", b.port, "--board", kind, "--settings", f, *args)
        assert p.returncode == 0, p.stdout + p.stderr
        return p

    return run


def telemetry(got):
    return [json.loads(p) for t, p, r in list(got) if t.endswith("/telemetry")]


@pytest.mark.parametrize(
    "kind, name, change",
    [("esp32", "esp32-246f28010203", {"store": "nvs"}), ("rp2", "pico-e6613852834b2c2f", {"store": "file", "qos": 2})],
)
def test_telemetry_arrives_and_the_monitor_shows_it(boards, listen, put, broker, kind, name, change):
    b = boards(board=kind)
    put(b, kind, "--profile", "typical", **change)
    base = "nodes/" + name
    assert until(lambda: len(telemetry(listen)) >= 3, 120), bytes(b.output[-1500:])
    v = telemetry(listen)[-1]
    assert abs(v["temperature"] - 25) < 1 and v["heap"] > 1000 and v["rssi"] == -60 and v["reconnects"] == 0
    assert (base + "/status", b"online", False) in listen or (base + "/status", b"online", True) in listen
    if kind == "rp2":
        return
    p = tool("monitor.py", "--broker", "127.0.0.1:%d" % broker.port, "--seconds", "4")
    assert p.returncode == 0, p.stderr
    assert "\n%s   online   free heap " % base in p.stdout and "   reconnects 0" in p.stdout, p.stdout
    assert "telemetry temperature" in p.stdout
    p = tool("monitor.py", "--serial", b.port, "--seconds", "4")
    assert p.returncode == 0 and "telemetry heap" in p.stdout and "free heap " in p.stdout, p.stdout + p.stderr
    b.reset()  # power goes: the will tells it, the node comes back by itself
    n = len(telemetry(listen))
    assert until(lambda: (base + "/status", b"offline", False) in listen, 120)
    assert until(lambda: len(telemetry(listen)) >= n + 2, 120)


def test_broker_that_goes_away_is_waited_for_and_nothing_is_lost(boards, listen, put, broker):
    b = boards(board="rp2")
    put(b, "rp2", store="file", watchdog=4)
    assert until(lambda: len(telemetry(listen)) >= 2, 120)
    at = len(b.output)
    broker.stop()
    b.wait_for(b"broker down", 120, at)
    at = b.wait_for(b"telemetry", 120, len(b.output))
    time.sleep(5)  # longer than the watchdog waits
    broker.start()
    b.wait_for(b"broker up", 120, at)
    assert until(lambda: len(telemetry(listen)) >= 4, 120)
    assert "wdt" not in b.causes  # the waits have fed the watchdog


def test_watchdog_bites_a_program_that_hangs(boards, put, tmp_path):
    main = tmp_path / "hangs.py"
    main.write_text("import node\nimport time\n\n\ndef read(values):\n    time.sleep(3)\n\n\nnode.run(read)\n")
    b = boards(board="rp2")
    put(b, "rp2", "--main", main, watchdog=2)
    assert until(lambda: "wdt" in b.causes, 120), bytes(b.output[-1500:])


@pytest.mark.parametrize("ssid, password, why", [("home", "wrong", b"wrong password"), ("nowhere", "x", b"no access point")])
def test_wifi_that_does_not_come_up_is_named_on_the_console(boards, put, ssid, password, why):
    b = boards(board="esp32")
    put(b, "esp32", wifi=[{"ssid": ssid, "password": password}])
    b.wait_for(b"wifi %s down: %s" % (ssid.encode(), why), 120)


def test_tls_with_an_authority_from_a_file(boards, put, mosquitto, tmp_path):
    b = boards(board="rp2")
    broker = mosquitto(tls=True)
    for name in ("ca.pem", "other.pem"):
        (tmp_path / name).write_bytes((brokers.CERTS / name).read_bytes())
    tls = {"ca": "ca.pem", "server_hostname": "localhost"}
    put(b, "rp2", port=broker.tls_port, tls=tls)
    b.wait_for(b"broker up", 120)
    b.wait_for(b"telemetry", 120)
    at = len(b.output)
    put(b, "rp2", port=broker.tls_port, tls=dict(tls, ca="other.pem"))
    b.wait_for(b"server certificate refused", 120, at)


def test_deep_sleep_on_the_board(boards, listen, put):
    """Wake, resume, publish, acknowledge, tell the time awake, sleep: on a chip that is really started anew each time."""
    b = boards(board="esp32")
    put(b, "esp32", "--profile", "typical", sleep="deep", store="rtc", qos=2, interval=60)
    assert until(lambda: len(telemetry(listen)) >= 4, 120), bytes(b.output[-1500:])
    assert b.sleeps and all(50000 < ms <= 60000 for ms in b.sleeps)
    awake = [int(p) for t, p, r in list(listen) if t.endswith("/awake")]
    assert awake and max(awake) < 10000
    assert b"session resumed" in bytes(b.output)


def test_light_sleep_on_the_board(boards, listen, put):
    b = boards(board="rp2")
    put(b, "rp2", sleep="light", store="file", interval=1)
    assert until(lambda: len(telemetry(listen)) >= 3, 120), bytes(b.output[-1500:])
    assert b.sleeps == []


def test_wrong_settings_are_told_on_the_console(boards):
    b = boards(board="rp2")
    p = tool("deploy.py", "--port", b.port, "--board", "rp2", "--no-start")
    assert p.returncode == 0, p.stderr
    at = len(b.output)
    b.reset()
    b.wait_for(b"settings.json: not found; copy settings.example.json and fill it in", 120, at)


def test_refused_node_says_why(boards, put, mosquitto):
    b = boards(board="esp32")
    put(b, "esp32", port=mosquitto(users={"node": "secret"}).port, user="node", password="wrong")
    b.wait_for(b"stopped; the broker is asked again in 600 s", 120)
    assert b"not authorized" in bytes(b.output).lower()


@pytest.mark.parametrize("profile", [*PROFILES, "packed"])
def test_mip_install_from_a_checkout(boards, broker, profile, tmp_path):
    """The installed files are enough for what the profile promises."""
    b = boards()
    package = ROOT / PROFILES.get(profile, "")
    if profile == "packed":
        made = tool("pack.py", "--mpy", tmp_path)
        assert made.returncode == 0, made.stderr
        package = tmp_path / "package.json"
    p = mpremote(b.port, "mip", "install", package)
    assert p.returncode == 0, p.stdout + p.stderr
    use = """
import umqtt5
print(umqtt5.__file__)
from umqtt5.link import Link
c = umqtt5.MQTTClient('mip', '127.0.0.1', %d)
k = Link(c)
while not k.up:
    k.poll(100)
got = []
%s
c.wait(c.publish(b'a/b', b'hello', qos=%d))
p = c.publication(b'a/c', 5)
p.send(b'12345')
for _ in range(20):
    k.poll(50)
c.disconnect()
print('DONE', got)
"""
    more = profile != "telemetry"
    sub = "c.on_message = lambda m: got.append(bytes(m.payload()))\nc.subscribe(b'a/b', 2)" if more else ""
    p = mpremote(b.port, "exec", use % (broker.port, sub, 2 if more else 1))
    assert "DONE " + ("[b'hello']" if more else "[]") in p.stdout, p.stdout + p.stderr
    assert p.stdout.split()[0].endswith("/umqtt5/__init__.mpy" if profile == "packed" else "/umqtt5/__init__.py")


def test_monitor_draws_what_it_got():
    sys.path.insert(0, str(ROOT / "tools"))
    import monitor

    v = monitor.View("test")
    for i in range(10):
        v.put("nodes/a/telemetry", json.dumps({"t": i, "heap": 1000, "reconnects": 2, "rssi": None}), now=i * 6)
        v.put("nodes/a/status", b"online", now=i)
        v.put("nodes/b", b"12.5", now=i)
    text = v.text(100)
    row = [line for line in text if line.startswith("  telemetry t ")][0]
    assert row.split() == ["telemetry", "t", "9", "10.0", "▁▁▂▃▄▄▅▆▇█"], row
    assert any("nodes/a   online   free heap 1000   reconnects 2" in line for line in text)
    c = monitor.Console(v)
    c.take(b'node x, nodes/x every 1 s to b\r\ntelemetry {"t"')
    c.take(b": 1}\r\nbroker up\r\n")
    assert v.rows["nodes/x/telemetry t"].last == 1 and v.state["nodes/x"] == "online"
