"""TLS as on MicroPython: SSLContext and wrap_socket whose sockets have `write(buf, off, n)` and `readinto(buf, n)`.

With `do_handshake_on_connect=False` writes and reads drive the handshake and return None while it cannot go on. A record that
the network takes only in part makes `write` return None; the caller repeats it with the same bytes, as mbedtls wants it. The
end of the connection reads as 0, with a closing alert or without; in the handshake it is an OSError. Certificate errors are
ssl.SSLCertVerificationError: both a ValueError (MicroPython's type) and an OSError, with OpenSSL's text.
"""

import base64
import os
import select as _select
import ssl as _ssl
import tempfile
from ssl import (  # noqa: F401
    CERT_NONE,
    CERT_OPTIONAL,
    CERT_REQUIRED,
    PROTOCOL_TLS_CLIENT,
    PROTOCOL_TLS_SERVER,
    SSLCertVerificationError,
    SSLError,
)

from .socket import Stream, socket

_RECORD = 16384
_CIPHERTEXT = 32768


class TLSSocket(Stream):
    """A TLS connection over a umqtt5_host socket that may still be connecting."""

    def __init__(self, context, sock, server_side, do_handshake_on_connect, server_hostname):
        if context.verify_mode == CERT_REQUIRED and not server_side and server_hostname is None:
            raise ValueError("CERT_REQUIRED requires server_hostname")
        self._sock = sock
        self._in = _ssl.MemoryBIO()
        self._out = _ssl.MemoryBIO()
        self._obj = context.wrap_bio(self._in, self._out, server_side=server_side, server_hostname=server_hostname)
        self._error = None
        self._shaken = False
        self._left = b""  # ciphertext the network has not taken yet
        self._record = 0  # plain bytes in it that write() still has to report
        self._want = 0  # the direction the handshake waits for; 0: not begun, or done
        if do_handshake_on_connect:
            while not self._handshake():
                _select.select([sock], [sock] if self._left else [], [], 1)

    def _recv1(self, view):
        return self._guard(self._read1, view)

    def _send1(self, view):
        return self._guard(self._write1, view)

    def _guard(self, step, view):
        # As on MicroPython: the first error stays, every later call raises it again.
        if self._sock is None:
            raise OSError(9, "closed")
        if self._error is not None:
            raise self._error
        try:
            return step(view)
        except OSError as e:
            self._error = e
            raise

    def _read1(self, view):
        if not self._shaken and not self._handshake():
            return None
        if not self._record:
            self._flush()
        while True:
            try:
                return self._obj.read(len(view), view)
            except (_ssl.SSLZeroReturnError, _ssl.SSLEOFError):
                return 0
            except _ssl.SSLWantReadError:
                if not self._fill():
                    return None

    def _write1(self, view):
        if not self._shaken and not self._handshake():
            return None
        if not self._record:
            if not self._flush():
                return None
            self._record = self._obj.write(view[:_RECORD])
        if not self._flush():
            return None
        n, self._record = self._record, 0
        return n

    def _handshake(self):
        while True:
            try:
                self._obj.do_handshake()
                self._shaken = True
            except _ssl.SSLWantReadError:
                pass
            except OSError:
                self._flush()  # the alert that tells the peer why
                raise
            if not self._flush():
                self._want = _select.POLLOUT
                return False
            if self._shaken:
                self._want = 0
                return True
            if not self._fill():
                self._want = _select.POLLIN
                return False

    def _fill(self):
        try:
            data = self._sock.recv(_CIPHERTEXT)
        except BlockingIOError:
            return False
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        return True

    def _flush(self):
        self._left += self._out.read()
        while self._left:
            try:
                self._left = self._left[self._sock.send(self._left) :]
            except BlockingIOError:
                return False
        return True

    def _poll_mask(self, mask):
        # For select.poll: (mask to ask the raw socket for, events that are certain without asking)
        if self._sock is None or self._error is not None or self._sock.fileno() < 0:
            return 0, _select.POLLNVAL
        if mask & _select.POLLIN and self._shaken and (self._obj.pending() or self._in.pending):
            return 0, _select.POLLIN
        return (self._want or mask) if mask & (_select.POLLIN | _select.POLLOUT) else mask, 0

    def fileno(self):
        """The raw socket's descriptor, -1 when closed."""
        return -1 if self._sock is None else self._sock.fileno()

    def setblocking(self, flag):
        """Of the raw socket."""
        self._sock.setblocking(flag)

    def cipher(self):
        """(cipher suite, protocol version), once connected."""
        c = self._obj.cipher()
        return c and c[:2]

    def getpeercert(self, binary_form):
        """The peer's certificate in DER."""
        return self._obj.getpeercert(binary_form)

    def close(self):
        """Close the raw socket; like MicroPython, without a closing alert."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _key_to_pem(der):
    # The version is the first item of all three forms: 1 in SEC 1, 0 and then a sequence in PKCS #8, 0 and a number in PKCS #1.
    at = der.find(b"\x02\x01", 0, 8) + 2
    kind = "EC PRIVATE KEY" if der[at] == 1 else "PRIVATE KEY" if der[at + 1] == 0x30 else "RSA PRIVATE KEY"
    return "-----BEGIN %s-----\n%s-----END %s-----\n" % (kind, base64.encodebytes(der).decode(), kind)


class SSLContext(_ssl.SSLContext):
    """CPython's context with MicroPython's default (nothing is verified) and certificates given as bytes or file names."""

    def __init__(self, protocol):
        self.verify_mode = CERT_NONE

    def __setattr__(self, name, value):
        if name == "verify_mode" and self.protocol == PROTOCOL_TLS_CLIENT:
            if value == CERT_NONE:
                self.check_hostname = False
            super().__setattr__(name, value)
            if value == CERT_REQUIRED:
                self.check_hostname = True
        else:
            super().__setattr__(name, value)

    def load_verify_locations(self, cafile=None, cadata=None):
        """A file name, or PEM or DER bytes. Raises ValueError for what is no certificate."""
        if cafile:
            with open(cafile, "rb") as f:
                cadata = f.read()
        if not isinstance(cadata, str) and b"-----BEGIN" in bytes(cadata):
            cadata = bytes(cadata).rstrip(b"\0").decode()
        try:
            super().load_verify_locations(cadata=cadata)
        except SSLError as e:
            raise ValueError("invalid cert: %s" % e) from e

    def load_cert_chain(self, certfile, keyfile):
        """File names, or PEM or DER bytes. Raises ValueError for what is no certificate or key."""
        names = []
        try:
            for data, pem in ((certfile, _ssl.DER_cert_to_PEM_cert), (keyfile, _key_to_pem)):
                if isinstance(data, str):
                    with open(data, "rb") as f:
                        data = f.read()
                fd, name = tempfile.mkstemp()
                names.append(name)
                with os.fdopen(fd, "wb") as f:
                    f.write(data if b"-----BEGIN" in data else pem(data).encode())
            super().load_cert_chain(*names)
        except SSLError as e:
            raise ValueError("invalid key or cert: %s" % e) from e
        finally:
            for name in names:
                os.unlink(name)

    def wrap_socket(self, sock, server_side=False, do_handshake_on_connect=True, server_hostname=None):
        """A TLSSocket over a umqtt5_host socket."""
        return TLSSocket(self, sock, server_side, do_handshake_on_connect, server_hostname)


def wrap_socket(
    sock,
    server_side=False,
    key=None,
    cert=None,
    cert_reqs=CERT_NONE,
    cadata=None,
    server_hostname=None,
    do_handshake=True,
):
    """The older function, with the same arguments as on MicroPython."""
    context = SSLContext(PROTOCOL_TLS_SERVER if server_side else PROTOCOL_TLS_CLIENT)
    if cert or key:
        context.load_cert_chain(cert, key)
    if cadata:
        context.load_verify_locations(cadata=cadata)
    context.verify_mode = cert_reqs
    return context.wrap_socket(sock, server_side, do_handshake, server_hostname)


class _Chooser(_ssl.SSLSocket):
    """What CPython's own SSLContext.wrap_socket makes: a TLSSocket from our sockets, an SSLSocket from any other."""

    @classmethod
    def _create(
        cls,
        sock,
        server_side=False,
        do_handshake_on_connect=True,
        suppress_ragged_eofs=True,
        server_hostname=None,
        context=None,
        session=None,
    ):
        if isinstance(sock, socket):
            return TLSSocket(context, sock, server_side, do_handshake_on_connect, server_hostname)
        return _ssl.SSLSocket._create(
            sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, server_hostname, context, session
        )


if _ssl.SSLContext.sslsocket_class is _ssl.SSLSocket:
    _ssl.SSLContext.sslsocket_class = _Chooser
