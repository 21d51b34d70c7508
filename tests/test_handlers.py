"""What a handler may do: publish anywhere, end the connection, keep nothing; and what its exception leaves behind."""

import sys

from support import clock
from support import packets as P
from support.packets import PUBACK, PUBLISH, PUBREC, SUBSCRIBE
from support.peer import Peer
from support.session import again, connected, heard, make, settle, up
from support.t import eq, raises, rows
from umqtt5 import MQTTClient, ProtocolError, ResourceError
from umqtt5.link import Link


def test_publish_in_every_handler():
    told = []

    def say(c, what):
        told.append(what)
        c.publish("said", what, False, 1)

    peer = Peer()
    c = make(peer)
    c.on_connect = lambda c, *a: say(c, "connect")
    c.on_suback = lambda c, *a: say(c, "suback")
    c.on_pong = lambda c: say(c, "pong")
    c.on_message = lambda m: say(c, "message")
    c.connect()
    c.subscribe("a")
    c.ping()
    settle(c)
    peer.send(P.publish("a", b"", 2, 1))
    settle(c)
    eq(told, ["connect", "suback", "pong", "message"])
    eq([p.payload.decode() for p in peer.of(PUBLISH)], told)
    eq(c.pending(), 0)
    up(c, peer)


def test_publish_in_on_ack():
    """A chain: each acknowledgement sends the next message."""
    for qos in rows((1, 2)):
        c, peer = connected()
        left = [10]

        def on_ack(c, pid, code, packet, left=left, qos=qos):
            left[0] -= 1
            if left[0]:
                c.publish("t", b"%d" % left[0], False, qos)

        c.on_ack = on_ack
        c.publish("t", b"10", False, qos)
        settle(c)
        eq((left, len(peer.of(PUBLISH)), c.pending()), ([0], 10, 0))


def test_end_of_the_connection_in_every_handler():
    for how in rows(("disconnect", "drop")):
        for name in ("on_connect", "on_suback", "on_pong", "on_message", "on_ack"):
            peer = Peer()
            c = make(peer, session_expiry=100)
            told = []
            setattr(c, name, lambda x, *a, c=c: getattr(c, how)())
            c.on_disconnect = lambda c, u, flags, *a, told=told: told.append(flags)
            try:
                c.connect()
                c.publish("t", b"", False, 1)
                c.subscribe_start([("f", 0)])
                c.ping()
                peer.send(P.publish("f", b"", 1, 1), P.publish("f", b"", 2, 2))
                settle(c)
            except OSError:
                pass
            eq((c.isconnected(), peer.link.closed, told), (False, True, [2 if how == "disconnect" else 0]), name)
            setattr(c, name, None)
            again(c, peer, 1)
            settle(c)
            up(c, peer)
            eq(c.pending(), 0)


def test_waiting_calls_in_every_handler():
    """ResourceError, and everything goes on."""
    for name in rows(("on_suback", "on_pong", "on_message", "on_ack")):
        c, peer = connected()
        errors = []

        def handler(x, *a, c=c, errors=errors):
            for call in (c.poll, c.wait_msg, lambda: c.subscribe("x"), lambda: c.unsubscribe("x")):
                errors.append(raises(ResourceError, call))

        setattr(c, name, handler)
        c.publish("t", b"", False, 1)
        c.subscribe_start([("f", 0)])
        c.ping()
        peer.send(P.publish("f", b"", 1, 1))
        settle(c)
        eq(len(errors), 4)
        setattr(c, name, None)
        up(c, peer)


def test_a_payload_from_a_reader_does_not_end_the_handler():
    """publish_from() may be called in on_ack; what waits is refused after it as before."""
    c, peer = connected()
    errors = []

    class Reader:
        def readinto(self, buf):
            buf[:2] = b"ab"
            return 2

    def on_ack(*a):
        c.publish_from("big", Reader(), 2)
        errors.append(raises(ResourceError, c.poll))

    c.on_ack = on_ack
    c.publish("t", b"", False, 1)
    settle(c)
    eq(([p.topic for p in peer.of(PUBLISH)], len(errors)), (["t", "big"], 1))
    up(c, peer)


