"""Connecting: CONNECT with its Will, opening the socket, CONNACK.

What belongs here: all that is needed once a connection and not again. Loaded by connect() and set_last_will(); with lean=True
connect() drops it again. What does not: the constructor's work (construct.py), anything that runs while connected (core.py).
Imports core, wire; lazily ssl, props, auth.
"""
import time

from micropython import const

from . import MQTTException, Refused, wire
from .core import load

_BIG = const(0x0FFFFFFF)
_NO_SESSION = const(b"\0\0\0\0")  # in place of session_tag()


def set_last_will(s, topic, msg, retain=False, qos=0, props=b""):
    """Will Message of the next connections (3.1.2.5); props: Will properties, dictionary or bytes. ValueError/TypeError."""
    if topic is not None:
        topic = wire.check_topic(topic)
        if not 0 <= qos <= 2:
            raise ValueError("qos: %s is not 0, 1 or 2" % qos)
        if props:
            from . import props as names

            props = names.block(props, 0)
        topic = (4 | qos << 3 | (32 if retain else 0), (props or b"\0") + _field(topic) + _field(msg, "will message"))
    s._will = topic


def _field(b, what="x", t=4):
    # With its length in front; t as in wire.check_str().
    b = wire.check_str(b, what, t)
    return len(b).to_bytes(2, "big") + b


def _connect_packet(s, clean_start):
    flags = 2 if clean_start else 0
    body, known = s._given
    for pid, name in zip(b"\x11\x21\x22", ("session_expiry", "receive_maximum", "topic_alias_maximum")):
        if s._o[name] and pid not in known:
            body += bytes((pid,)) + s._o[name].to_bytes(4 if pid == 0x11 else 2, "big")
    # Maximum Packet Size is what rx holds, unless on_chunk takes what is larger
    if not s.on_chunk:
        if 0x27 not in known:
            body += b"\x27" + s._rl.to_bytes(4, "big")
        elif s._mps > s._rl:
            raise ValueError("maximum_packet_size %d: rx has %d bytes" % (s._mps, s._rl))
    if s.auth:
        body += b"\x15" + _field(s._method)
        d = s.auth.first()
        if d:
            body += b"\x16" + _field(d)
    out = _field(s.client_id, "client_id", 3)
    if s._will:
        flags |= s._will[0]
        out += s._will[1]
    if s.user is not None:
        flags |= 128
        out += _field(s.user, "user", 3)
    if s.password is not None:
        flags |= 64
        out += _field(s.password, "password")
    out = b"\0\4MQTT\5" + bytes((flags, s.keepalive >> 8, s.keepalive & 255)) + wire.pack(len(body)) + body + out
    return b"\x10" + wire.pack(len(out)) + out


def _unload(s):
    # lean=True: this module is not needed until the next connect. Nothing may hold it.
    from . import client
    from .core import Session

    client._unload("setup", "resume")
    for m in ("start", "set_last_will", "_unload"):
        if m in Session.__dict__:
            setattr(Session, m, None)  # the table keeps the value of what is deleted
            delattr(Session, m)


def start(s, clean_start=True, timeout=None):
    """Begin to connect without waiting (name look-up apart); poll() carries on until isconnected().

    timeout: seconds until the CONNACK has to be there. Raises MQTTException when connected already, ValueError, OSError.
    """
    if s._state == 2:
        try:
            s.work()
        except (OSError, MQTTException):
            pass  # it was lost, and nobody had noticed
    if s._sock is not None:
        raise MQTTException("already connected: disconnect() first")
    if s._need_clean:
        clean_start = True
    p = _connect_packet(s, clean_start)
    m = s.image
    tag = session_tag(s)
    mode = 2
    s._flight = s._rel = 0
    if clean_start or m[6:8] != tag[:2]:
        mode = 0
    elif m[6:10] != tag or s.received and time.ticks_diff(time.ticks_ms(), s._down_at) >= s._expiry * 1000:  # it is over
        mode = 1
    if len(m) > 10:
        from . import resume  # connack() needs it too: here a lack of memory does no harm

        if mode < 2:
            for k in resume.settle(s, mode):
                s.on_ack(s, *k)
    if mode < 2:
        m[6:10] = _NO_SESSION
    s.close(0)
    s._h = (early,) * 2 + (connack,) + (early,) * 11 + (load, load if s.auth else early)
    s._i = s._e = 0
    s._again = s._pong = s._o["session_present"] = False
    if s.topic_alias_maximum:
        s._atab[:] = b""
    s._due = time.ticks_add(time.ticks_ms(), int(timeout * 1000) if timeout else s._tmo)
    t = (s._transport or open_socket)(s)
    s._sock = t
    s._sr = t.readinto
    s._sw = t.write
    s._state = 1
    if s._pw is not None:

        def write(buf, off, n):  # until the connection stands
            for _ in s._pw.ipoll(0):
                s._sw = t.write
                if s.ssl:
                    from . import tls

                    s._sw = tls.guard(s, t)
                _pollers(s, t)
                return (s._sw)(buf, off, n)

        s._sw = write
    else:
        _pollers(s, t)
    s._rest(p, 0, len(p), 0)
    s.sent += 1
    try:
        s.flush()
    except OSError:
        s.close(0)
        raise


def _pollers(s, t):
    # One poller to read and one to write, made once a connection: modify() would allocate each time.
    t = getattr(t, "sock", t)
    s._pr = s._pw = None
    try:
        import select

        for ev in (select.POLLOUT, select.POLLIN):
            p = select.poll()
            p.register(t, ev)
            for _ in p.ipoll(0):
                pass
            s._pw = s._pr
            s._pr = p
    except (ImportError, OSError, TypeError, AttributeError):
        s._pr = s._pw = None  # not pollable: the faces sleep between looks


