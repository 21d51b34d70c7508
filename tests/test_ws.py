"""The WebSocket transport (RFC 6455, MQTT 5.0 section 6) over a stream in memory; the tests are the server."""

import gc
import sys

from support import t
from support.t import eq, raises, rows, skip
from umqtt5 import upgrade, ws

SAMPLE = b"the sample nonce"  # RFC 6455 section 1.3
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n" % ACCEPT
)
MICROPYTHON = sys.implementation.name == "micropython"

upgrade.urandom = lambda n: (SAMPLE * 3)[:n]
if t.INTERPRETER == "wasm32":  # that build has no sha1
    upgrade.accept = lambda key: ACCEPT if key == KEY else b"?"


class Stream:
    """A non-blocking stream in memory: `feed` what the server sends, one read takes one piece; `out` is what it got."""

    def __init__(self, *pieces):
        self.pieces = list(pieces)
        self.out = bytearray()
        self.writes = 0
        self.reads = 0
        self.room = None  # bytes the next write may take, None: all
        self.refill = None  # room after each write
        self.ended = False
        self.closed = 0

    def feed(self, *pieces):
        self.pieces.extend(pieces)

    def write(self, buf, off, n):
        assert not self.closed
        if self.room == 0:
            self.room = self.refill
            return None
        self.writes += 1
        if self.room is not None:
            n = min(n, self.room)
            self.room = self.refill
        self.out.extend(bytes(buf[off : off + n]))
        return n

    def readinto(self, buf, n):
        assert not self.closed
        self.reads += 1
        if not self.pieces:
            return 0 if self.ended else None
        p = self.pieces[0]
        k = min(n, len(p))
        buf[0:k] = p[:k]
        self.pieces[0] = p[k:]
        if not self.pieces[0]:
            self.pieces.pop(0)
        return k

    def close(self):
        self.closed += 1

    def taken(self):
        out = bytes(self.out)
        self.out = bytearray()
        return out


