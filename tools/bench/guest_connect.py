"""On MicroPython: bytes of heap that connect() takes, the first one with the modules that it loads, and each later one.

A program of its own: one more name in guest_cost.py can move the place of another in the interpreter's tables, and so its fuel.
"""

import gc

import micropython
import operations

from umqtt5 import MQTTClient

gc.disable()
total = getattr(micropython, "mem_total", gc.mem_alloc)
s = operations.Socket()
c = MQTTClient("bench", "peer", transport=lambda c: s)
for what in ("first", "second", "again"):
    s.rx.write(operations.CONNACK)
    n = total()
    c.connect()
    print("= %s | %d" % (what, total() - n))
    c.close(0)
    s.empty()
