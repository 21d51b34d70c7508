"""100,000 mixed operations on a heap of 64 KB (on 64-bit, where everything takes twice as much): run by test_small_heap.py."""

import gc

from umqtt5 import MQTTClient


class Server:
    """Acknowledges at once, without holding anything."""

    def __init__(self):
        self.next = b"\x20\x03\x00\x00\x00"
        self.ack = bytearray(4)

    def __call__(self, client):
        return self

    def write(self, b, off, n):
        first = b[off]
        if first & 0xF6 == 0x32 or first & 0xF6 == 0x34:
            i = off + 4 + (b[off + 2] << 8 | b[off + 3])
            self.ack[0] = 0x40 if first & 2 else 0x50
            self.ack[1] = 2
            self.ack[2] = b[i]
            self.ack[3] = b[i + 1]
            self.next = self.ack
        elif first == 0x62:
            self.ack[0] = 0x70
            self.ack[2] = b[off + 2]
            self.ack[3] = b[off + 3]
            self.next = self.ack
        elif first == 0xC0:
            self.next = b"\xd0\x00"
        return n

    def readinto(self, b):
        k = self.next
        if k is None:
            return None
        self.next = None
        b[0 : len(k)] = k
        return len(k)

    def close(self):
        pass


gc.collect()
__import__("umqtt5.setup")
gc.collect()
w = Server()
c = MQTTClient("c", "peer", transport=w, topic_alias_maximum=2, lean=True)
c.connect()
gc.collect()
__import__("umqtt5.subs")
gc.collect()
__import__("umqtt5.qos2")
__import__("umqtt5.alias")
gc.collect()
got = [0]


def on_message(m):
    got[0] += m.int()


c.on_message = on_message
incoming = (
    b"\x30\x05\x00\x01a\x001",
    b"\x32\x07\x00\x01a\x00\x05\x001",
    b"\x34\x07\x00\x01a\x00\x06\x001",
    b"\x62\x02\x00\x06",
    b"\x30\x08\x00\x01b\x03\x23\x00\x011",
    b"\x30\x07\x00\x00\x03\x23\x00\x011",
)
use = []
done = 0
for i in range(10001):
    c.publish(b"a", b"1")
    c.publish(b"b", b"22", False, 1)
    c.poll()
    c.publish(b"b", b"22", False, 2)
    c.poll()
    c.poll()
    c.publish(b"a", b"1234")
    c.ping()
    c.poll()
    w.next = incoming[i % 6]
    c.poll()
    w.next = None
    c.poll()
    done += 10
    if not i % 2000:
        gc.collect()
        use.append(gc.mem_alloc())
print("done", done, got[0], c.pending(), max(use[1:]) - min(use[1:]))