def frame(payload=b"", op=2, fin=1, size=None, bits=0):
    """A server's frame; size: 7, 16 or 64 bits of length, the shortest when None."""
    n = len(payload)
    size = size or (7 if n < 126 else 16 if n < 65536 else 64)
    b = bytes((fin << 7 | bits | op,))
    if size == 7:
        return b + bytes((n,)) + payload
    return b + bytes((126 if size == 16 else 127,)) + n.to_bytes(size // 8, "big") + payload


def frames(data):
    """The client's frames -> [(first byte, key, payload)]; every one must be masked and in its shortest form."""
    found = []
    while data:
        n = data[1] & 127
        assert data[1] & 128, "not masked"
        i = 2
        if n == 126:
            n = data[2] << 8 | data[3]
            assert n > 125
            i = 4
        assert n < 65536 and len(data) >= i + 4 + n, "cut"
        key = data[i : i + 4]
        i += 4
        found.append((data[0], key, bytes([data[i + j] ^ key[j & 3] for j in range(n)])))
        data = data[i + n :]
    return found


def opened(*pieces, **kw):
    """(WebSocket after its upgrade, its stream with `pieces` to read)."""
    s = Stream(ANSWER)
    w = ws.client(**kw).attach(s, "broker:8080")
    eq(w.write(b"x", 0, 1), None)  # sends the request
    eq(w.readinto(bytearray(10), 10), None)  # reads the answer
    eq(w._state, 0)
    s.taken()
    s.writes = s.reads = 0
    s.feed(*pieces)
    if MICROPYTHON and t.INTERPRETER == "wasm32":
        w._key = weak
    return w, s


_weak = bytearray(b"\x5a\xc3\x17\x88")


def weak(z, k):
    # masking keys without allocation where the build has no AES
    for i in range(4):
        _weak[i] = _weak[i] * 5 + 3 + i & 255
        k[i] = _weak[i]


def everything(w, size=64):
    """Reads until there is nothing more: (payload, the last result)."""
    got = b""
    buf = bytearray(size)
    while True:
        n = w.readinto(buf, size)
        if not n:
            return got, n
        got += bytes(buf[:n])


# ---------------------------------------------------------------- upgrade


def test_request_offers_mqtt():
    s = Stream()
    w = ws.client("/sock?x=1", [("Authorization", "Basic eDp5"), ("Cookie", "a=b")]).attach(s, "broker:8080")
    eq(s.out, b"")  # nothing before the stream is ready to be written
    eq(w.readinto(bytearray(9), 9), None)
    eq(s.reads, 0)
    eq(w.write(b"abc", 0, 3), None)
    lines = s.taken().split(b"\r\n")
    eq(lines[0], b"GET /sock?x=1 HTTP/1.1")
    eq(lines[-2:], [b"", b""])
    want = (
        b"Host: broker:8080",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: mqtt",
        b"Sec-WebSocket-Key: " + KEY,
        b"Authorization: Basic eDp5",
        b"Cookie: a=b",
    )
    for line in rows(want):
        assert line in lines
    eq(len(lines), 3 + len(want))


def test_request_in_pieces():
    s = Stream(ANSWER)
    s.room = 0
    s.refill = 7
    w = ws.client().attach(s, "h")
    for _ in range(100):
        w.write(b"x", 0, 1)
        if w._state != -2:
            break
    assert s.out.startswith(b"GET /mqtt HTTP/1.1\r\nHost: h\r\n")
    assert s.out.endswith(b"\r\n\r\n")
    assert s.out.count(b"\r\n\r\n") == 1


def test_headers_from_a_dict_and_own_host():
    s = Stream()
    w = ws.client("/", {"X-A": "1"}, host="virtual").attach(s, "h")
    w.write(b"x", 0, 1)
    assert b"\r\nHost: virtual\r\nX-A: 1\r\n" in s.out


def test_line_breaks_are_no_way_to_add_headers():
    for kw in rows(({"path": "/a\r\nX: y"}, {"path": "/a\nX"}, {"headers": {"A": "b\r\nC: d"}}, {"host": "h\rx"})):
        raises(ValueError, ws.client, **kw)


def test_accept_key_of_the_rfc():
    eq(upgrade.accept(KEY), ACCEPT)


GOOD = (
    ANSWER,
    # mosquitto 2.0.11 (libwebsockets)
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n" % ACCEPT,
    # ejabberd
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
    b"Sec-Websocket-Protocol:mqtt\r\n\r\n" % ACCEPT,
    # by the letter of RFC 7230: any case, tokens, spaces and tabs, other headers, no reason phrase, bare line feeds
    b"HTTP/1.1 101 \r\nUPGRADE:\twebSocket \r\nconnection: keep-alive, upgrade\r\nSEC-WEBSOCKET-ACCEPT:  %s  \r\n"
    b"sec-websocket-protocol:\t mqtt\r\nServer: x: y\r\nSet-Cookie: %s\r\nno colon\r\n: empty\r\n\xff\xfe: x\r\n\r\n"
    % (ACCEPT, b"c" * 500),
    b"HTTP/1.1 101 ok\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: %s\n"
    b"Sec-WebSocket-Protocol: mqtt\n\n" % ACCEPT,
)


def test_answers_that_are_right():
    for answer in rows(GOOD):
        for piece in (1, 7, 1000):
            s = Stream(*[answer[i : i + piece] for i in range(0, len(answer), piece)])
            w = ws.client(tx=100).attach(s, "h")
            w.write(b"x", 0, 1)
            s.taken()
            for _ in range(len(answer)):
                eq(w.code, 0)
                if w.write(b"abc", 0, 3):
                    break
            eq(frames(s.taken())[0][2], b"abc")


def without(name):
    return b"\r\n".join([x for x in ANSWER.split(b"\r\n") if not x.startswith(name)])


BAD = (
    (ANSWER.replace(b"101", b"200"), "no upgrade"),
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "no upgrade: 'HTTP/1.1 404 Not Found'"),
    (b"HTTP/1.1 301 Moved\r\nLocation: /x\r\n\r\n", "301"),
    (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "401"),
    (b"HTTP/1.1\r\n\r\n", "no upgrade"),
    (b"\x20\x02\x00\x00\n", "no upgrade"),
    (ANSWER.replace(ACCEPT, KEY), "wrong sec-websocket-accept"),
    (ANSWER.replace(ACCEPT, ACCEPT.lower()), "wrong sec-websocket-accept"),
    (ANSWER.replace(b": mqtt", b": chat"), "wrong sec-websocket-protocol: 'chat'"),
    (ANSWER.replace(b": mqtt", b": mqttv3.1"), "wrong sec-websocket-protocol"),
    (ANSWER.replace(b": websocket", b": h2c"), "wrong upgrade"),
    (ANSWER.replace(b"Connection: Upgrade", b"Connection: close"), "wrong connection"),
    (ANSWER[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "wrong sec-websocket-extensions"),
    (without(b"Sec-WebSocket-Protocol"), "no sec-websocket-protocol in the answer"),
    (without(b"Sec-WebSocket-Accept"), "no sec-websocket-accept in the answer"),
    (without(b"Upgrade"), "no upgrade in the answer"),
    (without(b"Connection"), "no connection in the answer"),
    (ANSWER[:-4] + b"x" * 5000, "too long"),
    (b"", "closed by the server"),
    (ANSWER[:-2], "closed by the server"),
)


def test_answers_that_are_wrong_close_and_say_why():
    for answer, why in rows(BAD):
        for write in (True, False):
            s = Stream(answer) if answer else Stream()
            s.ended = True
            w = ws.client().attach(s, "h")
            w.write(b"x", 0, 1)
            s.taken()

            def go(w=w, write=write):
                for _ in range(100):
                    w.write(b"x", 0, 1) if write else w.readinto(bytearray(4), 4)

            e = raises(OSError, go)
            assert e.args[0] == 71 and why in e.args[1], e.args
            eq((s.closed, w.code, s.taken()), (1, 1006, b""))
            raises(OSError, w.write, b"x", 0, 1)
            raises(OSError, w.readinto, bytearray(4), 4)
            w.close()
            eq(s.closed, 1)


def test_frames_that_come_with_the_answer_are_not_lost():
    for k in (0, 1, 5):
        whole = ANSWER + frame(b"hello") + frame(b"!")
        s = Stream(whole[: len(ANSWER) + k], whole[len(ANSWER) + k :])
        w = ws.client(rx=500).attach(s, "h")
        w.write(b"x", 0, 1)
        got = b""
        for _ in range(4):
            got += everything(w)[0]
        eq(got, b"hello!")


def test_upgrade_module_is_dropped_when_lean():
    s = Stream(ANSWER)
    w = ws.client()
    name = "umqtt5.upgrade"
    module = sys.modules[name]
    try:
        w.attach(s, "h", True)
        w.write(b"x", 0, 1)
        assert w.write(b"x", 0, 1) == 1
        assert name not in sys.modules
    finally:
        sys.modules[name] = sys.modules["umqtt5"].upgrade = module


def test_one_websocket_serves_one_client():
    w, s = opened()
    e = raises(ValueError, w, None)
    assert "one client" in str(e)


# ---------------------------------------------------------------- frames out


def test_one_packet_one_frame_one_write():
    w, s = opened()
    for n in rows((1, 2, 4, 60, 125, 126, 127, 255, 256)):
        data = bytes([i & 255 for i in range(n)])
        s.writes = 0
        eq(w.write(data, 0, n), n)
        eq(s.writes, 1)
        out = s.taken()
        eq(len(out), n + (6 if n < 126 else 8))
        eq([(f[0], f[2]) for f in frames(out)], [(0x82, data)])


def test_offset_and_kinds_of_buffer():
    w, s = opened()
    data = bytes(range(100))
    for buf in (data, bytearray(data), memoryview(data)):
        for off, n in ((0, 5), (1, 9), (37, 63)):
            eq(w.write(buf, off, n), n)
            eq(frames(s.taken())[0][2], data[off : off + n])


def test_long_packets_leave_in_several_frames():
    w, s = opened(tx=100)
    data = bytes([i * 7 & 255 for i in range(1000)])
    i = 0
    while i < 1000:
        i += w.write(data, i, 1000 - i)
    got = frames(s.taken())
    assert len(got) <= 10
    eq(b"".join([f[2] for f in got]), data)
    eq(set([f[0] for f in got]), {0x82})


def test_masking_keys_differ():
    w, s = opened()
    for _ in range(50):
        w.write(b"abcd", 0, 4)
    got = frames(s.taken())
    if t.INTERPRETER == "cpython":
        return  # the tests' own urandom
    assert len(set([f[1] for f in got])) > 48
    assert b"\0\0\0\0" not in [f[1] for f in got]


def test_stream_that_takes_part_of_a_frame():
    data = bytes([i * 3 & 255 for i in range(400)])
    for room in rows((1, 2, 5, 7, 50, 107, 108, 255)):
        for between in (0, None):
            w, s = opened(tx=100)
            s.room = room
            s.refill = room
            i = 0
            for j in range(2000):
                n = w.write(data, i, len(data) - i)
                assert n is None or n > 0
                i += n or 0
                if between == 0:
                    s.room = j & 1 and room
                if i == 400:
                    break
            eq(i, 400)
            eq(b"".join([f[2] for f in frames(s.taken())]), data)


def test_stream_that_takes_nothing():
    w, s = opened()
    s.room = s.refill = 0
    eq(w.write(b"abc", 0, 3), 2)  # the frame is made; its last byte is owed
    eq(w.write(b"abc", 2, 1), None)
    s.room = None
    eq(w.write(b"abc", 2, 1), 1)
    eq(frames(s.taken())[0][2], b"abc")
    eq(w.write(b"def", 0, 3), 3)
    eq(frames(s.taken())[0][2], b"def")
    s.room = 0
    eq(w.write(b"g", 0, 1), None)
    s.room = None
    eq(w.write(b"g", 0, 1), 1)
    eq([f[2] for f in frames(s.taken())], [b"g"])


def test_plain_and_machine_code_masks_agree():
    def plain(t, d, s, o, n, k):
        while d < n:
            t[d] = s[o] ^ k[d & 3]
            d += 1
            o += 1

    data = bytes([i * 11 & 255 for i in range(300)])
    key = b"\x12\x00\xff\x80" + bytes(12)
    for d in (0, 8):
        for o in (0, 1, 3):
            for n in (0, 1, 2, 3, 4, 5, 60, 255):
                a = bytearray(300)
                b = bytearray(300)
                ws._mask(a, d, data, o, d + n, memoryview(key))
                plain(b, d, data, o, d + n, memoryview(key))
                assert a == b


# ---------------------------------------------------------------- frames in


def test_payload_of_every_length_form():
    for n in rows((0, 1, 2, 125, 126, 127, 128, 133, 134, 255, 65535, 65536, 70001)):
        data = bytes([i * 5 & 255 for i in range(n)])
        w, s = opened(frame(data))
        eq(everything(w, 5000), (data, None))


def pieces(data, k):
    return [data[i : i + k] for i in range(0, len(data), k)]


def test_packets_and_frames_are_not_aligned():
    """MQTT-6.0.0-2: one packet in three frames (fragmented or not), five packets in one frame, cut anywhere by the network."""
    packet = bytes(range(60))
    five = b"".join([bytes((0x30 + i,)) * 20 for i in range(5)])
    stream = (
        frame(packet[:10], fin=0)
        + frame(packet[10:30], op=0, fin=0)
        + frame(packet[30:], op=0)
        + frame(five)
        + frame(b"")
        + frame(packet[:1])
        + frame(packet[1:59])
        + frame(packet[59:])
        + frame(b"", fin=0)
        + frame(b"", op=0, fin=0)
        + frame(b"x", op=0)
        + frame(bytes(300), size=16)
        + frame(b"end")
    )
    want = packet + five + packet + b"x" + bytes(300) + b"end"
    for k in rows((1, 2, 3, 5, 64, 133, 1000)):
        for size in (1, 3, 64, 600):
            w, s = opened(*pieces(stream, k))
            eq(everything(w, size), (want, None))


def test_small_frames_take_one_read():
    packet = bytes(range(60))
    w, s = opened(frame(packet), frame(packet) + frame(packet))
    buf = bytearray(200)
    eq(w.readinto(buf, 200), 60)
    eq(s.reads, 1)
    eq(w.readinto(buf, 200), 120)
    eq(s.reads, 2)
    eq(buf[:120], packet + packet)
    eq(w.readinto(buf, 200), None)


def test_long_frames_are_read_straight_into_the_buffer():
    data = bytes([i & 255 for i in range(5000)])
    w, s = opened(frame(data))
    eq(everything(w, 5000), (data, None))
    assert s.reads <= 4, s.reads


def test_end_of_stream():
    w, s = opened(frame(b"last"))
    s.ended = True
    eq(everything(w), (b"last", 0))
    eq(w.code, 0)


def test_ping_is_answered_with_its_payload():
    for payload in rows((b"", b"a", b"ping!", bytes(range(125)))):
        stream = frame(b"ab", fin=0) + frame(payload, op=9) + frame(b"cd", op=0)
        for k in (1, 2, 7, 500):
            w, s = opened(*pieces(stream, k))
            eq(everything(w), (b"abcd", None))
            eq([(f[0], f[2]) for f in frames(s.taken())], [(0x8A, payload)])


def test_pong_is_ignored():
    for k in (1, 50, 500):
        w, s = opened(*pieces(frame(b"x", op=10) + frame(bytes(125), op=10) + frame(op=10) + frame(b"data"), k))
        eq(everything(w), (b"data", None))
        eq(s.taken(), b"")


def test_pong_waits_for_a_half_sent_frame_and_is_never_put_into_it():
    w, s = opened()
    s.room = 3
    s.refill = 0
    eq(w.write(b"abcdef", 0, 6), 5)
    s.feed(frame(b"P", op=9), frame(b"more"))
    eq(everything(w), (b"", None))  # cannot go on reading: the answer has no place yet
    s.room = s.refill = None
    eq(everything(w), (b"more", None))
    eq(w.write(b"f", 0, 1), 1)
    eq([(f[0], f[2]) for f in frames(s.taken())], [(0x82, b"abcdef"), (0x8A, b"P")])


def test_writes_wait_while_half_a_ping_is_there():
    w, s = opened(frame(b"PQ", op=9)[:3])
    eq(everything(w), (b"", None))
    eq(w.write(b"abc", 0, 3), None)
    s.feed(b"Q")
    eq(everything(w), (b"", None))
    eq(w.write(b"abc", 0, 3), 3)
    eq([(f[0], f[2]) for f in frames(s.taken())], [(0x8A, b"PQ"), (0x82, b"abc")])


def test_who_only_writes_is_not_stuck_behind_half_a_ping():
    w, s = opened(frame(b"PQ", op=9)[:3])
    eq(everything(w), (b"", None))
    eq(w.write(b"abc", 0, 3), None)
    s.feed(b"Q" + frame(b"data"))
    eq(w.write(b"abc", 0, 3), 3)
    eq([(f[0], f[2]) for f in frames(s.taken())], [(0x8A, b"PQ"), (0x82, b"abc")])
    eq(everything(w), (b"data", None))
    s.feed(frame(b"\x03\xe8", op=8)[:3])
    eq(everything(w), (b"", None))
    s.feed(b"\xe8")
    eq(w.write(b"abc", 0, 3), None)
    raises(OSError, w.write, b"abc", 0, 3)
    eq(everything(w), (b"", 0))


def test_whole_buffer_without_a_size():
    w, s = opened(frame(b"hello"))
    buf = bytearray(3)
    eq(w.readinto(buf), 3)
    eq(buf, b"hel")
    eq(w.readinto(buf), 2)


def test_pong_that_the_stream_takes_in_part():
    w, s = opened(frame(b"PING", op=9))
    s.room = 2
    s.refill = 3
    eq(everything(w), (b"", None))
    for _ in range(9):
        n = w.write(b"abc", 0, 3)
        if n:
            break
    s.room = None
    while n < 3:
        n += w.write(b"abc", n, 3 - n) or 0
    eq([(f[0], f[2]) for f in frames(s.taken())], [(0x8A, b"PING"), (0x82, b"abc")])


def test_close_is_answered_and_ends_the_stream():
    for payload, code in rows(
        (
            (b"", 1005),
            (b"\x03\xe8", 1000),
            (b"\x03\xe9going away", 1001),
            (b"\x03\xf0", 1008),
            (b"\x0f\xa0" + b"r" * 123, 4000),
        )
    ):
        for k in (1, 3, 500):
            w, s = opened(*pieces(frame(b"data") + frame(payload, op=8) + frame(b"ignored"), k))
            eq(everything(w), (b"data", 0))
            eq(w.code, code)
            eq([(f[0], f[2]) for f in frames(s.taken())], [(0x88, payload)])
            eq(w.readinto(bytearray(9), 9), 0)
            raises(OSError, w.write, b"x", 0, 1)
            eq(s.taken(), b"")
            w.close()
            eq((s.closed, s.taken()), (1, b""))
            eq(w.code, code)


VIOLATIONS = (
    (frame(b"text", op=1), 1003),  # MQTT-6.0.0-1
    (frame(b"te", op=1, fin=0), 1003),
    (frame(b"a", fin=0) + frame(b"t", op=1), 1003),
    (b"\x82\x81\0\0\0\0a", 1002),  # masked by the server
    (frame(b"a", bits=0x40), 1002),
    (frame(b"a", bits=0x20), 1002),
    (frame(b"a", bits=0x10), 1002),
    (frame(b"a", op=0), 1002),  # nothing to continue
    (frame(b"a", fin=0) + frame(b"b"), 1002),  # the first one has not ended
    (frame(b"a", fin=0) + frame(b"b", op=0) + frame(b"c", op=0), 1002),
    (frame(b"a", op=9, fin=0), 1002),  # fragmented control frame
    (frame(b"a", op=8, fin=0), 1002),
    (frame(bytes(126), op=9), 1002),  # long control frame
    (b"\x89\x7f", 1002),
    (frame(b"a", op=8), 1002),  # half a close code
    (frame(b"\x03\xed", op=8), 1002),  # 1005, 1006, 1015 are never sent; below 1000 and above 4999 are no codes
    (frame(b"\x03\xee", op=8), 1002),
    (frame(b"\x03\xf7", op=8), 1002),
    (frame(b"\x03\xe7", op=8), 1002),
    (frame(b"\x13\x88", op=8), 1002),
    (frame(b"a" * 125, size=16), 1002),  # not the shortest length
    (frame(b"a" * 300, size=64), 1002),
    (b"\x82\x7f\0\0\0\0\x40\0\0\0", 1009),
    (b"\x82\x7f\x80\0\0\0\0\0\0\0", 1009),
    (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 1009),
) + tuple([(bytes((0x80 | op, 0)), 1002) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)])


