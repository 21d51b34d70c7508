"""The stores that only an ESP32 has: RTC memory and NVS. Get them from store.py: `store.RTCStore()`, `store.NVSStore("name")`.

What belongs here: where the slots lie in these two. What does not: slots and checksums (store.py). Imports store; machine, esp32.
"""
from micropython import const

from .store import FileStore

_H = const(10)  # bytes before the image
_RTC = const(2048)  # bytes of RTC memory
_MISSING = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND


class RTCStore(FileStore):
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
        if b and not k:
            self._slots = 1 if b[-1] == 1 else 2  # the last byte: how many slots
        n = (len(b) - 1) // self._slots
        return b[k * n : k * n + n]

    def _room(self, n, best):
        if n >= _RTC:
            raise ValueError("RTCStore: %d bytes, the RTC memory has %d" % (n + 1, _RTC))
        self._slots = k = 2 if 2 * n < _RTC else 1
        self._b = b = bytearray(k * n + 1)
        b[-1] = k
        m = (self._m).memory()
        if len(m) == len(b) and m[-1] == k:
            b[:] = m

    def _write(self, k, image):
        b = self._b
        k *= (len(b) - 1) // self._slots
        b[k : k + _H] = self._h
        k += _H
        b[k : k + len(image)] = image
        (self._m).memory(b)


class NVSStore(FileStore):
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
            return b[: (self._m).get_blob("ab"[k], b)]
        except OSError as e:
            return b"" if e.args[0] == _MISSING else b"?"

    def _room(self, n, best):
        self._b = bytearray(n)

    def _write(self, k, image):
        b = self._b
        b[0:_H] = self._h
        b[_H:] = image
        (self._m).set_blob("ab"[k], b)
        (self._m).commit()
