"""make demo: a telemetry node on real MicroPython, a real broker, and what an independent subscriber receives.

Belongs here: starting and stopping the three, the live table, the verdict. Never here: MQTT of our own on this side: the
subscriber is paho-mqtt, so that what the table shows was understood by somebody else.
Exit code 0 only if every QoS 1 message that the node published was received; 1 if not; 2 if the demo could not run.
DEMO_SECONDS (default 10) is how long it publishes. Ctrl-C ends it early, in order.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NODE = ROOT / "ports" / "host_node"
TOPIC = "demo/node"
INTERVAL_MS = 500
PATIENCE = 30  # seconds that any single step may take

IOTCORE = """id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 10
[v5.1]
name = "v5-1"
listen = "127.0.0.1:%d"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 20480
    max_inflight_count = 100
    dynamic_filters = true
"""


class Trouble(Exception):
    """The demo cannot go on; the text says what to do."""


def log_of(path):
    text = path.read_text(errors="replace").strip() if path.exists() else ""
    return "".join("\n    " + line for line in text.splitlines()[-15:])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def stop(process, seconds=3):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Broker:
    """mosquitto if it is installed, else the broker that the environment brings (iotcore)."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        places = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
        self.program = shutil.which("mosquitto", path=places)
        self.name = "mosquitto" if self.program else "iotcore (embedded; install mosquitto for a second opinion)"

    def start(self):
        for _ in range(5):  # somebody else may take the port between looking and using it
            self.port = free_port()
            log = self.folder / "broker.log"
            if self.program:
                conf = self.folder / "mosquitto.conf"
                conf.write_text("listener %d 127.0.0.1\nallow_anonymous true\n" % self.port)
                command = [self.program, "-c", str(conf)]
            else:
                conf = self.folder / "iotcore.toml"
                conf.write_text(IOTCORE % self.port)
                code = "import iotcore, sys; iotcore.Broker(config_path=sys.argv[1]).run_forever()"
                command = [sys.executable, "-c", code, str(conf)]
            with log.open("wb") as out:
                self.process = subprocess.Popen(
                    command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
                )  # fmt: skip
            end = time.monotonic() + PATIENCE
            while self.process.poll() is None and time.monotonic() < end:
                try:
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                    return
                except OSError:
                    time.sleep(0.05)
            self.close()
        raise Trouble("the broker %s does not start on a loopback port; it says:%s" % (self.name, log_of(log)))

    def close(self):
        if self.process is not None:
            stop(self.process)


class Node:
    """The node as a board has it: main.py and its helpers, settings.json, the library in lib/; run by MicroPython."""

    def __init__(self, folder, port):
        self.program = Path(sys.prefix) / "bin" / "micropython"
        if not self.program.exists():
            found = shutil.which("micropython")
            if not found:
                raise Trouble("MicroPython is missing (%s): run `make demo` once more with network access" % self.program)
            self.program = Path(found)
        for name in ("main.py", "readings.py", "settings.py"):
            shutil.copy(NODE / name, folder)
        shutil.copytree(ROOT / "umqtt5", folder / "lib" / "umqtt5", ignore=shutil.ignore_patterns("__pycache__"))
        settings = json.loads((NODE / "settings.example.json").read_text())
        settings.update(port=port, topic=TOPIC, client_id="demo-node-%d" % os.getpid(), interval_ms=INTERVAL_MS)
        (folder / "settings.json").write_text(json.dumps(settings, indent=4))
        self.out, self.err = folder / "node.out", folder / "node.err"
        environment = dict(os.environ, MICROPYPATH=".frozen:%s" % (folder / "lib"))
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(self.program), "main.py"], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip

    def check(self):
        if self.process.poll() is not None:
            raise Trouble("the node ended by itself (exit code %d); it says:%s" % (self.process.returncode, self.words()))

    def words(self):
        return log_of(self.out) + log_of(self.err)  # MicroPython prints what it does not catch on standard output

    def end(self, ask):
        """Ask the node to stop, by `ask` and if that does not help as Ctrl-C does -> what it says that it published."""
        self.check()
        ask()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                raise Trouble("the node does not stop") from None
        if self.process.returncode:
            self.check()
        return json.loads(self.out.read_text())

    def close(self):
        stop(self.process)


