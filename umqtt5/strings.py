"""Strings and topic names checked, lengths encoded.

Belongs here: what every client needs as long as it lives. Never here: what is only for properties (wire.py), sockets,
sessions. Imports native only, which it drops.
"""

import sys


def pack(n):
    """`n` as a variable byte integer in its shortest form (1.5.5): bytes."""
    return bytes((n,)) if n < 128 else bytes((n & 127 | 128,)) + pack(n >> 7)


try:
    if not sys.implementation._mpy >> 10:  # this board runs no machine code
        raise ImportError
    utf8 = __import__("umqtt5.native", None, None, "_").get()  # kept by no name here
except (SyntaxError, NameError, AttributeError, MemoryError, ImportError):

    def utf8(buf, i, end):
        """True when buf[i:end] is well-formed UTF-8 without U+0000 and surrogates, in shortest form (1.5.4). 0 B."""
        n = v = 0  # continuation bytes to come; what is looked at of the character
        while i < end:
            c = buf[i]
            i += 1
            if n:
                n -= 1
                v = v << 8 | c  # the first two bytes decide: too long a form, above U+10FFFF, a surrogate (0xEDA0)
                if c >> 6 != 2 or v < 0xC200 or v >> 5 == 0x704 or v >> 4 == 0xF08 or v > 0xF48F or v >> 5 == 0x76D:
                    return False
                v = 0xD0  # anything may follow this
            elif c > 127:
                v = c
                n = (c >> 4) - 12 or 1  # of a byte that begins nothing: negative, so it fails below
            elif not c:
                return False
        return not n


del sys  # a name less in the module that this becomes on a board


def topic_name(buf, i, end):
    """0 when buf[i:end] is a topic name; 0x81 for bad UTF-8 or U+0000; 0x82 when empty or with a wildcard (4.7). 0 B."""
    if not utf8(buf, i, end):
        return 0x81
    return 0x82 if i == end or buf.find(b"+", i, end) >= 0 or buf.find(b"#", i, end) >= 0 else 0


def check_str(s, name="topic", t=3):
    """`s` (str or bytes-like) as the bytes of an MQTT string, of binary data (t=4), or of a topic name to publish to, where
    `name`, which names it in errors, ends with "topic". ValueError: bad UTF-8, U+0000, over 65,535 bytes (1.5.4), an empty
    topic or a wildcard in it (4.7). TypeError. 0 B for bytes and bytearray, which are returned as they are."""
    k = type(s)
    if k is not bytes and k is not bytearray:
        s = s.encode() if k is str else bytes(memoryview(s))
    k = len(s)
    k = 0x81 if k > 65535 else t != 4 and topic_name(s, 0, k)
    if k == 0x81:
        raise ValueError(name + ": bad UTF-8, U+0000 or over 65535 bytes")
    if k and name.endswith("topic"):
        raise ValueError(name + ": empty, or with + or #")
    return s
