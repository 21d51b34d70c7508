"""Sockets with MicroPython's stream methods: None for "nothing yet", 0 for "closed", no timeout exceptions of another kind.

Everything else is CPython's socket module.
"""

import errno
import socket as _socket
from socket import *  # noqa: F403
from socket import getaddrinfo  # noqa: F401

from ._micropython import window

# Not in every MicroPython port, and not in every __all__.
SO_ERROR = _socket.SO_ERROR


class Stream:
    """MicroPython's stream methods over `_recv1(view)` and `_send1(view)`, which return None when they would block."""

    def readinto(self, buf, n=-1):
        """Read until buf (or n bytes of it) is full, the peer has closed, or there is nothing more right now.

        Returns the count, 0 when closed, None when nothing was there yet.
        """
        view = memoryview(buf).cast("B") if len(buf) else memoryview(buf)
        end = len(view) if n < 0 else min(n, len(view))
        done = 0
        while done < end:
            k = self._recv1(view[done:end])
            if k is None:
                return done or None
            if k == 0:
                break
            done += k
        return done

    def write(self, buf, off=None, n=None):
        """write(buf), write(buf, n), write(buf, off, n): returns the count taken, None when not one byte was."""
        view = window(buf, off, n)
        done = 0
        while done < len(view):
            k = self._send1(view[done:])
            if k is None:
                return done or None
            done += k
        return done

    def read(self, n=-1):
        """n bytes, or all until the peer closes; None when nothing is there yet."""
        out = bytearray()
        piece = bytearray(4096)
        while n < 0 or len(out) < n:
            k = self._recv1(memoryview(piece)[: 4096 if n < 0 else min(4096, n - len(out))])
            if k is None:
                return bytes(out) if out else None
            if k == 0:
                break
            out += piece[:k]
        return bytes(out)

    def readline(self):
        """Up to and with a newline, byte by byte, as MicroPython does."""
        out = bytearray()
        while not out.endswith(b"\n"):
            b = self.read(1)
            if b is None:
                return bytes(out) if out else None
            if not b:
                break
            out += b
        return bytes(out)


class socket(Stream, _socket.socket):
    """A CPython socket with MicroPython's stream methods."""

    def _recv1(self, view):
        try:
            return self.recv_into(view)
        except BlockingIOError:
            return None
        except _socket.timeout:
            raise OSError(errno.ETIMEDOUT, "timed out") from None

    def _send1(self, view):
        try:
            return self.send(view)
        except BlockingIOError:
            return None
        except _socket.timeout:
            raise OSError(errno.ETIMEDOUT, "timed out") from None

    def connect(self, address):
        """As CPython's, but a timeout is ETIMEDOUT."""
        try:
            super().connect(address)
        except _socket.timeout:
            raise OSError(errno.ETIMEDOUT, "timed out") from None

    def accept(self):
        """(socket of this class, address)."""
        s, address = super().accept()
        timeout = s.gettimeout()
        s = socket(s.family, s.type, s.proto, fileno=s.detach())
        s.settimeout(timeout)
        return s, address


from . import ssl as _tls  # noqa: E402,F401  # so that a context of CPython's ssl can wrap a socket made here
