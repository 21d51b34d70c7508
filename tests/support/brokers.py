"""Host only: real brokers on free loopback ports, each ended by its own process id.

with Mosquitto(users={"node": "secret"}) as b:      # b.port, b.log(), b.stop(), b.start(), b.kill()
Mosquitto(tls=True, ws=True, persistence=True, config=["max_inflight_messages 2"], listener=["max_qos 1"])
Iotcore()                                           # the embedded broker of PyPI
Subscriber(port, "#")                               # an independent client (paho) that collects what arrives
"""

import atexit
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from .harness import leave_out

CERTS = Path(__file__).resolve().parent / "certs"
PATIENCE = 60  # seconds: how long a failure takes, no more; a loaded machine may need a good part of it
_PORTS = 10000, 24000  # from 24000 on: support/tcp.py
_dice = random.SystemRandom()  # hypothesis sets the seed of the common one
_given = set()


def _lowest():
    # Of the ports that the system gives to outgoing connections.
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 49152


def free_port():
    """A port nobody listens on, now and most likely later: none of those that outgoing connections get.

    One of those would be gone when a connection of some client got it before its broker started, or while its broker was
    stopped for a moment. A client that tries again and again can even get the port it connects to, and talks to itself."""
    low, high = _PORTS[0], min(_PORTS[1], _lowest())
    for _ in range(1000):
        port = _dice.randrange(low, high) if high - low > 1000 else 0
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            port = s.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
    raise RuntimeError("no free port")


def wait_port(port, process=None, seconds=PATIENCE, what="the broker", log=None):
    """Until something accepts connections there; RuntimeError with the log if it does not come up."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            died = process is not None and process.poll() is not None
            if died or time.monotonic() > end:
                how = "exited with %s" % process.returncode if died else "does not listen on port %d" % port
                raise RuntimeError("%s %s\n%s" % (what, how, log() if log else "")) from None
            time.sleep(0.02)


def program(name):
    """Path of an installed server program (also in /usr/sbin, which is not on everyone's PATH), or None."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin:/opt/homebrew/bin")


def require(name):
    """Leave the running test out if that broker ("mosquitto", "ejabberd", "iotcore") is not installed; fail in CI."""
    if name == "iotcore":
        if importlib.util.find_spec("iotcore") is None:
            leave_out("iotcore is not installed (pip install iotcore)")
    elif program({"ejabberd": "ejabberdctl"}.get(name, name)) is None:
        leave_out("%s is not installed (apt-get install %s)" % (name, name))


class Broker:
    """A broker process with a folder of its own."""

    name = "broker"

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="umqtt5-%s-" % self.name))
        self.port = free_port()
        self.process = None
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def command(self):
        """Command line."""
        raise NotImplementedError

    def start(self):
        """Start (again), on the same ports."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                start_new_session=True,
            )
        try:
            wait_port(self.port, self.process, what=self.name, log=self.log)
        except RuntimeError:
            self.kill()
            raise
        return self

    def environment(self):
        """Of the process."""
        return dict(os.environ)

    def log(self):
        """Everything it has written."""
        return (self.folder / "log").read_text(errors="replace")

    def wait_log(self, text, seconds=PATIENCE):
        """Until its log has that text."""
        end = time.monotonic() + seconds
        while text not in self.log():
            if time.monotonic() > end:
                raise AssertionError("%r is not in the log of %s:\n%s" % (text, self.name, self.log()))
            time.sleep(0.02)

    def stop(self, how=signal.SIGTERM):
        """End it and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self):
        """Power off."""
        self.stop(signal.SIGKILL)

    def close(self):
        """End it and remove its folder."""
        atexit.unregister(self.close)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Mosquitto(Broker):
    """mosquitto, logging every packet. Options:

    users: {name: password} (nobody else gets in); tls / ws: one more listener (.tls_port, .ws_port); tls="client" asks for a
    client certificate; persistence: keeps sessions over stop() and start(); config: more lines before the listeners,
    listener: more lines for the plain listener.
    """

    name = "mosquitto"

    def __init__(self, users=None, tls=False, ws=False, persistence=False, config=(), listener=()):
        super().__init__()
        if program("mosquitto") is None:
            raise FileNotFoundError("mosquitto is not installed: apt-get install mosquitto")
        lines = ["per_listener_settings false", "log_type all", "log_dest stderr", "allow_anonymous %s" % _bool(not users)]
        if os.getuid() == 0:
            lines.append("user root")  # its folder belongs to whoever runs the tests
        if persistence:
            lines += ["persistence true", "persistence_location %s/" % self.folder]
            lines += ["autosave_interval 1", "autosave_on_changes true"]
        if users:
            self._passwords(users)
            lines.append("password_file %s/passwords" % self.folder)
        lines += list(config)
        lines += ["listener %d 127.0.0.1" % self.port, *listener]
        if ws:
            self.ws_port = free_port()
            lines += ["listener %d 127.0.0.1" % self.ws_port, "protocol websockets"]
        if tls:
            self.tls_port = free_port()
            lines += ["listener %d 127.0.0.1" % self.tls_port, "cafile %s/ca.pem" % CERTS]
            lines += ["certfile %s/server.pem" % CERTS, "keyfile %s/server.key" % CERTS]
            lines += ["require_certificate %s" % _bool(tls == "client")]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.start()

    def _passwords(self, users):
        path = self.folder / "passwords"
        path.write_text("".join("%s:%s\n" % user for user in users.items()))
        path.chmod(0o600)
        subprocess.run([program("mosquitto_passwd"), "-U", str(path)], check=True, capture_output=True)

    def command(self):
        """Command line."""
        return [program("mosquitto"), "-c", str(self.folder / "mosquitto.conf")]


