"""TLS around a socket that is still connecting.

What belongs here: the context from `ssl=`, and handshake errors in clear words. What does not: sockets (setup.py). Imports ssl.

`ssl` of the client: True (verified where the system has authorities: CPython; NOT verified on a board), an SSLContext, or a
mapping:
    ca, cert, key     authority, client certificate and its key: file names or bytes, PEM or DER (which costs a board less RAM);
                      without `key` it is in `cert` too. A board takes the first certificate of `cert`
    server_hostname   for SNI and the check of the name; default: the server's name
    verify            default: True where there is a `ca` (on CPython always)
What goes wrong until CONNACK is an OSError from connect() that says what to do; the handshake is bounded by connect()'s timeout.

Bytes per packet: 0 in every row, as without TLS (measured on MicroPython 1.29 unix: publish and receive at QoS 0, 1 and 2, ping,
idle). mbedtls works outside of the Python heap there and on the ESP32; on the RP2040 its buffers (23 KB, one block of 16 KB) are
in it, made by the handshake. A packet is one record: 29 bytes more on the wire with TLS 1.2. The engine reads until nothing is
left before it waits, so it does not matter what poll() says about bytes that are decrypted already.
"""

import time


def decode(b, what):
    # The bytes of each PEM block of that kind, or [the DER bytes]; b: file name or bytes.
    import binascii

    if isinstance(b, str):
        with open(b, "rb") as f:
            b = f.read()
    out = []
    for p in b.split(b"-----BEGIN ")[1:]:
        name, p = p.split(b"-----")[:2]
        if name.endswith(what):
            out.append(binascii.a2b_base64(p.strip()))
    return out or [b]


def start(s, k):
    """The TLS socket around `k`; nothing is sent yet. ValueError for a bad mapping or certificate, OSError for a missing file."""
    import ssl

    c = s.ssl
    name = s.server
    if not hasattr(c, "wrap_socket"):
        o = {} if c is True else dict(c)
        get = o.pop
        ca = get("ca", None)
        cert = get("cert", None)
        key = get("key", None)
        verify = get("verify", None)
        name = get("server_hostname", None) or name
        if o or key and not cert:
            raise ValueError("ssl: key without cert, or unknown: " + ", ".join(o))
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        system = hasattr(c, "load_default_certs")
        if verify is None:
            verify = ca or system
        c.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        if verify:
            if ca:
                for d in decode(ca, b"CERTIFICATE"):
                    c.load_verify_locations(cadata=d)
            elif system:
                c.load_default_certs()
            else:
                raise ValueError("ssl: verify needs ca, the authority's certificate")
        if cert:
            key = key or cert
            if not system:
                cert = decode(cert, b"CERTIFICATE")[0]
                key = decode(key, b"PRIVATE KEY")[0]
            c.load_cert_chain(cert, key)
    return c.wrap_socket(k, server_hostname=name, do_handshake_on_connect=False)


def connect(s, t):
    """Put write and read of the handshake in place. Both are the plain ones again once the server has sent something."""

    def io(*a):
        try:
            if len(a) > 1:
                return t.write(*a)
            n = t.readinto(*a)
            if n == 0:
                raise OSError
            if n:
                s._sr = t.readinto
                s._sw = t.write
            return n
        except (OSError, ValueError) as e:
            n = e
        text = " ".join(str(n).split())
        k = text.lower()
        if "verify" in k or "x509" in k or "the certificate" in k:
            if time.gmtime()[0] > 2023:
                raise OSError(5, "TLS: server certificate refused: " + text)
            raise OSError(
                5, "TLS: server certificate refused: %s (the clock is not set: set it first, certificates have dates)" % text
            )
        k = n.args[0] if n.args else 32
        if k in (32, 104, -30592):  # mbedtls: a fatal alert, if it was read before the end was seen
            raise OSError(5, "TLS: closed by the server: it may want a client certificate (cert, key), or another one")
        if k in (101, 110, 111, 113):  # TCP's own
            raise n
        raise OSError(5, "TLS: " + text)

    s._sr = s._sw = io
