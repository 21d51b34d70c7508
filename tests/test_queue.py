"""The offline queue: publish() while there is no connection goes into the session image and leaves in order on reconnect."""

import time

from support.clock import part
from support.packets import CONNECT, PUBLISH, connack, puback
from support.peer import Peer
from support.t import eq, raises, rows
from umqtt5 import MQTTClient, ResourceError, props
from umqtt5 import setup as _setup

TIMEOUT = 180
assert _setup


def client(peer=None, **kw):
    """A client that has never connected, and its server."""
    peer = peer or Peer()
    kw.setdefault("session_expiry", 1000)
    return MQTTClient("q", "peer", keepalive=0, transport=peer, **kw), peer


def poll(c):
    while c.poll():
        pass


def payloads(peer):
    """What the server got, in order."""
    return [bytes(p.payload) for p in peer.of(PUBLISH)]


def clock(t):
    """time.time() of the library from now on."""
    _now[0] = t


_now = [0]


class Time:
    """The module time with a clock of the test's own."""

    def __getattr__(self, name):
        return (lambda: _now[0]) if name == "time" else getattr(time, name)


def with_clock():
    """Put the clock into the library, at 1,000,000 s."""
    for name in ("core", "image", "outbox"):
        part(name).time = Time()
    clock(1000000)


def test_leaves_in_order_on_connect():
    c, peer = client()
    ids = [c.publish("t", b"%d" % i, qos=1 + i % 2) for i in range(6)]
    eq(ids, [1, 2, 3, 4, 5, 6])
    eq(c.pending(), 6)
    c.connect(False)
    poll(c)
    eq(payloads(peer), [b"%d" % i for i in range(6)])
    eq([(p.pid, p.dup, p.qos) for p in peer.of(PUBLISH)], [(i, 0, 2 - i % 2) for i in ids])
    eq(c.pending(), 0)


def test_leaves_in_order_after_a_loss():
    """Unacknowledged ones first, with DUP, then what was published meanwhile, without."""
    c, peer = client(Peer({PUBLISH: lambda peer, p: None}))
    c.connect()
    c.publish("t", b"0", qos=1)
    c.publish("t", b"1", qos=2)
    c.drop()
    c.publish("t", b"2", qos=1)
    c.publish("t", b"3", qos=2)
    peer.answers = {}
    peer.session_present = 1
    peer.packets.clear()
    c.connect(False)
    poll(c)
    eq([(bytes(p.payload), p.dup) for p in peer.of(PUBLISH)], [(b"0", 1), (b"1", 1), (b"2", 0), (b"3", 0)])
    eq(c.pending(), 0)


def test_server_without_a_session_gets_all_as_new():
    c, peer = client(Peer({PUBLISH: lambda peer, p: None}))
    c.connect()
    c.publish("t", b"0", qos=1)
    c.drop()
    c.publish("t", b"1", qos=1)
    peer.answers = {}
    peer.packets.clear()
    c.connect(False)
    poll(c)
    eq([(bytes(p.payload), p.dup, p.pid) for p in peer.of(PUBLISH)], [(b"0", 0, 1), (b"1", 0, 2)])


def test_clean_start_keeps_what_was_never_sent():
    c, peer = client(Peer({PUBLISH: lambda peer, p: None}))
    c.connect()
    c.publish("t", b"sent", qos=1)
    c.drop()
    c.publish("t", b"queued", qos=1)
    peer.answers = {}
    peer.packets.clear()
    c.connect(True)
    poll(c)
    eq(payloads(peer), [b"queued"])


def test_send_quota_holds_for_the_queue():
    c, peer = client(Peer({PUBLISH: lambda peer, p: None}, connack_props=[("receive_maximum", 2)]))
    for i in range(5):
        c.publish("t", b"%d" % i, qos=1)
    c.connect()
    poll(c)
    eq(payloads(peer), [b"0", b"1"])
    for i in range(5):
        peer.send(puback(i + 1))
        poll(c)
    eq(payloads(peer), [b"%d" % i for i in range(5)])


def test_qos0_without_a_connection_is_an_error():
    c, peer = client()
    eq(raises(OSError, c.publish, "t", b"x").args[0], 107)
    eq(c.pending(), 0)


