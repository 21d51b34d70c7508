"""100,000 mixed operations on a small heap: it does not grow, and the collector never has to run."""

import sys
from pathlib import Path

from support import mpy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tools" / "bench"))

import measure  # noqa: E402

PROGRAM = """
import gc
import operations as o
s = o.Socket()
c = o.client(s, inflight=512, rx=256, tx=128)
from umqtt5 import subs
n = subs.subscribe_start(c, [(o.TOPIC, 1)])
s.rx.write(bytes((0x90, 4, n >> 8, n & 255, 0, 1)))
c.check_msg()
seen = [0]
def on(m):
    seen[0] += m.is_topic(o.TOPIC)
c.on_message = on
a = o.Acks(s)
def mixed():
    c.publish(o.TOPIC, o.PAYLOAD)
    c.publish(o.OTHER, o.PAYLOAD)
    a.pid = c.publish(o.TOPIC, o.PAYLOAD, False, 1)
    a.put(0x40)
    c.check_msg()
    a.pid = c.publish(o.TOPIC, o.PAYLOAD, False, 2)
    a.put(0x50)
    c.check_msg()
    a.put(0x70)
    c.check_msg()
    s.rx.write(o.IN0)
    c.check_msg()
    s.rx.write(o.IN1)
    c.check_msg()
    s.rx.write(o.IN2)
    c.check_msg()
    a.pid = 1
    a.put(0x62)
    c.check_msg()
    c.ping()
    s.rx.write(o.PONG)
    c.check_msg()
    s.empty()
for _ in range(10):
    mixed()
gc.collect()
gc.disable()
before = gc.mem_alloc()
i = 0
while i < 12500:  # 8 operations each
    mixed()
    i += 1
print(gc.mem_alloc() - before, seen[0] > 37000)
"""


def test_a_hundred_thousand_operations_on_a_small_heap():
    # 96 KB of 64-bit words: about what 64 KB are on a board
    r = mpy.run(PROGRAM, heap="96k", path=[measure.tree(False)], timeout=120)
    assert r.code == 0 and r.stdout.split() == ["0", "True"], r.stdout + r.stderr