def mosquitto_plugin(source, folder):
    """Compile a C plugin for mosquitto -> path of the .so. Needs gcc and mosquitto-dev."""
    out = Path(folder) / (Path(source).stem + ".so")
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("no C compiler: apt-get install gcc")
    done = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(out), str(source)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError("%s does not compile (mosquitto-dev?):\n%s" % (source, done.stderr))
    return out


class Iotcore(Broker):
    """The broker of PyPI's iotcore (rumqttd), speaking MQTT 5.0: no access control, no persistence."""

    name = "iotcore"

    def __init__(self):
        super().__init__()
        (self.folder / "rumqttd.toml").write_text(_RUMQTTD % self.port)
        self.start()

    def command(self):
        """Command line."""
        return [sys.executable, "-m", "iotcore", "--config", str(self.folder / "rumqttd.toml")]


_RUMQTTD = """
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "v5"
listen = "127.0.0.1:%d"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = 1048576
max_inflight_count = 100
"""


def _bool(flag):
    return "true" if flag else "false"


class Subscriber:
    """An independent MQTT 5 client (paho-mqtt): collects messages as (topic, payload, qos, retain, properties)."""

    def __init__(self, port, *filters, qos=2, client_id="", user=None, password=None, patience=PATIENCE):
        import paho.mqtt.client as paho
        from paho.mqtt.subscribeoptions import SubscribeOptions

        self.got = []
        self.changed = threading.Condition()
        ready = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        if user is not None:
            self.client.username_pw_set(user, password)
        options = SubscribeOptions(qos=qos, retainAsPublished=True)
        self.client.on_connect = lambda c, *a: c.subscribe([(f, options) for f in filters]) if filters else ready.set()
        self.client.on_subscribe = lambda *a: ready.set()
        self.client.on_message = self._message
        self.client.connect_timeout = patience
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        if not ready.wait(patience):
            self.close()
            raise RuntimeError("paho could not subscribe to %r" % (filters,))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def _message(self, client, userdata, m):
        with self.changed:
            self.got.append(m)
            self.changed.notify_all()

    def wait(self, count=1, seconds=PATIENCE):
        """Until that many messages have come in all; returns them as (topic, payload)."""
        end = time.monotonic() + seconds
        with self.changed:
            while len(self.got) < count:
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError("%d of %d messages: %r" % (len(self.got), count, self.pairs()))
                self.changed.wait(left)
            return self.pairs()

    def pairs(self):
        """All so far, as (topic, payload)."""
        return [(m.topic, m.payload) for m in self.got]

    def publish(self, topic, payload=b"", qos=0, retain=False, **properties):
        """Publish and wait until the broker has it; properties by paho's names (ContentType="...")."""
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        p = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(p, name, value)
        sent = self.client.publish(topic, payload, qos, retain, p)
        sent.wait_for_publish(PATIENCE)
        if not sent.is_published():
            raise AssertionError("paho could not publish to %r" % topic)

    def close(self):
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()
