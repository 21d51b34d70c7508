"""The HTTP upgrade of a WebSocket connection (RFC 6455 section 4), for ws.py. Loaded to connect, not needed afterwards.

Belongs here: the request, the check of the answer, the source of masking keys. Never here: frames, sockets.
Imports `binascii`, `hashlib`, `os`, and `cryptolib` where there is one.
"""

import sys
from binascii import b2a_base64
from os import urandom

from micropython import const

_HEAD = const(0)  # as in ws.py
_REQUEST = const(-2)
_RESPONSE = const(-1)
_LINE = const(1024)  # bytes of the longest header line that is not an attack
# what the answer has to say; the last one it must not: no extension was offered
_NAMES = const("upgrade connection sec-websocket-accept sec-websocket-protocol sec-websocket-extensions")


def keys():
    """Returns f(zeros, k), which fills k with 16 fresh bytes; the first 4 are the masking key of one frame.

    Not to be predicted from the last one (RFC 6455 5.3): AES in CBC mode over zeros, keyed by urandom, 0 B a call. A build
    without cryptolib asks urandom each time, 32 B.
    """
    try:
        from cryptolib import aes
    except ImportError:

        def f(b, k):
            k[0:4] = urandom(4)

        return f
    return aes(urandom(16), 2, urandom(16)).encrypt


def accept(key):
    """The answer to Sec-WebSocket-Key that proves a WebSocket server (4.2.2); bytes to bytes."""
    from hashlib import sha1

    return b2a_base64(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())[:-1]


def begin(up, host, lean):
    """Makes the request from up[0:3] = path, headers, host and keeps it there: [3] unsent bytes of the request, then unread
    bytes of the answer; [4] the accept key to come; [5] a bit for each of _NAMES seen, -1 before; [6] lean. ValueError.
    """
    path, headers, name = up[:3]
    h = ["GET %s HTTP/1.1" % path, "Host: " + (name or host)]
    if hasattr(headers, "items"):
        headers = headers.items()
    for name, value in headers or ():
        h.append(name + ": " + value)
    for name in h:
        if "\r" in name or "\n" in name:
            raise ValueError("line break in a WebSocket header")
    key = b2a_base64(urandom(16))[:-1]
    h.append(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: %s\r\n\r\n" % str(key, "utf-8")
    )
    up[3:] = ("\r\n".join(h).encode(), str(accept(key), "utf-8"), -1, lean)


def step(w):
    """Goes on with the upgrade of w as far as it goes without waiting. True when complete; OSError when the server refuses."""
    up = w._up
    a = up[3]
    if w._state == _REQUEST:
        n = w._s.write(a, 0, len(a))
        up[3] = a = a[n or 0 :]
        if not a:
            w._state = _RESPONSE
        return False
    while True:
        n = a.find(b"\n")
        if n < 0:
            n = len(a) <= _LINE and w._s.readinto(w._rx, len(w._rx))
            if n is None:
                up[3] = a
                return False
            if not n:
                w.fail(1006, "header line too long" if n is False else "closed by the server")
            a += w._rx[:n]
            continue
        line = a[:n].strip()
        a = a[n + 1 :]
        if line:
            _header(w, up, line)
        elif up[5] >= 0:
            break
    for n in range(4):
        if not up[5] >> n & 1:
            w.fail(1006, "no %s in the answer" % _NAMES.split()[n])
    up[3] = None
    w._p = 0
    w._e = len(a)
    w._rx[0 : len(a)] = a
    w._state = _HEAD
    if up[6]:
        sys.modules.pop("umqtt5.upgrade", None)
        n = sys.modules["umqtt5"]
        if hasattr(n, "upgrade"):
            del n.upgrade
    return True


def _header(w, up, line):
    # One line of the answer (4.1), in any case and with any spacing.
    try:
        line = str(line, "utf-8")
    except UnicodeError:
        line = ""
    if up[5] < 0:
        if not line.startswith("HTTP/") or line.split()[1:2] != ["101"]:
            w.fail(1006, "no upgrade: " + repr(line[:60]))
        up[5] = 0
        return
    name, _, value = line.partition(":")
    name = name.strip().lower()
    names = _NAMES.split()
    if name in names:
        i = names.index(name)
        value = value.strip()
        line = value.lower()
        if not (line == "websocket", "upgrade" in line, value == up[4], value == "mqtt", False)[i]:
            w.fail(1006, "wrong %s: %s" % (name, repr(value[:60])))
        up[5] |= 1 << i
