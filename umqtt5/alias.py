"""Topic aliases, both ways (3.3.2.3.4). Loaded when the server allows them, or sends one. Nothing here outlives a connection.

Out: the first topics of a connection get an alias, first come first served, as many as constructor and server allow. Against
least recently used: a node has few topics, where both are the same; with more topics than slots published in turn LRU replaces
one on each publish and saves nothing, while the first ones kept go on saving. Only QoS 0 carries aliases: QoS 1 and 2 are sent
from the image, where records hold the full topic. They stand in the session's list `_alias`: how many there may be, the topic
that the packet in tx introduces or None, then the topics in the order of their aliases. In: topics are kept in one buffer of
64 bytes an alias and two of rx, made by the constructor.
"""
_len = len


def _alias_begin(s):
    """A connection on which aliases may be given."""
    s._odd = True
    s._alias = [min(s._options[3], s._amax), None]


def _alias_out(s, t, props):
    # Encode topic and properties with an alias into tx, as slow._head() does without. False: no alias for this topic. 0 B.
    # Topic, then the property block with Topic Alias in front: the block is stored 3 bytes further on, and its own length is
    # overwritten by the alias.
    a = s._alias
    a[1] = None  # what was put into tx for a QoS 1 publish has not been sent from there
    k = _len(a) - 1
    if t in a:
        k = a.index(t) - 1
        t = b""
    elif k > a[0] or type(t) is not bytes:
        return False
    n = 3  # Property Length with the alias
    if props:
        n = _len(props)
        n += 2 if n < 129 else 1
    h = 7 + _len(t)
    if 127 < n < 131 or n > 16383 or h + n + 2 > _len(s._tx):
        return False  # its length takes a byte more now, or there is no room
    if t:  # this packet introduces the alias; _alias_sent() follows once it is on its way, and the next one is the alias alone
        a[1] = t
        s._qmax = s._last = 0
    s._tx[7:h] = t
    s._tx[5] = _len(t) >> 8
    s._tx[6] = _len(t) & 255
    t = s._tx
    a = h + n + 1 + (n > 127)
    s._th = a - 3
    h += 3
    if props:
        t[h:a] = props
    if n > 127:
        t[h - 3] = n & 127 | 128
        h += 1
        n >>= 7
    t[h - 3] = n
    t[h - 2] = 0x23
    t[h - 1] = 0
    t[h] = k
    return True


def _alias_sent(s):
    # The packet that introduces an alias has left.
    a = s._alias
    if a[1]:
        a.append(a[1])
        a[1] = None
        s._topic = ...


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


def _alias_in(s, k):
    # Topic Alias of the message in s._msg, its value at offset k of rx: define it, or resolve it. 0 B.
    m = s._msg
    k = s._rx[k] << 8 | s._rx[k + 1]
    if not 0 < k <= s.topic_alias_maximum:
        s._violation(0x94)
    t = s._atab  # alias (2), length (2), topic; and so on
    n = i = 0
    while i < _len(t):
        n = (t[i + 2] << 8) + t[i + 3] + 4
        if t[i] << 8 | t[i + 1] == k:
            break
        i += n
    if not m._n:
        if i < _len(t):  # else it stays without a topic: an alias that was not defined
            m._tb = t
            m._t = i + 4
            m._n = n - 4
            m._is = ()
        return
    t[i : n + i] = b""
    i = m._t - 2
    n = m._t + m._n
    if _len(t) + 2 + n - i > s._acap:
        s._violation(0x97, "no room for the topics of aliases")
    t.append(k >> 8)
    t.append(k & 255)
    while i < n:  # the topic with its length
        t.append(m._b[i])
        i += 1
