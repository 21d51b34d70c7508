"""Stores: keep the session image where it survives a reset, deep sleep or power loss.

What belongs here: two slots, sequence number, checksum; the file. What does not: what the image means (core.py); RTCStore and
NVSStore of the ESP32 (store_esp32.py, loaded when asked for here). Imports binascii, struct; lazily os. Any object with the
same `load` and `save` is a store.

A slot:   'S'   layout (1)   sequence (2)   length (2)   crc32 (4)   image
          The crc32 starts from sequence and length, so it covers them too. The sequence (14 bits) counts saves; its lowest bit is
          the slot. A save goes over the older of the two: a cut at any byte of it leaves the newer one.

Flash writes, one save each:   QoS 1: 2 a message (published, acknowledged)         QoS 2: 3 (published, PUBREC, PUBCOMP)
                               queued while there is no connection: 1 more, when it is sent
                               received, QoS 1: 0      QoS 2: 2 (identifier seen, released)      a connection: 1
With write_ahead=False the client saves nothing by itself: call store.save(client.image) before a deep sleep.
"""

import binascii
import struct

from micropython import const

_H = const(10)  # bytes before the image
_SEQ = const(0x3FFF)


class FileStore:
    """Session image in the file `path`, with room for both slots from the start and kept open; close() at the end.

    Power loss: littlefs (the default of both boards) keeps either state by itself; on FAT give slot=4096, so that the slots share
    no erase block. Where the system has os.fsync it is called on each save. Raises OSError.
    """

    # Another medium has its own __init__ and these, with slots numbered from 0: `_read(k)` -> bytes of slot k; `_room(n, best)`
    # makes slots of n bytes, best: the image that was read; `_write(k, image)` puts the header `_h` and the image there.

    _slots = 2
    _seq = 0
    error = ""  # why load() refused what is stored: text for people, "" when nothing was stored or all is well

    def __init__(self, path, slot=0):
        self.where = path
        self.slot = slot
        try:
            self._f = open(path, "r+b")
        except OSError:
            self._f = open(path, "w+b")
        self._cap = self._f.seek(0, 2) + 1 >> 1
        import os

        self._sync = getattr(os, "fsync", None)

    def load(self, image):
        """Fill `image` (a bytearray, its length is the room there is) with the newest whole one that is stored.

        Returns True, or False: nothing there, or nothing that is whole and of this layout; `error` tells then. Allocates the
        size of the slots for a moment, and the store's own buffer. Raises OSError (medium), ValueError (image too large for it).
        """
        self._h = bytearray(_H)
        best = self.error = ""
        for k in range(self._slots):
            b = self._read(k)
            if any(b):
                n = 0
                if len(b) >= _H:
                    magic, q, n, crc = struct.unpack_from(">HHHI", b)
                b = b[_H : _H + n]
                e = "damaged"
                if not n or magic != 0x5301:
                    e = "not a session image, or one of another version"
                elif len(b) == n and q % self._slots == k and binascii.crc32(b, q << 16 | n) == crc:
                    if not best or q - self._seq & _SEQ < 0x2000:
                        best = b
                        self._seq = q
                    continue
                if not self.error:
                    self.error = "stored session in %s is refused (%s): a new one is started" % (self.where, e)
        self._room(max(len(image), len(best)) + _H, best)
        if not best:
            return False
        self.error = ""
        image[:] = best
        return True

    def save(self, image):
        """Write the image over the older slot: one write of the medium. Allocates 32 B (the checksum). Raises OSError."""
        q = self._seq + 1 & _SEQ
        n = len(image)
        struct.pack_into(">HHHI", self._h, 0, 0x5301, q, n, binascii.crc32(image, q << 16 | n))
        self._write(q % self._slots, image)
        self._seq = q

    def _read(self, k):
        self._f.seek(k * self._cap)
        return self._f.read(self._cap)

    def _room(self, n, best):
        # Slot 0 does not move; so the newest image goes there first, and slot 1 is lost.
        n = max(n, self.slot)
        if n > self._cap:
            if best and self._seq & 1:
                self.save(best)
            f = self._f
            f.seek(0, 2)
            f.write(bytes(2 * n - f.tell()))
            f.flush()
            self._cap = n

    def _write(self, k, image):
        if len(image) + _H > self._cap:
            raise ValueError("FileStore: load() first, with room for the longest image")
        f = self._f
        f.seek(k * self._cap)
        f.write(self._h)
        f.write(image)
        f.flush()
        if self._sync:
            (self._sync)(f.fileno())

    def close(self):
        self._f.close()


def __getattr__(name):
    if "Store" not in name:
        raise AttributeError(name)
    from . import store_esp32

    return getattr(store_esp32, name)
