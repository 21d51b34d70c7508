"""wire.py: MQTT data checked in place (1.5, 2.2.2, 4.7)."""
import gc

from support.packets import vbi
from support.t import INTERPRETER, eq, raises, rows, skip
from umqtt5 import wire

HEAP = "8m"
TIMEOUT = 180

# 2.2.2.2, transcribed from the specification: identifier, type, packets that a server may send it in.
# Types: f 0 or 1; 2, 4 bytes; z the same but not zero; s string; t topic; b binary; v variable byte integer; p string pair.
CONNACK, PUBLISH, DISCONNECT, AUTH = 2, 3, 14, 15
ACKS = (4, 5, 6, 7, 9, 11)
EVERY = (CONNACK, PUBLISH, DISCONNECT, AUTH) + ACKS
PROPERTIES = (
    (0x01, "f", (PUBLISH,)),
    (0x02, "4", (PUBLISH,)),
    (0x03, "s", (PUBLISH,)),
    (0x08, "t", (PUBLISH,)),
    (0x09, "b", (PUBLISH,)),
    (0x0B, "v", (PUBLISH,)),
    (0x11, "4", (CONNACK,)),
    (0x12, "s", (CONNACK,)),
    (0x13, "2", (CONNACK,)),
    (0x15, "s", (CONNACK, AUTH)),
    (0x16, "b", (CONNACK, AUTH)),
    (0x17, "f", ()),
    (0x18, "4", ()),
    (0x19, "f", ()),
    (0x1A, "s", (CONNACK,)),
    (0x1C, "s", (CONNACK, DISCONNECT)),
    (0x1F, "s", (CONNACK, DISCONNECT, AUTH) + ACKS),
    (0x21, "2z", (CONNACK,)),
    (0x22, "2", (CONNACK,)),
    (0x23, "2z", (PUBLISH,)),
    (0x24, "f", (CONNACK,)),
    (0x25, "f", (CONNACK,)),
    (0x26, "p", EVERY),
    (0x27, "4z", (CONNACK,)),
    (0x28, "f", (CONNACK,)),
    (0x29, "f", (CONNACK,)),
    (0x2A, "f", (CONNACK,)),
)
GOOD = {
    "f": b"\1",
    "2": b"\0\0",
    "2z": b"\1\0",
    "4": b"\0\0\0\0",
    "4z": b"\1\0\0\0",
    "s": b"\0\3\xe2\x82\xac",
    "t": b"\0\3a/b",
    "b": b"\0\2\0\xff",
    "v": b"\x80\1",
    "p": b"\0\1k\0\0",
}
MALFORMED, PROTOCOL, ALIAS = -0x81, -0x82, -0x94

VBI = (
    (0, b"\x00"),
    (1, b"\x01"),
    (127, b"\x7f"),
    (128, b"\x80\x01"),
    (16383, b"\xff\x7f"),
    (16384, b"\x80\x80\x01"),
    (2097151, b"\xff\xff\x7f"),
    (2097152, b"\x80\x80\x80\x01"),
    (268435455, b"\xff\xff\xff\x7f"),
)
NOT_VBI = (
    b"\x80\0", b"\xff\0", b"\x80\x80\0", b"\xff\xff\xff\0", b"\x80\x80\x80\x80", b"\xff\xff\xff\xff\1",
    b"\xff\xff\xff\x80\0",
)  # fmt: skip


def _block(content):
    # content with its Property Length
    return vbi(len(content)) + content


def _walk(content, packet, after=b""):
    # walk of a block with bytes before and behind it; the offset is checked here: 0 means good
    b = bytearray(b"\xff\xff" + _block(content) + after)
    end = wire.walk(b, 2, len(b), packet)
    if end >= 0:
        eq(end, len(b) - len(after))
        return 0
    return end


def _allowed(packet):
    return [p for p in PROPERTIES if packet in p[2]]