def test_qos0_is_queued_by_option():
    c, peer = client(queue_qos0=True)
    eq(c.publish("t", b"0"), 0)
    c.publish("t", b"1", qos=1)
    c.publish("t", b"2", True)
    c.connect()
    poll(c)
    eq([(bytes(p.payload), p.qos, p.retain) for p in peer.of(PUBLISH)], [(b"0", 0, 0), (b"1", 1, 0), (b"2", 0, 1)])
    eq(len(c.image), 10)


def test_qos0_in_the_queue_survives_reset_but_is_sent_once():
    c, peer = client(Peer({PUBLISH: lambda peer, p: None}), queue_qos0=True)
    c.publish("t", b"0")
    c.connect()
    poll(c)
    c.drop()
    c.connect(False)
    poll(c)
    eq(payloads(peer), [b"0"])


def test_full_is_an_error_before_anything_is_stored():
    for qos in rows((0, 1, 2)):
        c, peer = client(inflight=100, queue_qos0=True)
        n = 0
        while True:
            try:
                c.publish("t", b"%02d345678" % n, qos=qos)
                n += 1
            except ResourceError as e:
                assert "full" in str(e), e
                break
        assert n > 2, n
        before = bytes(c.image)
        raises(ResourceError, c.publish, "t", b"123456789", qos=qos)
        eq((bytes(c.image), len(c.image) <= 100, c.dropped), (before, True, 0))
        c.connect()
        poll(c)
        eq(payloads(peer), [b"%02d345678" % i for i in range(n)])


def test_larger_than_the_store_is_an_error_at_once():
    for drop in rows((None, "oldest", "newest")):
        c, peer = client(inflight=100, drop=drop)
        c.publish("t", b"x", qos=1)
        raises(ResourceError, c.publish, "t", bytes(90), qos=1)
        eq((c.pending(), c.dropped), (1, 0))


def test_oldest_is_dropped_by_policy():
    c, peer = client(inflight=100, drop="oldest")
    for i in range(20):
        c.publish("t", b"%02d345678" % i, qos=1)
    n = c.pending()
    eq(c.dropped, 20 - n)
    c.connect()
    poll(c)
    eq(payloads(peer), [b"%02d345678" % i for i in range(20 - n, 20)])


def test_newest_is_dropped_by_policy():
    c, peer = client(inflight=100, drop="newest")
    ids = [c.publish("t", b"%02d345678" % i, qos=1) for i in range(20)]
    n = c.pending()
    eq((c.dropped, ids[n:]), (20 - n, [0] * (20 - n)))
    c.connect()
    poll(c)
    eq(payloads(peer), [b"%02d345678" % i for i in range(n)])


def test_what_is_in_flight_is_never_dropped():
    """oldest: of those never sent; the ones on their way stay, and a store full of them is an error."""
    c, peer = client(Peer({PUBLISH: lambda peer, p: None}), inflight=100, drop="oldest")
    c.connect()
    n = 0
    while True:
        try:
            c.publish("t", b"%02d345678" % n, qos=1)
            n += 1
        except ResourceError:
            break
    eq((c.pending(), c.dropped), (n, 0))
    peer.answers = {}
    c.drop()
    peer.session_present = 1
    c.connect(False)
    poll(c)
    eq(payloads(peer)[n:], [b"%02d345678" % i for i in range(n)])


def test_expired_messages_are_not_sent():
    with_clock()
    c, peer = client()
    for seconds in (5, 100, 10):
        c.publish("t", b"%d" % seconds, qos=1, props=props.encode(message_expiry=seconds))
    c.publish("t", b"never", qos=1)
    clock(1000010)
    c.connect()
    poll(c)
    eq(payloads(peer), [b"100", b"never"])
    eq((c.dropped, c.pending()), (2, 0))


def test_expiry_is_reduced_by_the_time_waited():
    with_clock()
    c, peer = client(queue_qos0=True)
    for qos in (0, 1, 2):
        block = props.encode(3, [("content_type", "text"), ("message_expiry", 100), ("user_property", ("a", "b"))])
        c.publish("topic", b"x", qos=qos, props=block)
    clock(1000030)
    c.connect()
    poll(c)
    for p in peer.of(PUBLISH):
        eq(p.props, [("content_type", "text"), ("message_expiry_interval", 70), ("user_property", ("a", "b"))])


