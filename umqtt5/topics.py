"""Topic filters: are they well formed, and do they match a topic.

Belongs here: the rules of 4.7 and 4.8.2 on bytes, subscription options, delivery where the server has no subscription
identifiers. Never here: who subscribed to what (subs.py). Loaded by a filter with a wildcard, $share or options. Imports
umqtt5.wire only.
"""
from .strings import topic_name, utf8


def topic_filter(buf, i, end):
    """0 when buf[i:end] is a topic filter; 0x81 for bad UTF-8 or U+0000; 0x82 when it is empty, a wildcard shares its level
    or '#' is not last (4.7.1), or $share/NAME/FILTER lacks a part or has a wildcard in NAME (4.8.2). 0 B."""
    if not utf8(buf, i, end):
        return 0x81
    if buf.find(b"$share/", i, end) == i:
        i += 7
        n = buf.find(b"/", i, end)
        if n < 0 or topic_name(buf, i, n):
            return 0x82
        i = n + 1
    if i >= end:
        return 0x82
    n = 47  # the byte before
    while i < end:
        c = buf[i]
        if n == 35 or n == 43 and c != 47 or n != 47 and (c == 35 or c == 43):
            return 0x82
        n = c
        i += 1
    return 0


def matches(flt, topic, j=0, end=None):
    """True when the well-formed filter `flt` matches the topic name topic[j:end] (4.7); the $share/NAME/ of a shared
    filter is passed over, a leading wildcard matches no topic that starts with $ (4.7.2). 0 B for bytes and bytearray;
    str is encoded."""
    if type(flt) is str:
        flt = flt.encode()
    if type(topic) is str:
        topic = topic.encode()
    if end is None:
        end = len(topic)
    i = flt.find(b"/", 7) + 1 if flt.startswith(b"$share/") else 0
    if j < end and topic[j] == 36 and (flt[i] == 35 or flt[i] == 43):
        return False
    n = len(flt)
    while i < n:
        c = flt[i]
        if c == 35:
            return True
        if c == 43:
            while j < end and topic[j] != 47:
                j += 1
        elif j < end and topic[j] == c:
            j += 1
        else:
            return c == 47 and j == end and i + 2 == n and flt[i + 1] == 35  # a/# matches a
        i += 1
    return j == end


def _match(s, m):
    # To each handler whose filter matches the topic: the server has no subscription identifiers. True when there was one.
    r = False
    i = 0
    while i < len(s._routes):
        f = s._routes[i]
        if f[2] and matches(f[0], m._tb, m._t, m._t + m._n):
            f[2](m)
            r = True
        i += 1
    return r


def _check_filter(s, f, qos=0, no_local=False, retain_as_published=False, retain_handling=0):
    # One filter with its options, checked against the rules and the server's limits: the options byte.
    if min(qos, retain_handling) < 0 or max(qos, retain_handling) > 2:
        raise ValueError("qos and retain_handling are 0, 1 or 2")
    k = 32 if f.startswith(b"$share/") else 0
    if k and no_local:
        raise ValueError("no_local: not with $share (3.8.3-4)")
    if topic_name(f, 0, len(f)):
        k |= 8
    if k and topic_filter(f, 0, len(f)):
        raise ValueError("topic filter %s: empty, or wildcard or share name misplaced" % f)
    if k & ~s._caps:
        raise ValueError("topic filter %s: the server lacks wildcards or shared filters" % f)
    return qos | bool(no_local) << 2 | bool(retain_as_published) << 3 | retain_handling << 4