class Random:
    """The same numbers everywhere."""

    def __init__(self, seed):
        self.x = seed

    def below(self, n):
        self.x = (self.x * 25173 + 13849) & 0xFFFF
        return (self.x >> 3) % n


# --- variable byte integers, 1.5.5


def test_vbi_boundary_values():
    for value, coded in rows(VBI):
        eq(wire.vbi(coded, 0, len(coded)), value)
        eq(wire.vbi(b"\xff" + coded + b"\xff", 1, len(coded) + 2), value)
        eq(wire.vbi_size(value), len(coded))


def test_vbi_cut_at_every_byte_is_missing_bytes():
    for _, coded in rows(VBI):
        for end in range(len(coded)):
            eq(wire.vbi(coded, 0, end), -1)


def test_vbi_overlong_and_five_bytes_are_malformed():
    for coded in rows(NOT_VBI):
        eq(wire.vbi(coded, 0, len(coded)), -2)
        eq(wire.vbi(bytearray(coded) + b"\1\1", 0, len(coded) + 2), -2)


def test_vbi_never_reads_behind_the_end():
    eq(wire.vbi(b"\x80\1", 0, 1), -1)
    eq(wire.vbi(b"", 0, 0), -1)
    eq(wire.vbi(b"\1", 1, 1), -1)


# --- UTF-8, 1.5.4

CHARACTERS = (  # code point, its bytes: the ends of each length
    (0x01, b"\x01"),
    (0x7F, b"\x7f"),
    (0x80, b"\xc2\x80"),
    (0x7FF, b"\xdf\xbf"),
    (0x800, b"\xe0\xa0\x80"),
    (0xD7FF, b"\xed\x9f\xbf"),
    (0xE000, b"\xee\x80\x80"),
    (0xFEFF, b"\xef\xbb\xbf"),
    (0xFFFF, b"\xef\xbf\xbf"),
    (0x10000, b"\xf0\x90\x80\x80"),
    (0x10FFFF, b"\xf4\x8f\xbf\xbf"),
)
BAD = (
    b"\0",
    b"\x80",
    b"\xbf",
    b"\xc0\x80",  # U+0000 in two bytes
    b"\xc1\xbf",
    b"\xc2\x7f",
    b"\xc2\xc0",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",  # shortest form is two bytes
    b"\xe1\x80\x7f",
    b"\xe1\x80\xc0",
    b"\xed\xa0\x80",  # surrogates
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf1\x80\x80\x7f",
    b"\xf4\x90\x80\x80",  # above U+10FFFF
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
)


def test_utf8_ends_of_each_length_pass():
    for _, coded in rows(CHARACTERS):
        for n in range(6):
            s = b"abcdefgh"[:n] + coded + b"ijklmnop"[:n]
            assert wire.utf8(s, 0, len(s))
            assert wire.utf8(bytearray(b"\xff" + s + b"\0"), 1, len(s) + 1)


def test_utf8_malformed_is_refused_wherever_it_stands():
    for coded in rows(BAD):
        for n in range(9):
            s = b"abcdefgh"[:n] + coded + b"ijklmnop"[:n]
            assert not wire.utf8(s, 0, len(s)), n


def test_utf8_cut_character_is_refused_and_what_follows_is_not_read():
    for _, coded in rows(CHARACTERS):
        for n in range(1, len(coded)):
            assert not wire.utf8(b"abcd" + coded, 0, 4 + n)
            assert not wire.utf8(coded, n, len(coded))


def test_utf8_empty_string_passes():
    assert wire.utf8(b"", 0, 0)
    assert wire.utf8(b"\xff\xff", 1, 1)


def test_utf8_agrees_with_cpython():
    if INTERPRETER != "cpython":
        skip("CPython's decoder is the judge")
    tails = (b"", b"\x80", b"\xbf", b"a", b"\x80\x80", b"\xbf\xbf", b"\x80\xc0", b"\x90\x80\x80", b"\x80a")
    for a in range(1, 256):
        for b in range(1, 256):
            for tail in tails:
                s = bytes((a, b)) + tail
                try:
                    s.decode()
                    want = True
                except UnicodeError:
                    want = False
                assert wire.utf8(s, 0, len(s)) == want, s


