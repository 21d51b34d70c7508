"""The constructor's work: arguments checked, buffers made, every attribute of the session set. And the Will.

What belongs here: what is needed once a client. Loaded by MQTTClient() and set_last_will(), which drop it again. What does not:
connecting (setup.py).
"""
from . import MQTTClient, _unload, strings
from .core import load


def construct(
    s, client_id, server, port=0, user=None, password=None, keepalive=60, ssl=None, *, session_expiry=0, store=None, lean=False,
    props=b"", receive_maximum=0, topic_alias_maximum=0, strict=False, timeout=10, auth=None, transport=None, userdata=None,
    **more
):  # fmt: skip
    """Make a client; see README for what each argument is, and below for the others. Every buffer is allocated here:

    rx + 64 bytes to receive (advertised as Maximum Packet Size), 64 for fragments, tx to send QoS 0, inflight for the session
    image (10 of header, then each QoS 1/2 message with 5 more). Raises ValueError/TypeError for arguments out of range.
    """
    # These are needed nowhere else: as arguments, their names would stay in RAM for ever.
    names = "rx tx inflight aliases queue_qos0 drop write_ahead downgrade_qos".split()
    get = more.pop
    rx = get(names[0], 512)
    tx = get(names[1], 256)
    inflight = get(names[2], 1024)
    aliases = get(names[3], 8)
    queue_qos0 = get(names[4], False)
    drop = get(names[5], None)
    write_ahead = get(names[6], None)
    downgrade_qos = get(names[7], False)
    if more:
        raise TypeError("no such option: " + ", ".join(more))
    for name, v, low, bits in (
        ("port", port, 0, 16),
        ("keepalive", keepalive, 0, 16),
        ("session_expiry", session_expiry, 0, 32),
        ("receive_maximum", receive_maximum, 0, 16),
        ("topic_alias_maximum", topic_alias_maximum, 0, 16),
        (names[0], rx, 32, 28),
        (names[1], tx, 16, 28),
        (names[2], inflight, 64, 16),
        (names[3], aliases, 0, 8),
    ):
        if not isinstance(v, int) or v < low or v >> bits:
            raise ValueError("%s: %s is not in %d..%d" % (name, v, low, (1 << bits) - 1))
    if drop not in (None, "oldest", "newest"):
        raise ValueError('drop: give None, "oldest" or "newest"')
    if client_id is None:
        client_id = b""
    strings.check_str(client_id, "client_id")
    # What is needed once a connection lives in a dictionary of its own (read through __getattr__): the instance's table has to
    # stay sparse, since each method call misses it first (measured: 89 of 97 entries in use made a publish 1.7 times as dear).
    s._o = o = {
        "client_id": client_id, "server": server, "port": port, "user": user, "password": password, "keepalive": keepalive,
        "ssl": ssl, "auth": auth, "lean": lean, "userdata": userdata, "session_expiry": session_expiry,
        "receive_maximum": receive_maximum or max(1, min(65535, inflight // 64)), "topic_alias_maximum": topic_alias_maximum,
        "connack": b"", "session_present": False, "dropped": 0,
        "_options": (queue_qos0, drop, downgrade_qos, aliases, transport), "_mps": 0,
        "_method": auth.name.encode() if auth else None, "_noinfo": False, "_need_clean": False,
        "_expiry": session_expiry, "_amax": 0, "_gone": 0, "_down_at": 0,
    }  # fmt: skip
    s._rl = rx
    known = b""
    if props:
        from . import props as p

        props, known = p._given(s, props)
    # The properties of CONNECT: the caller's, then these four. Maximum Packet Size, what rx holds, comes last: setup.py leaves it
    # out when on_chunk takes what is larger.
    o["_given"] = x = [props or b"", b"", b"", b""]
    for n, pid, v in (
        (1, 0x11, o["session_expiry"]), (2, 0x21, s.receive_maximum), (2, 0x22, s.topic_alias_maximum), (3, 0x27, s._rl)
    ):  # fmt: skip
        if v and pid not in known:
            x[n] += bytes((pid,)) + v.to_bytes(2 << (n & 1), "big")
    s.keepalive_now = keepalive
    s._rq = min(127, s._rl - 2)
    s._rx = bytearray(rx + 64)
    s._frag = bytearray(64)
    s._tx = bytearray(tx)
    s._tm = memoryview(s._tx)[3:]
    s._a = bytearray(5)
    s._r = bytearray(3)
    s._full = inflight + 5 * min(s.receive_maximum, 100)  # identifiers of inbound QoS 2 messages have room of their own
    s.image = m = bytearray(s._full)
    s._cap = inflight
    s._idfree = 0
    s.store = store
    s._save = bool(store and (write_ahead is None or write_ahead))
    if store:
        from . import resume

        store = resume._restore(s, m)
    if not store:
        m[:] = b"M\1\0\0\0\x0a\0\0\0\0"
        s._idfree = 65534
    s.timeout = timeout
    s._tmo = int(timeout * 1000)
    s.strict = strict
    s._pb = b""
    s._seen = [None] * 8
    s._h = s._live = [load] * 16
    s._caps = 62
    s._same = -1
    s._tb = s._tprops = s._odd = s._head = s._front = s._cb = s._will = s._sock = s._refused = s._msg = s._rpc = None
    s._texp = s._pong = s._again = False
    s._state = 0  # 0 closed, 1 waiting for CONNACK, 2 connected
    s._pubs = ()
    s._zero = s._rel = s._flight = s._at = s._rmax = s._th = s.sent = s.received = s._busy = s._due = s._wo = s._wt = s._qfast = 0
    if s.topic_alias_maximum:
        s._acap = min(64 * s.topic_alias_maximum + 2 * rx, 32768)
        s._atab = bytearray(s._acap)
    s.close(0)
    # Each method call misses the instance's table first, and the fuller it is, the longer that takes (measured: 62 of 73 entries
    # made a call up to 1.5 times as dear). So: make it grow, empty it from the end, which leaves no marks, fill it again.
    d = dict(s.__dict__)
    n = len(d)
    for k in list(o) + list(globals()) + list(MQTTClient.__dict__):  # any names will do
        if k not in d and n < 100:  # a table of 127, with gaps left
            n += 1
            setattr(s, k, 0)
    x = list(s.__dict__)  # in the order of its places: a place is free again only when the next one is
    while x:
        delattr(s, x.pop())
    for k in (
        "_ready", "_same", "_head", "_sr", "_rx", "_e", "_i", "_busy", "received", "_due", "_topic", "_tprops", "_tm", "_th",
        "_last", "_sw", "_sock", "_qmax",
    ) + tuple(d):  # fmt: skip
        setattr(s, k, d[k])  # the hottest first: nearest to their places


def set_last_will(s, topic, msg, retain=False, qos=0, props=b""):
    """Will Message of the next connections (3.1.2.5); props: Will properties, dictionary or bytes. ValueError/TypeError."""
    if topic is not None:
        topic = strings.check_str(topic)
        msg = strings.check_str(msg, "will message", 4)
        if not 0 <= qos <= 2:
            raise ValueError("qos: %s is not 0, 1 or 2" % qos)
        if props:
            from . import props as p

            props = p.block(props, 0)
        will = [props or b"\0"]
        for v in (topic, msg):
            will += (len(v).to_bytes(2, "big"), v)
        topic = 4 | qos << 3 | (32 if retain else 0), b"".join(will)
    s._will = topic
    MQTTClient.set_last_will = None  # the table keeps the value of what is deleted
    del MQTTClient.set_last_will
    _unload("construct")
