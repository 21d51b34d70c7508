"""Setting up: the constructor's work, CONNECT with its Will, opening the socket, CONNACK.

What belongs here: all that is needed once a connection and not again. Loaded by the constructor and connect(); with lean=True
connect() drops it again. What does not: anything that runs while connected (core.py). Imports core, wire; lazily ssl, props,
auth.
"""
import time

from . import MQTTException, wire
from .connack import connack, early, session_tag, settle
from .core import illegal, load, pingresp, puback

_BIG = 0x0FFFFFFF


def construct(
    s,
    client_id,
    server,
    port=0,
    user=None,
    password=None,
    keepalive=60,
    ssl=None,
    rx=512,
    tx=256,
    inflight=1024,
    session_expiry=0,
    store=None,
    lean=False,
    props=b"",
    receive_maximum=0,
    topic_alias_maximum=0,
    aliases=8,
    strict=False,
    timeout=10,
    auth=None,
    transport=None,
    queue_qos0=False,
    drop=None,
    write_ahead=None,
    downgrade_qos=False,
    userdata=None,
):
    """Make a client; see README for what each argument is. Every buffer is allocated here:

    rx + 64 bytes to receive (advertised as Maximum Packet Size), 64 for fragments, tx to send QoS 0, inflight for the session
    image (10 of header, then each QoS 1/2 message with 5 more). Raises ValueError/TypeError for arguments out of range.
    """
    for name, v, low, high in (
        ("port", port, 0, 65535),
        ("keepalive", keepalive, 0, 65535),
        ("rx", rx, 32, 0x0FFFFFFF),
        ("tx", tx, 16, 0x0FFFFFFF),
        ("inflight", inflight, 64, 65535),
        ("session_expiry", session_expiry, 0, 0xFFFFFFFF),
        ("receive_maximum", receive_maximum, 0, 65535),
        ("topic_alias_maximum", topic_alias_maximum, 0, 65535),
        ("aliases", aliases, 0, 255),
    ):
        if not isinstance(v, int) or not low <= v <= high:
            raise ValueError("%s: %s is not in %d..%d" % (name, v, low, high))
    if drop not in (None, "oldest", "newest"):
        raise ValueError('drop: give None, "oldest" or "newest"')
    if client_id is None:
        client_id = b""
    wire.check_str(client_id, "client_id")
    # What is needed once a connection lives in a dictionary of its own (read through Session.__getattr__): the instance's table
    # has to
    # stay sparse, since each method call misses it first (measured: 89 of 97 entries in use made a publish 1.7 times as dear).
    # the hottest first: nearer to their places in the table
    s._zero = s._ready = 0
    s._same = -1
    s._topic = s._ptopic = s._tprops = s._odd = s._tx = s._sw = s._sr = s._sock = None
    s._qmax = s._last = s._th = s._wn = s._i = s._e = s.sent = s.received = s._rq = s._busy = s._left = s._state = s._due = 0
    s._o = o = {
        "client_id": client_id,
        "server": server,
        "port": port,
        "user": user,
        "password": password,
        "keepalive": keepalive,
        "ssl": ssl,
        "auth": auth,
        "lean": lean,
        "userdata": userdata,
        "session_expiry": session_expiry,
        "receive_maximum": receive_maximum or max(1, min(65535, inflight // 64)),
        "topic_alias_maximum": topic_alias_maximum,
        "connack": b"",
        "session_present": False,
        "_transport": transport,
        "_options": (queue_qos0, drop, downgrade_qos, aliases),
        "_method": auth.name.encode() if auth else None,
        "_noinfo": False,
        "_need_clean": False,
        "_amax": 0,
        "_gone": 0,
        "_down_at": time.ticks_ms(),
    }
    o["_connect_props"] = _connect_props(o, props, rx)
    s.keepalive_now = keepalive
    s._rl = min(rx, o.pop("_rl"))
    s._rq = min(127, s._rl - 2)
    s._rx = bytearray(rx + 64)
    s._frag = bytearray(64)
    s._tx = bytearray(tx)
    s._a = bytearray(5)
    s._r = bytearray(3)
    s._full = inflight + 5 * min(o["receive_maximum"], 100)  # identifiers of inbound QoS 2 messages have room of their own
    s.image = m = bytearray(s._full)
    s._cap = inflight
    s._idfree = 0
    s.store = store
    s._save = bool(store and (write_ahead is None or write_ahead))
    k = bool(store and store.load(m))  # the store sees how much room there is
    if k and not check_image(m):
        k = False
        store.error = "the stored session is damaged or of another version: a new one is started"
    if not k:
        o["_need_clean"] = bool(store and getattr(store, "error", None))
        m[:10] = b"M\1\0\0\0\x0a\0\0\0\0"
        m[10:] = b""
        s._idfree = 65534
    s.timeout = timeout
    s._tmo = int(timeout * 1000)
    s.strict = strict
    s._find = wire.find
    s._check = wire.check_topic
    s._tb = s._wx = s._wb = s._pr = s._pw = None
    s._topic = s._tprops = ...
    s._pb = s._head = b""
    s._seen = [None] * 8 + [0]
    s._okprops = [None] * 4 + [0]
    s._texp = s._pong = False
    s._th = s._wo = s._wt = s._owed = s._i = s._e = s._qfast = s._due = 0
    s._h = s._live = [illegal] * 16
    for i in (3, 5, 6, 7, 9, 11, 14, 15):
        s._h[i] = load
    s._h[4] = puback
    s._h[13] = pingresp
    s._caps = 62
    s._smax = s._rmax = 0
    if s.topic_alias_maximum:
        s._acap = min(64 * s.topic_alias_maximum + 2 * rx, 32768)
        s._atab = bytearray(s._acap)
    s.close(0)
    _spread(s)


# Names that every MicroPython has in ROM; with them the table has 127 places. (dir() gives them too, with 40 KB of garbage.)
_ROM = (
    "append args clear close copy count decode encode end errno extend find format from_bytes get index insert items join keys "
    "len list lower map max min next object open ord pop print range read remove replace reverse set sort split start str "
    "strip sum sys tuple"
)


def _spread(s):
    # Each method call misses the instance's table first, and the fuller it is, the longer that takes (measured: 62 of 73 entries
    # made a call up to 1.5 times as dear). So: make it grow, empty it from the end, which leaves no marks, fill it again.
    d = dict(s.__dict__)
    x = list(d)
    for k in _ROM.split():
        if k not in d and len(x) < 100:  # a table of 127, with gaps left
            x.append(k)
            setattr(s, k, 0)
    x = list(s.__dict__)  # in the order of its places: a place is free again only when the next one is
    while x:
        delattr(s, x.pop())
    for k in "_ready _same _head _sr _rx _e _i _busy received _due _topic _tx _th _last _sw _zero _sock _qmax".split() + list(d):
        setattr(s, k, d[k])  # the hottest first: nearest to their places


def check_image(m):
    """True when m is a session image of this layout, record by record."""
    n = len(m)
    if n < 10 or m[0] != 0x4D or m[1] != 1:
        return False
    i = 10
    unsent = m[4] << 8 | m[5]
    seen = i == unsent
    while i < n:
        if i + 5 > n or not 0 < m[i] & 7 < 6:
            return False
        i += 5 + (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)
        seen = seen or i == unsent
    return i == n and seen


def _connect_props(o, p, rx):
    # The property block of CONNECT: the user's in their order, then what the library has to say and the user did not.
    # Leaves what the user said in o.
    f = wire.find
    o["_rl"] = rx
    o["_mps"] = 0
    body = b""
    if p:
        from . import props as names

        p = names.block(p, 1)
        for name, v in names.decode(p):
            if name == "session_expiry_interval":
                o["session_expiry"] = v
            elif name == "receive_maximum" or name == "topic_alias_maximum":
                o[name] = v
            elif name == "maximum_packet_size":
                o["_mps"] = v
                o["_rl"] = min(v, rx)
            elif name == "request_problem_information":
                o["_noinfo"] = not v
            elif name == "authentication_method":
                o["_method"] = v.encode()
        if f(p, 0, 0x16) >= 0 and f(p, 0, 0x15) < 0:
            raise ValueError("authentication_data needs authentication_method")
        body = p[wire.vbi_size(wire.vbi(p, 0, len(p))) :]
    else:
        p = b"\0"
    for pid, name, n in ((0x11, "session_expiry", 4), (0x21, "receive_maximum", 2), (0x22,
    "topic_alias_maximum", 2)):
        if o[name] and f(p, 0, pid) < 0:
            body += bytes((pid,)) + o[name].to_bytes(n, "big")
    o["_expiry"] = o["session_expiry"]
    return body


def set_last_will(s, topic, msg, retain=False, qos=0, props=b""):
    """Will Message of the next connections (3.1.2.5); props: Will properties, dictionary or bytes. ValueError/TypeError."""
    if topic is None:
        s._will = None
        return
    topic = wire.check_topic(topic)
    if not 0 <= qos <= 2:
        raise ValueError("qos: %s is not 0, 1 or 2" % qos)
    if props:
        from . import props as names

        props = names.block(props, 0)
    if isinstance(msg, str):
        msg = msg.encode()
    if len(msg) > 65535:
        raise ValueError("will message: %d bytes, at most 65535" % len(msg))
    s._will = (topic, bytes(msg), 4 | qos << 3 | (32 if retain else 0), props or b"\0")


def _field(b):
    return len(b).to_bytes(2, "big") + b


def _connect_packet(s, clean_start):
    flags = 2 if clean_start else 0
    body = s._connect_props
    # Maximum Packet Size is what rx holds, unless on_chunk takes what is larger
    if s._mps > s._rl and not s.on_chunk:
        raise ValueError("maximum_packet_size %d: rx has only %d bytes, and there is no on_chunk" % (s._mps, s._rl))
    if not s._mps and not s.on_chunk:
        body += b"\x27" + s._rl.to_bytes(4, "big")
    if s.auth:
        body += b"\x15" + _field(s.auth.name.encode())
        d = s.auth.first()
        if d:
            body += b"\x16" + _field(d)
    out = _field(wire.check_str(s.client_id, "client_id"))
    if s._will:
        topic, msg, f, p = s._will
        flags |= f
        out += p + _field(topic) + _field(msg)
    if s.user is not None:
        flags |= 128
        out += _field(wire.check_str(s.user, "user"))
    if s.password is not None:
        flags |= 64
        p = s.password
        if isinstance(p, str):
            p = p.encode()
        if len(p) > 65535:
            raise ValueError("password: at most 65535 bytes")
        out += _field(p)
    n = len(body)
    out = b"\0\4MQTT\5" + bytes((flags, s.keepalive >> 8, s.keepalive & 255)) + _vbi(n) + body + out
    return b"\x10" + _vbi(len(out)) + out


def _vbi(n):
    if n < 128:
        return bytes((n,))
    if n < 16384:
        return bytes((n & 127 | 128, n >> 7))
    return bytes((n & 127 | 128, n >> 7 & 127 | 128, n >> 14))


def connect(s, clean_start: bool = True, timeout=None) -> bool:
    """Connect and wait for the CONNACK, at most `timeout` seconds (default: the constructor's). Returns Session Present.

    Raises Refused (CONNACK of 0x80 or more), OSError (network, time), ProtocolError, ValueError, MQTTException (connected
    already).
    """
    s.start(clean_start, timeout)
    while s._state == 1:
        s.poll(1000)
    if s.lean:
        s._unload()
    return s.session_present


def _unload(s):
    # lean=True: this module is not needed until the next connect. Nothing may hold it.
    import sys

    import umqtt5

    from .core import Session

    for m in ("setup", "connack"):
        sys.modules.pop("umqtt5." + m, None)
        if hasattr(umqtt5, m):
            delattr(umqtt5, m)
    for m in ("start", "connect", "set_last_will", "_unload"):
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
    known = bytes(m[6:10])
    gone = s._expiry != 0xFFFFFFFF and time.ticks_diff(time.ticks_ms(), s._down_at) >= s._expiry * 1000
    if clean_start or known[:2] != tag[:2]:
        settle(s, 0)
        known = b""
    elif known != tag or gone and s.received:
        for k in settle(s, 1):
            s.on_ack(s, *k)
        known = b""
    s._o["_clean"] = not known
    m[6:10] = known or b"\0\0\0\0"
    s.close(0)
    s._h = (early,) * 2 + (connack,) + (early,) * 11 + (load, load if s.auth else early)
    s._i = s._e = s._left = 0
    s._again = False
    if s.topic_alias_maximum:
        s._atab[:] = b""
    s._pong = False
    s._o["session_present"] = False
    s._due = time.ticks_add(time.ticks_ms(), int(timeout * 1000) if timeout else s._tmo)
    t = (s._transport or open_socket)(s)
    s._sock = t
    s._sr = t.readinto
    s._sw = t.write
    s._state = 1
    if s._pw is not None:

        def gate(buf, off, n):
            for _ in s._pw.ipoll(0):
                s._sw = t.write
                if s.ssl:
                    from . import tls

                    s._sw = tls.guard(s, t)
                _pollers(s, t)
                return (s._sw)(buf, off, n)

        s._sw = gate
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

        for ev in (select.POLLIN, select.POLLOUT):
            p = select.poll()
            p.register(t, ev)
            for _ in p.ipoll(0):
                pass
            if s._pr is None:
                s._pr = p
            else:
                s._pw = p
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
