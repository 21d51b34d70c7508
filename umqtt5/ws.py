"""WebSocket transport (RFC 6455, MQTT 5.0 section 6): `MQTTClient(..., transport=ws.client("/mqtt"))`.

Belongs here: frames out and in, control frames, closing. Never here: MQTT packets, the HTTP upgrade (upgrade.py), opening
sockets and TLS (setup.py gives the stream). Imports of the package, at connect only: upgrade, setup.

Out: one frame a write() of the core, up to `tx` bytes of payload, and one write() of the stream under it. A frame is built
and masked in one buffer made at construction, its payload always at offset 8:
    0: 0x82 0xFE length(2) key(4) payload        or from offset 2 on:  0x82 0x80|length key(4) payload
In: one bulk read into a small buffer; headers and control frames are taken there byte by byte, payload is copied to the
caller; the rest of a frame that is longer than that buffer is read straight into the caller's.
Measured (x86 instructions for 60 bytes, 64-bit unix): write 16,300 over a bare stream.write in Python of 1,800, readinto
13,700 over 2,900; with the plain _mask 78,800 and 75,800.
"""

from micropython import const

_EBADF = const(9)
_EPIPE = const(32)
_EPROTO = const(71)
# self._state, where the receiver stands; 12, 11 and 28 .. 21 count down the bytes of a 16-bit and a 64-bit length
_CLOSED = const(-3)
_REQUEST = const(-2)  # -2 and -1, waiting for the answer: upgrade.py
_HEAD = const(0)
_LENGTH = const(1)
_DATA = const(3)
_CONTROL = const(4)

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


