"""store: two slots, sequence, checksum; a file cut at any byte, RTC memory and NVS of an ESP32 (fakes)."""

import gc
import sys

from support.t import INTERPRETER, eq, raises, rows, scratch, skip
from umqtt5 import store

INTERPRETERS = ("cpython", "micropython", "wasm32")
TIMEOUT = 180
_n = [0]


def path():
    """A file name nobody has used."""
    _n[0] += 1
    return "%s/s%d" % (scratch(), _n[0])


def image(n, fill=0x41):
    """A session image with n bytes behind its header."""
    return bytearray(b"M\x01\x00\x05\x00\x0a\x01\x02\x03\x04") + bytes((fill + i & 255 for i in range(n)))


def filled(p, *images):
    """The file p after saving these images, as bytes."""
    s = store.FileStore(p)
    s.load(bytearray(64))
    for m in images:
        s.save(m)
    s.close()
    return content(p)


def content(p):
    with open(p, "rb") as f:
        return f.read()


def put(p, data):
    with open(p, "wb") as f:
        f.write(data)


def loaded(p, room=64):
    """(what load() says, the image, error) of the file p."""
    s = store.FileStore(p)
    m = bytearray(room)
    r = s.load(m)
    s.close()
    return r, bytes(m), s.error


def test_nothing_stored_is_no_error():
    eq(loaded(path()), (False, bytes(64), ""))


def test_newest_image_comes_back():
    for n in range(1, 6):
        p = path()
        filled(p, *[image(4 * k, k) for k in range(n)])
        eq(loaded(p), (True, bytes(image(4 * n - 4, n - 1)), ""))


def test_file_has_its_size_from_the_start():
    p = path()
    s = store.FileStore(p)
    s.load(bytearray(100))
    s.close()
    eq(len(content(p)), 220)
    eq(len(filled(p, image(90), image(3), image(0))), 220)


def test_write_cut_at_every_byte_leaves_old_or_new():
    """Old and new file differ in one slot; a write that stopped after k bytes is new[:k] + old[k:]."""
    p = path()
    for first in range(2):
        saves = [image(20, 7), image(31, 90), image(12, 200)][first:]
        old = filled(p, *saves[:-1])
        new = filled(path(), *saves)
        q = path()
        for k in range(len(old) + 1):
            put(q, new[:k] + old[k:])
            ok, m, error = loaded(q)
            assert ok and m in (bytes(saves[-1]), bytes(saves[-2])), k
            s = store.FileStore(q)  # and goes on from there
            s.load(bytearray(64))
            s.save(image(1, 9))
            s.close()
            eq(loaded(q)[1], bytes(image(1, 9)))
        eq(m, bytes(saves[-1]))


def test_making_the_file_cut_at_every_byte():
    p = path()
    whole = filled(p)
    for k in range(len(whole) + 1):
        put(p, whole[:k])
        eq(loaded(p), (False, bytes(64), ""))
        filled(p, image(9))
        eq(loaded(p)[1], bytes(image(9)))


def test_growing_cut_at_every_byte():
    """inflight is larger after an update: the slots grow, whichever of them is newest."""
    for n in (1, 2):
        p = path()
        saves = [image(20, 7), image(31, 90)][:n]
        old = filled(p, *saves)
        s = store.FileStore(p)
        s.load(bytearray(200))
        s.close()
        new = content(p)
        eq(len(new), 420)
        steps = [old[:k] for k in range(len(old), len(old) + 1)]
        if n == 1:  # the newest was in slot 1: it is copied to slot 0 first
            steps = [new[:k] + old[k:] for k in range(75)]
        steps += [new[:k] for k in range(len(old), len(new))]
        for b in steps:
            put(p, b)
            eq(loaded(p, 200)[:2], (True, bytes(saves[-1])))
        eq(loaded(p, 200)[:2], (True, bytes(saves[-1])))
        s = store.FileStore(p)
        s.load(bytearray(200))
        for k in range(3):
            s.save(image(190, k))
            eq(loaded(p, 200)[1], bytes(image(190, k)))


