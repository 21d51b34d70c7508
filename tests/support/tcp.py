"""A server on a real socket inside the test's own process, served by an asyncio task: for the faces that wait for sockets.

srv = TcpPeer()                      # answers, packets, expect() as support.peer.Server
srv.start()                          # in a running loop; srv.port
srv.send(publish("in", b"1"))        # to the newest connection
srv.stalled = True                   # reads nothing: the client's writes fill the buffers
"""

import asyncio
import os
import socket

from . import packets
from .peer import Server


class TcpPeer(Server):
    """One listener; connections are looked at every 2 ms."""

    stalled = closed = False
    seconds = 0  # how long an answer takes

    def __init__(self, answers=None, session_present=0, connack_props=()):
        super().__init__(answers, session_present, connack_props)
        self.total = 0
        for port in range(24000 + os.urandom(1)[0], 25000):  # MicroPython has no getsockname
            self._l = s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.setsockopt(socket.SOL_SOCKET, 8, 16384)  # SO_RCVBUF: soon full
            try:
                s.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
                s.listen(5)  # fails when another process has bound the port in the same moment
                break
            except OSError:
                s.close()
        self.port = port
        s.setblocking(False)
        self._c = None
        self._b = bytearray()

    def start(self):
        """The task that serves."""
        self.task = asyncio.create_task(self._serve())

    def send(self, *parts):
        """To the client."""
        for part in parts:
            self._c.write(part)

    def cut(self):
        """End the connection."""
        if self._c:
            self._c.close()
            self._c = None

    def stop(self):
        """End everything."""
        self.cut()
        self._l.close()
        self.task.cancel()

    async def _serve(self):
        buf = bytearray(4096)
        while True:
            await asyncio.sleep_ms(2)
            try:
                c = self._l.accept()[0]
                c.setblocking(False)
                self.cut()
                self._c = c
                self._b = bytearray()
                self.total += 1
            except OSError:
                pass
            while self._c and not self.stalled:
                try:
                    n = self._c.readinto(buf)
                except OSError:
                    n = 0
                if n is None:
                    break
                if n == 0:
                    self.cut()
                    break
                self._b.extend(buf[:n])
                whole, rest = packets.split(bytes(self._b))
                self._b = bytearray(rest)
                for raw in whole:
                    p = packets.parse(raw)
                    self.packets.append(p)
                    out = self.answer(p)
                    if self.seconds:
                        await asyncio.sleep_ms(int(self.seconds * 1000))
                    if out and self._c:
                        self._c.write(out)