def test_an_exception_of_any_handler_reaches_the_caller_and_no_more():
    for name in rows(("on_suback", "on_pong", "on_message", "on_ack")):
        c, peer = connected()

        def handler(x, *a):
            raise KeyError("mine")

        setattr(c, name, handler)
        c.publish("t", b"1", False, 1)
        c.subscribe_start([("f", 0)])
        c.ping()
        peer.send(P.publish("f", b"", 1, 1))
        errors = 0
        for _ in range(20):
            try:
                c.poll()
            except KeyError:
                errors += 1
        eq(errors, 1)
        setattr(c, name, None)
        got = heard(c)
        c.publish("t", b"2", False, 2)
        peer.send(P.publish("f", b"next", 1, 2))
        settle(c)
        eq((len(got), c.pending()), (1, 0))
        up(c, peer)


def test_control_c_in_a_handler_leaves_everything_usable():
    c, peer = connected()
    c.subscribe("t")
    got = []

    def on_message(m):
        got.append(bytes(m.payload()))
        raise KeyboardInterrupt

    c.on_message = on_message
    for qos in rows((0, 0, 0, 1)):
        peer.send(P.publish("t", b"x", qos))
        raises(KeyboardInterrupt, settle, c)
    c.on_message = lambda m: got.append(bytes(m.payload()))
    peer.send(P.publish("t", b"y"))
    settle(c)
    eq((got[:3], got[-1]), ([b"x"] * 3, b"y"))
    up(c, peer)


class Keys:
    """A connection whose next write is interrupted when `now` is set."""

    def __init__(self, t):
        self.t = t
        self.now = False
        self.readinto = t.readinto
        self.close = t.close

    def write(self, buf, off, n):
        if self.now:
            self.now = False
            raise KeyboardInterrupt
        return self.t.write(buf, off, n)


def test_control_c_in_a_write_leaves_everything_usable():
    peer = Peer()
    made = []

    def transport(c):
        made.append(Keys(peer(c)))
        return made[-1]

    c = MQTTClient("c", "peer", transport=transport)
    c.connect()
    link = Link(c)
    p = c.publication("p", 2)
    for f in rows((lambda: p.send(b"11"), c.ping, lambda: c.publish("p", b"44"), lambda: p.send_in_place(2))):
        f()
        f()
        settle(c)
        made[0].now = True
        raises(KeyboardInterrupt, f)
        f()
        link.poll()
        up(c, peer)
    eq(len(peer.of(PUBLISH)), 9)


def test_a_kept_view_is_an_error_or_a_copy():
    """A view of the payload is gone when the handler returns: on CPython it raises; a copy stays."""
    c, peer = connected()
    kept = []
    c.on_message = lambda m: kept.append((m.payload(), m.topic(), bytes(m.payload())))
    peer.send(P.publish("abc", b"12345", 1, 1), P.publish("xyz", b"67890", 1, 2))
    settle(c)
    eq([k[2] for k in kept], [b"12345", b"67890"])
    if sys.implementation.name == "cpython":
        for view in (kept[0][0], kept[0][1]):
            raises(ValueError, bytes, view)
    up(c, peer)


def test_a_handler_replaces_a_handler():
    c, peer = connected()
    got = []
    c.subscribe("a", to=lambda m: got.append(1))
    first = peer.of(SUBSCRIBE)[0].prop("subscription_identifier")
    c.subscribe("a", to=lambda m: got.append(2))
    second = peer.of(SUBSCRIBE)[1].prop("subscription_identifier")
    eq(first, second)
    peer.send(P.publish("a", b"", 0, None, {"subscription_identifier": first}))
    settle(c)
    eq(got, [2])


