"""Prepared publications and the short cut of publish(): whatever came before, each packet says what its call said."""

from test_mixed import Dice

from support import packets as P
from support.packets import PUBLISH
from support.session import again, connected, settle, up
from support.t import eq, raises, rows
from umqtt5 import props

TIMEOUT = 60
BLOCK = props.encode(content_type="x")


class Reader:
    """What publish_from() reads."""

    def __init__(self, data):
        self.data = data

    def readinto(self, buf):
        n = min(len(buf), len(self.data))
        buf[:n] = self.data[:n]
        self.data = self.data[n:]
        return n


def payloads(peer):
    return [x.payload for x in peer.of(PUBLISH)]


def test_any_order_of_calls_gives_the_packets_asked_for():
    topics = ["a/1", "a/2", b"b/33", b"b/44", "c/long/topic"] + ["t/%d" % i for i in range(9)] + ["x" * 130]
    for seed in rows(range(12)):
        dice = Dice(seed)
        c, peer = connected({}, {"topic_alias_maximum": 3} if seed % 3 == 2 else {}, tx=300, inflight=8000)
        prepared = [c.publication(t, 40, props=b) for t, b in (("p/1", b""), ("p/2", BLOCK), ("p/1", b""))]
        want = []
        got = []
        alias = {}
        for i in range(150):
            k = dice.roll(12)
            t = topics[dice.roll(len(topics))]
            data = b"%03d" % i + bytes(dice.roll(3) * dice.roll(60))
            block = b""
            if k < 6:
                block = BLOCK if k == 5 else b""
                c.publish(t, str(data, "utf8") if k == 4 else data, k == 3, 0, block)
            elif k == 6:
                c.publish_from(t, Reader(data), len(data))
            elif k == 7:
                c.publish(t, data, False, 1)
                settle(c)
            else:
                p = prepared[dice.roll(3)]
                data = data[: dice.roll(41)]
                t, block = ("p/2", BLOCK) if p is prepared[1] else ("p/1", b"")
                if k == 8:
                    data = (data + bytes(40))[:40]
                    p.send(data)
                elif k == 9:
                    p.send_any(data)
                else:
                    p.buf[: len(data)] = data
                    p.send_in_place(len(data))
            want.append((t if type(t) is str else str(t, "utf8"), data, k == 3, block != b""))
        for x in peer.of(PUBLISH):
            a = x.prop("topic_alias")
            if a and x.topic:
                alias[a] = x.topic
            got.append((x.topic or alias[a], x.payload, x.retain == 1, x.prop("content_type") == "x"))
        eq(got, want, str(seed))


def test_a_half_written_packet_is_sent_to_its_end_before_the_next():
    for takes, first, second in rows(
        (
            (1, "send", "send"),
            (5, "send_in_place", "send_any"),
            (7, "send_any", "send"),
            (3, "publish", "send"),
            (3, "send", "publish"),
        )
    ):
        c, peer = connected()
        p = {n: c.publication("t/" + n, 8) for n in ("send", "send_any", "send_in_place")}

        def say(name, data, c=c, p=p):
            if name == "publish":
                c.publish("t", data)
            elif name == "send_in_place":
                p[name].buf[:] = data
                p[name].send_in_place(8)
            else:
                getattr(p[name], name)(data)

        for n in (first, second, first, second):
            say(n, b"whole...")
        peer.link.takes = takes
        for i in range(4):
            say(first, b"first %02d" % i)
            say(second, b"then  %02d" % i)
        while c.wants_write():
            c.poll()
        peer.link.takes = 0
        for i in range(4, 8):
            say(first, b"first %02d" % i)
            say(second, b"then  %02d" % i)
        eq(payloads(peer)[4:], [x % i for i in range(8) for x in (b"first %02d", b"then  %02d")])


def test_a_method_kept_before_its_first_call_works_over_reconnects():
    c, peer = connected(session_expiry=100)
    p = c.publication("t", 4)
    send = p.send
    send(b"0000")
    send(b"1111")
    c.drop()
    raises(OSError, send, b"2222")
    again(c, peer)
    send(b"3333")
    raises(ValueError, send, b"333")
    send(b"4444")
    eq(payloads(peer), [b"0000", b"1111", b"3333", b"4444"])


def test_after_an_error_the_next_call_works():
    c, peer = connected(session_expiry=100)
    p = c.publication("t", 4)
    for _ in range(3):
        p.send(b"good")
        raises(ValueError, p.send, b"four!")
        raises(TypeError, p.send_any, None)
        raises(TypeError, p.send_in_place, b"four")
        p.send_any(b"ok")
        p.send_in_place(4)
        raises(ValueError, p.send_in_place, 5)
    eq(len(peer.of(PUBLISH)), 9)
    peer.link.cut_out = peer.link.written
    peer.link.death = "reset"
    sent = c.sent
    raises(OSError, p.send, b"lost")
    eq(c.sent, sent)
    raises(OSError, settle, c)
    again(c, peer)
    p.send(b"back")
    eq(payloads(peer)[-1], b"back")


def test_more_publications_than_may_be_fast_at_once():
    c, peer = connected()
    ps = [c.publication("t/%d" % i, 2) for i in range(20)]
    for _ in range(5):
        for n, p in enumerate(ps):
            p.send(b"%02d" % n)
    eq([(x.topic, x.payload) for x in peer.of(PUBLISH)], [("t/%d" % n, b"%02d" % n) for i in range(5) for n in range(20)])
    peer.link.takes = 3
    for n, p in enumerate(ps):
        p.send_any(b"%d" % n)
    while c.wants_write():
        c.poll()
    eq(payloads(peer)[-20:], [b"%d" % n for n in range(20)])


def test_a_publication_is_used_from_a_handler_of_another_message():
    c, peer = connected()
    p = c.publication("echo", 1)

    def on_message(m):
        p.send(bytes((m.byte(0),)))

    c.on_message = on_message
    for i in range(5):
        peer.send(P.publish("in", b"%d" % i))
        up(c, peer)
    eq(payloads(peer), [b"%d" % i for i in range(5)])
