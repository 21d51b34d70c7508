"""Zero bytes per packet, seen in three ways: the heap locked; gc.mem_alloc() before and after with the collector off;
micropython.mem_total(), which also sees call frames and tracebacks. 64-bit and 32-bit."""

import gc

import micropython

from support import packets as P
from support.t import eq, rows
from support.wire0 import Wire0, measure
from umqtt5 import MQTTClient, props
from umqtt5.link import Link

INTERPRETERS = ("micropython", "wasm32")
TIMEOUT = 180
EXPIRY = props.encode(message_expiry=3600)
PAIRS = props.encode(content_type="text/plain", user_property=("k", "v"))
MSG = b"0123456789abcdef0123456789abcdef"
OTHER = b"0123456789abcdef0123456789abcde"


def connected(given=(), **options):
    """(client, wire) with CONNACK properties `given`."""
    w = Wire0()
    c = MQTTClient("c", "peer", transport=w, **options)
    w.next = P.connack(0, given)
    c.connect()
    return c, w


def costs_nothing(f, n=1000):
    """f() takes no byte from the heap, seen in all three ways."""
    eq(measure(f, n), (0, 0, ""))


def ack(first, code=None):
    """An acknowledgement whose identifier is filled in later."""
    return bytearray((first, 2 if code is None else 3, 0, 0) + (() if code is None else (code,)))


def test_the_measure_itself():
    """It sees each kind of cost, and none where there is none."""
    eq(measure(lambda: None), (0, 0, ""))
    a, t, said = measure(lambda: bytearray(40))
    assert a > 0 and t > 0 and said, (a, t, said)

    def big(a, b, c, d, e, f, g, h):  # a frame of more than 11 words
        return (a + b + c + d + e + f + g + h) * (a + (b + (c + (d + (e + f)))))

    a, t, said = measure(lambda: big(1, 2, 3, 4, 5, 6, 7, 8))
    assert t > 0, (a, t, said)
    w = Wire0()
    buf = bytearray(100)

    def traffic():
        w.next = MSG
        w.readinto(buf)
        w.write(buf, 3, 20)

    eq(measure(traffic), (0, 0, ""))


def test_publish_qos_0():
    c, w = connected()
    topics = (b"site/room/1", b"site/room/2", b"site/room/3")
    state = [0]

    def same():
        c.publish(b"site/room/1", MSG)

    def changing():
        i = state[0]
        state[0] = i + 1 & 1
        c.publish(topics[i], MSG)

    def with_properties():
        c.publish(b"site/room/1", MSG, False, 0, EXPIRY)

    def changing_properties():
        c.publish(b"site/room/1", MSG, False, 0, EXPIRY)
        c.publish(b"site/room/2", MSG, False, 0, PAIRS)
        c.publish(b"site/room/2", MSG)

    def retained():
        c.publish(b"site/room/1", MSG, True)

    def other_lengths():
        c.publish(b"site/room/1", MSG)
        c.publish(b"site/room/1", OTHER)
        c.publish(b"site/room/1", b"")

    large = bytes(180)

    def two_bytes_of_length():
        c.publish(b"site/room/1", large)

    beyond = bytes(1000)

    def beyond_tx():
        c.publish(b"site/room/1", beyond)

    text = "site/room/1"

    def topic_as_str():
        c.publish(text, MSG)

    mutable = bytearray(b"payload")

    def payload_bytearray():
        c.publish(b"site/room/1", mutable)

    for f in rows(
        (
            same,
            changing,
            with_properties,
            changing_properties,
            retained,
            other_lengths,
            two_bytes_of_length,
            beyond_tx,
            topic_as_str,
            payload_bytearray,
        )
    ):
        n = w.count
        costs_nothing(f)
        assert w.count > n


class Acked:
    """one(): a publish and all its acknowledgements. An object: a closure over all of this has more than 11 words."""

    def __init__(self, c, w, qos, block=b""):
        self.c = c
        self.w = w
        self.qos = qos
        self.block = block
        self.answers = [ack(0x40)] if qos == 1 else [ack(0x50), ack(0x70)]

    def one(self):
        self.answer(self.c.publish(b"site/room/1", MSG, False, self.qos, self.block))

    def answer(self, pid):
        for packet in self.answers:
            packet[2] = pid >> 8
            packet[3] = pid & 255
            self.give(packet)

    def give(self, packet):
        c = self.c
        while c.wants_write():
            c.poll()
        self.w.next = packet
        while self.w.next is not None:
            c.poll()
        while c.wants_write():
            c.poll()