def test_handlers_live_on_with_the_session():
    c, peer = connected(session_expiry=100)
    got = []
    c.subscribe("a", to=lambda m: got.append(bytes(m.payload())))
    ident = peer.of(SUBSCRIBE)[0].prop("subscription_identifier")
    c.drop()
    again(c, peer)
    peer.send(P.publish("a", b"1", 1, 1, {"subscription_identifier": ident}))
    settle(c)
    eq((got, len(peer.of(SUBSCRIBE)), len(peer.of(PUBACK)), len(peer.of(PUBREC))), ([b"1"], 1, 1, 0))


def test_a_refused_subscribe_keeps_the_handler_that_was_there():
    """A filter with a handler is subscribed to again in a packet that is refused here: the old handler stays."""
    c, peer = connected({}, {"maximum_packet_size": 60})
    got = []
    c.subscribe("a", to=lambda m: got.append(1))
    ident = peer.of(SUBSCRIBE)[0].prop("subscription_identifier")
    raises(ValueError, c.subscribe, [("a", 0), ("x" * 80, 0)], to=lambda m: got.append(2))
    peer.send(P.publish("a", b"", 0, None, {"subscription_identifier": ident}))
    settle(c)
    eq(got, [1])


def test_a_subscription_that_was_not_answered_can_be_made_again():
    c, peer = connected({SUBSCRIBE: [None]})
    got = []
    raises(OSError, c.subscribe, "a", to=lambda m: got.append(1), timeout=0.05)
    c.subscribe("a", to=lambda m: got.append(2))
    peer.send(P.publish("a", b"", 0, None, {"subscription_identifier": peer.of(SUBSCRIBE)[-1].prop("subscription_identifier")}))
    settle(c)
    eq(got, [2])


def test_a_rejection_is_of_one_message():
    """Not of the next one: after a rejection at QoS 0, or one whose handler raised."""
    c, peer = connected()

    def rejects(m):
        m.reject(0x87)

    def rejects_and_raises(m):
        m.reject(0x87, {"reason_string": "no"})
        raise KeyError("mine")

    for handler, qos in rows(((rejects, 0), (rejects_and_raises, 0), (rejects_and_raises, 1), (rejects_and_raises, 2))):
        c.on_message = handler
        peer.send(P.publish("t", b"", qos, 1))
        try:
            settle(c)
        except KeyError:
            pass
        heard(c)
        peer.seen = len(peer.packets)
        peer.send(P.publish("t", b"", 1, 7), P.publish("t", b"", 2, 8))
        settle(c)
        eq(peer.expect(PUBACK).raw, b"\x40\x02\x00\x07")
        eq(peer.expect(PUBREC).raw, b"\x50\x02\x00\x08")
        peer.seen = len(peer.packets)


