#!/usr/bin/env python3
"""A live view of nodes in the terminal: topics, last value, rate, a sparkline, free heap, reconnects.

    python3 tools/monitor.py --broker 192.168.1.10              what arrives at the broker under nodes/#
    python3 tools/monitor.py --serial auto                      what the node on the USB port prints (it is not interrupted)

JSON payloads become one row for each number in them. --seconds N ends after N seconds with the last picture.
"""

import argparse
import json
import re
import shutil
import sys
import time
from collections import deque

BARS = "▁▂▃▄▅▆▇█"
LINE = re.compile(r"^(telemetry|node|wifi|broker|not sent:) ?(.*)$")


def spark(values):
    """A line of bars, lowest to highest of the values in it."""
    if not values:
        return ""
    low, high = min(values), max(values)
    span = high - low or 1
    return "".join(BARS[int((v - low) / span * (len(BARS) - 1))] for v in values)


def number(text):
    """The number in a payload, or None."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


class Row:
    """One line of the table."""

    def __init__(self, width=24):
        self.last = ""
        self.count = 0
        self.times = deque(maxlen=20)
        self.values = deque(maxlen=width)

    def put(self, value, now):
        self.last = value
        self.count += 1
        self.times.append(now)
        n = number(value) if not isinstance(value, bool) else None
        if n is not None:
            self.values.append(n)

    def rate(self):
        """Messages a minute, over the last 20."""
        if len(self.times) < 2 or self.times[-1] <= self.times[0]:
            return None
        return (len(self.times) - 1) * 60 / (self.times[-1] - self.times[0])


class View:
    """All that is shown. put() takes what comes, text() makes the picture."""

    def __init__(self, source):
        self.source = source
        self.rows = {}
        self.nodes = {}
        self.state = {}
        self.start = time.monotonic()
        self.total = 0

    def put(self, topic, payload, now=None):
        """One message: topic text, payload bytes or text."""
        now = time.monotonic() if now is None else now
        text = payload.decode("utf8", "replace") if isinstance(payload, (bytes, bytearray)) else payload
        self.total += 1
        value = None
        if text[:1] == "{":
            try:
                value = json.loads(text)
            except ValueError:
                value = None
        if not isinstance(value, dict):
            self.row(topic).put(text, now)
            if topic.endswith("/status"):
                self.state[topic.rsplit("/", 1)[0]] = text
            return
        for k, v in value.items():
            if k in ("heap", "reconnects"):
                self.nodes.setdefault(topic.rsplit("/", 1)[0], {})[k] = v
            self.row(topic + " " + k).put(v, now)

    def row(self, name):
        return self.rows.setdefault(name, Row())

    def text(self, width=100):
        """The picture, as lines: one block for each node (what stands before the last / of a topic)."""
        out = ["%s   %d messages in %d s" % (self.source, self.total, time.monotonic() - self.start)]
        groups = {}
        for name in self.rows:
            topic = name.split(" ")[0]
            at = topic.rfind("/") + 1
            groups.setdefault(name[:at].rstrip("/"), []).append((name[at:], self.rows[name]))
        for g in sorted(groups):
            v = self.nodes.get(g, {})
            more = ["free heap %s" % v["heap"]] if "heap" in v else []
            more += ["reconnects %s" % v["reconnects"]] if "reconnects" in v else []
            out += ["", "   ".join([g or "(no node)", self.state.get(g, "")] + more)]
            out.append("  %-26s %14s %8s" % ("", "last", "per min"))
            for name, r in sorted(groups[g], key=lambda x: x[0]):
                rate = r.rate()
                last = "%g" % r.last if isinstance(r.last, float) else "-" if r.last is None else str(r.last)
                out.append("  %-26s %14s %8s  %s" % (name[-26:], last[:14], "%.1f" % rate if rate else "", spark(r.values)))
        return [line[:width].rstrip() for line in out]


def show(view, live):
    size = shutil.get_terminal_size((100, 40))
    lines = view.text(size.columns)
    if live:
        lines = lines[: size.lines - 1]
        sys.stdout.write("\x1b[H" + "".join(line + "\x1b[K\n" for line in lines) + "\x1b[J")
    else:
        print("\n".join(lines))
    sys.stdout.flush()


def from_broker(o, view):
    """Connect with paho-mqtt; messages come in its own thread. Returns a function that stops it."""
    import paho.mqtt.client as paho

    host, _, port = o.broker.partition(":")
    c = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    if o.user:
        c.username_pw_set(o.user, o.password)
    if o.ca:
        c.tls_set(ca_certs=o.ca)

    def on_connect(client, userdata, flags, reason, properties):
        if reason.is_failure:
            print("monitor.py: the broker refused: %s" % reason, file=sys.stderr)
            client.disconnect()
        else:
            client.subscribe(o.topic, 1)

    c.on_connect = on_connect
    c.on_message = lambda client, userdata, m: view.put(m.topic, m.payload)
    c.connect(host, int(port or (8883 if o.ca else 1883)))
    c.loop_start()
    return c.loop_stop


class Console:
    """Lines of a node's console become messages of a view: `telemetry {...}`, `wifi ...`, `broker ...`, `node ...`."""

    def __init__(self, view):
        self.view = view
        self.rest = b""
        self.topic = "node"
        self.ups = 0

    def take(self, data):
        """Bytes as they come from the port."""
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            found = LINE.match(line.decode("utf8", "replace").strip())
            if found:
                self.line(*found.groups())

    def line(self, word, text):
        v = self.view
        if word == "node":
            self.topic = text.split(", ")[1].split(" ")[0] if ", " in text else text
        elif word == "telemetry":
            v.put(self.topic + "/telemetry", text)
        else:
            v.row(self.topic + " " + word.rstrip(":")).put(text, time.monotonic())
            if word == "broker":
                v.state[self.topic] = "online" if text.startswith("up") else "offline"


