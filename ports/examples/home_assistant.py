"""A node that Home Assistant finds by itself: one sensor, one switch, and whether it is there.

    node = Node("kitchen", "broker", read=lambda: 21.5, switch=lambda on: pin(on))
    while True:
        node.poll(1000)

Topics, all below umqtt5/NAME: available (online, offline: retained, also the will), temperature, relay (on, off: retained),
relay/set. The discovery messages are retained; they are sent again when Home Assistant announces its own start.
"""

import json
from time import ticks_add, ticks_diff, ticks_ms

from umqtt5 import MQTTClient, MQTTException
from umqtt5.link import Link

DISCOVERY = "homeassistant"


class Node:
    """read() -> the temperature; switch(on: bool) sets the relay. More options are MQTTClient's."""

    def __init__(self, name, server, port=1883, read=None, switch=None, seconds=30, **options):
        self.base = "umqtt5/" + name
        self.name = name
        self.read = read
        self.switch = switch
        self.on = self.stale = False
        self.dropped = 0
        self.every = seconds * 1000
        self.next = ticks_ms()
        options.setdefault("inflight", 3000)
        self.client = c = MQTTClient("umqtt5-" + name, server, port, session_expiry=600, **options)
        c.set_last_will(self.base + "/available", "offline", True, 1)
        self.link = Link(c, on_up=self.up)

    def configs(self):
        """(topic, dictionary) of each thing that Home Assistant shows."""
        device = {"identifiers": [self.name], "name": self.name, "manufacturer": "umqtt5"}
        for kind, what, more in (
            ("sensor", "temperature", {"device_class": "temperature", "unit_of_measurement": "\u00b0C"}),
            ("switch", "relay", {"command_topic": self.base + "/relay/set", "payload_on": "on", "payload_off": "off"}),
        ):
            more["name"] = what
            more["unique_id"] = "%s-%s" % (self.name, what)
            more["state_topic"] = "%s/%s" % (self.base, what)
            more["availability_topic"] = self.base + "/available"
            more["device"] = device
            yield "%s/%s/%s/%s/config" % (DISCOVERY, kind, self.name, what), more

    def send(self, topic, payload, retain=True, qos=1):
        """Publish. What cannot be sent (QoS 0 while the connection dies) or kept (QoS 1, no room) is counted in `dropped`: the
        next temperature comes anyway, all the rest is announced when what waits is acknowledged."""
        try:
            self.client.publish(topic, payload, retain, qos)
        except (OSError, MQTTException):
            self.dropped += 1
            self.stale = self.stale or qos > 0

    def announce(self):
        """Discovery, availability and states."""
        self.stale = False
        for topic, config in self.configs():
            self.send(topic, json.dumps(config))
        self.send(self.base + "/available", "online")
        self.send(self.base + "/relay", "on" if self.on else "off")
        self.next = ticks_ms()

    def up(self, client, session_present):
        """Each time the connection is there."""
        client.subscribe(self.base + "/relay/set", 1, to=self.set)
        client.subscribe(DISCOVERY + "/status", 0, to=self.status)
        self.announce()

    def set(self, message):
        """The switch was used."""
        self.on = bytes(message.payload()) == b"on"
        if self.switch:
            self.switch(self.on)
        self.send(self.base + "/relay", "on" if self.on else "off")

    def status(self, message):
        """Home Assistant has started, or stops."""
        if bytes(message.payload()) == b"online":
            self.announce()

    def poll(self, ms=0):
        """To be called again and again."""
        self.link.poll(ms)
        if self.link.up and self.stale and not self.client.pending():
            self.announce()
        if self.link.up and ticks_diff(ticks_ms(), self.next) >= 0:
            self.next = ticks_add(ticks_ms(), self.every)
            if self.read:
                self.send(self.base + "/temperature", "%.1f" % self.read(), False, 0)


def main(name, host, port):
    """A node with a made-up temperature, for ever."""
    node = Node(name, host, int(port), read=lambda: 21.5, switch=lambda on: print("relay", on), seconds=1)
    while True:
        node.poll(200)


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