def acked(c, w, qos, block=b""):
    """One publish and all its acknowledgements."""
    return Acked(c, w, qos, block).one


def test_publish_qos_1_with_puback():
    c, w = connected()
    costs_nothing(acked(c, w, 1))
    eq(c.pending(), 0)


def test_publish_qos_2_with_pubrec_and_pubcomp():
    c, w = connected()
    costs_nothing(acked(c, w, 2))
    eq(c.pending(), 0)


def test_publish_with_properties_and_acks():
    c, w = connected()
    for qos in rows((1, 2)):
        costs_nothing(acked(c, w, qos, PAIRS))


def test_on_ack_is_told():
    c, w = connected()
    told = [0, 0]

    def on_ack(client, pid, code, packet):
        told[0] += 1

    c.on_ack = on_ack
    costs_nothing(acked(c, w, 1))
    costs_nothing(acked(c, w, 2))
    assert told[0] > 2000


def test_several_in_flight():
    c, w = connected(inflight=2048)
    puback = ack(0x40)

    def window():
        first = c.publish(b"t", MSG, False, 1)
        c.publish(b"t", MSG, False, 1)
        c.publish(b"t", MSG, False, 1)
        done(first + 1 if first < 65535 else 1)
        done(first)
        done(first + 2 if first < 65534 else first - 65533)

    def done(pid):
        puback[2] = pid >> 8
        puback[3] = pid & 255
        w.next = puback
        c.poll()

    costs_nothing(window)
    eq(c.pending(), 0)


def test_publications():
    c, w = connected()
    p = c.publication("site/room/1", 32)
    q = c.publication("site/room/1", 32, True, 0, EXPIRY)
    p.buf[:] = MSG

    def send():
        p.send(MSG)

    def send_any():
        q.send_any(MSG)
        q.send_any(OTHER)

    def in_place():
        p.send_in_place(32)

    for f in rows((send, send_any, in_place)):
        costs_nothing(f)


def test_first_calls_of_a_publication():
    c, w = connected()
    for _ in range(3):  # the first one loads modules
        p = c.publication("site/room/1", 32)
        q = c.publication("site/room/2", 32)
        gc.disable()
        n = gc.mem_alloc()
        p.send(MSG)
        p.send_any(MSG)
        p.send_in_place(32)
        q.send_in_place(32)
        q.send_any(OTHER)
        q.send(MSG)
        n = gc.mem_alloc() - n
        gc.enable()
    eq(n, 0)


class Taker:
    """A handler that uses every accessor that is free."""

    def __init__(self):
        self.n = 0
        self.buf = bytearray(256)

    def on_message(self, m):
        if m.is_topic(b"cmd/other"):
            return
        if m.is_topic(b"cmd/number") and m.startswith(b"cmd/"):
            self.n += m.int()
        self.n += m.payload_len() + m.byte(0) + m.qos() + m.retain() + m.dup()
        m.copy_into(self.buf)


def test_receive_qos_0():
    c, w = connected()
    t = Taker()
    c.on_message = t.on_message
    packet = P.publish("cmd/number", b"123456")
    other = P.publish("cmd/text", b"abc")

    def one():
        w.next = packet
        c.poll()

    def changing():
        w.next = packet
        c.poll()
        w.next = other
        c.poll()

    costs_nothing(one)
    costs_nothing(changing)
    assert t.n


def test_receive_qos_1():
    c, w = connected()
    t = Taker()
    c.on_message = t.on_message
    packet = P.publish("cmd/number", b"123456", 1, 7)

    def one():
        w.next = packet
        c.poll()

    n = w.count
    costs_nothing(one)
    assert t.n and w.count > n + 4000


def test_receive_qos_2():
    c, w = connected()
    t = Taker()
    c.on_message = t.on_message
    packet = P.publish("cmd/number", b"123456", 2, 7)
    pubrel = P.pubrel(7)

    def one():
        w.next = packet
        c.poll()
        w.next = pubrel
        c.poll()

    def repeated():
        w.next = packet
        c.poll()
        w.next = packet
        c.poll()
        w.next = pubrel
        c.poll()

    costs_nothing(one)
    costs_nothing(repeated)
    assert t.n


def test_receive_with_properties():
    c, w = connected()
    t = Taker()
    c.on_message = t.on_message
    packet = P.publish(
        "cmd/number", b"12", 0, None, [("content_type", "x"), ("user_property", ("k", "v")), ("message_expiry_interval", 9)]
    )

    def one():
        w.next = packet
        c.poll()

    costs_nothing(one)