# --- topic names, 4.7

TOPICS = (
    (b"a", 0),
    (b"/", 0),
    (b"a/b c/\xc3\xa9", 0),
    (b"$SYS/x", 0),
    (b"\xef\xbb\xbfx", 0),
    (b"", 0x82),
    (b"+", 0x82),
    (b"#", 0x82),
    (b"a/+/b", 0x82),
    (b"a/#", 0x82),
    (b"a+", 0x82),
    (b"a\0", 0x81),
    (b"\xc0\x80", 0x81),
    (b"+\xff", 0x81),
)


def test_topic_name_in_place():
    for topic, want in rows(TOPICS):
        eq(wire.topic_name(topic, 0, len(topic)), want)
        eq(wire.topic_name(bytearray(b"#" + topic + b"+"), 1, len(topic) + 1), want)


# --- property blocks, 2.2.2


def test_each_property_passes_in_exactly_the_packets_of_the_table():
    for pid, kind, packets in rows(PROPERTIES):
        for packet in range(16):
            eq(_walk(bytes((pid,)) + GOOD[kind], packet), 0 if packet in packets else MALFORMED, packet)


def test_unknown_identifiers_are_malformed():
    known = [p[0] for p in PROPERTIES]
    for pid in range(256):
        if pid not in known:
            for packet in EVERY:
                eq(_walk(bytes((pid, 1, 0, 0, 0)), packet), MALFORMED, pid)


def test_identifier_of_two_bytes_is_malformed():
    for pid, kind, packets in rows(PROPERTIES):
        for packet in packets:
            eq(_walk(bytes((pid | 128, 0)) + GOOD[kind], packet), MALFORMED)
            eq(_walk(bytes((pid | 128, 1)) + GOOD[kind], packet), MALFORMED)


def test_property_given_twice_is_a_protocol_error():
    for pid, kind, packets in rows(PROPERTIES):
        one = bytes((pid,)) + GOOD[kind]
        user = b"\x26\0\0\0\0"
        for packet in packets:
            want = 0 if kind in "vp" else PROTOCOL
            eq(_walk(one + one, packet), want)
            eq(_walk(user + one + user + one, packet), want)


def test_all_properties_of_a_packet_together_in_any_order():
    for packet in rows(EVERY):
        content = [bytes((p[0],)) + GOOD[p[1]] for p in _allowed(packet)]
        for _ in range(len(content)):
            content.append(content.pop(0))
            eq(_walk(b"".join(content), packet, b"\xff\xff"), 0)
        content.reverse()
        eq(_walk(b"".join(content), packet), 0)


def test_two_different_properties_never_count_as_a_repeat():
    for packet in EVERY:
        for a in _allowed(packet):
            for b in _allowed(packet):
                if a is not b:
                    eq(_walk(bytes((a[0],)) + GOOD[a[1]] + bytes((b[0],)) + GOOD[b[1]], packet), 0, (a[0], b[0]))


def test_property_cut_at_every_byte_is_malformed():
    for pid, kind, packets in rows(PROPERTIES):
        one = bytes((pid,)) + GOOD[kind]
        whole = _block(one)
        for packet in packets:
            for n in range(len(whole)):  # the packet ends in the block
                eq(wire.walk(whole, 0, n, packet), MALFORMED, n)
            for n in range(1, len(one)):  # the block ends in the property; more follows
                eq(_walk(one[:n], packet, one[n:]), MALFORMED, n)


