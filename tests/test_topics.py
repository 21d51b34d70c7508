"""topics.py: topic filters (4.7, 4.8.2)."""
import gc

from support.t import INTERPRETER, eq, rows, skip
from umqtt5.topics import matches, topic_filter

GOOD = (
    "#", "+", "/", "//", "a", "a/b", "a/#", "/#", "+/#", "+/+", "/+", "+/", "a/+/b", "a//b", "a/b/", "$SYS/#", "a b",
    "\u00e9/\u20ac", "$share", "$shared/a", "$shareX", "$share/g/t", "$share/g/#", "$share/g/+/a", "$share/g//",
    "$share/g/$SYS/x", "$share/\u00e9/t", "$share/$share/$share/a/b",
)  # fmt: skip
WRONG = (
    "", "a#", "#a", "a/#/b", "#/", "##", "#/#", "a+", "+a", "a/+b", "a/b+/c", "++", "+#", "#+", "a/+#", "$share/",
    "$share//", "$share//t", "$share/g", "$share/g/", "$share/g+/t", "$share/+/t", "$share/#/t", "$share/g#/t", "$share/#",
    "$share/g/a#", "$share/g/#/a", "$share/g/a+",
)  # fmt: skip
MALFORMED = (b"\0", b"a/\0", b"\xff", b"a/\xc0\x80", b"\xed\xa0\x80", b"$share/\0/a", b"a+\xff")

MATCH = (
    ("a", "a"), ("a/b/c", "a/b/c"), ("/", "/"), ("//", "//"), ("/a", "/a"), ("a/", "a/"), ("#", "a"), ("#", "a/b/c"),
    ("#", "/"), ("a/#", "a"), ("a/#", "a/"), ("a/#", "a/b"), ("a/#", "a/b/c/d"), ("/#", "/"), ("/#", "/a"), ("+", "a"),
    ("+/+", "/"), ("+/+", "a/b"), ("/+", "/a"), ("/+", "/"), ("+/", "a/"), ("a/+", "a/"), ("a/+/c", "a/b/c"),
    ("a/+/c", "a//c"), ("+/a/#", "b/a"), ("+/#", "a"), ("+/#", "a/b/c"), ("+/+/#", "a/b"), ("a/+/#", "a/b"),
    ("$SYS/#", "$SYS"), ("$SYS/#", "$SYS/a"), ("$SYS/+/x", "$SYS/a/x"), ("a/+", "a/$b"), ("a/#", "a/$b"), ("+/$b", "a/$b"),
    ("$share/g/a/#", "a/b"), ("$share/g/#", "a"), ("$share/g/$SYS/#", "$SYS/a"), ("$share/g//a", "/a"),
    ("$share", "$share"), ("sport/tennis/player1/#", "sport/tennis/player1"),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"), ("\u00e9", "\u00e9"), ("+", "\u20ac"),
    ("+/x", "\u20ac/x"),
)  # fmt: skip
MISS = (
    ("a", "b"), ("a", "aa"), ("aa", "a"), ("a", "a/"), ("a/", "a"), ("a", "/a"), ("a/b", "a/c"), ("a/b", "a"), ("A", "a"),
    ("a", "A"), ("+", "a/b"), ("+", "/a"), ("a/+", "a"), ("a/+", "a/b/c"), ("+/+", "a"), ("+/+", "a/b/c"),
    ("a/+/c", "a/b/d"), ("a/#", "ab"), ("a/#", "b/a"), ("ab/#", "a"), ("a/b/#", "a"), ("/#", "a"), ("a/+/#", "a"),
    ("+/", "a"), ("#", "$SYS"), ("#", "$SYS/a"), ("+", "$SYS"), ("+/a", "$SYS/a"), ("+/#", "$SYS/a"),
    ("$share/g/#", "$SYS/a"), ("$share/g/+/a", "$SYS/a"), ("$share/g/a", "$share/g/a"), ("$share/g/a", "g/a"),
    ("\u00e9", "e\u0301"), ("a\ufeff", "a"),
)  # fmt: skip


def test_well_formed_filters_pass():
    for f in rows(GOOD):
        b = f.encode()
        eq(topic_filter(b, 0, len(b)), 0)
        eq(topic_filter(bytearray(b"+" + b + b"+"), 1, len(b) + 1), 0)


def test_misplaced_wildcards_and_share_names_are_protocol_errors():
    for f in rows(WRONG):
        b = f.encode()
        eq(topic_filter(b, 0, len(b)), 0x82)
        eq(topic_filter(b"/" + b + b"/a", 1, len(b) + 1), 0x82)


def test_malformed_filters():
    for b in rows(MALFORMED):
        eq(topic_filter(b, 0, len(b)), 0x81)


def test_filters_match_as_in_section_4_7():
    for f, t in rows(MATCH):
        assert matches(f, t)
        assert matches(f.encode(), t.encode())
        b = t.encode()
        assert matches(f.encode(), bytearray(b"$/" + b + b"/x"), 2, len(b) + 2)


def test_filters_do_not_match_what_they_should_not():
    for f, t in rows(MISS):
        assert not matches(f, t)
        b = t.encode()
        assert not matches(bytearray(f.encode()), bytearray(b"a/" + b + b"/x"), 2, len(b) + 2)


def _reference(f, t):
    # 4.7 by whole levels
    if f.startswith("$share/"):
        f = f[f.find("/", 7) + 1 :]
    f = f.split("/")
    t = t.split("/")
    if t[0][:1] == "$" and f[0] in ("+", "#"):
        return False
    for i in range(len(f)):
        if f[i] == "#":
            return True
        if i >= len(t) or f[i] not in ("+", t[i]):
            return False
    return len(f) == len(t)


def test_every_short_filter_agrees_with_a_comparison_level_by_level():
    levels = ("", "a", "ab", "$", "+", "#")
    n = 0
    filters = []
    for a in levels:
        filters.append(a)
        for b in levels:
            filters.append(a + "/" + b)
            filters.append(a + "/" + b + "/+")
    topics = [f for f in filters if f and "+" not in f and "#" not in f]
    for f in filters:
        b = f.encode()
        if topic_filter(b, 0, len(b)):
            assert f == "" or "#/" in f, f
            continue
        for t in topics + ["a/b/c", "ab/a/$", "a//"]:
            eq(matches(b, t.encode()), _reference(f, t), (f, t))
            n += 1
    assert n > 500, n


def test_filters_cost_no_heap():
    if INTERPRETER == "cpython":
        skip("MicroPython's heap")
    import micropython

    gc.disable()
    total = getattr(micropython, "mem_total", gc.mem_alloc)
    try:
        for f, t in rows(MATCH[:3] + MATCH[20:] + MISS[25:]):
            f = f.encode()
            t = bytearray(t.encode())
            n = len(f)
            for _ in (0, 1):
                a = gc.mem_alloc()
                b = total()
                topic_filter(f, 0, n)
                matches(f, t)
                b = total() - b
                a = gc.mem_alloc() - a
            eq((a, b), (0, 0))
            micropython.heap_lock()
            try:
                topic_filter(f, 0, n)
                matches(f, t)
            finally:
                micropython.heap_unlock()
    finally:
        gc.enable()
