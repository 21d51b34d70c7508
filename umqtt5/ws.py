"""WebSocket transport (RFC 6455, MQTT 5.0 section 6): `MQTTClient(..., transport=ws.client("/mqtt"))`.

Belongs here: frames out and in, control frames, closing. Never here: MQTT packets, the HTTP upgrade (upgrade.py), opening
sockets and TLS (setup.py gives the stream). Imports of the package, at connect only: upgrade, setup.

Out: one frame a write() of the core, up to `tx` bytes of payload, and one write() of the stream under it. A frame is built
and masked in one buffer made at construction, its payload always at offset 8:
    0: 0x82 0xFE length(2) key(4) payload        or from offset 2 on:  0x82 0x80|length key(4) payload
In: one bulk read into a small buffer; headers and control frames are taken there byte by byte, payload is copied to the
caller; the rest of a frame that is longer than that buffer is read straight into the caller's.
Measured (x86 instructions for 60 bytes, 64-bit unix): write 17,500 over a bare stream.write in Python of 1,800, readinto
21,000 over 2,900; with the plain _mask 62,000 more each.
"""

from micropython import const

_EBADF = const(9)
_EPIPE = const(32)
_EPROTO = const(71)
# self._state: 0 open; -2, -1 before, see upgrade.py; -1 without a stream as well
_REQUEST = const(-2)
_RESPONSE = const(-1)
_RAW = const(20)  # where in _t the payload of a ping or close is kept as it came, clear of what _prepare() needs

