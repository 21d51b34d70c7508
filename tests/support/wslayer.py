"""Host only: the server's side of WebSocket (RFC 6455), put under the scripted server.

    layer = WebSocketLayer()
    with TcpServer(tls=layer) as s:         # everything as with TCP; each s.send() is a binary frame
        layer.request                       # the client's upgrade request, bytes
        layer.frame(b"text", op=1)          # any frame, to the newest connection; fin, mask
        layer.control                       # [(opcode, payload)] of control frames that came
        layer.frames                        # payload sizes of the client's data frames
        layer.answer = function(request, accept key) -> bytes       # another answer to the upgrade
A client's frame that breaks the rules (not masked, not binary, a reserved bit) is an AssertionError in layer.errors.
"""

import base64
import hashlib

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept(request):
    """The accept key for this upgrade request."""
    for line in request.split(b"\r\n"):
        if line.lower().startswith(b"sec-websocket-key:"):
            return base64.b64encode(hashlib.sha1(line[18:].strip() + _GUID).digest())
    return b""


def switch(request, key):
    """The answer of a well-behaved server."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        b"Sec-WebSocket-Protocol: mqtt\r\n\r\n" % key
    )


def frame(payload=b"", op=2, fin=1, mask=None):
    """A server's frame, in the shortest form; mask: a key that no server may use."""
    n = len(payload)
    head = bytes((fin << 7 | op,))
    bit = 0x80 if mask else 0
    if n < 126:
        head += bytes((bit | n,))
    elif n < 65536:
        head += bytes((bit | 126,)) + n.to_bytes(2, "big")
    else:
        head += bytes((bit | 127,)) + n.to_bytes(8, "big")
    return head + (mask or b"") + payload


class WebSocketLayer:
    """Given as `tls=` to TcpServer. under: an ssl.SSLContext for wss."""

    def __init__(self, under=None):
        self.under = under
        self.answer = switch
        self.request = b""
        self.control = []
        self.frames = []
        self.errors = []
        self.newest = None

    def wrap_socket(self, s, server_side):
        """The upgrade; returns what stands for the socket from then on."""
        if self.under:
            s = self.under.wrap_socket(s, server_side=True)
        s.settimeout(60)
        request = b""
        while b"\r\n\r\n" not in request:
            data = s.recv(4096)
            if not data:
                raise OSError("closed during the upgrade")
            request += data
        self.request = request
        if not request.endswith(b"\r\n\r\n"):
            self.errors.append(AssertionError("the client sent frames before the answer"))
        s.sendall(self.answer(request, accept(request)))
        s.settimeout(None)
        self.newest = _Socket(self, s)
        return self.newest

    def frame(self, *args, **kw):
        """Send one frame as it is."""
        self.newest.socket.sendall(frame(*args, **kw))


class _Socket:
    def __init__(self, layer, s):
        self.layer = layer
        self.socket = s
        self.rest = b""

    def __getattr__(self, name):
        return getattr(self.socket, name)

    def sendall(self, data):
        """One binary frame."""
        self.socket.sendall(frame(data))

    def recv(self, n):
        """Payload of the next data frame; b"" at the end."""
        while True:
            got = self._frame()
            if got is None:
                data = self.socket.recv(n)
                if not data:
                    return b""
                self.rest += data
                continue
            op, payload = got
            if op > 7:
                self.layer.control.append((op, payload))
            elif payload:
                self.layer.frames.append(len(payload))
                return payload

    def _frame(self):
        b = self.rest
        if len(b) < 2:
            return None
        n, i = b[1] & 127, 2
        if n > 125:
            i = 4 if n == 126 else 10
            if len(b) < i:
                return None
            n = int.from_bytes(b[2:i], "big")
        if len(b) < i + 4 + n:
            return None
        try:
            assert b[1] & 128, "a frame without a mask"
            assert b[0] in (0x82, 0x88, 0x89, 0x8A), "first byte of a frame: 0x%02x" % b[0]
        except AssertionError as e:
            self.layer.errors.append(e)
            raise OSError(str(e)) from e
        key, payload = b[i : i + 4], b[i + 4 : i + 4 + n]
        self.rest = b[i + 4 + n :]
        return b[0] & 15, bytes(x ^ key[k & 3] for k, x in enumerate(payload))
