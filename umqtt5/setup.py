"""Connecting: CONNECT, opening the socket, CONNACK.

What belongs here: all that is needed once a connection and not again. Loaded by connect(); with lean=True connect() drops it
again. What does not: the constructor's work and the Will (construct.py), a CONNACK that says no (rare.py), anything that runs
while connected (core.py). Imports core, strings; lazily wire, socket, select, tls, auth, alias, props, reasons, resume, rare.
"""
import sys

from micropython import const

from . import MQTTClient, MQTTException, _unload, strings
from .core import _diff, _ticks, load

_BIG = const(0x0FFFFFFF)  # limits of 2**28 and more are cut to this: as limits they mean "none", as seconds "never"
_OUT = const(4)  # POLLOUT


def start(s, clean_start=True, timeout=None):
    """Begin to connect without waiting (name look-up apart); poll() carries on until isconnected().

    timeout: seconds until the CONNACK has to be there. Raises MQTTException when connected already, ValueError, OSError.
    """
    if s._state == 2:
        try:
            s._work()
        except (OSError, MQTTException):
            pass  # it was lost, and nobody had noticed
    if s._sock is not None:
        raise MQTTException("already connected: disconnect() first")
    clean_start = clean_start or s._need_clean
    p = s._given  # its properties
    if s.on_chunk:
        p = p[:3]  # without the Maximum Packet Size that rx makes: it takes what is larger
    elif s._mps > s._rl:
        raise ValueError("maximum_packet_size %d: rx has %d bytes" % (s._mps, s._rl))
    p = b"".join(p)
    if s.auth:
        from . import auth

        p += auth.block(s, s.auth.first())
    flags = 2 if clean_start else 0
    out = b""
    for k, v, t in ((0, s.client_id, "client_id"), (128, s.user, "user"), (64, s.password, "password")):
        if v is not None:
            flags |= k
            v = strings.check_str(v, t, 4 if k == 64 else 3)  # a password is binary data
            out += len(v).to_bytes(2, "big") + v
        if not k and s._will:
            flags |= s._will[0]
            out += s._will[1]
    p = b"\0\4MQTT\5" + (flags << 16 | s.keepalive).to_bytes(3, "big") + strings.pack(len(p)) + p + out
    p = strings.pack(0x10) + strings.pack(len(p)) + p
    m = s.image
    tag = _tag(s)
    s._flight = s._rel = 0
    v = clean_start or m[6:10] != tag or s.received and _diff(_ticks(), s._down_at) >= s._expiry * 1000
    if len(m) > 10:
        from . import resume  # connack() needs it too: here a lack of memory does no harm

        if v:
            resume.clear(s, clean_start, tag)
    if v:  # the session is over
        m[6:10] = bytes(4)  # in place of the tag
    s.close(0)
    s._h = [connack] * 14 + [load, load if s.auth else connack]
    s._pong = s._o["session_present"] = False
    if s.topic_alias_maximum:
        s._atab[:] = b""
    s._due_in((int(timeout * 1000) if timeout else s._tmo) or 1)
    try:
        s._sock = t = (s._options[4] or _open_socket)(s)
        s._sr = t.readinto
        s._sw = s._opening
        s._state = 1
        s._write(p, 0, len(p))
    except BaseException:
        s.close(0)
        raise


def _open_socket(s):
    """Open TCP (and TLS) to s.server without waiting for the connection. Leaves the raw socket in s._sock, from where start()
    closes it when anything fails, and its write poller in s._pw."""
    import select
    import socket

    a = socket.getaddrinfo(s.server, s.port or (8883 if s.ssl else 1883), 0, socket.SOCK_STREAM)
    for x in a:
        if x[0] == socket.AF_INET:
            break
    else:
        x = a[0]
    s._sock = k = socket.socket(x[0], socket.SOCK_STREAM)
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
    p.register(k, _OUT)
    if s.ssl:
        from . import tls

        k = tls.start(s, k)
    return k