_ZEROS = const(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")

# _mask: t[i:n] = s[j:] XOR k; i is a multiple of 4 where a frame's payload begins.
try:
    _mask = __import__("umqtt5.native", None, None, ("get",)).get("mask")  # kept by no name here
except (SyntaxError, NameError, AttributeError, MemoryError, ImportError):

    def _mask(t, i, s, j, n, k):
        while i < n:
            t[i] = s[j] ^ k[i & 3]
            i += 1
            j += 1


def _frames(w):
    # The receiver: takes frame headers and control frames byte by byte (RFC 6455 5.2, 5.5), a generator because it knows where it
    # stands. Payload of data frames passes it by: _left bytes. It gives True for a byte that it cannot take yet.
    # w._kept: a ping or close is in _t, of which only the beginning has come
    t = w._t
    more = 2  # the opcode of the next data frame: 2, or 0 inside a fragmented message
    while True:
        c = yield
        op = c & 15
        code = 1003 if op == 1 else 1002  # a text frame: MQTT-6.0.0-1
        if c & 0x70 or (c < 128 or op > 10 if op > 7 else op != more):
            break
        n = yield
        if n > (125 if op > 7 else 127):
            break  # masked, or a long control frame
        if op > 7:
            if op < 10:
                while w._wn:
                    n = yield True  # its answer has no place yet
                w._kept = True
            i = _RAW
            while i < n + _RAW:
                c = yield
                if w._kept:
                    t[i] = c
                i += 1
            if w._kept:
                w._kept = False
                if op == 8:
                    c = 1005
                    if n:
                        c = t[_RAW] << 8 | t[_RAW + 1]
                        if n == 1 or not 999 < c < 5000 or 1003 < c < 1007 or c == 1015:
                            break
                    w.code = c
                    w._e = w._p + 1
                w._prepare(t, _RAW, n)
                t[2] = 0x78 + op + op  # 0x88 answers a close, 0x8A a ping
            continue
        more = c >> 6
        if n > 125:
            i = 2
            c = 126  # for the shortest form
            if n > 126:
                i = 8
                c = 0x10000
            n = 0
            while i and n < 0x400000:
                n = n << 8 | (yield)
                i -= 1
            if i:
                code = 1009
            if i or n < c:
                break
        w._left = n
    w.close(code, "bad frame")


class WebSocket:
    """The transport of one MQTTClient, and the factory that the client calls at each connect.

    path: str. headers: more request headers, a list of (name, value) or a dict of str. host: the Host header if it is not the
    client's server and port (give the client its port: 80, 443, 8080 ...). tx: payload bytes of the longest frame sent, longer
    packets leave in several; rx: bytes read at once. Both buffers are made here (tx + 8 and rx, 145 and 133 bytes at least) and
    kept over connections. Raises ValueError for line breaks in path, headers or host.
    `code`: the close code, the server's or ours; 1005: a close without one, 1006: no upgrade, 0 while open.
    """

    def __init__(self, path="/mqtt", headers=None, *, host=None, tx=256, rx=128):
        self._up = [path, headers, host]  # upgrade.py adds its state
        self._t = bytearray(max(tx + 8, 145))
        self._t[0] = 0x82  # a long frame begins here, a short one at 2
        self._t[1] = 0xFE
        self._k = memoryview(self._t)[4:20]  # begins with the masking key
        self._rx = bytearray(max(rx, 133))
        self.attach(None)

    def __call__(self, client):
        """Opens the socket of `client` (TLS included) as setup._open_socket() does and begins the upgrade. Does not wait."""
        from .setup import _open_socket

        if self._s:
            raise ValueError("a WebSocket serves one client")
        host = ("[%s]:%d" if ":" in client.server else "%s:%d") % (client.server, client.port)
        return self.attach(_open_socket(client), host, client.lean)

    def attach(self, stream, host="", lean=False):
        """Begins the upgrade over any non-blocking stream with write(buf, off, n), readinto(buf, n), close(). Returns self.

        host: for the Host header. lean: unload upgrade.py when it is done.
        """
        from .upgrade import _begin

        _begin(self, host, lean)
        self._s = stream
        self.sock = getattr(stream, "sock", stream)
        # _p to _e: unread bytes of _rx; _wo, _wn: unsent bytes of _t, where and how many; _left: payload bytes still to come
        # _owed: 1: the last byte that write() was given is in _t, but the caller was not told that it was taken
        self._p = self._e = self._wo = self._wn = self._owed = self._left = self._kept = self._n = self.code = 0
        self._next = _frames(self).send
        (self._next)(None)
        self._state = _REQUEST
        return self

    def write(self, buf, off, n):
        """Sends up to n bytes of buf from off in one frame. Returns how many, None when nothing could be taken (yet).

        A frame that the stream took only in part is reported without its last byte, which stays owed until the rest is out:
        the caller comes back for it. OSError when closed or when the server is no WebSocket server for MQTT. 0 B once open.
        """
        if self._state < 0 and not self._shake(False) or self._wn and not self.flush():
            return None
        if self._owed:
            self._owed = 0
            return 1
        if self.code:
            raise OSError(_EPIPE, "WebSocket: closed")
        if self._kept:  # the rest of a ping of which only the beginning has come: a caller that waits to write may not be reading
            self.readinto(buf, 0)
            if self._kept or not self.flush() or self.code:
                return None
        n = min(n, len(self._t) - 8)
        self._prepare(buf, off, n)
        if self.flush():
            return n
        self._owed = 1
        return n - 1 or None

    def _prepare(self, buf, off, n):
        # A masked binary frame with these n bytes, in _t. One more local variable would put the call's frame on the heap.
        self._wo = 0
        self._t[2] = n >> 8
        self._t[3] = n & 255
        if n < 126:
            self._wo = 2
            self._t[2] = 0x82
            self._t[3] = 0x80 | n
        n += 8
        self._wn = n - self._wo
        self._key(_ZEROS, self._k)
        _mask(self._t, 8, buf, off, n, self._k)

    def flush(self):
        # One try to send what _t holds. True when all of it is gone.
        n = self._s.write(self._t, self._wo, self._wn) or 0
        self._wo += n
        self._wn -= n
        return not self._wn

    def readinto(self, buf, n=None):
        """Reads payload into buf, up to n bytes or len(buf): from one read of the stream, of as many frames as it brought.

        Returns how many, None when there is nothing yet, 0 when the server closed. OSError when it broke the rules: the close
        frame is sent and the stream closed before. 0 B once open.
        """
        # One more local variable would put the frame on the heap: hence _n.
        if self._state < 0 and not self._shake(True):
            return None
        if n is None:
            n = len(buf)
        d = 0
        while d < n or self._kept:
            if self._wn:
                self.flush()
            if self._p == self._e:
                if d:
                    break
                if self.code:
                    return 0
                if self._left >= len(self._rx):
                    d = self._s.readinto(buf, min(n, self._left))
                    self._left -= d or 0
                    return d
                d = self._s.readinto(self._rx, len(self._rx))
                if not d:
                    return d
                self._p = 0
                self._e = d
                d = 0
            if self._left:
                self._n = min(n - d, self._left, self._e - self._p)
                _mask(buf, d, self._rx, self._p, d + self._n, _ZEROS)
                self._p += self._n
                self._left -= self._n
                d += self._n
            elif (self._next)(self._rx[self._p]):
                break
            else:
                self._p += 1
        return d or None

    def close(self, code=1000, why=None):
        """Sends a close frame if it can go at once, and closes the stream. Never waits, may be called again.

        why: text; it is raised then, as OSError.
        """
        s = self._s
        if s:
            if self._state >= 0 and not self.code and not self._wn:
                self._prepare(code.to_bytes(2, "big"), 0, 2)
                self._t[2] = 0x88
                try:
                    self.flush()
                except OSError:
                    pass
            self.code = self.code or code
            self._state = _RESPONSE
            self._s = None
            s.close()
        if why:
            raise OSError(_EPROTO, "WebSocket: " + why)

    def _shake(self, reading):
        # The next step of the upgrade. True when it is complete.
        if not self._s:
            raise OSError(_EBADF, "WebSocket: closed")
        from .upgrade import step

        return step(self, reading)


client = WebSocket
