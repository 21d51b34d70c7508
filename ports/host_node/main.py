# A telemetry node on MicroPython (unix): what a board does, with the readings of this machine instead of sensors.
#
#   TOPIC/<reading>   {"n": 7, "value": 0.42, "unit": ""}    each interval_ms; n counts the messages of that topic from 1
#   TOPIC/status      online | offline                       retained; "offline" is also the will
#   TOPIC/cmd         stop                                   subscribed: ends the program, as Ctrl-C does
#
# At the end it prints what it published as one JSON line. Settings: settings.json beside it (see settings.example.json).
import gc
import json
import sys
import time

import micropython
import readings
import settings

from umqtt5 import MQTTClient, ResourceError, props
from umqtt5.link import Link


class Node:
    def __init__(self, conf):
        base = conf["topic"].encode() + b"/"
        self.interval = conf["interval_ms"]
        self.status, self.cmd = base + b"status", base + b"cmd"
        self.rows = [(row, base + row[0].encode()) for row in readings.present()]
        self.props = props.encode(content_type="application/json")
        self.counts = {topic: [row[2], 0] for row, topic in self.rows}  # topic: QoS, messages published
        self.counts[self.status] = [1, 0]
        self.acknowledged = self.ups = self.heap = self.calls = self.rounds = 0
        self.stop = False
        self.heap_used = getattr(micropython, "mem_total", gc.mem_alloc)  # mem_total only ever grows: nothing escapes it
        c = self.client = MQTTClient(
            conf["client_id"], conf["server"], conf["port"], conf["user"] or None, conf["password"] or None, conf["keepalive"],
            session_expiry=conf["session_expiry"], inflight=conf["inflight"],
        )  # fmt: skip
        c.set_last_will(self.status, b"offline", retain=True, qos=1)
        c.on_ack = self.on_ack
        c.on_message = self.on_message
        self.link = Link(c, on_up=self.on_up)

    def on_up(self, *args):
        self.ups += 1
        self.rounds = 0
        self.publish(self.status, b"online", True, 1, b"")
        self.client.subscribe_start([(self.cmd, 1)])

    def on_ack(self, client, packet_id, reason_code, packet_type):
        self.acknowledged += reason_code < 128

    def on_message(self, m):
        if m.is_topic(self.cmd):
            self.stop = bytes(m.payload()) == b"stop"

    def publish(self, topic, payload, retain, qos, block):
        before = self.heap_used()
        try:
            self.client.publish(topic, payload, retain, qos, block)
        except ResourceError:  # offline for so long that the buffer is full: this reading is skipped
            return
        except OSError:  # QoS 0 while offline
            return
        if self.rounds > 1 and topic is not self.status:  # the first round of a connection loads modules
            self.heap += self.heap_used() - before
            self.calls += 1
        self.counts[topic][1] += 1

    def read_all(self):
        self.rounds += 1
        for (_, unit, qos, function), topic in self.rows:
            text = {"n": self.counts[topic][1] + 1, "value": function(), "unit": unit}
            self.publish(topic, json.dumps(text).encode(), False, qos, self.props)

    def run(self):
        due = time.ticks_ms()
        while not self.stop:
            left = time.ticks_diff(due, time.ticks_ms())
            self.link.poll(max(0, left))
            if left <= 0 and self.link.up:
                due = time.ticks_add(due, self.interval)
                if time.ticks_diff(time.ticks_ms(), due) > 0:  # was offline or slow: no burst of old times
                    due = time.ticks_add(time.ticks_ms(), self.interval)
                self.read_all()

    def end(self):
        if self.client.isconnected():
            self.publish(self.status, b"offline", True, 1, b"")
            self.client.wait(timeout=5)
            self.client.disconnect()
        return {
            "topics": {str(topic, "utf8"): count for topic, count in self.counts.items()},
            "acknowledged": self.acknowledged,
            "heap_per_publish": round(self.heap / max(1, self.calls), 1),
            "reconnects": max(0, self.ups - 1),
        }


def main():
    try:
        node = Node(settings.load())
    except settings.SettingsError as e:
        print(e, file=sys.stderr)
        sys.exit(2)
    try:
        node.run()
    except KeyboardInterrupt:
        pass
    print(json.dumps(node.end()))


main()