class WebSocket:
    """The transport of one MQTTClient, and the factory that the client calls at each connect.

    path: str. headers: more request headers, a list of (name, value) or a dict of str. host: the Host header if it is not the
    client's server and port (give the client its port: 80, 443, 8080 ...). tx: payload bytes of the longest frame sent, longer
    packets leave in several; rx: bytes read at once. Both buffers are made here (tx + 8 and rx, 133 bytes at least) and kept
    over connections. Raises ValueError for line breaks in path, headers or host.
    `code`: the close code, the server's or ours; 1005: a close without one, 1006: no upgrade, 0 while open.
    """

    def __init__(self, path="/mqtt", headers=None, *, host=None, tx=256, rx=128):
        from .upgrade import begin, keys

        self._up = [path, headers, host]  # upgrade.py adds its state
        begin(self._up, "", False)
        self._t = bytearray(max(tx + 8, 133))
        self._k = memoryview(self._t)[4:20]  # begins with the masking key
        self._rx = bytearray(max(rx, 133))
        self._key = keys()
        self._s = None
        self._state = _CLOSED
        self.code = 0

    def __call__(self, client):
        """Opens the socket of `client` (TLS included) as setup.open_socket does and begins the upgrade. Does not wait."""
        from .setup import open_socket

        if self._s:
            raise ValueError("a WebSocket serves one client")
        host = client.server
        if ":" in host:
            host = "[" + host + "]"
        return self.attach(open_socket(client), "%s:%d" % (host, client.port), client.lean)

    def attach(self, stream, host="", lean=False):
        """Begins the upgrade over any non-blocking stream with write(buf, off, n), readinto(buf, n), close(). Returns self.

        host: for the Host header. lean: unload upgrade.py when it is done.
        """
        from .upgrade import begin

        begin(self._up, host, lean)
        self._s = stream
        self.sock = getattr(stream, "sock", stream)
        self._next = 2  # the opcode of the next data frame: 2, or 0 inside a fragmented message
        # _p to _e: unread bytes of _rx; _wo, _wn: unsent bytes of _t, where and how many; _left: payload bytes still to come
        # _owed: 1: the last byte that write() was given is in _t, but the caller was not told that it was taken
        # _ctl: where the next byte of the pong or close goes that is being built in _t; 0: none
        self._p = self._e = self._wo = self._wn = self._owed = self._ctl = self._left = self._op = self.code = 0
        self._state = _REQUEST
        return self

    def write(self, buf, off, n):
        """Sends up to n bytes of buf from off in one frame. Returns how many, None when nothing could be taken (yet).

        A frame that the stream took only in part is reported without its last byte, which stays owed until the rest is out:
        the caller comes back for it. OSError when closed or when the server is no WebSocket server for MQTT. 0 B once open.
        """
        if self._state < 0 and not self._shake():
            return None
        if self._wn and not self.flush():
            return None
        if self._owed:
            self._owed = 0
            return 1
        if self.code:
            raise OSError(_EPIPE, "WebSocket: closed")
        if self._ctl:  # the rest of a ping of which only the beginning has come: a caller that waits to write may not be reading
            if self._p == self._e and self._read(buf, 0) != -1:
                return None
            self._control()
            if self._ctl or self.code or self._wn:
                return None
        n = min(n, len(self._t) - 8)
        self._prepare(buf, off, n)
        if self.flush():
            return n
        self._owed = 1
        return n - 1 or None

    def _prepare(self, buf, off, n):
        # A masked binary frame with these n bytes, in _t. One more local variable would put the call's frame on the heap.
        self._wo = 0 if n > 125 else 2
        if n > 125:
            self._t[0] = 0x82
            self._t[1] = 0xFE
            self._t[2] = n >> 8
            self._t[3] = n & 255
        else:
            self._t[2] = 0x82
            self._t[3] = 0x80 | n
        n += 8
        self._wn = n - self._wo
        self._key(_ZEROS, self._k)
        _mask(self._t, 8, buf, off, n, self._k)

    def flush(self):
        # One try to send what _t holds. True when all of it is gone.
        n = self._s.write(self._t, self._wo, self._wn)
        if n:
            self._wo += n
            self._wn -= n
        return not self._wn

    def readinto(self, buf, n=None):
        """Reads payload into buf, up to n bytes or len(buf): from one read of the stream, of as many frames as it brought.

        Returns how many, None when there is nothing yet, 0 when the server closed. OSError when it broke the rules: the close
        frame is sent and the stream closed before. 0 B once open.
        """
        if self._state < 0 and (self._state == _REQUEST or not self._shake()):
            return None
        if n is None:
            n = len(buf)
        d = 0
        while d < n:
            if self._p == self._e:
                if d:
                    return d
                d = self._read(buf, n)
                if d != -1:
                    return d
                d = 0
            if self._state == _DATA:
                d = self._take(buf, d, n)
            elif self._state == _CONTROL:
                if not self._control():
                    break
            else:
                self._header()
        return d or None

    def _read(self, buf, n):
        # The next bulk read: -1 when it went to _rx, else what readinto() returns.
        if self.code:
            return 0
        if self._wn:
            self.flush()
        if self._state == _DATA and self._left >= len(self._rx):
            n = self._s.readinto(buf, min(n, self._left))
            if n:
                self._left -= n
                if not self._left:
                    self._state = _HEAD
            return n
        k = self._s.readinto(self._rx, len(self._rx))
        if not k:
            return k
        k -= 2
        if 0 < k < 126 and k <= n and self._rx[1] == k and self._rx[0] == 0x82 and self._state == _HEAD and self._next:
            _mask(buf, 0, self._rx, 2, k, _ZEROS)  # one short frame and no more: most packets come so
            return k
        self._p = 0
        self._e = k + 2
        return -1

    def _take(self, buf, i, n):
        # Payload from _rx to the caller, from offset i on. Returns the new i.
        n = min(n - i, self._left, self._e - self._p)
        _mask(buf, i, self._rx, self._p, i + n, _ZEROS)
        self._p += n
        self._left -= n
        if not self._left:
            self._state = _HEAD
        return i + n

    def _header(self):
        # The next byte of a frame header (RFC 6455 5.2).
        c = self._rx[self._p]
        self._p += 1
        st = self._state
        if st == _HEAD:
            self._op = st = c & 15
            if st == 1:
                self.fail(1003, "bad frame")  # a text frame: MQTT-6.0.0-1
            if c & 0x70 or (c < 128 or st > 10 if st > 7 else st != self._next):
                self.fail(1002, "bad frame")
            if st < 3:
                self._next = 0 if c < 128 else 2
            self._state = _LENGTH
            return
        if st == _LENGTH:
            self._left = c
            if c > 125:
                if c > 127 or self._op > 7:
                    self.fail(1002, "bad frame")  # masked, or a long control frame
                self._left = 0
                self._state = 12 if c == 126 else 28
                return
        else:
            if self._left > 0x3FFFFF:
                self.fail(1009, "bad frame")
            self._left = self._left << 8 | c
            self._state = st = st - 1
            if st != 10 and st != 20:
                return
            if self._left < (126 if st == 10 else 0x10000):
                self.fail(1002, "bad frame")  # not in its shortest form
        self._state = _CONTROL if self._op > 7 else _DATA if self._left else _HEAD
        if self._op > 7:
            self._control()

    def _control(self):
        # Payload of a control frame; the answer to a ping or a close is built while it comes. False: _t is still in use.
        op = self._op
        t = self._t
        d = self._ctl
        if op != 10 and not d:
            if self._wn and not self.flush():
                return False
            t[2] = 0x8A if op == 9 else 0x88
            t[3] = 0x80 | self._left
            self._key(_ZEROS, self._k)
            d = 8
        while self._left and self._p < self._e:
            if d:
                t[d] = self._rx[self._p] ^ self._k[d & 3]
                d += 1
            self._p += 1
            self._left -= 1
        self._ctl = d
        if self._left:
            return True
        self._ctl = 0
        self._state = _HEAD
        if d:
            if op == 8:  # a close frame; its answer, ending at d, is in t already
                op = 1005
                if d > 8:
                    op = (t[8] ^ self._k[0]) << 8 | t[9] ^ self._k[1]
                    if d == 9 or not 999 < op < 5000 or 1003 < op < 1007 or op == 1015:
                        self.fail(1002, "bad frame")
                self.code = op
                self._e = self._p
            self._wo = 2
            self._wn = d - 2
            self.flush()
        return True

    def close(self, code=1000):
        """Sends a close frame if it can go at once, and closes the stream. Never waits, may be called again."""
        s = self._s
        if s:
            if self._state >= 0 and not self.code and not self._wn:
                self._prepare(bytes((code >> 8, code & 255)), 0, 2)
                self._t[2] = 0x88
                try:
                    self.flush()
                except OSError:
                    pass
            self.code = self.code or code
            self._state = _CLOSED
            self._s = None
            s.close()

    def fail(self, code, text):
        """Closes with that code and raises OSError."""
        self.close(code)
        raise OSError(_EPROTO, "WebSocket: " + text)

    def _shake(self):
        # The next step of the upgrade. True when it is complete.
        if self._state == _CLOSED:
            raise OSError(_EBADF, "WebSocket: closed")
        from . import upgrade

        return upgrade.step(self)


client = WebSocket
