"""Topic aliases, both ways (3.3.2.3.4). Loaded when the server allows them, or sends one. Nothing here outlives a connection.

Out: the first topics of a connection get an alias, first come first served, as many as constructor and server allow. Against least
recently used: a node has few topics, where both are the same; with more topics than slots published in turn LRU replaces one on each
publish and saves nothing, while the first ones kept go on saving. Only QoS 0 carries aliases: QoS 1 and 2 are sent from the image, where
records hold the full topic. In: topics are kept in one buffer of 64 bytes an alias, made by the constructor.
"""
from . import wire

_len = len


class Out:
    """Topics that have an alias on this connection: alias = index + 1."""

    def __init__(self, n):
        self._n = n
        self._t = []
        self._new = None

    def header(self, s, t, props):
        """Encode topic and properties with an alias into tx, as _head() does without. False: no alias for this topic. 0 B."""
        k = 0
        for x in self._t:
            k += 1
            if x == t:
                return self._put(s._tx, b"", props, k, s)
        if k == self._n or type(t) is not bytes:
            return False
        # This packet introduces the alias; publish_slow calls sent() once it is on its way, and the next one is the alias alone.
        if not self._put(s._tx, t, props, k + 1, s):
            return False
        self._new = t
        s._qmax = 0
        return True

    def sent(self, s):
        """The packet that introduces an alias has left."""
        if self._new is not None:
            self._t.append(self._new)
            self._new = None
            s._topic = None

    def _put(self, tx, t, props, k, s):
        # Topic, then the property block with Topic Alias in front: the block is stored 3 bytes further on, and its own length is
        # overwritten by the alias.
        h = _len(t)
        tx[5] = h >> 8
        tx[6] = h & 255
        h += 7
        n = wire.vbi(props, 0, _len(props)) + 3 if props else 3
        i = wire.vbi_size(n)
        if props and i != wire.vbi_size(n - 3) or h + n + i > _len(tx):
            return False
        tx[7:h] = t
        if props:
            tx[h + 3 : h + i + n] = props
        s._th = h + i + n
        tx[h] = n & 127 | (128 if i > 1 else 0)
        if i > 1:
            tx[h + 1] = n >> 7
        h += i
        tx[h] = 0x23
        tx[h + 1] = k >> 8
        tx[h + 2] = k & 255
        return True


def start(s):
    """On CONNACK: as many slots as the server and the constructor allow."""
    s._alias = Out(min(s._options[3], s._amax))


def given(s, props):
    """The user's own topic_alias: checked against the server's maximum; the library's assignment stops for this connection."""
    from . import props as names

    if s._state == 2 and names.get(props, 0, "topic_alias") > s._amax:
        raise ValueError("topic_alias %d: the server's Topic Alias Maximum is %d" % (names.get(props, 0, "topic_alias"), s._amax))
    s._alias = None
    # a record in the image never holds an alias
    return names.encode(3, [x for x in names.decode(props) if x[0] != "topic_alias"])


def incoming(s, m, b, k):
    """Topic Alias of the message m, its value at offset k: define it, or resolve it into m. 0 B."""
    k = b[k] << 8 | b[k + 1]
    if not 0 < k <= s.topic_alias_maximum:
        s.violation(0x94)
    t = s._atab
    i = 0
    while i < _len(t):  # alias (1), length (2), topic
        n = t[i + 1] << 8 | t[i + 2]
        if t[i] == k:
            break
        i += 3 + n
    if m._tb is not None:
        if i < _len(t):
            if n == m._n and _same(t, i + 3, b, m._t, n):
                return
            t[i : i + 3 + n] = b""
        _define(s, m, b, k)
    elif i < _len(t):
        m._tb = t
        m._t = i + 3
        m._n = n
    # else: m._tb stays None: an alias that was not defined, or alias and no topic


def _same(t, i, b, j, n):
    n += i
    while i < n:
        if t[i] != b[j]:
            return False
        i += 1
        j += 1
    return True


def _define(s, m, b, k):
    t = s._atab
    n = m._n
    if _len(t) + 3 + n > s._acap:
        s.violation(0x97, "no room for the topics of aliases")
    t.append(k)
    t.append(n >> 8)
    t.append(n & 255)
    k = m._t
    n += k
    while k < n:
        t.append(b[k])
        k += 1
