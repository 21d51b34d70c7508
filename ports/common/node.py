# The telemetry node, for both boards: joins the Wi-Fi, keeps the broker, measures and sends; or wakes, sends and sleeps.
# main.py gives it the sensor, settings.json all the rest. Imports the board's modules and umqtt5; prints what happens: this is
# the program and not the library.
import gc
import json
from time import sleep_ms, ticks_add, ticks_diff, ticks_ms

import chip
from clock import Clock, Uptime, unix
from wifi import Wifi

from umqtt5 import MQTTClient, MQTTException, Refused
from umqtt5.link import Link

_AGAIN = 600000  # ms until the broker is asked again after it refused for good (the mistake may have been at its side)
_ONLINE = 20000  # ms that one wake may take from Wi-Fi to the last acknowledgement


def run(read, path="/settings.json"):
    """Load the settings and run for ever. read(values) puts measurements into the dictionary that is sent as JSON.

    Returns only when the settings are wrong, with a line on the console for each mistake."""
    import sys

    import settings

    try:
        s = settings.load(path, chip.BOARD)
    except settings.SettingsError as e:
        for line in e.lines:
            print(line)
        return
    del sys.modules["settings"], settings  # 3 KB that are not needed again
    gc.collect()
    Node(s, read).run()


class Node:
    """One node. s: checked settings (settings.load); read: the sensor; options: as of MQTTClient."""

    def __init__(self, s, read, **options):
        # the ESP32 counts its milliseconds from the wake: the time before this line counts as awake too
        self.woke_at = 0 if chip.woke() else ticks_ms()
        self.s = s
        self.read = read
        self.feed = chip.watchdog(s["watchdog"] * 1000).feed if s["watchdog"] else None
        self.id = s["client_id"] or chip.client_id()
        self.base = s["topic"] + "/" + self.id
        self.topic = (self.base + "/telemetry").encode()
        self.wifi = Wifi(s["wifi"], s["country"], s["power_save"], s["wifi_timeout"], self.id, self.feed)
        self.clock = Clock(s["ntp"], feed=self.feed)
        self.uptime = Uptime()
        self.connects = 0
        self.dropped = 0
        options.setdefault("drop", "oldest")  # of telemetry the newest counts
        self.client = MQTTClient(
            self.id, s["server"], s["port"], s["user"] or None, s["password"] or None, s["keepalive"], s["tls"] or None,
            rx=256, tx=512, inflight=s["inflight"], session_expiry=s["session_expiry"], store=chip.store(s["store"]),
            **options
        )  # fmt: skip
        if s["sleep"] == "none":
            self.client.set_last_will((self.base + "/status").encode(), b"offline", True, 1)
        self.link = Link(self.client, feed=self.feed, on_up=self._up, on_down=self._down)

    def run(self):
        """For ever, as the settings say."""
        print("node %s, %s every %d s to %s" % (self.id, self.base, self.s["interval"], self.s["server"]))
        if self.s["sleep"] == "none":
            self.always()
        while True:
            self.once()
            kind = self.s["sleep"]
            ms = max(1000, self.s["interval"] * 1000 - ticks_diff(ticks_ms(), self.woke_at))
            chip.sleep(kind, ms, self.feed)  # "deep" does not return
            self.woke_at = ticks_ms()

    def always(self):
        """Connected all the time, a message every interval; without a connection QoS 1 and 2 wait in the session image."""
        due = ticks_ms()
        was = False
        why = ""
        while True:
            is_up = self._keep(was)
            if is_up != was or self.wifi.why != why:
                why = self.wifi.why
                print("wifi %s %s" % (self.wifi.ssid() if is_up or was else self.wifi.tried, "up" if is_up else "down: " + why))
                if is_up and not was:
                    self.link.start()
                was = is_up
            if ticks_diff(ticks_ms(), due) >= 0:
                due = ticks_add(due, self.s["interval"] * 1000)
                self.send()

    def _keep(self, was):
        # one step of Wi-Fi, clock and link, at most 100 ms long
        if self.feed:
            self.feed()
        is_up = self.wifi.up()
        if is_up and not self.clock.sync() and self.s["tls"]:
            sleep_ms(50)  # no date, no certificate check
        elif is_up and was or self.link.up:
            try:
                self.link.poll(100)
            except Refused as e:
                self._halt(e)
        else:
            sleep_ms(50)
        return is_up

    def once(self):
        """One wake: measure, join, resume the session, publish, wait for the acknowledgement, disconnect, radio off.

        True when everything is acknowledged; what is not stays in the session image for the next wake. The time awake so far
        goes out last, to TOPIC/CLIENT_ID/awake, in milliseconds."""
        s = self.s
        if s["qos"]:
            self.send()  # into the session image, before anything can fail
        done = False
        if self.wifi.wait(s["wifi_timeout"] * 1000 * len(s["wifi"])):
            if not s["tls"] or self.clock.wait(10000):
                self.link.start()
                try:
                    done = self._deliver()
                except Refused as e:
                    print(e)
            else:
                print("no date from %s: %s" % (s["ntp"], self.clock.why))
        else:
            print("wifi: " + self.wifi.why)
        try:
            self.link.stop()
        except (OSError, MQTTException) as e:  # the connection went away in this moment
            print(e)
        self.wifi.off()
        return done

    def _deliver(self):
        c = self.client
        end = ticks_add(ticks_ms(), _ONLINE)
        sent = self.s["qos"] > 0
        while not (self.link.up and sent and not c.pending()):
            left = ticks_diff(end, ticks_ms())
            if left <= 0:
                return False
            self.link.poll(min(left, 100))
            if self.link.up and not sent:
                sent = True
                self.send()
        try:
            c.publish((self.base + "/awake").encode(), b"%d" % ticks_diff(ticks_ms(), self.woke_at))
        except (OSError, MQTTException) as e:  # everything that matters is acknowledged
            print(e)
        return True

    def values(self):
        """What every node tells about itself, and what the sensor adds."""
        gc.collect()
        v = {"heap": gc.mem_free(), "uptime": self.uptime.seconds(), "reconnects": max(0, self.connects - 1)}
        v["rssi"] = self.wifi.rssi()
        t = unix()
        if t:
            v["time"] = t
        self.read(v)
        return v

    def send(self):
        """Measure and publish one message. One that cannot be kept (QoS 0 without a connection) is counted in `dropped`."""
        text = json.dumps(self.values())
        print("telemetry " + text)
        try:
            self.client.publish(self.topic, text.encode(), False, self.s["qos"])
        except (OSError, MQTTException) as e:
            self.dropped += 1
            print("not sent: %s" % e)

    def _up(self, client, session_present):
        self.connects += 1
        print("broker up" + (", session resumed" if session_present else ""))
        if self.s["sleep"] == "none":
            client.publish((self.base + "/status").encode(), b"online", True, 0)

    def _down(self, client, error):
        print("broker down: %s" % error)

    def _halt(self, e):
        # refused for good (user, password, identifier, ...): tell, and ask again when the time is up
        print("%s\nstopped; the broker is asked again in %d s" % (e, _AGAIN // 1000))
        end = ticks_add(ticks_ms(), _AGAIN)
        while ticks_diff(end, ticks_ms()) > 0:
            if self.feed:
                self.feed()
            sleep_ms(500)
        self.link.start()