def _opening(s, b, i, n):
    # The first write of a connection: takes nothing until the raw socket of _open_socket() stands, then makes way for the
    # transport's own. Makes one poller to write and one to read, once a connection: modify() would allocate each time.
    t = s._sock
    k = s._pw
    if k and not k.poll(0):
        return None
    s._sw = t.write
    if k and s.ssl:
        from . import tls

        tls.connect(s, t)
    t = getattr(t, "sock", t)
    try:
        import select

        k = _OUT
        while k:  # and then 1, POLLIN
            p = select.poll()
            p.register(t, k)
            for _ in p.ipoll(0):
                pass
            s._pw = s._pr
            s._pr = p
            k >>= 2
    except (ImportError, OSError, TypeError, AttributeError):
        s._pr = s._pw = None  # not pollable: the faces sleep between looks
    return (s._sw)(b, i, n)


def _tag(s):
    """Of whom and with which server the session is: 4 bytes of its image, the second and the last one odd."""
    import binascii

    tag = b""
    for v in (s.client_id, "%s:%d" % (s.server, s.port)):
        tag += (binascii.crc32(strings.check_str(v, "server")) & 0xFFFF | 1).to_bytes(2, "big")
    return tag


def connack(s, first, i, end):
    """CONNACK (3.2): checks it, keeps and obeys each property, settles the session.

    Handler of all other packets too that must not come before it.
    """
    b = s._rx
    m = s.image
    k = -0x81
    own = False  # wire.py is here for this only
    d = {}  # by identifier: the bytes of a string or of binary data, or an integer
    if first == 0x20 and end - i > 2 and b[i] < 2:
        k = end
        if k - i > 3 or b[i + 2]:  # with properties
            own = "umqtt5.wire" not in sys.modules
            try:
                from . import wire
            except MemoryError:
                s.close(0)
                raise
            k = wire._values(b, i + 2, end, d)
    if k != end or b[i + 1] or b[i] and not m[7]:  # wrong, a refusal, or Session Present without a session here
        s._no_connack(first, k, i, end)
    get = d.get
    if s.auth or 0x15 in d or 0x16 in d:
        s._authenticated(get)
    o = s._o
    o["connack"] = p = bytes(b[i + 2 : end]) if d else b""
    o["_need_clean"] = None
    o["session_present"] = b[i] == 1
    s._state = 2
    s._h = s._live
    # each limit of this connection (3.2.2.3); the defaults stand when the server says nothing
    s._rmax = get(0x21, 65535)
    s._smax = k = get(0x27, _BIG)
    o["_amax"] = n = get(0x22, 0)
    s._caps = get(0x2A, 1) << 5 | get(0x29, 1) << 4 | get(0x28, 1) << 3 | get(0x25, 1) << 2 | get(0x24, 2)
    s.keepalive_now = get(0x13, s.keepalive)
    o["_expiry"] = get(0x11, s.session_expiry)
    s._qfast = min(len(s._tx) - 3, 129, k)
    s._odd = s._pb  # CONNECT itself was half written
    if n and s._options[3]:
        s._alias_begin()
    k = get(0x12)
    if k and not s.client_id:
        o["client_id"] = k.decode()
    m[6:10] = _tag(s)
    gone = ()
    if len(m) > 10:
        from . import resume

        gone = resume.update(s, b[i])
    if s._save:
        s.store.save(m)
    s.flush()
    s._due_in()
    if s.lean:  # not needed until the next connect; nothing may hold it
        _unload("setup", "resume", "tls")
        if own:  # else another module holds it: it would be there twice
            _unload("wire")
        MQTTClient.start = MQTTClient._opening = None  # the table keeps the value of what is deleted
        del MQTTClient.start, MQTTClient._opening
    if s.on_connect:
        from .reasons import _up

        _up(s, b[i], p)
    for k in gone:
        s.on_ack(s, *k)