def test_violations_are_answered_with_their_code():
    for stream, code in rows(VIOLATIONS):
        for k in (1, 2, 1000):
            w, s = opened(*pieces(frame(b"before") + stream + frame(b"after"), k))
            got = []

            def go(w=w, got=got):
                buf = bytearray(6)
                while True:
                    n = w.readinto(buf, 6)
                    assert n
                    got.append(bytes(buf[:n]))

            e = raises(OSError, go)
            eq(e.args[0], 71)
            eq(b"".join(got)[:6], b"before")
            eq([(f[0], f[2]) for f in frames(s.taken())], [(0x88, bytes((code >> 8, code & 255)))])
            eq((s.closed, w.code), (1, code))


def test_legal_frames_stay():
    for stream in rows(
        (
            b"\x82\x7f\0\0\0\0\x3f\xff\xff\xff",
            frame(b"", op=9),
            frame(b"a", fin=0) + frame(b"", op=9) + frame(b"", op=0),
            frame(b"\x00" * 126, size=16),
        )
    ):
        w, s = opened(stream)
        eq(everything(w, 500)[1], None)
        eq((s.closed, w.code), (0, 0))


def test_close_says_goodbye_once():
    w, s = opened()
    w.close()
    w.close()
    eq([(f[0], f[2]) for f in frames(s.taken())], [(0x88, b"\x03\xe8")])
    eq(s.closed, 1)
    # not in the middle of a frame
    w, s = opened()
    s.room, s.refill = 3, 0
    w.write(b"abcdef", 0, 6)
    w.close()
    eq((len(s.taken()), s.closed), (3, 1))
    # not before the upgrade, and not when the stream fails
    s = Stream()
    w = ws.client().attach(s, "h")
    w.close()
    eq((s.taken(), s.closed), (b"", 1))
    w, s = opened()

    def fail(buf, off, n):
        raise OSError(104)

    s.write = fail
    w.close()
    eq(s.closed, 1)