def test_expiry_counts_through_several_waits():
    with_clock()
    c, peer = client(Peer({PUBLISH: lambda peer, p: None}, connack_props=[("receive_maximum", 1)]))
    c.publish("t", b"first", qos=1)
    c.publish("t", b"x", qos=1, props=props.encode(message_expiry=100))
    clock(1000030)
    c.connect()
    poll(c)
    c.drop()
    clock(1000050)
    peer.answers = {}
    peer.connack_props = ()
    c.connect(False)
    poll(c)
    eq(peer.of(PUBLISH)[-1].prop("message_expiry_interval"), 50)


def test_expiry_of_a_large_message():
    """The interval is found behind every length of the fixed header, values of 2**30 and more are left right."""
    with_clock()
    for size in rows((0, 100, 120, 127, 128, 200, 16370, 16383, 16384, 17000)):
        clock(1000000)
        c, peer = client(inflight=20000)
        c.publish("t" * 9, bytes(size), qos=1, props=props.encode(response_topic="r", message_expiry=0x7FFFFFFF))
        clock(1000007)
        c.connect()
        poll(c)
        eq(peer.expect(CONNECT).clean_start, 1)
        p = peer.expect(PUBLISH)
        eq((p.prop("message_expiry_interval"), len(p.payload)), (0x7FFFFFFF - 7, size))


def test_a_clock_set_meanwhile_expires_nothing():
    """The board started in 2000 and learnt the date after the message was queued; or the clock went back."""
    for then in rows((1700000000, 10)):
        with_clock()
        c, peer = client()
        c.publish("t", b"x", qos=1, props=props.encode(message_expiry=60))
        clock(then)
        c.connect()
        poll(c)
        eq(peer.of(PUBLISH)[0].prop("message_expiry_interval"), 60)


def test_sent_once_means_no_expiry_any_more():
    """4.3.3: what may have reached the server is finished with it, whatever the time."""
    with_clock()
    c, peer = client(Peer({PUBLISH: lambda peer, p: None}))
    c.connect()
    c.publish("t", b"x", qos=2, props=props.encode(message_expiry=5))
    c.drop()
    clock(1000100)
    peer.answers = {}
    peer.session_present = 1
    c.connect(False)
    poll(c)
    eq([p.dup for p in peer.of(PUBLISH)], [0, 1])
    eq(c.pending(), 0)


def test_limits_of_the_server_are_kept_by_the_queue():
    told = []
    c, peer = client(Peer(connack_props=[("maximum_packet_size", 40), ("maximum_qos", 1), ("retain_available", 0)]))
    c.on_ack = lambda c, pid, code, packet: told.append((pid, code))
    c.publish("t", bytes(50), qos=1)
    c.publish("t", b"two", qos=2)
    c.publish("t", b"kept", True, qos=1)
    c.publish("t", b"good", qos=1)
    c.connect()
    poll(c)
    eq(payloads(peer), [b"good"])
    eq(told, [(1, 0x95), (2, 0x9B), (3, 0x9A), (4, 0)])
    eq((c.dropped, c.pending()), (3, 0))


def test_publish_in_handlers_joins_the_queue():
    c, peer = client(Peer(connack_props=[("receive_maximum", 1)]))
    more = [b"2", b"3"]
    c.on_ack = lambda c, pid, code, packet: more and c.publish("t", more.pop(0), qos=1)
    c.on_connect = lambda c, u, flags, code, p: c.publish("t", b"1", qos=1)
    c.publish("t", b"0", qos=1)
    c.connect()
    poll(c)
    eq(payloads(peer), [b"0", b"1", b"2", b"3"])


def test_identifiers_are_not_reused_while_queued():
    c, peer = client(inflight=2000)
    for i in range(50):
        c.publish("t", b"%d" % i, qos=1 + i % 2)
    ids = []
    i = 10
    m = c.image
    while i < len(m):
        ids.append(m[i + 1] << 8 | m[i + 2])
        i += 5 + (m[i + 3] << 8 | m[i + 4])
    eq(len(set(ids)), 50)


def test_connack_answered_late_sends_in_order():
    """start() without waiting: publishes while the CONNACK is on its way are queued behind the earlier ones."""
    c, peer = client(Peer({CONNECT: None}))
    c.publish("t", b"0", qos=1)
    c.start()
    c.publish("t", b"1", qos=1)
    c.poll()
    c.publish("t", b"2", qos=2)
    raises(OSError, c.publish, "t", b"now")
    peer.send(connack())
    poll(c)
    c.publish("t", b"3", qos=1)
    poll(c)
    eq(payloads(peer), [b"0", b"1", b"2", b"3"])
