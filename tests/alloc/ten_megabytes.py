"""10 MB out and in on a heap of 64 KB: run by test_small_heap.py. The server is an object that holds no more than a buffer."""

import gc
import sys

from umqtt5 import MQTTClient

_TEN = 10 * 1024 * 1024


class Server:
    """Answers CONNECT and the end of a large PUBLISH; `left` bytes of a payload come in after `next`."""

    def __init__(self):
        self.next = None
        self.left = self.out = self.expected = self.acked = self.wrong = 0
        self.buf = bytes(256)

    def __call__(self, client):
        return self

    def write(self, b, off, n):
        if self.expected:
            for i in range(3):  # the first bytes of each piece; all of them would take minutes
                if n > i and b[off + i] != (self.out + i) * 7 & 255:
                    self.wrong += 1
            self.out += n
            self.expected -= n
            if not self.expected:
                self.next = self.ack
        elif b[off] == 0x10:
            self.next = b"\x20\x03\x00\x00\x00"
        elif b[off] == 0x32:
            i = off + 1
            rl = shift = 0
            while True:
                rl |= (b[i] & 127) << shift
                shift += 7
                i += 1
                if b[i - 1] < 128:
                    break
            head = 5 + (b[i] << 8 | b[i + 1])
            self.out = off + n - i - head
            self.expected = rl - head - self.out
            self.ack = b"\x40\x02" + bytes(b[i + head - 3 : i + head - 1])
        elif b[off] == 0x40:
            self.acked += 1
        return n

    def readinto(self, b):
        if self.next is not None:
            k = len(self.next)
            b[0:k] = self.next
            self.next = None
            return k
        k = min(len(b), 256, self.left)
        self.left -= k
        return k or None

    def close(self):
        pass


class Reader:
    """As a file of 10 MB: byte n is 7 n."""

    at = 0

    def readinto(self, b):
        k = len(b)
        for i in range(min(k, 3)):
            b[i] = (self.at + i) * 7 & 255
        self.at += k
        return k


def load(*names):
    """Modules at a moment when the heap is tidy, as a board's program does it."""
    for name in names:
        gc.collect()
        __import__("umqtt5." + name)
    gc.collect()


def used():
    gc.collect()
    return gc.mem_alloc() if sys.implementation.name == "micropython" else 0


load("setup")
w = Server()
c = MQTTClient("c", "peer", transport=w, lean=True)
c.connect()


def out():
    """With publish_from()."""
    load("slow", "publication")
    c.publish_from("warm/up", Reader(), 300, False, 1)
    c.wait()
    a = used()
    w.out = 0
    pid = c.publish_from("ota/up", Reader(), _TEN, False, 1)
    c.wait(pid)
    print("out", w.out, w.wrong, used() - a)


def back():
    """To on_chunk."""
    load("subs", "chunks")
    state = [0, 0]

    def on_chunk(m, offset, total):
        if offset != state[0]:
            state[1] += 1
        state[0] = offset + m.payload_len()

    c.on_chunk = on_chunk
    receive(state, b"\x32\xee\x07\0\1t\0\x09\0", 1000)
    a = used()
    receive(state, b"\x32\x86\x80\x80\x05\0\1t\0\x09\0", _TEN)
    print("in", state[0], state[1], w.acked, used() - a)


def receive(state, head, size):
    state[0] = 0
    w.next = head
    c.poll()
    w.left = size
    while w.left:
        c.poll()
    while c.poll():
        pass