def test_a_new_connection_starts_afresh():
    w, s = opened(frame(b"abc", fin=0)[:3])
    eq(everything(w), (b"a", None))
    s.room, s.refill = 3, 0
    w.write(b"abcdef", 0, 6)
    w.close()
    s = Stream(ANSWER, frame(b"new"))
    w.attach(s, "h")
    eq(w.write(b"hi", 0, 2), None)
    eq(w.write(b"hi", 0, 2), 2)
    assert s.taken().startswith(b"GET /mqtt ")
    eq(everything(w), (b"new", None))


def test_random_bytes_only_raise_oserror():
    seed = 12345
    for _ in range(300):
        data = bytearray()
        for _ in range(40):
            seed = seed * 69069 + 1 & 0x3FFFFFFF
            data.append(seed >> 16 & 255)
        if seed & 0x100000:
            data[0] = 0x82
            data[1] &= 15
        w, s = opened(*pieces(bytes(data), 1 + (seed >> 9 & 15)))
        s.ended = True
        try:
            everything(w)
        except OSError:
            assert s.closed


# ---------------------------------------------------------------- cost


class Null:
    """A stream that allocates nothing: takes everything, gives `data` whole."""

    data = b""

    def write(self, buf, off, n):
        return n

    def readinto(self, buf, n):
        k = len(self.data)
        if k:
            buf[0:k] = self.data
        return k or None

    def close(self):
        pass