def test_every_flipped_byte_is_seen():
    p = path()
    b = filled(p, image(20), image(21))
    for i in range(len(b)):
        put(p, b[:i] + bytes((b[i] ^ 1 << i % 8,)) + b[i + 1 :])
        ok, m, error = loaded(p)
        assert ok and m in (bytes(image(20)), bytes(image(21))), i
        put(p, b[: i // 2] + bytes((b[i // 2] ^ 128,)) + b[i // 2 + 1 : i] + bytes((b[i] ^ 1,)) + b[i + 1 :])
        ok, m, error = loaded(p)
        assert (m in (bytes(image(20)), bytes(image(21)))) if ok else "refused" in error, i


def test_damage_is_refused_with_words():
    p = path()
    b = filled(p, image(20), image(21))
    half = len(b) // 2
    bad = bytearray(b)
    bad[15] ^= 1
    bad[half + 15] ^= 1
    other = bytearray(b)
    other[1] = other[half + 1] = 2
    table = ((bad, "damaged"), (other, "version"), (b"hello", "not a session"), (b"S", "not a"), (b[:30], "damaged"))
    for data, word in rows(table):
        put(p, data)
        ok, m, error = loaded(p)
        assert not ok and word in error and "refused" in error and p in error, error
        filled(p, image(3))
        eq(loaded(p), (True, bytes(image(3)), ""))


def test_a_file_cut_short_never_gives_a_wrong_image():
    p = path()
    b = filled(p, image(20), image(21), image(22))
    for k in range(len(b)):
        put(p, b[:k])
        ok, m, error = loaded(p)
        assert not ok or m in (bytes(image(21)), bytes(image(22))), k
        assert ok or not k or error or not any(b[:k]), k


def test_sequence_wraps():
    p = path()
    s = store.FileStore(p)
    s.load(bytearray(64))
    for k in range(0x4003):
        s._seq = s._seq if k % 7 or k > 0x3FF0 else k  # not all of them: the file is slow
        s.save(image(2, k & 255)) if k % 97 == 0 or k > 0x3FF0 else None
        if k < 0x3FF0:
            s._seq = k
        elif k > 0x3FF0:
            eq(loaded(p)[1], bytes(image(2, k & 255)))
    s.close()


def test_failed_write_is_repeated_in_the_same_slot():
    p = path()
    s = store.FileStore(p)
    s.load(bytearray(64))
    s.save(image(5, 1))
    real = s._write

    def torn(k, m):
        s._f.seek(k * s._cap)
        s._f.write(bytes(s._h) + bytes(m)[:7])
        s._f.flush()
        raise OSError(28)

    s._write = torn
    raises(OSError, s.save, image(6, 2))
    eq(loaded(p)[1], bytes(image(5, 1)))
    raises(OSError, s.save, image(6, 3))
    eq(loaded(p)[1], bytes(image(5, 1)))
    s._write = real
    s.save(image(6, 4))
    eq(loaded(p)[1], bytes(image(6, 4)))


def test_save_costs_the_checksum_only():
    if INTERPRETER == "cpython":
        skip("no heap to measure")
    s = store.FileStore(path())
    s.load(bytearray(1100))
    m = image(1000)
    for _ in range(3):
        s.save(m)
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(100):
        s.save(m)
    used = (gc.mem_alloc() - before) / 100
    gc.enable()
    assert used <= 32, used


# --- ESP32: RTC memory and NVS


class Machine:
    """Stands for the module `machine`."""

    kept = b""
    room = 2048
    die = None  # bytes copied before the chip resets

    class RTC:
        def memory(self, data=None):
            if data is None:
                return bytes(Machine.kept)
            if len(data) > Machine.room:
                raise ValueError("buffer too long")
            k = len(data) if Machine.die is None else Machine.die
            Machine.kept = bytes(data[:k]) + Machine.kept[k : len(data)]  # copied byte by byte


class Esp32:
    """Stands for the module `esp32`."""

    kept = {}

    class NVS:
        def __init__(self, name):
            self.name = name
            self.new = {}

        def set_blob(self, key, value):
            self.new[key] = bytes(value)

        def get_blob(self, key, buf):
            v = Esp32.kept.get(key)
            if v is None:
                raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
            if len(v) > len(buf):
                raise OSError(-0x110C, "ESP_ERR_NVS_INVALID_LENGTH")
            buf[0 : len(v)] = v
            return len(v)

        def commit(self):
            Esp32.kept.update(self.new)
            self.new = {}


def rtc(room=1000):
    """(store, image) as after a reset."""
    sys.modules["machine"] = Machine
    s = store.RTCStore()
    m = bytearray(room)
    return s, m, s.load(m)


def test_rtc_memory_keeps_the_newest():
    for room in (64, 1000, 1013, 1014, 2000, 2037):
        Machine.kept = b""
        Machine.die = None
        s, m, ok = rtc(room)
        eq((ok, s.error), (False, ""))
        for n in range(5):
            s.save(image(room - 10 - n, n))
            t, m, ok = rtc(room)
            eq((ok, bytes(m)), (True, bytes(image(room - 10 - n, n))))
        t.save(image(3))
        eq(bytes(rtc(room)[1]), bytes(image(3)))
    raises(ValueError, rtc, 2038)


def test_rtc_memory_cut_at_every_byte():
    """Two slots: old or new. One slot: old, new or refused in words."""
    for room in (100, 1200):
        Machine.kept = b""
        Machine.die = None
        s, m, ok = rtc(room)
        s.save(image(20, 1))
        s.save(image(20, 2))
        before = Machine.kept
        for k in range(0, len(before), 1 if room == 100 else 41):
            Machine.kept = before
            Machine.die = None
            s, m, ok = rtc(room)
            Machine.die = k
            s.save(image(20, 3))
            s, m, ok = rtc(room)
            if room == 100:
                assert ok and bytes(m) in (bytes(image(20, 2)), bytes(image(20, 3))), k
            else:
                assert bytes(m) in (bytes(image(20, 2)), bytes(image(20, 3))) if ok else "refused" in s.error, k
    Machine.die = None


def test_rtc_memory_used_by_others_is_refused():
    for data in rows((b"hello", b"S" * 50, bytes(2048), bytes((255,)) * 2048, b"\0", b"\1")):
        Machine.kept = data
        s, m, ok = rtc(200)
        assert not ok and (s.error or not any(data[:-1])), data[:9]
        s.save(image(4))
        eq(bytes(rtc(200)[1]), bytes(image(4)))


def test_nvs_keeps_the_newest():
    sys.modules["esp32"] = Esp32
    Esp32.kept.clear()
    for n in range(6):
        s = store.NVSStore("t")
        m = bytearray(300)
        ok = s.load(m)
        eq((ok, s.error), (n > 0, ""))
        if n:
            eq(bytes(m), bytes(image(100 + n, n)))
        s.save(image(101 + n, n + 1))
    for key in "ab":
        b = Esp32.kept[key]
        Esp32.kept[key] = b[:40] + b"!" + b[41:]
    eq(s.load(bytearray(300)), False)
    assert "refused (damaged)" in s.error, s.error
    Esp32.kept["a"] = bytes(5000)
    eq(s.load(bytearray(300)), False)
    assert "refused" in s.error


def test_nvs_and_rtc_save_cost_the_checksum_only():
    if INTERPRETER == "cpython":
        skip("no heap to measure")
    sys.modules["machine"] = sys.modules["esp32"] = Quiet
    for cls in (store.RTCStore, store.NVSStore):
        s = cls()
        s.load(bytearray(500))
        m = image(400)
        s.save(m)
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        for _ in range(100):
            s.save(m)
        used = (gc.mem_alloc() - before) / 100
        gc.enable()
        assert used <= 32, (cls, used)


class Quiet:
    """RTC memory and NVS that keep nothing."""

    def __init__(self, name=""):
        pass

    def memory(self, data=None):
        return b""

    def get_blob(self, key, buf):
        return 0

    def set_blob(self, key, value):
        pass

    def commit(self):
        pass


Quiet.RTC = Quiet.NVS = Quiet
