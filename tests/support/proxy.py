"""Host only: a TCP proxy that is a bad network.

    p = Proxy(broker.port)                        # connect the client to p.port
    p.cut_up = 17                                 # the next connection dies when 17 bytes have gone to the server
    p.cut_down = 5                                # ... or 5 bytes to the client; both hold for one connection
    p.how = "eof"                                 # the client sees: "reset", "eof", or "silence" (half-open: nothing, for ever)
    p.chunk = 1                                   # pieces of that many bytes, each in a segment of its own; 0: as they come
    p.delay = 0.05                                # seconds before each piece is passed on
    p.join = 0.1                                  # collect for that long, pass on in one piece
    p.stall()  p.go()                             # hold everything back, both ways
    p.cut()                                       # every connection dies now, as `how` says
    p.up, p.down                                  # bytes passed on by the newest connection
    p.current.pieces["up"]                        # their pieces, how large each was
    p.total                                       # connections made
    p.refuse = True                               # new connections are closed at once

The server always sees the end of file of a cut connection, or with `how_server = "silence"` nothing.
"""

import os
import socket
import struct
import threading
import time

_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on 127.0.0.1:port (a free one unless given) for connections to 127.0.0.1:target."""

    def __init__(self, target, port=0):
        self.target = target
        self.cut_up = self.cut_down = None
        self.how = "reset"
        self.how_server = "eof"
        self.chunk = 0
        self.delay = 0
        self.join = 0
        self.refuse = False
        self.total = 0
        self.current = None
        self._connections = []
        self._go = threading.Event()
        self._go.set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._listener.settimeout(0.5)  # where shutdown() does not wake accept()
        self._stopped = False
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()

    def _accept(self):
        while not self._stopped:
            try:
                client, _ = self._listener.accept()
            except socket.timeout:
                continue
            except OSError:
                return
            self.total += 1
            if self.refuse:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            with self._lock:
                self.current = _Pair(self, client, server, self.cut_up, self.cut_down)
                self._connections.append(self.current)
                self.cut_up = self.cut_down = None
            self.current.start()

    @property
    def up(self):
        """Bytes from the newest client to the server."""
        return self.current.passed["up"] if self.current else 0

    @property
    def down(self):
        """Bytes from the server to the newest client."""
        return self.current.passed["down"] if self.current else 0

    def stall(self):
        """Hold everything back."""
        self._go.clear()

    def go(self):
        """Let it go on."""
        self._go.set()

    def cut(self, how=None):
        """End all connections now."""
        with self._lock:
            pairs, self._connections = self._connections, []
        for pair in pairs:
            pair.die(how or self.how)

    def stop(self):
        """Close everything."""
        self._stopped = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._acceptor.join(5)  # or it may accept once more by a number that belongs to the next listener
        self._listener.close()
        self._go.set()
        self.cut("reset")
        for pair in list(self._silent):
            pair.really_close()

    _silent = ()

    def _keep(self, pair):
        self._silent = (*self._silent, pair)


class _Pair:
    def __init__(self, proxy, client, server, cut_up, cut_down):
        self.proxy = proxy
        self.client = client
        self.server = server
        self.cuts = {"up": cut_up, "down": cut_down}
        self.passed = {"up": 0, "down": 0}
        self.pieces = {"up": [], "down": []}
        self.dead = False
        self.lock = threading.Lock()
        for s in (client, server):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self):
        for way, source, sink in (("up", self.client, self.server), ("down", self.server, self.client)):
            threading.Thread(target=self._pump, args=(way, source, sink), daemon=True).start()

    def _pump(self, way, source, sink):
        proxy = self.proxy
        while not self.dead:
            try:
                data = source.recv(65536)
                if proxy.join:
                    time.sleep(proxy.join)
                    source.setblocking(False)
                    try:
                        data += source.recv(1 << 20)
                    except BlockingIOError:
                        pass
                    source.setblocking(True)
            except OSError:
                data = b""
            if self.dead:
                return
            if not data:
                self._ended(way)
                return
            step = proxy.chunk or len(data)
            for i in range(0, len(data), step):
                if not self._pass(way, sink, data[i : i + step]):
                    return

    def _pass(self, way, sink, data):
        # False when the connection is over.
        proxy = self.proxy
        proxy._go.wait()
        if proxy.delay:
            time.sleep(proxy.delay)
        cut = self.cuts[way]
        if cut is not None:
            data = data[: cut - self.passed[way]]
        try:
            if data and not self.dead:
                self.passed[way] += len(data)
                self.pieces[way].append(len(data))
                sink.sendall(data)
        except OSError:
            self._ended(way)
            return False
        if cut is not None and self.passed[way] >= cut:
            self.die(proxy.how)
            return False
        return not self.dead

    def _ended(self, way):
        # One side has closed: the other one sees the end too.
        with self.lock:
            if self.dead:
                return
            self.dead = True
        for s in (self.client, self.server):
            _close(s, "eof")

    def die(self, how):
        with self.lock:
            if self.dead:
                return
            self.dead = True
        if how == "silence" or self.proxy.how_server == "silence":
            self.proxy._keep(self)
        if self.proxy.how_server != "silence":
            _close(self.server, "eof")
        if how != "silence":
            _close(self.client, how)

    def really_close(self):
        for s in (self.client, self.server):
            _void(s)


def _close(s, how):
    try:
        if how == "reset":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            s.shutdown(socket.SHUT_RD)  # wakes the thread that reads
            _void(s)
        else:
            s.shutdown(socket.SHUT_WR)
            threading.Thread(target=_drain, args=(s,), daemon=True).start()
    except OSError:
        _void(s)


def _void(s):
    # Close it as the network sees it, while its number stays in use: a thread that is about to read from it must not get at
    # somebody else's new socket. The number goes with the object.
    number = s.fileno()
    if number >= 0:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, number, inheritable=False)
        os.close(null)


def _drain(s):
    # Bytes left unread would turn the closing into a reset.
    s.settimeout(20)
    try:
        while s.recv(65536):
            pass
    except OSError:
        pass
    _void(s)
