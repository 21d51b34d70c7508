"""Topic aliases, both ways (3.3.2.3.4). Loaded when the server allows them, or sends one. Nothing here outlives a connection.

Out: the first topics of a connection get an alias, first come first served, as many as constructor and server allow. Against
least recently used: a node has few topics, where both are the same; with more topics than slots published in turn LRU replaces
one on each publish and saves nothing, while the first ones kept go on saving. Only QoS 0 carries aliases: QoS 1 and 2 are sent
from the image, where records hold the full topic. In: topics are kept in one buffer of 64 bytes an alias and two of rx, made by
the constructor.
"""
from . import wire

_len = len
_vbi = wire.vbi


class Out:
    """Topics that have an alias on this connection: alias = index + 1. As many as the server and the constructor allow."""

    _next = None  # the topic that the packet in tx introduces

    def __init__(self, s):
        s._odd = True
        s._alias = self
        self._n = min(s._options[3], s._amax)
        self._t = []

    def header(self, s, t, props):
        """Encode topic and properties with an alias into tx, as _head() does without. False: no alias for this topic. 0 B."""
        self._next = None  # what was put into tx for a QoS 1 publish has not been sent from there
        k = 0
        while k < _len(self._t):
            k += 1
            if self._t[k - 1] == t:
                return _put(s, b"", props, k)
        # This packet introduces the alias; publish_slow calls sent() once it is on its way, and the next one is the alias alone.
        k += 1
        if k > self._n or type(t) is not bytes or not _put(s, t, props, k):
            return False
        self._next = t
        s._qmax = s._last = 0
        return True

    def sent(self, s):
        """The packet that introduces an alias has left."""
        if self._next is not None:
            self._t.append(self._next)
            self._next = None
            s._topic = s._tprops = ...


def _put(s, t, props, k):
    # Topic, then the property block with Topic Alias in front: the block is stored 3 bytes further on, and its own length is
    # overwritten by the alias.
    n = 3
    if props:
        n += _vbi(props, 0, 4)
    h = 7 + _len(t)
    if 127 < n < 131 or n > 16383 or h + n + 2 > _len(s._tx):
        return False  # its length takes a byte more now, or there is no room
    s._tx[7:h] = t
    s._tx[5] = _len(t) >> 8
    s._tx[6] = _len(t) & 255
    t = s._tx
    s._te = 0
    s._th = h + n - 2 + (n > 127)
    if props:
        t[h + 3 : s._th + 3] = props
    if n > 127:
        t[h] = n & 127 | 128
        h += 1
        n >>= 7
    t[h] = n
    t[h + 1] = 0x23
    t[h + 2] = 0
    t[h + 3] = k
    return True


def given(s, props):
    """The user's own topic_alias: checked against the server's maximum; the library's assignment stops for this connection."""
    from . import props as names

    k = names.get(props, 0, "topic_alias")
    if s._state == 2 and k > s._amax:
        raise ValueError("topic_alias %d: the server's Topic Alias Maximum is %d" % (k, s._amax))
    s._alias = None
    props = names.decode(props)
    props.remove(("topic_alias", k))  # a record in the image never holds an alias
    return names.encode(3, props)


def incoming(s, k):
    """Topic Alias of the message in s._msg, its value at offset k of rx: define it, or resolve it. 0 B."""
    m = s._msg
    k = s._rx[k] << 8 | s._rx[k + 1]
    if not 0 < k <= s.topic_alias_maximum:
        s.violation(0x94)
    t = s._atab  # alias (2), length (2), topic; and so on
    n = i = 0
    while i < _len(t):
        n = t[i + 3] + (t[i + 2] << 8) + 4
        if t[i] == k >> 8 and t[i + 1] == k & 255:
            break
        i += n
    if m._tb is None:
        if i < _len(t):  # else it stays None: an alias that was not defined, without a topic
            m._tb = t
            m._t = i + 4
            m._n = n - 4
        return
    n += i
    t[i:n] = b""
    i = m._t - 2
    n = m._t + m._n
    if _len(t) + 2 + n - i > s._acap:
        s.violation(0x97, "no room for the topics of aliases")
    t.append(k >> 8)
    t.append(k & 255)
    while i < n:  # the topic with its length
        t.append(m._b[i])
        i += 1