def test_several_packets_in_one_read():
    c, w = connected()
    t = Taker()
    c.on_message = t.on_message
    packet = (
        P.publish("cmd/number", b"1")
        + P.publish("cmd/number", b"2", 1, 1)
        + P.pingresp()
        + P.publish("cmd/x", b"3")
        + P.puback(9)
    )

    def one():
        w.next = packet
        c.poll()

    costs_nothing(one)


def test_delivery_by_subscription_identifier():
    c, w = connected()
    t = Taker()
    w.next = P.suback(1, [0])
    c.subscribe("cmd/#", to=t.on_message)
    w.next = P.suback(2, [0])
    c.subscribe("other/#", to=t.on_message)
    packet = P.publish("cmd/number", b"12", 0, None, [("content_type", "x"), ("subscription_identifier", 1)])
    two = P.publish("cmd/number", b"12", 0, None, [("subscription_identifier", 1), ("subscription_identifier", 2)])

    def one():
        w.next = packet
        c.poll()

    def both():
        w.next = two
        c.poll()

    costs_nothing(one)
    costs_nothing(both)
    assert t.n


def test_delivery_by_filter_where_the_server_has_no_identifiers():
    c, w = connected([("subscription_identifier_available", 0)])
    t = Taker()
    w.next = P.suback(1, [0])
    c.subscribe("cmd/#", to=t.on_message)
    w.next = P.suback(2, [0])
    c.subscribe("other/+", to=t.on_message)
    packet = P.publish("cmd/number", b"12")

    def one():
        w.next = packet
        c.poll()

    costs_nothing(one)
    assert t.n


def test_ping_and_pong():
    c, w = connected()
    pong = P.pingresp()
    told = [0]

    def on_pong(c):
        told[0] += 1

    c.on_pong = on_pong

    def one():
        c.ping()
        w.next = pong
        c.poll()

    costs_nothing(one)
    assert told[0] > 1000


def test_idle_poll():
    c, w = connected()

    def idle():
        c.poll()

    def check():
        c.check_msg()

    costs_nothing(idle)
    costs_nothing(check)


def test_a_link():
    c, w = connected()
    link = Link(c)
    c.on_message = lambda m: m.is_topic(b"site/cmd")
    packet = P.publish("site/cmd", b"on")

    def idle():
        link.poll()

    def message():
        w.next = packet
        link.poll()

    costs_nothing(idle)
    eq(link.up, True)
    costs_nothing(message)


def test_aliases_out():
    c, w = connected({"topic_alias_maximum": 4})
    for _ in range(2):
        c.publish(b"site/room/1", MSG)
        c.publish(b"site/room/2", MSG, False, 0, EXPIRY)
    n = w.count
    c.publish(b"site/room/1", MSG)
    assert w.count - n < 45

    def same():
        c.publish(b"site/room/1", MSG)

    def changing():
        c.publish(b"site/room/1", MSG)
        c.publish(b"site/room/2", MSG, False, 0, EXPIRY)

    costs_nothing(same)
    costs_nothing(changing)


def test_aliases_in():
    c, w = connected(topic_alias_maximum=4)
    t = Taker()
    c.on_message = t.on_message
    define = P.publish("cmd/number", b"1", 0, None, {"topic_alias": 2})
    use = P.publish("", b"2", 0, None, {"topic_alias": 2})
    anew = P.publish("cmd/other/topic", b"3", 0, None, {"topic_alias": 2})

    def one():
        w.next = use
        c.poll()

    def mapped():
        w.next = define
        c.poll()
        w.next = use
        c.poll()
        w.next = anew
        c.poll()

    w.next = define
    c.poll()
    costs_nothing(one)
    costs_nothing(mapped)


def test_arrival_byte_by_byte():
    c, w = connected()
    t = Taker()
    c.on_message = t.on_message
    w.single = True
    for packet in rows(
        (
            P.publish("cmd/number", b"123456"),
            P.publish("cmd/number", b"123456", 1, 9),
            P.publish("cmd/number", b"1", 0, None, {"content_type": "x"}),
            P.publish("cmd/long", bytes(200)),
            P.pingresp(),
        )
    ):

        def one(packet=packet):
            w.next = packet
            while w.next is not None:
                c.poll()

        costs_nothing(one, 100)
    assert t.n