def test_empty_block_and_long_block():
    eq(wire.walk(b"\0", 0, 1, PUBLISH), 1)
    eq(wire.walk(b"\0\xff\xff", 0, 3, AUTH), 1)
    pair = b"\x26\0\x64" + b"n" * 100 + b"\0\x64" + b"v" * 100
    for n in (1, 2, 80):
        eq(_walk(pair * n, PUBLISH), 0)
    eq(_walk(b"\x09\xff\xff" + b"\0" * 65535, PUBLISH, b"\1"), 0)
    eq(_walk(b"\x09\xff\xff" + b"\0" * 65534, PUBLISH, b"\1"), MALFORMED)


def test_property_length_missing_overlong_or_too_large_is_malformed():
    for coded in rows(NOT_VBI + (b"", b"\x80", b"\xff\xff\xff", b"\1", b"\xff\x7f", b"\xff\xff\xff\x7f")):
        eq(wire.walk(coded, 0, len(coded), PUBLISH), MALFORMED)


def test_flag_bytes_above_one_are_protocol_errors():
    for pid, kind, packets in rows(PROPERTIES):
        if kind == "f":
            for packet in packets:
                for value in range(256):
                    eq(_walk(bytes((pid, value)), packet), 0 if value < 2 else PROTOCOL)


def test_zero_where_zero_is_an_error():
    for block, packet, want in rows(
        (
            (b"\x21\0\0", CONNACK, PROTOCOL),
            (b"\x21\0\1", CONNACK, 0),
            (b"\x21\xff\xff", CONNACK, 0),
            (b"\x23\0\0", PUBLISH, ALIAS),
            (b"\x23\0\1", PUBLISH, 0),
            (b"\x23\xff\0", PUBLISH, 0),
            (b"\x27\0\0\0\0", CONNACK, PROTOCOL),
            (b"\x27\0\0\0\1", CONNACK, 0),
            (b"\x27\0\0\1\0", CONNACK, 0),
            (b"\x27\0\1\0\0", CONNACK, 0),
            (b"\x27\xff\0\0\0", CONNACK, 0),
            (b"\x0b\0", PUBLISH, PROTOCOL),
            (b"\x0b\1", PUBLISH, 0),
            (b"\x22\0\0", CONNACK, 0),
            (b"\x13\0\0", CONNACK, 0),
            (b"\x11\xff\xff\xff\xff", CONNACK, 0),
            (b"\x02\xff\xff\xff\xff", PUBLISH, 0),
        )
    ):
        eq(_walk(block, packet), want)


def test_subscription_identifier_follows_the_rules_of_variable_byte_integers():
    for value, coded in rows(VBI):
        eq(_walk(b"\x0b" + coded, PUBLISH), 0 if value else PROTOCOL)
    for coded in rows(NOT_VBI):
        eq(_walk(b"\x0b" + coded, PUBLISH), MALFORMED)


def test_strings_of_properties_are_utf8_and_binary_data_is_not():
    for bad in rows(BAD):
        s = bytes((0, len(bad))) + bad
        for pid, kind, packets in PROPERTIES:
            one = bytes((pid,))
            for packet in packets:
                if kind in "st":
                    eq(_walk(one + s, packet), MALFORMED, pid)
                elif kind == "b":
                    eq(_walk(one + s, packet), 0)
                elif kind == "p":
                    eq(_walk(one + s + b"\0\1v", packet), MALFORMED)
                    eq(_walk(one + b"\0\1n" + s, packet), MALFORMED)


def test_empty_strings_pass_where_they_may():
    for pid, kind, packets in rows(PROPERTIES):
        if kind in "sbt":
            eq(_walk(bytes((pid, 0, 0)), packets[0]), PROTOCOL if kind == "t" else 0)


def test_response_topic_has_no_wildcard():
    for topic, want in rows(TOPICS):
        eq(_walk(bytes((8, 0, len(topic))) + topic, PUBLISH), -want)


def test_first_violation_counts():
    eq(_walk(b"\x01\2\xff", PUBLISH), PROTOCOL)
    eq(_walk(b"\xff\x01\2", PUBLISH), MALFORMED)


