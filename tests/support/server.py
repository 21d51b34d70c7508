"""Host only: a scripted MQTT server on a free loopback port, for clients in other processes (tools/agent.py).

with TcpServer() as s:                          # answers as peer.Server does; s.answers, s.session_present, ... as there
    agent.do("connect", port=s.port)
    s.expect(CONNECT, client_id="x")            # waits for the next packet, at most s.timeout seconds
    s.send(publish("t", b"x"))                  # to the newest connection
    s.send(packet, split=1, pause=0.001)        # byte by byte
    s.nothing(0.2)                              # nothing else arrives for that long
    s.close()  s.reset()  s.wait_closed()       # we end it; the client ended it
    s.record                                    # [(seconds, connection number, "in"/"out"/"open"/"closed", bytes)]
"""

import socket
import struct
import threading
import time

from . import packets
from .packets import DISCONNECT
from .peer import Server

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0


class TcpServer(Server):
    """tls: an ssl.SSLContext of the server side. raw: True answers nothing and parses nothing, `received` has the bytes."""

    timeout = 60  # seconds: how long a failure takes

    def __init__(self, answers=None, session_present=0, connack_props=(), tls=None, raw=False):
        super().__init__(answers, session_present, connack_props)
        self.tls = tls
        self.raw = raw
        self.record = []
        self.received = b""  # of all connections
        self.errors = []  # what the client may not send: raised by the next call of the test
        self.connections = []
        self.changed = threading.Condition(threading.RLock())
        self._start = time.monotonic()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._listener.settimeout(0.5)  # where shutdown() does not wake accept()
        self._stopped = False
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        """Close everything; a later connection is refused."""
        self._stopped = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        except OSError:
            pass
        self._acceptor.join(5)  # or it may accept once more by a number that belongs to the next listener
        self._listener.close()
        for c in self.connections:
            c.end()

    def _accept(self):
        while not self._stopped:
            try:
                s, _ = self._listener.accept()
            except socket.timeout:
                continue
            except OSError:
                return
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                try:
                    s = self.tls.wrap_socket(s, server_side=True)
                except OSError as e:
                    self._note(len(self.connections), "tls", repr(e).encode())
                    s.close()
                    continue
            with self.changed:
                c = _Connection(self, s, len(self.connections))
                self.connections.append(c)
                self._note(c.number, "open", b"")
            threading.Thread(target=c.serve, daemon=True).start()

    def _note(self, number, what, data):
        with self.changed:
            self.record.append((time.monotonic() - self._start, number, what, data))
            self.changed.notify_all()

    def _take(self, connection, data):
        # Bytes from a client, on its connection's thread.
        with self.changed:
            self._note(connection.number, "in", data)
            self.received += data
            if self.raw:
                return
            try:
                whole, connection.rest = packets.split(connection.rest + data)
                for raw in whole:
                    p = packets.parse(raw)
                    p.link = connection
                    self.packets.append(p)
                    out = self.answer(p)
                    if out:
                        connection.send(out)
                    if p.type == DISCONNECT:
                        connection.end()
            except (packets.Malformed, AssertionError) as e:
                self.errors.append(e)
                connection.end()
            self.changed.notify_all()

    def _until(self, test, seconds, what):
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                if self.errors:
                    raise AssertionError(self.errors[0])
                result = test()
                if result:
                    return result
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError("%s did not happen within %s s; record: %r" % (what, seconds, self.record[-12:]))
                self.changed.wait(left)

    def wait_connected(self, count=1, timeout=None):
        """Until that many connections have been made in all; returns the newest."""
        self._until(lambda: len(self.connections) >= count, timeout or self.timeout, "connection %d" % count)
        return self.connections[-1]

    def wait_closed(self, timeout=None):
        """Until the newest connection is over; returns how: "eof", "reset" or "ours"."""
        c = self.connections[-1]
        return self._until(lambda: c.closed, timeout or self.timeout, "the end of the connection")

    def expect(self, kind=None, timeout=None, **fields):
        """Wait for the next packet nobody has asked for yet and check it."""
        what = packets.NAMES[kind or 0]
        with self.changed:
            self._until(lambda: len(self.packets) > self.seen, timeout or self.timeout, what)
            return super().expect(kind, **fields)

    def wait_for(self, kind, timeout=None, **fields):
        """Wait for a packet of that kind with these fields, passing over others; returns it."""

        def found():
            while self.seen < len(self.packets):
                p = self.packets[self.seen]
                self.seen += 1
                if p.type == kind and all(getattr(p, k) == v for k, v in fields.items()):
                    return p
            return None

        return self._until(found, timeout or self.timeout, "%s %r" % (packets.NAMES[kind], fields))

    def nothing(self, seconds=0.2):
        """AssertionError if another packet arrives within that time."""
        time.sleep(seconds)
        with self.changed:
            if self.errors:
                raise AssertionError(self.errors[0])
            super().nothing()

    def send(self, *parts, split=0, pause=0):
        """To the newest connection: whole, or in pieces of `split` bytes with `pause` seconds between them."""
        data = b"".join(parts)
        c = self.connections[-1]
        step = split or len(data) or 1
        for i in range(0, len(data), step):
            c.send(data[i : i + step])
            if pause:
                time.sleep(pause)

    def close(self):
        """End the newest connection in order."""
        self.connections[-1].end()

    def reset(self):
        """End it by a TCP reset."""
        self.connections[-1].end(reset=True)

    def stall(self, on=True):
        """Stop reading from the newest connection (back-pressure), or go on."""
        self.connections[-1].go.clear() if on else self.connections[-1].go.set()


class _Connection:
    def __init__(self, server, s, number):
        self.server = server
        self.socket = s
        self.number = number
        self.rest = b""
        self.closed = ""
        self.go = threading.Event()
        self.go.set()

    def serve(self):
        how = "eof"
        while True:
            self.go.wait()
            try:
                data = self.socket.recv(65536)
            except OSError:
                how = "reset"
                break
            if not data:
                break
            self.server._take(self, data)
        with self.server.changed:
            self.closed = self.closed or how
            self.server._note(self.number, "closed", self.closed.encode())
        self.socket.close()

    def send(self, data):
        self.server._note(self.number, "out", data)
        self.socket.sendall(data)

    def end(self, reset=False):
        with self.server.changed:
            self.closed = self.closed or "ours"
        self.go.set()
        try:
            if reset:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self.socket.shutdown(socket.SHUT_RD)  # wakes the thread that reads, and closes
            else:
                self.socket.shutdown(socket.SHUT_WR)
                self.socket.settimeout(20)
        except OSError:
            pass