def test_a_byte_at_a_time_with_the_next_packet_behind():
    """Fragments that hold the end of one packet and the beginning of the next."""
    c, w = connected(rx=128)
    t = Taker()
    c.on_message = t.on_message
    whole = P.publish("cmd/number", b"123456") * 3
    parts = [whole[i : i + 7] for i in range(0, len(whole), 7)]
    state = [0]

    def one():
        i = state[0]
        w.next = parts[i]
        state[0] = i + 1 if i + 1 < len(parts) else 0
        c.poll()

    costs_nothing(one)
    assert t.n


def test_partial_writes():
    c, w = connected()
    w.takes = 7

    def qos0():
        c.publish(b"site/room/1", MSG)
        while c.wants_write():
            c.poll()

    costs_nothing(qos0)

    costs_nothing(acked(c, w, 1))
    costs_nothing(acked(c, w, 2))
    eq(c.pending(), 0)


class Replayed(Acked):
    """one(): acknowledge the next of those that were published before."""

    pid = 1

    def one(self):
        self.answer(self.pid)
        self.pid += 1


def test_replay():
    """What is on its way when the connection breaks goes out again, 0 bytes a message: the first connections of the rows answer
    nothing, the last acknowledges message after message."""
    for qos in rows((1, 2)):
        c, w = connected(session_expiry=100, inflight=8192)
        first = c.publish(b"site/room/1", MSG, False, qos)
        for _ in range(119):
            c.publish(b"site/room/1", MSG, False, qos)
        eq(c.pending(), 120)
        c.drop()
        w.next = P.connack(0, {"receive_maximum": 2}, 1)
        c.connect(False)
        next_one = Replayed(c, w, qos)
        next_one.pid = first
        one = next_one.one

        n = w.count
        a = micropython.mem_total()
        asking = micropython.mem_total() - a
        one()
        a = micropython.mem_total()
        i = 0
        while i < 100:
            one()
            i += 1
        eq(micropython.mem_total() - a - asking, 0)
        micropython.heap_lock()
        try:
            i = 0
            while i < 19:
                one()
                i += 1
        finally:
            micropython.heap_unlock()
        eq(c.pending(), 0)
        assert w.count > n + 100 * 40


def test_chunks():
    c, w = connected(rx=128)
    state = [0]
    buf = bytearray(256)

    def on_chunk(m, offset, total):
        state[0] += m.payload_len() + m.byte(0)

    c.on_chunk = on_chunk
    packet = P.publish("ota", bytes(300), 1, 7)
    parts = (packet[:100], packet[100:200], packet[200:])

    def one():
        w.next = parts[0]
        c.poll()
        w.next = parts[1]
        c.poll()
        w.next = parts[2]
        c.poll()

    costs_nothing(one)
    assert state[0] and buf is not None


def test_connect_takes_one_bounded_amount():
    """The first connect() loads its modules; each later one takes the same amount of garbage (the README says how much)
    and keeps nothing."""
    import gc

    c, w = connected(session_expiry=100)
    used = []
    for _ in range(5):
        c.drop()
        gc.collect()
        gc.disable()
        a = micropython.mem_total()
        w.next = P.connack(0, (), 1)
        c.connect(False)
        used.append(micropython.mem_total() - a)
        gc.enable()
    print("connect() again: %d bytes" % used[-1])
    assert max(used[1:]) - min(used[1:]) < 200 and used[-1] < 6000, used


def test_hundred_thousand_mixed_operations():
    """The heap does not grow; on a heap of 64 KB: tests/alloc/test_small_heap.py."""
    import gc

    c, w = connected(topic_alias_maximum=2)
    t = Taker()
    c.on_message = t.on_message
    one = acked(c, w, 1)
    two = acked(c, w, 2)
    packets = (
        P.publish("cmd/number", b"1"),
        P.publish("cmd/number", b"2", 1, 5),
        P.publish("cmd/number", b"3", 2, 6),
        P.pubrel(6),
        P.pingresp(),
    )
    state = [0]

    def mixed():
        c.publish(b"a", MSG)
        one()
        two()
        w.next = packets[state[0]]
        c.poll()
        state[0] = (state[0] + 1) % 5
        c.poll()

    for _ in range(10):
        mixed()
    gc.collect()
    a = gc.mem_alloc()
    for _ in range(2000):
        mixed()
    gc.collect()
    assert gc.mem_alloc() - a < 200, gc.mem_alloc() - a