class Dribble(Null):
    """One byte at a time."""

    i = 0

    def readinto(self, buf, n):
        i = self.i
        if i == len(self.data):
            self.i = 0
            return None
        buf[0] = self.data[i]
        self.i = i + 1
        return 1

    def write(self, buf, off, n):
        return 1


def costs_nothing(f):
    """Fail unless f() allocates nothing: under the heap lock, by gc.mem_alloc and by micropython.mem_total."""
    import micropython

    f()
    micropython.heap_lock()
    try:
        f()
        f()
    finally:
        micropython.heap_unlock()
    gc.disable()
    total = getattr(micropython, "mem_total", int)
    a = gc.mem_alloc()
    m = total()
    i = 1000
    while i:
        i -= 1
        f()
    b = total()
    n = gc.mem_alloc()
    gc.enable()
    eq(n - a, 0, "mem_alloc")
    eq(b - m, 0, "mem_total")


def quiet(stream):
    w, s = opened()
    w._s = stream
    return w


def test_write_allocates_nothing():
    if not MICROPYTHON:
        skip("MicroPython's promise")
    w = quiet(Null())
    data = bytearray(300)
    for n in rows((2, 60, 125, 126, 200)):
        for off in (0, 5):

            def f():
                assert w.write(data, off, n) == n

            costs_nothing(f)
    w._s = Dribble()

    def f():
        n = 0
        while n < 20:
            n += w.write(data, n, 20 - n) or 0

    costs_nothing(f)


def test_readinto_allocates_nothing():
    if not MICROPYTHON:
        skip("MicroPython's promise")
    w = quiet(Null())
    buf = bytearray(600)
    for data, want in rows(
        (
            (b"", None),
            (frame(bytes(2)), 2),
            (frame(bytes(60)), 60),
            (frame(bytes(60)) + frame(bytes(60)), 120),
            (frame(bytes(30), fin=0) + frame(b"ping", op=9) + frame(bytes(10), op=0), 40),
            (frame(bytes(129), size=16), 129),
        )
    ):
        w._s.data = data

        def f():
            assert w.readinto(buf, 600) == want

        costs_nothing(f)
    w._s = Dribble()
    w._s.data = frame(bytes(20)) + frame(b"ab", op=9) + frame(b"c", op=10)

    def f():
        while w.readinto(buf, 600) is not None:
            pass

    costs_nothing(f)


def test_no_attribute_table_is_full():
    # a method call on a table of 17 or 23 that is nearly full costs up to three times as much
    w, s = opened()
    w.write(b"x", 0, 1)
    n = len(w.__dict__)
    assert 17 < n < 0.8 * 23, n