def from_serial(o, view):
    """Read the port in a thread of its own. Returns a function that stops it."""
    import threading

    from boardlink import choose, open_port

    t = open_port(choose(o.serial))
    console = Console(view)
    going = [True]

    def read():
        while going[0]:
            try:
                # a pseudo-terminal tells nothing by inWaiting() on all systems: a short time-out does
                t.serial.timeout = 0.2
                data = t.serial.read(max(1, t.serial.inWaiting()))
            except OSError:
                going[0] = False
                break
            if data:
                console.take(data)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()

    def stop():
        going[0] = False
        thread.join(1)
        t.serial.close()

    return stop


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    way = p.add_mutually_exclusive_group(required=True)
    way.add_argument("--broker", metavar="HOST[:PORT]")
    way.add_argument("--serial", metavar="PORT", help="serial device, or auto: the only USB serial port there is")
    p.add_argument("--topic", default="nodes/#", help="topic filter at the broker (nodes/#)")
    p.add_argument("--user")
    p.add_argument("--password")
    p.add_argument("--ca", help="file with the authority's certificate: TLS")
    p.add_argument("--seconds", type=float, help="end after so many seconds")
    o = p.parse_args(argv)
    view = View(o.broker and "%s %s" % (o.broker, o.topic) or "console %s" % o.serial)
    try:
        stop = from_broker(o, view) if o.broker else from_serial(o, view)
    except Exception as e:
        print("monitor.py: %s" % e, file=sys.stderr)
        return 1
    live = sys.stdout.isatty()
    end = time.monotonic() + o.seconds if o.seconds else None
    try:
        if live:
            sys.stdout.write("\x1b[2J")
        while end is None or time.monotonic() < end:
            time.sleep(0.25 if live or end else 2)
            if live or end is None:
                show(view, live)
    except KeyboardInterrupt:
        pass
    finally:
        stop()
    if not live:
        show(view, False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
