"""QoS 1 messages a second over TCP on this machine: wall-clock figures, printed and not gated.

What belongs here: a server that acknowledges and does nothing else, with a delay where a round trip is wanted. What does not:
figures that are the same on every machine (measure.py).
"""

import asyncio
import os
import subprocess

from support import mpy

RTT = 0.020


class Acknowledge(asyncio.Protocol):
    """MQTT 3.1.1 and 5: CONNACK and PUBACK, each after `delay` seconds; `window` is its Receive Maximum."""

    def __init__(self, delay, window):
        self.delay = delay
        self.window = window
        self.data = bytearray()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        b = self.data
        while len(b) > 1:
            n, k, i = 0, 0, 1
            while i < len(b):
                n |= (b[i] & 127) << k
                k += 7
                i += 1
                if b[i - 1] < 128:
                    break
            else:
                return
            if len(b) < i + n:
                return
            self.packet(b[0], bytes(b[i : i + n]))
            del b[: i + n]

    def packet(self, first, body):
        if first >> 4 == 1:
            self.answer(b"\x20\x06\0\0\3\x21" + self.window.to_bytes(2, "big") if body[6] == 5 else b"\x20\2\0\0")
        elif first >> 4 == 3 and first & 6:
            i = 2 + (body[0] << 8 | body[1])
            self.answer(b"\x40\2" + body[i : i + 2])

    def answer(self, data):
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, data)
        else:
            self.transport.write(data)


async def rate(target, lib, count, delay=0, window=65535):
    """Messages a second of one run."""
    server = await asyncio.get_running_loop().create_server(lambda: Acknowledge(delay, window), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    env = dict(os.environ, MICROPYPATH=str(target))
    p = await asyncio.create_subprocess_exec(
        *mpy.command("2m"),
        str(target / "guest_rate.py"),
        lib,
        str(port),
        str(count),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )
    out, err = await asyncio.wait_for(p.communicate(), 120)
    server.close()
    for line in out.decode().splitlines():
        if line.startswith("= "):
            return float(line[2:])
    raise RuntimeError("throughput of %s: %s" % (lib, (out + err).decode()))


def all_rates(target):
    """[(what, library, messages a second)]."""

    async def go():
        rows = [("loopback", "umqtt5", await rate(target, "umqtt5", 5000))]
        if (target / "umqtt").exists():
            rows.append(("loopback", "umqtt.simple", await rate(target, "umqtt.simple", 60)))
        rows.append(("loopback, window 1", "umqtt5", await rate(target, "umqtt5", 2000, window=1)))
        for window, n in ((1, 60), (20, 1000)):
            rows.append(("round trip of 20 ms, window %d" % window, "umqtt5", await rate(target, "umqtt5", n, RTT, window)))
        if (target / "umqtt").exists():
            rows.append(("round trip of 20 ms", "umqtt.simple", await rate(target, "umqtt.simple", 30, RTT)))
        return rows

    return asyncio.run(go())
