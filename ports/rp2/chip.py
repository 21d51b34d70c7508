# What an RP2040 (Pico W) or RP2350 has of its own: identity, temperature, power saving, watchdog, stores, sleep.
# The same names stand in ports/esp32/chip.py (ports/README.md has the table); what both boards share is in ports/common/.
# Imports machine, and umqtt5.store when a store is asked for. Never the network, never the settings.
from binascii import hexlify

import machine
from micropython import const

BOARD = "rp2"
JOINING = (0, 1, 2, 3)  # WLAN.status(): down, joining, no address yet, address got; failures are negative
HANDSHAKE = ()  # the CYW43 driver says WRONG_PASSWORD itself
_WDT_MAX = const(8388)  # ms: 24 bits of half microseconds (RP2040 datasheet, 4.7.2)
_PM_OFF = const(0xA11140)  # CYW43: no power saving; the driver's own default is 0xA11142


def client_id(prefix="pico-"):
    """A client identifier that no other board has: `prefix` and the 8 bytes of the flash chip's number in hex (21 characters)."""
    return prefix + hexlify(machine.unique_id()).decode()


def temperature():
    """Degrees Celsius inside the chip (float): ADC input CORE_TEMP, 0.706 V at 27 degrees, -1.721 mV a degree."""
    adc = machine.ADC(getattr(machine.ADC, "CORE_TEMP", 4))
    return 27 - (adc.read_u16() * 3.3 / 65535 - 0.706) / 0.001721


def power_saving(wlan, on):
    """Let the radio sleep between beacons (`on`), or keep it awake: answers come up to 200 ms sooner."""
    wlan.config(pm=wlan.PM_PERFORMANCE if on else _PM_OFF)


def radio(wlan):
    """Once after active(True): nothing to do here, the CYW43 driver never joins again by itself."""


def radio_off(wlan):
    """Radio off for sleep: machine.lightsleep() hangs while the CYW43 runs, so the chip is switched off altogether."""
    wlan.active(False)
    wlan.deinit()


def watchdog(ms):
    """Start the watchdog: the chip resets when feed() is not called for `ms` (at most 8388). It cannot be stopped again."""
    return machine.WDT(timeout=min(ms, _WDT_MAX))


def store(kind, name="umqtt5"):
    """Where the session image is kept: "file" (/name) or "none" (None). ValueError for another word: no NVS, no RTC memory."""
    if kind == "none":
        return None
    if kind == "file":
        from umqtt5.store import FileStore

        return FileStore("/" + name)
    raise ValueError("store " + kind)


def woke():
    """Always False: this chip's deepsleep() keeps nothing, use "light"."""
    return False


def sleep(kind, ms, feed=None):
    """Sleep for `ms` ("light"): returns; RAM is kept, the radio must be off. USB is gone meanwhile.

    With a watchdog (`feed` given) in pieces of 2 s: it goes on counting, and 8.3 s is the longest it can wait.
    """
    while ms > 0:
        if feed is not None:
            feed()
        n = min(ms, 2000) if feed is not None else ms
        machine.lightsleep(n)
        ms -= n
    if feed is not None:
        feed()
