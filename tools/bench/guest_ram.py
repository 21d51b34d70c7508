"""On MicroPython: bytes of heap in use, after a collection, when the program is at the point named by the argument.

Arguments: POINT CLIENTS ["PACKAGE MODULE ..." COUNT]. The caller takes the difference between points, and between one client and
two (= its own objects). A program as small as a user's, with few names of its own: the interpreter's table of names doubles at
each step, by up to 1,100 bytes, and whose name is the one too many is chance. Hence nothing of operations.py here.

The collection is the very last thing before the figure is read: on 32-bit WebAssembly the heap must not be used after one.
"""

import gc
import sys

from micropython import RingIO

gc.disable()
T = b"sensors/node1/temp"
P = bytes(32)
ANNOUNCED = b"\x22\0\x0a\x21\0\x14"  # what mosquitto puts into its CONNACK: Topic Alias Maximum, Receive Maximum
alive = []


class Peer:
    """Two RingIO: what the server sent, what the client wrote."""

    def __init__(self):
        self.rx = RingIO(1024)
        self.tx = RingIO(1024)
        self.write = self.tx.write
        self.readinto = self.rx.readinto

    def close(self):
        pass

    def setblocking(self, flag):
        pass


peers = [Peer(), Peer()]  # they stay, however many clients there are


def packet(s, first, body):
    s.rx.write(bytes((first, len(body))) + body)


def ack(s, first, n):
    packet(s, first, bytes((n >> 8, n & 255)))


def publishing(s, given=b"", **options):
    from umqtt5 import MQTTClient

    c = MQTTClient("bench", "peer", transport=lambda c: s, **options)
    packet(s, 0x20, b"\0\0" + bytes((len(given),)) + given)
    c.connect()
    c.publish(T, P)
    ack(s, 0x40, c.publish(T, P, False, 1))
    c.check_msg()
    c.ping()
    packet(s, 0xD0, b"")
    c.check_msg()
    alive.append(c)
    return c


def typical(s):
    c = publishing(s)
    from umqtt5 import subs

    n = subs.subscribe_start(c, [(T, 1)])
    packet(s, 0x90, bytes((n >> 8, n & 255, 0, 1)))
    c.on_message = on
    c.check_msg()
    for n in (0x30, 0x32, 0x34):
        packet(s, n, b"\0\x12" + T + (b"\0\1\0" if n > 0x30 else b"\0") + P)
        c.check_msg()
    ack(s, 0x62, 1)
    c.check_msg()
    n = c.publish(T, P, False, 2)
    for k in (0x50, 0x70):
        ack(s, k, n)
        c.check_msg()


def on(message):
    message.is_topic(T)


def main(point, clients, modules="", count=0):
    modules = modules.split()
    if modules and modules[0] == "umqtt":
        import binascii
        import struct
        import time

        for n, m in (("usocket", sys), ("ustruct", struct), ("ubinascii", binascii), ("utime", time)):
            sys.modules[n] = m
    elif modules:  # what a board has built in
        me = sys.modules[__name__]
        me.core = me
        me.TaskQueue = Peer
        for n in ("socket", "ssl", "select", "asyncio"):
            if n not in sys.modules:
                sys.modules[n] = me
    for n in range(int(clients)):
        s = peers[n]
        if point == "import":
            from umqtt5 import MQTTClient  # noqa: F401
        elif point == "construct":
            from umqtt5 import MQTTClient

            alive.append(MQTTClient("bench", "peer", transport=len))
        elif point == "publishing":
            publishing(s)
        elif point == "lean":
            publishing(s, lean=True)
        elif point == "announced":
            publishing(s, ANNOUNCED)
        elif point == "announced, lean":
            publishing(s, ANNOUNCED, lean=True)
        elif point == "typical":
            typical(s)
    for n in modules[: int(count)]:
        __import__(n if n == modules[0] else modules[0] + "." + n)
    for s in peers:
        while s.tx.any():
            s.tx.read(99)


main(*sys.argv[1:])
gc.collect()
print("=", gc.mem_alloc())
