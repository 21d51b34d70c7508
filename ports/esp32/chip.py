# What an ESP32 has of its own: identity, temperature, power saving, watchdog, stores, sleep, the reason it woke.
# The same names stand in ports/rp2/chip.py (ports/README.md has the table); what both boards share is in ports/common/.
# Imports machine and esp32, and umqtt5.store when a store is asked for. Never the network, never the settings.
from binascii import hexlify

import esp32
import machine

BOARD = "esp32"
JOINING = (1000, 1001, 1010)  # WLAN.status(): idle, connecting, address got; any other number is why the last try ended
HANDSHAKE = (15, 204)  # the key exchange timed out: nearly always a wrong password


def client_id(prefix="esp32-"):
    """A client identifier that no other chip has: `prefix` and the 6 bytes of the factory MAC in hex (18 characters)."""
    return prefix + hexlify(machine.unique_id()).decode()


def temperature():
    """Degrees Celsius inside the chip (float), or None where the chip has no sensor (ESP32-S2 firmware without it).

    The ESP32 reports Fahrenheit by raw_temperature(), the C3, C6, S2 and S3 Celsius by mcu_temperature().
    """
    f = getattr(esp32, "mcu_temperature", None)
    if f is not None:
        return float(f())
    f = getattr(esp32, "raw_temperature", None)
    return None if f is None else (f() - 32) / 1.8


def power_saving(wlan, on):
    """Let the radio sleep between beacons (`on`), or keep it awake: about 20 mA against about 100 mA, answers 100 ms sooner."""
    wlan.config(pm=wlan.PM_PERFORMANCE if on else wlan.PM_NONE)


def radio(wlan):
    """Once after active(True): the driver does not try again by itself, so that status() tells why a join failed."""
    wlan.config(reconnects=0)


def radio_off(wlan):
    """Radio off for sleep."""
    wlan.active(False)


def watchdog(ms):
    """Start the watchdog: the chip resets when feed() is not called for `ms` (1000 or more). It cannot be stopped again."""
    return machine.WDT(timeout=max(ms, 1000))


def store(kind, name="umqtt5"):
    """Where the session image is kept: "file" (/name), "nvs" (namespace `name`), "rtc" (survives deep sleep, not power loss),
    "none" (None). ValueError for another word."""
    if kind == "none":
        return None
    from umqtt5 import store as s

    if kind == "file":
        return s.FileStore("/" + name)
    if kind == "nvs":
        return s.NVSStore(name)
    if kind == "rtc":
        return s.RTCStore()
    raise ValueError("store " + kind)


def woke():
    """True when this start is a wake from deep sleep (the RTC memory then holds what was put there)."""
    return machine.reset_cause() == machine.DEEPSLEEP_RESET


def sleep(kind, ms, feed=None):
    """Sleep for `ms`. "deep": does not return, the program starts anew. "light": returns; RAM is kept, the radio must be off."""
    if kind == "deep":
        machine.deepsleep(ms)
    _light(ms, feed)


def _light(ms, feed):
    # in pieces shorter than the watchdog's time: whether it counts during sleep differs between chips
    while ms > 0:
        if feed is not None:
            feed()
        n = min(ms, 2000) if feed is not None else ms
        machine.lightsleep(n)
        ms -= n
    if feed is not None:
        feed()
