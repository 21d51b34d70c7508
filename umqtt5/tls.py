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


def _blocks(x, kind):
    # The bytes of each PEM block of that kind, or [the DER bytes]; x: file name or bytes.
    import binascii

    if isinstance(x, str):
        with open(x, "rb") as f:
            x = f.read()
    if b"-----BEGIN" not in x:
        return [x]
    out = []
    for p in x.split(b"-----BEGIN ")[1:]:
        name, p = p.split(b"-----", 1)
        if name.endswith(kind):
            out.append(binascii.a2b_base64(p.split(b"-----")[0].strip()))
    return out


def wrap(s, k):
    """The TLS socket around `k`; nothing is sent yet. ValueError for a bad mapping or certificate, OSError for a missing file."""
    import ssl

    c = s.ssl
    name = s.server
    if not hasattr(c, "wrap_socket"):
        o = {} if c is True else dict(c)
        ca, cert, key, host, verify = [o.pop(x, None) for x in ("ca", "cert", "key", "server_hostname", "verify")]
        if o:
            raise ValueError("ssl: unknown key %s" % ", ".join(o))
        if key and not cert:
            raise ValueError("ssl: key without cert")
        key = key or cert
        name = host or name
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        system = hasattr(c, "load_default_certs")
        if verify is None:
            verify = bool(ca) or system
        if verify and not ca and not system:
            raise ValueError("ssl: verify needs ca, the authority's certificate")
        if system:
            c.check_hostname = False
        c.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        if verify and ca:
            for d in _blocks(ca, b"CERTIFICATE"):
                c.load_verify_locations(cadata=d)
        elif verify:
            c.load_default_certs()
        if cert and system:
            c.load_cert_chain(cert, key)
        elif cert:
            c.load_cert_chain(_blocks(cert, b"CERTIFICATE")[0], _blocks(key, b"PRIVATE KEY")[0])
    return c.wrap_socket(k, server_hostname=name, do_handshake_on_connect=False)


def guard(s, t):
    """The write of the handshake; puts a read in place too. Both are the plain ones again once the server has sent something."""

    def fail(e):
        text = " ".join(str(e).split())
        low = text.lower()
        if "verify" in low or "x509" in low or "the certificate" in low:
            if time.gmtime()[0] < 2024:
                text += " (the clock is not set: set it first, certificates have dates)"
            text = "server certificate refused: " + text
        elif not e.args or e.args[0] in (32, 104, -30592):  # mbedtls: a fatal alert, if it was read before the end was seen
            text = "the server closed the connection during the handshake"
            if isinstance(s.ssl, dict) and "cert" in s.ssl:
                text += ": it may not like the client certificate"
            else:
                text += ": it may want a client certificate (cert, key)"
        elif not isinstance(e, ValueError) and e.args[0] in (101, 110, 111, 113):
            raise e  # TCP's own
        raise OSError(5, "TLS: " + text) from None

    def write(buf, off, n):
        try:
            return t.write(buf, off, n)
        except (OSError, ValueError) as e:
            fail(e)

    def read(buf):
        try:
            n = t.readinto(buf)
        except (OSError, ValueError) as e:
            fail(e)
        if n:
            s._sr = t.readinto
            s._sw = t.write
        elif n == 0:
            fail(OSError())
        return n

    s._sr = read
    return write
