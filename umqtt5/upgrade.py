"""The HTTP upgrade of a WebSocket connection (RFC 6455 section 4), for ws.py. Loaded to connect, not needed afterwards.

Belongs here: the request, the check of the answer, the source of masking keys. Never here: frames, sockets.
Imports `binascii`, `hashlib`, `os`, and `cryptolib` where there is one; of the package client, to be unloaded.
"""

from binascii import b2a_base64
from os import urandom

from micropython import const

_REQUEST = const(-2)  # as in ws.py
_RESPONSE = const(-1)
_OPEN = const(0)
_LINE = const(1024)  # bytes of the longest header line that is not an attack
# what the answer has to say; the last one it must not: no extension was offered
_NAMES = const("upgrade connection sec-websocket-accept sec-websocket-protocol sec-websocket-extensions")


def accept(key):
    """The answer to Sec-WebSocket-Key that proves a WebSocket server (4.2.2); bytes to bytes."""
    from hashlib import sha1

    return b2a_base64(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())[:-1]


def _begin(w, host, lean):
    """Makes the request from path, headers, host = w._up[0:3] and keeps it there: [3] unsent bytes of the request, then unread
    bytes of the answer; [4] the accept key to come; [5] which of _NAMES came, None before the status line; [6] lean. ValueError.

    Makes w._key(zeros, k), which fills k with 16 fresh bytes; the first 4 are the masking key of one frame. Not to be predicted
    from the last one (RFC 6455 5.3): AES in CBC mode over zeros, keyed by urandom, 0 B a call. A build without cryptolib asks
    urandom each time, 32 B.
    """
    try:
        from cryptolib import aes

        w._key = aes(urandom(16), 2, urandom(16)).encrypt
    except ImportError:

        def key(b, k):
            k[0:4] = urandom(4)

        w._key = key
    path, headers, name = w._up[:3]
    h = ["GET %s HTTP/1.1" % path, "Host: " + (name or host)]
    if hasattr(headers, "items"):
        headers = headers.items()
    for name, value in headers or ():
        h.append(name + ": " + value)
    for name in h:
        if "\r" in name or "\n" in name:
            raise ValueError("line break in a WebSocket header")
    name = b2a_base64(urandom(16))[:-1]
    h.append(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: %s\r\n\r\n" % str(name, "utf-8")
    )
    w._up[3:] = "\r\n".join(h).encode(), str(accept(name), "utf-8"), None, lean


def step(w, reading):
    """Goes on with the upgrade of w as far as it goes without waiting. True when complete; OSError when the server refuses.

    reading: who calls wants to read, the stream need not be ready to be written yet.
    """
    up = w._up
    names = _NAMES.split()
    while True:
        a = up[3]
        if w._state == _REQUEST:
            up[3] = a = a[not reading and w._s.write(a, 0, len(a)) or 0 :]
            if not a:
                w._state = _RESPONSE
            return False
        n = a.find(b"\n")
        if n < 0:
            n = len(a) <= _LINE and w._s.readinto(w._rx, len(w._rx))
            if n is None:
                return False
            if not n:
                w.close(1006, "header line too long" if n is False else "closed by the server")
            up[3] = a + w._rx[:n]
            continue
        up[3] = a[n + 1 :]
        line = "".join(map(chr, a[:n])).strip()  # any byte may come, none is an error
        if up[5] is None:
            if line:
                if not line.startswith("HTTP/") or line.split()[1:2] != ["101"]:
                    w.close(1006, "no upgrade: " + repr(line[:60]))
                up[5] = ""
        elif line:  # a header (4.1), in any case and with any spacing
            name, _, value = line.partition(":")
            name = name.strip().lower()
            if name in names:
                value = value.strip()
                line = value.lower()
                if not (line == "websocket", "upgrade" in line, value == up[4], value == "mqtt", False)[names.index(name)]:
                    w.close(1006, "wrong %s: %s" % (name, repr(value[:60])))
                up[5] += name
        else:
            break
    for name in names[:4]:
        if name not in up[5]:
            w.close(1006, "no %s in the answer" % name)
    a = up[3]
    up[3] = None
    w._p = 0
    w._e = len(a)
    w._rx[0 : len(a)] = a
    w._state = _OPEN
    if up[6]:
        from . import _unload

        _unload("upgrade")
    return True