# --- reading checked blocks


def test_find_and_skip_over_all_properties():
    for packet in rows(EVERY):
        some = _allowed(packet)
        content = b"".join([bytes((p[0],)) + GOOD[p[1]] for p in some])
        for before in (0, 3):
            block = b"\xee" * before + _block(content)
            j = before + (1 if len(content) < 128 else 2)
            for pid, _, _ in some:
                eq(block[j], pid)
                eq(wire.find(block, before, pid), j + 1)
                j = wire.skip(block, j)
            eq(j, len(block))
            for pid in range(43):
                if pid not in [p[0] for p in some]:
                    eq(wire.find(block, before, pid), -1)


def test_find_in_nothing_and_past_the_block():
    eq(wire.find(b"", 0, 1), -1)
    eq(wire.find(b"\0\x01\1", 0, 1), -1)


def test_find_gives_the_first_of_several():
    block = _block(b"\x0b\x80\x01\x26\0\1\x0b\0\1\x0b\x0b\5")
    eq(wire.find(block, 0, 0x0B), 2)
    eq(wire.skip(block, wire.skip(block, 1)), 11)


def test_client_properties_can_be_skipped_too():
    block = _block(b"\x17\1\x18\0\0\0\1\x19\0\x03\0\1x")
    eq(wire.find(block, 0, 3), 11)


# --- anything at all


def test_random_blocks_give_a_code_or_can_be_read():
    r = Random(7)
    from umqtt5 import props

    seen = {}
    b = bytearray(40)
    for _ in range(1500 if INTERPRETER == "wasm32" else 8000):
        n = 1 + r.below(39)
        for i in range(n):
            b[i] = r.below(256) if r.below(3) else PROPERTIES[r.below(27)][0]
        b[0] = n - 1 if r.below(8) else r.below(256)
        _judge(props, b, n, EVERY[r.below(10)], seen)
    assert len(seen) > 2, seen


def test_blocks_with_one_byte_changed_give_a_code_or_can_be_read():
    r = Random(11)
    from umqtt5 import props

    seen = {}
    for _ in range(700 if INTERPRETER == "wasm32" else 6000):
        packet = EVERY[r.below(10)]
        some = _allowed(packet)
        content = b""
        for _ in range(1 + r.below(4)):
            p = some[r.below(len(some))]
            content += bytes((p[0],)) + GOOD[p[1]]
        b = bytearray(_block(content))
        b[r.below(len(b))] = r.below(256)
        _judge(props, b, len(b) - r.below(2) * r.below(len(b)), packet, seen)
    assert 0 in seen and PROTOCOL in seen and MALFORMED in seen, seen


def _judge(props, b, n, packet, seen):
    end = wire.walk(b, 0, n, packet)
    seen[min(end, 0)] = 1
    if end < 0:
        assert end in (MALFORMED, PROTOCOL, ALIAS), end
        return
    assert 0 < end <= n
    got = props.decode(b)
    j = wire.vbi_size(wire.vbi(b, 0, n))
    for _ in got:
        assert 0 < wire.find(b, 0, b[j]) <= j + 1
        j = wire.skip(b, j)
    eq(j, end)
    eq(props.encode(None, got), bytes(b[:end]))


# --- what the application gives


def test_good_topics_come_back_as_they_are():
    for topic in rows((b"a", b"a/b/c", b"\xc3\xa9", b"x" * 65535)):
        assert wire.check_str(topic) is topic
        topic = bytearray(topic)
        assert wire.check_str(topic) is topic
    eq(wire.check_str("a/\u20ac"), b"a/\xe2\x82\xac")
    eq(wire.check_str(memoryview(b"a/b")), b"a/b")
    eq(wire.check_str("\ufeffx"), b"\xef\xbb\xbfx")