class Subscriber:
    """An independent client (paho-mqtt, MQTT 5) that keeps what arrives: topic -> list of (n, value, unit, QoS, time)."""

    def __init__(self, port):
        try:
            import paho.mqtt.client as paho
        except ImportError:
            raise Trouble("paho-mqtt is missing here: start the demo by `make demo`, which makes the environment") from None
        self.lock, self.got, self.fresh = threading.Lock(), {}, []
        ready = threading.Event()
        c = self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, "demo-subscriber-%d" % os.getpid(), protocol=paho.MQTTv5)
        c.on_message = self.on_message
        c.on_connect = lambda client, *_: client.subscribe([(TOPIC + "/#", paho.SubscribeOptions(1, noLocal=True))])
        c.on_subscribe = lambda *_: ready.set()
        c.connect("127.0.0.1", port)
        c.loop_start()
        if not ready.wait(PATIENCE):
            raise Trouble("the subscriber gets no answer from the broker")

    def on_message(self, client, userdata, message):
        name = message.topic[len(TOPIC) + 1 :]
        if name == "cmd":  # our own: not every broker knows No Local
            return
        try:
            data = json.loads(message.payload)
            row = data["n"], data["value"], data["unit"], message.qos, time.monotonic()
        except (ValueError, TypeError, KeyError):  # status: plain text
            row = None, message.payload.decode(errors="replace"), "", message.qos, time.monotonic()
        with self.lock:
            self.got.setdefault(name, []).append(row)
            self.fresh.append((name, row))

    def count(self, name):
        """Different messages of a topic: a second copy of a QoS 1 message is legal and counts once."""
        rows = self.got.get(name, [])
        numbered = {row[0] for row in rows if row[0] is not None}
        return len(numbered) if numbered else len(rows)

    def stop_node(self):
        self.client.publish(TOPIC + "/cmd", "stop", 1)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Table:
    """On a terminal: one row a topic, redrawn in place. Elsewhere: one line a message."""

    def __init__(self, subscriber):
        self.subscriber, self.start, self.lines, self.live = subscriber, time.monotonic(), 0, sys.stdout.isatty()
        if not self.live:
            print("%7s  %-12s %3s  %5s  %14s" % ("time", "reading", "QoS", "no.", "value"))

    def show(self):
        with self.subscriber.lock:
            fresh, self.subscriber.fresh = self.subscriber.fresh, []
            got = {name: (len(rows), rows[-1]) for name, rows in self.subscriber.got.items()}
        if not self.live:
            for name, (n, value, unit, qos, at) in fresh:
                print("%6.1fs  %-12s %3d  %5s  %14s %s" % (at - self.start, name, qos, n or "", value, unit))
            sys.stdout.flush()
            return
        now = time.monotonic()
        text = ["%-12s %3s  %14s %-4s %9s  %8s" % ("reading", "QoS", "value", "", "received", "last")]
        for name, (count, (_, value, unit, qos, at)) in got.items():
            text.append("%-12s %3d  %14s %-4s %9d  %6.1f s" % (name, qos, value, unit, count, now - at))
        text.append("%.0f s" % (now - self.start))
        if self.lines:
            sys.stdout.write("\x1b[%dA" % self.lines)
        sys.stdout.write("".join(line + "\x1b[K\n" for line in text))
        sys.stdout.flush()
        self.lines = len(text)


def verdict(summary, subscriber):
    """Wait for the last deliveries, print the summary line -> exit code."""
    published = {name[len(TOPIC) + 1 :]: (qos, n) for name, (qos, n) in summary["topics"].items()}
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and any(subscriber.count(name) < n for name, (_, n) in published.items()):
        time.sleep(0.05)
    sent, received, missing = [0, 0], [0, 0], []
    for name, (qos, n) in published.items():
        delivered = min(n, subscriber.count(name))
        sent[qos] += n
        received[qos] += delivered
        if qos and delivered < n:
            missing.append("%s: %d of %d" % (name, delivered, n))
    good = not missing and sent[1] > 0
    line = "%s: published %d (QoS 0: %d, QoS 1: %d), delivered %d (QoS 0: %d, QoS 1: %d)"
    line = line % ("OK" if good else "FAILED", sum(sent), *sent, sum(received), *received)
    print("%s, heap allocated %g bytes per publish, reconnects %d" % (line, summary["heap_per_publish"], summary["reconnects"]))
    for line in missing:
        print("  QoS 1 messages missing: " + line)
    if not sent[1]:
        print("  not one QoS 1 message was published")
    return 0 if good else 1


def run(seconds):
    closing = []
    with tempfile.TemporaryDirectory(prefix="umqtt5-demo-") as name:
        folder = Path(name)
        try:
            broker = Broker(folder)
            closing.append(broker)
            broker.start()
            subscriber = Subscriber(broker.port)
            closing.append(subscriber)
            (folder / "node").mkdir()
            node = Node(folder / "node", broker.port)
            closing.append(node)
            version = subprocess.run(
                [str(node.program), "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
            ).stdout
            print("broker   %s on 127.0.0.1:%d" % (broker.name, broker.port))
            print("node     %s, main.py of ports/host_node" % version.strip().split("; ")[-1])
            print("watching %s/# by paho-mqtt for %g s\n" % (TOPIC, seconds))
            table = Table(subscriber)
            try:
                end = time.monotonic() + PATIENCE
                while not subscriber.got:
                    node.check()
                    if time.monotonic() > end:
                        raise Trouble("nothing arrived in %g s; the node says:%s" % (PATIENCE, node.words()))
                    time.sleep(0.05)
                end = time.monotonic() + seconds  # from the first message on
                while time.monotonic() < end:
                    node.check()
                    table.show()
                    time.sleep(0.1)
            except KeyboardInterrupt:
                print("\nstopping")
            summary = node.end(subscriber.stop_node)
            time.sleep(0.1)
            table.show()
            print()
            return verdict(summary, subscriber)
        finally:
            for part in reversed(closing):
                part.close()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    text = os.environ.get("DEMO_SECONDS") or "10"
    try:
        seconds = float(text)
        if not 1 <= seconds <= 86400:
            raise ValueError
    except ValueError:
        print("demo: DEMO_SECONDS=%s: give a number of seconds from 1 to 86400" % text, file=sys.stderr)
        return 2
    try:
        return run(seconds)
    except Trouble as e:
        print("demo: %s" % e, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ndemo: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
