"""A connection in memory that allocates nothing itself, for tests that count the bytes an operation takes from the heap.

w = Wire0()
c = MQTTClient("c", "peer", transport=w)
w.next = connack; c.connect()
w.next = packet        # whole packet (bytes-like), given to the client by its next read
measure(f)             # (bytes by gc.mem_alloc, by micropython.mem_total, "" or what heap_lock said) of 1,000 calls of f()
"""

import gc

import micropython


class Wire0:
    """write(), readinto(), close(); `next` is what the next read finds; `takes` bounds a write, `single` gives byte by byte."""

    def __init__(self):
        self.next = None
        self.takes = 1000000
        self.single = False
        self.at = 0
        self.count = 0  # bytes written

    def __call__(self, client):
        return self

    def write(self, buf, off, n):
        if n > self.takes:
            n = self.takes
        self.count += n
        return n

    def readinto(self, buf):
        b = self.next
        if b is None:
            return None
        if self.single:
            buf[0] = b[self.at]
            self.at += 1
            if self.at == len(b):
                self.at = 0
                self.next = None
            return 1
        self.next = None
        buf[0 : len(b)] = b
        return len(b)

    def close(self):
        pass


def measure(f, n=1000):
    """See above. Ten calls come first: modules are loaded and caches filled then."""
    i = 0
    while i < 10:
        f()
        i += 1
    gc.collect()
    gc.disable()
    said = ""
    micropython.heap_lock()
    try:
        i = 0
        while i < 100:
            f()
            i += 1
    except MemoryError:
        said = "MemoryError"
    finally:
        micropython.heap_unlock()
    total = micropython.mem_total()
    total = micropython.mem_total() - total  # what asking costs
    a = gc.mem_alloc()
    t = micropython.mem_total()
    i = 0
    while i < n:
        f()
        i += 1
    t = micropython.mem_total() - t - total
    a = gc.mem_alloc() - a
    gc.enable()
    return a, t, said