def open_socket(s):
    """Open TCP (and TLS) to s.server without waiting for the connection. Leaves the write poller of the raw socket in s._pw."""
    import select
    import socket

    port = s.port or (8883 if s.ssl else 1883)
    a = socket.getaddrinfo(s.server, port, 0, socket.SOCK_STREAM)
    for x in a:
        if x[0] == socket.AF_INET:
            break
    else:
        x = a[0]
    k = socket.socket(x[0], socket.SOCK_STREAM)
    try:
        k.setblocking(False)
        try:
            k.setsockopt(6, 1, 1)  # TCP_NODELAY, on the raw socket
        except (OSError, ValueError):
            pass
        try:
            k.connect(x[-1])
        except OSError as e:
            if e.args[0] not in (115, 119, 36, 11, 112):  # EINPROGRESS of Linux, lwIP, macOS; EAGAIN; RP2040
                raise
        s._pw = p = select.poll()
        p.register(k, select.POLLOUT)
        if s.ssl:
            from . import tls

            k = tls.wrap(s, k)
    except Exception:
        k.close()
        raise
    return k


def session_tag(s):
    """Of whom and with which server the session is: 4 bytes of its image."""
    import binascii

    tag = b""
    for v in (s.client_id, "%s:%d" % (s.server, s.port)):
        tag += (binascii.crc32(wire.check_str(v, "server")) & 0xFFFF | 1).to_bytes(2, "big")
    return tag


def early(s, first, i, end):
    # Anything but CONNACK, AUTH and DISCONNECT before the CONNACK (3.2.0-1)
    s.violation(0x82, "packet type %d before CONNACK" % (first >> 4))


def _get(p, pid, default=None):
    # A property of a checked block: the bytes of a string or of binary data, or an integer; those of 2**28 and more are cut: as
    # limits they mean "none", as seconds "never".
    k = wire.find(p, 0, pid)
    if k < 0:
        return default
    p = p[k : wire.skip(p, k - 1)]
    return p[2:] if wire.TABLE[pid] & 7 > 2 else min(int.from_bytes(p, "big"), _BIG)


def connack(s, first, i, end):
    """CONNACK (3.2): checks it, keeps and obeys each property, settles the session."""
    b = s._rx
    n = end - i
    code = b[i + 1] if n > 1 else 0
    if first == 0x20 and n == 2 and code:
        s.close(0)
        raise Refused("CONNACK", 0x84, 2)  # a server of an older version (3.1.2.2)
    k = -0x81
    if first == 0x20 and n > 2 and b[i] < 2:
        k = wire.walk(b, i + 2, end, 2)
    if k != end:
        s.violation(-k if k < 0 else 0x81, "CONNACK")
    p = bytes(b[i + 2 : end])
    block = p if n > 3 else b""
    if code:
        from . import props, reasons

        if not reasons.legal(code, 2):
            s.violation(0x81, "CONNACK with reason code 0x%02X" % code)
        s.close(0)
        s._o["connack"] = block
        raise Refused("CONNACK", code, 2, props.decode(block) if block else ())
    data = _get(p, 0x16)
    if _get(p, 0x15, s._method if data is None else b"") != s._method:
        s.violation(0x82, "authentication method")
    o = s._o
    if b[i] and s.image[6:10] == _NO_SESSION:
        o["_need_clean"] = True  # the next connect starts clean
        s.violation(0x82, "Session Present without a session here")
    if s.auth:
        try:
            s.auth.done(data)
        except ValueError as e:
            s.violation(0x80, e.args[0])
    o["connack"] = block
    o["_need_clean"] = None
    o["session_present"] = b[i] == 1
    s._state = 2
    s._h = s._live
    # each limit of this connection (3.2.2.3); the defaults stand when the server says nothing
    s._rmax = _get(p, 0x21, 65535)
    s._smax = _get(p, 0x27, _BIG)
    o["_amax"] = _get(p, 0x22, 0)
    k = 0
    for n in b"\x2a\x29\x28\x25":
        k = k << 1 | _get(p, n, 1)
    s._caps = k << 2 | _get(p, 0x24, 2)
    s.keepalive_now = _get(p, 0x13, s.keepalive)
    o["_expiry"] = _get(p, 0x11, s.session_expiry)
    s._qfast = min(len(s._tx) - 3, 129, s._smax)
    s._odd = s._pb  # CONNECT itself was half written
    if s._options[3] and s._amax:
        from . import alias

        alias.Out(s)
    k = _get(p, 0x12)
    if k and not s.client_id:
        o["client_id"] = k.decode()
    s.image[6:10] = session_tag(s)
    gone = ()
    if len(s.image) > 10:
        from . import resume

        gone = resume.settle(s, 2 if b[i] else 1) + resume.trim(s)
    if s._save:
        s.store.save(s.image)
    s.flush()
    s.set_due(time.ticks_ms())
    if s.on_connect:
        from . import reasons

        k = []
        if block:
            from . import props

            k = props.decode(block)
        s._busy = 1
        s.on_connect(s, s.userdata, b[i], reasons.ReasonCode(0, 2), k)
        s._busy = 0
    for k in gone:
        s.on_ack(s, *k)
    if s._state == 2 and not s._wn and len(s.image) > 10:
        s.pump()
