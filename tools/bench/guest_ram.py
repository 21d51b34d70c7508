"""On MicroPython: bytes of heap in use, after a collection, when the program is at the point named by the argument.

The collection is the very last thing before the figure is read: on 32-bit WebAssembly the heap must not be used after one.
Arguments: POINT CLIENTS. The caller takes the difference between points, and between one client and two (= its own objects).
"""

import gc
import sys

gc.disable()
import operations  # noqa: E402

socks = [operations.Socket(), operations.Socket()]
alive = []


def publishing(sock, **options):
    c = operations.client(sock, **options)
    c.publish(operations.TOPIC, operations.PAYLOAD)
    acks = operations.Acks(sock)
    acks.pid = c.publish(operations.TOPIC, operations.PAYLOAD, False, 1)
    acks.put(0x40)
    c.check_msg()
    c.ping()
    sock.rx.write(operations.PONG)
    c.check_msg()
    alive.append((c, acks))
    return c


def typical(sock):
    c = publishing(sock)
    from umqtt5 import subs

    n = subs.subscribe_start(c, [(operations.TOPIC, 1)])
    sock.rx.write(bytes((0x90, 4, n >> 8, n & 255, 0, 1)))
    c.on_message = on
    acks = alive[-1][1]
    c.check_msg()
    for p in (operations.IN0, operations.IN1, operations.IN2):
        sock.rx.write(p)
        c.check_msg()
    acks.pid = 1
    acks.put(0x62)
    c.check_msg()
    acks.pid = c.publish(operations.TOPIC, operations.PAYLOAD, False, 2)
    for first in (0x50, 0x70):
        acks.put(first)
        c.check_msg()
    return c


def on(message):
    message.is_topic(operations.TOPIC)


def main(point, clients, *modules):
    for i in range(clients):
        if point == "import":
            from umqtt5 import MQTTClient  # noqa: F401
        elif point == "construct":
            from umqtt5 import MQTTClient

            alive.append(MQTTClient("bench", "peer", transport=len))
        elif point == "publishing":
            publishing(socks[i])
        elif point == "lean":
            publishing(socks[i], lean=True)
        elif point == "typical":
            typical(socks[i])
        elif point == "modules":
            for m in modules:
                __import__(m)
    for s in socks:
        s.empty()


if "umqtt.simple" in sys.argv or "umqtt.robust" in sys.argv:
    import binascii
    import struct
    import time

    for n, m in (("usocket", sys), ("ustruct", struct), ("ubinascii", binascii), ("utime", time)):
        sys.modules[n] = m
elif len(sys.argv) > 3:  # what a board has built in
    for n in ("socket", "ssl", "select", "asyncio"):
        if n not in sys.modules:
            sys.modules[n] = operations
main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
gc.collect()
print("=", gc.mem_alloc())
