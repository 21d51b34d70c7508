"""On MicroPython (unix): QoS 1 messages a second against the server of throughput.py. Arguments: LIBRARY PORT COUNT."""

import sys
import time

TOPIC = b"sensors/node1/temp"
PAYLOAD = bytes(32)


def main(lib, port, n):
    if lib == "umqtt5":
        from umqtt5 import MQTTClient

        c = MQTTClient("bench", "127.0.0.1", port, inflight=4096)
    else:
        for name, m in (("usocket", "socket"), ("ustruct", "struct"), ("ubinascii", "binascii")):
            sys.modules[name] = __import__(m)
        from umqtt.simple import MQTTClient

        c = MQTTClient("bench", "127.0.0.1", port)
    c.connect()
    t = time.ticks_us()
    for _ in range(n):
        if lib == "umqtt5":
            while c._flight >= c._rmax or len(c.image) > 3900:
                c.poll(1000)
        c.publish(TOPIC, PAYLOAD, False, 1)
    if lib == "umqtt5":
        c.wait()
    print("= %.1f" % (n * 1e6 / time.ticks_diff(time.ticks_us(), t)))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
