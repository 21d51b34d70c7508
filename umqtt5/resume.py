"""The records of a session image that came from a store or from an earlier connection.

What belongs here: is the image whole, which records are dropped, sent anew or resumed when a session ends or goes on. What does
not: anything while connected (image.py, outbox.py). Loaded by setup.py when there are records.
"""


def _restore(s, m):
    """Load the session image `m` from the store: True when there was a good one. The store sees how much room there is."""
    store = s.store
    if store.load(m):
        if check_image(m):
            return True
        store.error = "the stored session is damaged or of another version: a new one is started"
    s._o["_need_clean"] = bool(getattr(store, "error", None))
    return False


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


def settle(s, mode):
    """What becomes of the records when a session ends or goes on. `mode` 0: those sent are dropped (Clean Start, other client
    id). 1: the server has no session: QoS 1 and 2 PUBLISH go out again as new messages. 2: the session is resumed (4.4).

    A record without its packet (publish_from) ends with the connection: its caller knows.
    Returns what on_ack is to be told: (identifier, code, packet).
    """
    m = s.image
    gone = []
    i = 10
    s._flight = s._rel = 0
    save = s._save
    s._save = False
    while i < len(m):
        k = m[i] & 7
        j = i + 5 + (m[i] >> 2 & 4)
        n = j + (m[i + 3] << 8 | m[i + 4])
        sent = i < m[4] << 8 | m[5]
        if mode == 1 and k == 3 and s.on_ack:  # the server has forgotten it, after it had taken it
            gone.append((m[i + 1] << 8 | m[i + 2], 0x92, 7))
        if k < 3 and n == j or mode < 2 and (k in (3, 4) or not mode and sent and k < 3):
            s._free(i)
            continue
        if k == 3:
            m[i] |= 0x40
            s._rel += 1
        elif k < 3 and sent:
            if mode == 2:
                m[j] |= 8
            else:
                m[j] &= 0xF7
        i = n
    m[4] = 0
    m[5] = 10
    s._flight = s._rel
    s._save = save
    if s._rel:
        from . import qos2  # noqa: F401  for PUBCOMP: here a lack of memory does no harm
    return gone


def trim(s):
    """Records that this server's limits do not allow are dropped: a list of (identifier, 0x95, 0x9B or 0x9A, 4) for on_ack."""
    m = s.image
    i = 10
    cut = []
    while i < len(m):
        k = m[i] & 7
        n = m[i + 3] << 8 | m[i + 4]
        j = i + 5 + (m[i] >> 2 & 4)
        code = 0
        if k < 3:
            code = 0x95 if n > s._smax else 0x9B if k > s._caps & 3 else 0x9A if m[j] & 1 and not s._caps & 4 else 0
        if code:
            cut.append((m[i + 1] << 8 | m[i + 2], code, 4))
            s._refused = cut[-1] + ((),)
            s._free(i)
            s.dropped += 1
        else:
            i = j + n
    return cut if s.on_ack else []


def clear(s, clean, tag):
    """The old session is over before CONNECT: by Clean Start, of another client, or the server has forgotten it by now."""
    for k in settle(s, 0 if clean or s.image[6:8] != tag[:2] else 1):
        s.on_ack(s, *k)


def update(s, present):
    """With the CONNACK: returns what on_ack is to be told later."""
    return settle(s, 1 + present) + trim(s)