def test_wrong_topics_are_refused_with_a_reason():
    bad = ("a\0", b"\0", b"\xff", b"a\xed\xa0\x80", "\ud800", "a" * 65536, "\u20ac" * 21846)
    for topic in rows(("", b"", "+", "a/#", b"a/+/b", bytearray(b"#")) + bad):
        e = raises(ValueError, wire.check_str, topic)
        assert "topic" in str(e) or "surrogates" in str(e), e
    for topic in rows((None, 1, 1.5, ["a"], ("a",), {})):
        raises(TypeError, wire.check_str, topic)


def test_strings_and_binary_data():
    eq(wire.check_str("", "user"), b"")
    eq(wire.check_str("+/#", "user"), b"+/#")
    eq(wire.check_str("x" * 65535, "user"), b"x" * 65535)
    eq(wire.check_str(b"\0\xff", "password", 4), b"\0\xff")
    for s in rows(("a\0", b"\xc0\x80", "x" * 65536, "\udfff")):
        e = raises(ValueError, wire.check_str, s, "user")
        assert "user" in str(e) or "surrogates" in str(e), e
    raises(ValueError, wire.check_str, b"x" * 65536, "password", 4)
    raises(TypeError, wire.check_str, 5, "user")
    raises(TypeError, wire.check_str, None, "user")


# --- 0 bytes

SENSOR = b"sensors/kitchen/temperature"


def _calls():
    e = "s\u00e9/\u20ac/\U0001f600".encode()
    p = _block(b"\x01\1\x02\xff\xff\xff\xff\x03\0\5text\x7e\x08\0\3a/b\x09\0\2\0\xff\x0b\xff\xff\xff\x7f\x23\0\1\x26\0\1k\0\1v")
    c = _block(b"\x27\xff\xff\xff\xff\x21\xff\xff\x11\xff\xff\xff\xff\x26\0\1k\0\1v")
    return (
        (wire.vbi, b"\xff\xff\xff\x7f", 0, 4),
        (wire.vbi, b"\xff\xff\xff\xff\1", 0, 5),
        (wire.vbi_size, 268435455),
        (wire.utf8, SENSOR, 0, len(SENSOR)),
        (wire.utf8, e, 0, len(e)),
        (wire.topic_name, e, 0, len(e)),
        (wire.walk, p, 0, len(p), PUBLISH),
        (wire.walk, p, 0, len(p) - 1, PUBLISH),
        (wire.walk, c, 0, len(c), CONNACK),
        (wire.find, p, 0, 0x26),
        (wire.find, c, 0, 0x26),
        (wire.skip, p, 1),
        (wire.check_str, SENSOR),
        (wire.check_str, bytearray(SENSOR)),
        (wire.check_str, e),
        (wire.check_str, SENSOR, "user"),
    )


def _repeat(f, a, n):
    # n calls without a list of arguments, which would be garbage
    k = len(a)
    x = a[0]
    y = a[1] if k > 1 else 0
    z = a[2] if k > 2 else 0
    w = a[3] if k > 3 else 0
    while n:
        n -= 1
        if k == 1:
            f(x)
        elif k == 2:
            f(x, y)
        elif k == 3:
            f(x, y, z)
        else:
            f(x, y, z, w)


def test_every_check_allocates_nothing():
    if INTERPRETER == "cpython":
        skip("MicroPython's heap")
    import micropython

    gc.disable()
    total = getattr(micropython, "mem_total", gc.mem_alloc)  # counts call frames too
    try:
        for call in rows(_calls()):
            f = call[0]
            a = call[1:]
            costs = []
            for n in (1, 1, 51):
                m = gc.mem_alloc()
                t = total()
                _repeat(f, a, n)
                t = total() - t
                costs.append((gc.mem_alloc() - m, t))
            eq(costs[2], costs[1], "heap, frames")  # what _repeat itself takes is in both
            eq(costs[2][0], 0)
            micropython.heap_lock()
            try:
                _repeat(f, a, 2)
            finally:
                micropython.heap_unlock()
    finally:
        gc.enable()
