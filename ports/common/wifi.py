# Wi-Fi, brought up and kept up, for both boards: one step at a time, never blocking for longer than a driver call.
# What differs per board (power saving, switching the radio off) is asked of `chip`. Imports network, time, chip. No MQTT here.
from time import sleep_ms, ticks_add, ticks_diff, ticks_ms

import chip
import network
from micropython import const

_IDLE = const(0)  # not joined, the next try is due at _at
_JOINING = const(1)  # asked to join, the time is up at _at
_UP = const(2)  # joined, with an address

_REST = const(1000)  # ms before a second round through the networks, doubled each round ...
_PAUSE = const(200)  # ms from leaving a network to the next try
_REST_MAX = const(60000)  # ... up to this


class Wifi:
    """One station that stays joined to the first of `networks` that takes it.

    networks: list of {"ssid": str, "password": str} in order of preference ("" or no password: open network).
    country: two letters, or "" for the driver's own world-wide setting.  power_save: let the radio doze (see chip.power_saving).
    timeout: seconds for one network, joining and address (DHCP) together.  hostname: up to 32 characters, or "".
    feed: called in wait(), for the watchdog.
    """

    def __init__(self, networks, country="", power_save=False, timeout=20, hostname="", feed=None):
        self.networks = networks
        self.country = country
        self.power_save = power_save
        self.timeout_ms = timeout * 1000
        self.hostname = hostname
        self.feed = feed
        self.wlan = None
        self.why = ""  # why the last try failed: one of the words of _reason()
        self.tried = ""  # and of which network
        self.lost = 0  # times that a link which had been up went away
        self.current = 0  # index into networks
        self._tried = 0  # networks tried in this round
        self._rest = _REST
        self._state = _IDLE
        self._at = ticks_ms()

    def up(self):
        """One step. True when joined with an address. Call it often (every 100 ms or so); it does not wait and does not raise."""
        if self.wlan is None:
            self._start()
        if self._state == _UP:
            if self.wlan.isconnected():
                return True
            self.lost += 1
            self.why = "link lost"
            self._state = _IDLE
            self._at = ticks_ms()
        now = ticks_ms()
        if self._state == _JOINING:
            if self.wlan.isconnected():
                self._state = _UP
                self._tried = 0
                self._rest = _REST
                self.why = ""
                return True
            why = self._reason(self.wlan.status())
            if not why and ticks_diff(now, self._at) >= 0:
                why = "time is up"
            if why:
                self._next(why)
        elif ticks_diff(now, self._at) >= 0:
            self._join()
        return False

    def wait(self, timeout_ms):
        """Step until up() or `timeout_ms` have passed, feeding the watchdog. Returns up()."""
        end = ticks_add(ticks_ms(), timeout_ms)
        while not self.up():
            if self.feed is not None:
                self.feed()
            if ticks_diff(end, ticks_ms()) <= 0:
                return False
            sleep_ms(50)
        return True

    def off(self):
        """Leave the network and switch the radio off (for sleep). up() switches it on again."""
        if self.wlan is not None:
            try:
                self.wlan.disconnect()
            except OSError:  # not started, or not joined: nothing to leave
                pass
            chip.radio_off(self.wlan)
            self.wlan = None
        self._state = _IDLE
        self._tried = 0
        self._at = ticks_ms()

    def rssi(self):
        """Signal strength in dBm, or None when not joined."""
        try:
            return self.wlan.status("rssi") if self._state == _UP else None
        except (OSError, ValueError):  # link just lost; firmware that cannot tell
            return None

    def ssid(self):
        """Name of the network joined or being tried."""
        return self.networks[self.current]["ssid"]

    def _start(self):
        if self.country:
            network.country(self.country)  # before active(True): the drivers read it there
        if self.hostname:
            network.hostname(self.hostname[:32])
        wlan = network.WLAN(network.STA_IF)
        wlan.active(True)
        chip.radio(wlan)
        chip.power_saving(wlan, self.power_save)
        self.wlan = wlan
        if wlan.isconnected():  # a soft reset leaves the radio of the ESP32 as it was
            self._leave()

    def _join(self):
        n = self.networks[self.current]
        try:
            self.wlan.connect(n["ssid"], n.get("password") or None)
        except OSError as e:
            self._next("driver error " + str(e))
            return
        self._state = _JOINING
        self._at = ticks_add(ticks_ms(), self.timeout_ms)

    def _next(self, why):
        # this network failed: the next one, after the last one a rest that grows
        self.why = why
        self.tried = self.ssid()
        self._leave()
        self.current = (self.current + 1) % len(self.networks)
        self._tried += 1
        if self._tried >= len(self.networks):
            self._tried = 0
            self._at = ticks_add(self._at, self._rest)
            self._rest = min(self._rest * 2, _REST_MAX)

    def _leave(self):
        # End what the driver is doing. On the ESP32 the end of a try is reported some milliseconds later, and would be taken for
        # the end of the next one: hence the pause.
        try:
            self.wlan.disconnect()
        except OSError:  # nothing to end
            pass
        self._state = _IDLE
        self._at = ticks_add(ticks_ms(), _PAUSE)

    def _reason(self, status):
        # "" while it may still work; the numbers differ between boards, the names do not
        if status in chip.JOINING:
            return ""
        if status == network.STAT_WRONG_PASSWORD or status in chip.HANDSHAKE:
            return "wrong password"
        if status == network.STAT_NO_AP_FOUND:
            return "no access point"
        return "refused (%d)" % status
