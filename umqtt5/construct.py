"""The constructor's work: arguments checked, buffers made, every attribute of the session set.

What belongs here: what is needed once a client. Loaded by MQTTClient(), which drops it again. What does not: connecting
(setup.py).
"""
from . import wire
from .core import illegal, load, pingresp


def construct(
    s, client_id, server, port=0, user=None, password=None, keepalive=60, ssl=None, rx=512, tx=256, inflight=1024,
    session_expiry=0, store=None, lean=False, props=b"", receive_maximum=0, topic_alias_maximum=0, aliases=8, strict=False,
    timeout=10, auth=None, transport=None, queue_qos0=False, drop=None, write_ahead=None, downgrade_qos=False, userdata=None,
):  # fmt: skip
    """Make a client; see README for what each argument is. Every buffer is allocated here:

    rx + 64 bytes to receive (advertised as Maximum Packet Size), 64 for fragments, tx to send QoS 0, inflight for the session
    image (10 of header, then each QoS 1/2 message with 5 more). Raises ValueError/TypeError for arguments out of range.
    """
    for name, v, low, bits in (
        ("port", port, 0, 16),
        ("keepalive", keepalive, 0, 16),
        ("rx", rx, 32, 28),
        ("tx", tx, 16, 28),
        ("inflight", inflight, 64, 16),
        ("session_expiry", session_expiry, 0, 32),
        ("receive_maximum", receive_maximum, 0, 16),
        ("topic_alias_maximum", topic_alias_maximum, 0, 16),
        ("aliases", aliases, 0, 8),
    ):
        if not isinstance(v, int) or v < low or v >> bits:
            raise ValueError("%s: %s is not in %d..%d" % (name, v, low, (1 << bits) - 1))
    if drop not in (None, "oldest", "newest"):
        raise ValueError('drop: give None, "oldest" or "newest"')
    if client_id is None:
        client_id = b""
    wire.check_str(client_id, "client_id")
    # What is needed once a connection lives in a dictionary of its own (read through Session.__getattr__): the instance's table
    # has to stay sparse, since each method call misses it first (measured: 89 of 97 entries in use made a publish 1.7 times as
    # dear).
    s._o = {
        "client_id": client_id, "server": server, "port": port, "user": user, "password": password, "keepalive": keepalive,
        "ssl": ssl, "auth": auth, "lean": lean, "userdata": userdata, "session_expiry": session_expiry,
        "receive_maximum": receive_maximum or max(1, min(65535, inflight // 64)), "topic_alias_maximum": topic_alias_maximum,
        "connack": b"", "session_present": False,
        "_transport": transport, "_options": (queue_qos0, drop, downgrade_qos, aliases), "_given": (b"", b""),
        "_method": auth.name.encode() if auth else None, "_noinfo": False, "_need_clean": False,
        "_expiry": session_expiry, "_amax": 0, "_gone": 0, "_down_at": 0, "_run": s._begin,
    }  # fmt: skip
    s._rl = rx
    if props:
        from . import props as names

        names.given(s, props)
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

        store = resume.restore(s, m)
    if not store:
        m[:] = b"M\1\0\0\0\x0a\0\0\0\0"
        s._idfree = 65534
    s.timeout = timeout
    s._tmo = int(timeout * 1000)
    s.strict = strict
    s._find = wire.find
    s._check = wire.check_topic
    s._pb = b""
    s._seen = [None] * 8 + [0]
    s._h = s._live = [load] * 16
    for i in b"\0\1\2\x08\x0a\x0c":
        s._h[i] = illegal
    s._h[13] = pingresp
    s._caps = 62
    s._same = -1
    s._tb = s._ptopic = s._odd = s._head = s._front = None
    s._texp = s._pong = False
    s._rmax = s._te = s._th = s._i = s._e = s.sent = s.received = s._busy = s._due = s._wo = s._wt = s._qfast = 0
    if s.topic_alias_maximum:
        s._acap = min(64 * s.topic_alias_maximum + 2 * rx, 32768)
        s._atab = bytearray(s._acap)
    s.close(0)
    _spread(s)


def _spread(s):
    # Each method call misses the instance's table first, and the fuller it is, the longer that takes (measured: 62 of 73 entries
    # made a call up to 1.5 times as dear). So: make it grow, empty it from the end, which leaves no marks, fill it again.
    d = dict(s.__dict__)
    n = len(d)
    for k in list(s._o) + list(globals()) + list(wire.__dict__):  # any names will do
        if k not in d and n < 100:  # a table of 127, with gaps left
            n += 1
            setattr(s, k, 0)
    x = list(s.__dict__)  # in the order of its places: a place is free again only when the next one is
    while x:
        delattr(s, x.pop())
    for k in (
        "_ready", "_same", "_head", "_sr", "_rx", "_e", "_i", "_busy", "received", "_due", "_topic", "_tm", "_th", "_last", "_sw",
        "_te", "_sock", "_qmax",
    ) + tuple(d):  # fmt: skip
        setattr(s, k, d[k])  # the hottest first: nearest to their places