def test_messages_that_look_like_the_last_one():
    """The same length and topic as the message before, and each thing that may differ: nothing of the last message is left."""
    c, peer = connected(topic_alias_maximum=2, rx=128)
    got = []

    def on_message(m):
        got.append((bytes(m.topic()), bytes(m.payload()), m.qos(), m.retain(), m.dup(), m.properties(), m.is_topic(b"a/b")))

    c.on_message = on_message
    c.subscribe("a/b")
    c.subscribe("a/c")
    plain = P.publish("a/b", b"1234")
    others = (
        (P.publish("a/c", b"1234"), (b"a/c", b"1234", 0, 0, 0, [], False)),
        (P.publish("a/b", b"5678", retain=True), (b"a/b", b"5678", 0, 1, 0, [], True)),
        (P.publish("a/b", b"56", 1, 9), (b"a/b", b"56", 1, 0, 0, [], True)),
        (P.publish("a/b", b"56", 2, 9), (b"a/b", b"56", 2, 0, 0, [], True)),
        (P.publish("a/b", b"", 0, None, {"topic_alias": 1}), (b"a/b", b"", 0, 0, 0, [("topic_alias", 1)], True)),
        (P.publish("a/b", b"5", 0, None, {"topic_alias": 1}), (b"a/b", b"5", 0, 0, 0, [("topic_alias", 1)], True)),
        (P.publish("", b"5678", 0, None, {"topic_alias": 1}), (b"a/b", b"5678", 0, 0, 0, [("topic_alias", 1)], True)),
        (P.publish("x/y", b"1234"), (b"x/y", b"1234", 0, 0, 0, [], False)),
        (P.publish("a", b"123456"), (b"a", b"123456", 0, 0, 0, [], False)),
        (P.publish("a/b", b""), (b"a/b", b"", 0, 0, 0, [], True)),
        (P.publish("a/b", b"12345678"), (b"a/b", b"12345678", 0, 0, 0, [], True)),
    )
    same = (b"a/b", b"1234", 0, 0, 0, [], True)
    for raw, want in rows(others):
        for between in (b"", P.pingresp(), P.puback(99)):
            del got[:]
            for part in (plain, plain, plain, between, raw, raw, plain, plain):
                peer.send(part)
                settle(c)
            eq(got, [same] * 3 + [want] * 2 + [same] * 2)
    # in one read, in pieces
    for size in rows((0, 1, 5, 11, 12)):
        del got[:]
        peer.link.arrives = size
        peer.send(plain * 5)
        while peer.link.inbox:
            c.poll()
        settle(c)
        eq(got, [same] * 5)
    peer.link.arrives = 0
    # a shorter one and the next packet in one read, as long together
    del got[:]
    for part in (plain, plain, P.publish("a/b", b"12") + P.pingresp(), plain):
        peer.send(part)
        settle(c)
    eq(got, [same] * 2 + [(b"a/b", b"12", 0, 0, 0, [], True), same])
    # after a large one
    pieces = []
    c.on_chunk = lambda m, offset, total: pieces.append(bytes(m.payload()))
    del got[:]
    for part in (plain, plain, P.publish("a/b", bytes(300)), plain, plain):
        peer.send(part)
        settle(c)
    eq((got, len(b"".join(pieces))), ([same] * 4, 300))
    # another handler, none, and the connection after this one
    for part in (plain, plain):
        peer.send(part)
        settle(c)
    del got[:]
    c.on_message = lambda m: got.append(bytes(m.payload()))
    peer.send(plain)
    settle(c)
    c.on_message = None
    c.set_callback(lambda t, b: got.append((t, b)))
    peer.send(plain)
    settle(c)
    eq(got, [b"1234", (b"a/b", b"1234")])
    c.on_message = on_message
    for _ in range(2):
        peer.send(plain)
        settle(c)
    c.drop()
    del got[:]
    again(c, peer, 0, True)
    for _ in range(2):
        peer.send(plain)
        settle(c)
    eq(got, [same] * 2)
    routed = []
    c.subscribe("a/b", to=lambda m: routed.append(bytes(m.payload())))
    peer.send(
        plain,
        P.publish("a/b", b"abcd", 0, None, {"subscription_identifier": peer.of(SUBSCRIBE)[-1].prop("subscription_identifier")}),
    )
    settle(c)
    eq((got, routed), ([same] * 3, [b"abcd"]))
    peer.send(plain[:-1] + b"\xff")
    settle(c)
    eq(got[-1][1], b"123\xff")
    peer.send(plain[:4] + b"\xff" + plain[5:])
    try:
        settle(c)
        raise AssertionError("bad UTF-8 was taken")
    except ProtocolError as e:
        eq(e.reason_code, 0x81)


def test_module_that_cannot_be_loaded_is_one_clear_error():
    """No memory for a module, or a profile without it: ResourceError that names what was wanted, the connection is as it was."""
    c, peer = connected()
    for kind in rows((MemoryError, ImportError)):

        def none(*a, kind=kind):
            raise kind()

        client = clock.part("client")
        client.__import__ = none
        e = raises(ResourceError, lambda: c.reauth)
        del client.__import__
        assert "reauth" in str(e) and "import it at start" in str(e)
    c.publish("t", b"x")
    eq(peer.of(PUBLISH)[-1].payload, b"x")
