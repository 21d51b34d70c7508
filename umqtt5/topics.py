"""Topic filters: are they well formed, and do they match a topic.

Belongs here: the rules of 4.7 and 4.8.2 on bytes. Never here: who subscribed to what (subs.py). Loaded by what
subscribes. Imports umqtt5.wire only.
"""
from .wire import utf8


def topic_filter(buf, i, end):
    """0 when buf[i:end] is a topic filter; 0x81 for bad UTF-8 or U+0000; 0x82 when it is empty, a wildcard shares its level
    or '#' is not last (4.7.1), or $share/NAME/FILTER lacks a part or has a wildcard in NAME (4.8.2). 0 B."""
    if not utf8(buf, i, end):
        return 0x81
    if end - i > 6 and buf.startswith(b"$share/", i):
        i += 7
        n = i
        while n < end and buf[n] != 47:
            if buf[n] == 35 or buf[n] == 43:
                return 0x82
            n += 1
        if n == i:
            return 0x82
        i = n + 1
    if i >= end:
        return 0x82
    n = 47  # the byte before
    while i < end:
        if buf[i] == 35 or buf[i] == 43:
            if n != 47 or i + 1 < end and (buf[i] == 35 or buf[i + 1] != 47):
                return 0x82
        n = buf[i]
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
