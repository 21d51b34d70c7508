"""The stores that only an ESP32 has: RTC memory and NVS. Get them from store.py: `store.RTCStore()`, `store.NVSStore("name")`.

What belongs here: where the slots lie in these two. What does not: slots and checksums (store.py). Imports store; machine, esp32.
"""
from micropython import const

from .store import Store

_H = const(10)  # bytes before the image
_RTC = const(2048)  # bytes of RTC memory
_MISSING = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND


class RTCStore(Store):
    """Session image in the RTC memory of an ESP32: survives reset and deep sleep, not power loss; costs no flash.

    Two slots while they fit (inflight up to 1013), else one: then a reset within the microseconds of a save leaves neither, which
    load() notices. Keeps a buffer of both slots in RAM.
    """

    where = "RTC memory"

    def __init__(self):
        from machine import RTC

        self._m = RTC()

    def _read(self, k):
        b = (self._m).memory()
        n = len(b)
        if k == 0 and n:
            self._slots = 1 if b[n - 1] == 1 else 2  # the last byte: how many slots
        n = (n - 1) // self._slots
        return b[k * n : k * n + n]

    def _room(self, n):
        self._slots = 2 if 2 * n < _RTC else 1
        if n >= _RTC:
            raise ValueError("RTCStore: %d bytes, the RTC memory has %d" % (n + 1, _RTC))
        self._b = bytearray(self._slots * n + 1)
        b = (self._m).memory()
        if len(b) == len(self._b) and b[-1] == self._slots:
            self._b[:] = b
        self._b[-1] = self._slots

    def _write(self, k, image):
        b = self._b
        k *= (len(b) - 1) // self._slots
        b[k : k + _H] = self._h
        k += _H
        b[k : k + len(image)] = image
        (self._m).memory(b)


class NVSStore(Store):
    """Session image in the NVS of an ESP32, two blobs in the namespace `name` (at most 15 characters). Survives power loss.

    NVS spreads the writes over its pages (24 KB by default: an image of 1 KB comes to the same page every 20 saves or so). Keeps
    a buffer of one slot in RAM.
    """

    def __init__(self, name="umqtt5"):
        from esp32 import NVS

        self.where = "NVS " + name
        self._m = NVS(name)

    def _read(self, k):
        b = bytearray(4096)
        try:
            n = (self._m).get_blob("ab"[k], b)
        except OSError as e:
            if e.args[0] == _MISSING:
                return b""
            return b"?"
        return bytes(memoryview(b)[:n])

    def _room(self, n):
        self._b = bytearray(n)

    def _write(self, k, image):
        b = self._b
        b[0:_H] = self._h
        b[_H:] = image
        (self._m).set_blob("b" if k else "a", b)
        (self._m).commit()
