"""The asyncio face against mosquitto, on CPython and MicroPython: over TCP and WebSocket, with aliases, and lean."""

import os
import subprocess
import sys

import pytest

from support import brokers, mpy

PROGRAM = """
import sys
from umqtt5.aio import MQTTClient
if sys.argv[2] == "ws":
    from umqtt5 import ws
import asyncio
OPTIONS = {"ws": {}, "tcp": {}, "lean": {"lean": True}, "alias": {"topic_alias_maximum": 5}}

async def publish(c):
    for i in range(100):
        await c.publish("a/%d" % (i % 3), "%d" % i + "x" * i, qos=i % 3)

async def main(port, kind):
    k = OPTIONS[kind]
    if kind == "ws":
        k["transport"] = ws.client()
    got = []
    async with MQTTClient("", "127.0.0.1", port, rx=600, inflight=1000, **k) as c:
        box = c.messages()
        assert await c.subscribe("a/#", 2) == b"\\2"
        task = asyncio.create_task(publish(c))
        async for m in box:
            got.append(int(bytes(m.payload()).replace(b"x", b"")))
            if len(got) == 100:
                break
        await task
        await c.wait()
    assert sorted(got) == list(range(100)), got
    await c.connect()
    await c.disconnect()
    print("done")

asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
"""


@pytest.mark.parametrize("kind", ["tcp", "ws", "lean", "alias"])
def test_hundred_messages_there_and_back(kind, interpreter, mosquitto, tmp_path):
    b = mosquitto(ws=True)
    brokers.wait_port(b.ws_port)
    (tmp_path / "x.py").write_text(PROGRAM)
    args = [str(tmp_path / "x.py"), str(b.ws_port if kind == "ws" else b.port), kind]
    if interpreter == "micropython":
        done = mpy.run(args, heap="256k")
    else:
        env = dict(os.environ, PYTHONPATH=str(mpy.ROOT))
        done = subprocess.run([sys.executable] + args, capture_output=True, text=True, timeout=120, env=env)
    assert done.stdout == "done\n", done
