"""TLS around a socket that is still connecting: context, handshake errors in clear words.

`ssl` of the client: True (verified where the system has authorities: CPython; not verified on a board), an SSLContext, or a
mapping with
ca, cert, key (file names), server_hostname, verify (True where there is a ca).
"""
import time


def wrap(s, k):
    """The TLS socket around `k`; nothing is sent yet. ValueError for a bad mapping or file."""
    import ssl

    o = s.ssl
    name = s.server
    if hasattr(o, "wrap_socket"):
        c = o
    else:
        o = {} if o is True else dict(o)
        ca = o.pop("ca", None)
        cert = o.pop("cert", None)
        key = o.pop("key", None)
        name = o.pop("server_hostname", None) or name
        verify = o.pop("verify", None)
        if o:
            raise ValueError("ssl: unknown key %s" % ", ".join(o))
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if verify is None:
            verify = bool(ca) or hasattr(c, "load_default_certs")
        if not verify:
            if hasattr(c, "check_hostname"):
                c.check_hostname = False
            c.verify_mode = ssl.CERT_NONE
        else:
            c.verify_mode = ssl.CERT_REQUIRED
            if ca:
                c.load_verify_locations(cafile=ca)
            elif hasattr(c, "load_default_certs"):
                c.load_default_certs()
            else:
                raise ValueError("ssl: verify needs ca, the file with the authority's certificate")
        if cert:
            c.load_cert_chain(cert, key)
    return c.wrap_socket(k, server_hostname=name, do_handshake_on_connect=False)


def guard(s, t):
    """The write of the handshake: what goes wrong becomes an OSError that says what to do. Replaced by the plain write
    afterwards.
    """

    def write(buf, off, n):
        try:
            n = t.write(buf, off, n)
        except (OSError, ValueError) as e:
            text = str(e)
            if "certificate" in text.lower() or "CERT" in text or "x509" in text.lower() or "cn" in text.lower().split():
                if time.gmtime()[0] < 2024:
                    text += " (the clock is not set: certificates cannot be checked; set it by NTP first)"
                raise OSError(5, "TLS: server certificate refused: " + text) from None
            if isinstance(e, ValueError):
                raise OSError(5, "TLS: " + text) from None
            raise
        if n:
            s._sw = t.write
        return n

    return write
