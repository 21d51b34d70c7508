"""Programs written for umqtt.simple and umqtt.robust, over MQTT 5: only their import is changed."""

import time

from support import packets as P
from support.peer import Peer
from support.t import eq, raises
from umqtt5 import robust
from umqtt5.simple import MQTTClient, MQTTException

_NO_IDS = (("subscription_identifier_available", 0),)


def client(peer, kind=MQTTClient, *a, **kw):
    """As MQTTClient("umqtt_client", server) of the programs, with a server in memory."""
    return kind("umqtt_client", "localhost", *a, transport=peer, **kw)


def test_example_pub():
    peer = Peer()

    c = client(peer)
    c.connect()
    c.publish(b"foo_topic", b"hello")
    c.disconnect()

    p = peer.expect(P.CONNECT, client_id="umqtt_client", clean_start=1, keepalive=0, user=None, will=None)
    eq(p.prop("session_expiry_interval"), None)
    peer.expect(P.PUBLISH, topic="foo_topic", payload=b"hello", qos=0, retain=0)
    peer.expect(P.DISCONNECT, code=0)
    peer.nothing()


def test_example_sub_waits_for_each_message():
    peer = Peer(connack_props=_NO_IDS)
    got = []

    def sub_cb(topic, msg):
        got.append((topic, msg))

    c = client(peer)
    c.set_callback(sub_cb)
    c.connect()
    c.subscribe(b"foo_topic")
    for i in range(3):
        peer.send(P.publish("foo_topic", b"%d" % i))
        c.wait_msg()
    c.check_msg()  # nothing there: returns at once
    c.disconnect()

    eq(got, [(b"foo_topic", b"0"), (b"foo_topic", b"1"), (b"foo_topic", b"2")])
    eq([type(x) for x in got[0]], [bytes, bytes])


def test_example_pub_button_with_str_topics_and_retain():
    peer = Peer()
    c = client(peer, MQTTClient, 0, "user", "secret", 30)
    c.connect()
    c.publish("button", "toggle", True)
    c.publish("button", b"toggle", retain=True, qos=0)
    peer.expect(P.CONNECT, user="user", password=b"secret", keepalive=30)
    eq([(p.topic, p.payload, p.retain) for p in peer.of(P.PUBLISH)], [("button", b"toggle", 1)] * 2)


def test_example_sub_led_answers_in_its_callback():
    peer = Peer(connack_props=_NO_IDS)
    state = [0]

    def sub_cb(topic, msg):
        if msg == b"on":
            state[0] = 1
        elif msg == b"toggle":
            state[0] = 1 - state[0]
        c.publish(b"led/state", b"%d" % state[0], qos=1)  # does not wait for an acknowledgement in here

    c = client(peer)
    c.set_callback(sub_cb)
    c.connect()
    c.subscribe(b"led")
    peer.send(P.publish("led", b"on"), P.publish("led", b"toggle", 1, 5))
    c.wait_msg()
    while c.pending():
        c.wait_msg()
    eq([p.payload for p in peer.of(P.PUBLISH)], [b"1", b"0"])
    eq(len(peer.of(P.PUBACK)), 1)


def test_last_will():
    peer = Peer()
    c = client(peer)
    c.set_last_will("status", b"gone", True, 1)
    c.connect()
    w = peer.expect(P.CONNECT).will
    eq((w.topic, w.payload, w.retain, w.qos), ("status", b"gone", 1, 1))


def test_publish_qos1_waits_for_its_own_puback_and_delivers_meanwhile():
    def late(peer, p):  # two messages, and an old PUBACK, come before it
        return P.publish("in", b"a") + P.puback(999) + P.publish("in", b"b", 1, 3) + P.puback(p.pid)

    peer = Peer({P.PUBLISH: late}, connack_props=_NO_IDS)
    got = []
    c = client(peer)
    c.set_callback(lambda topic, msg: got.append(msg))
    c.connect()
    c.subscribe("in", 1)
    eq(c.publish("out", "1", qos=1), None)
    eq((got, c.pending()), ([b"a", b"b"], 0))


def test_publish_qos1_refused_is_an_mqttexception():
    peer = Peer({P.PUBLISH: lambda peer, p: P.puback(p.pid, 0x87)})
    c = client(peer)
    c.connect()
    raises(MQTTException, c.publish, "t", "x", False, 1)
    eq(c.is_conn_issue(), False)


def test_session_is_kept_without_clean_session():
    peer = Peer(session_present=1)
    c = client(peer)
    eq(bool(raises(Exception, c.connect, False)), True)  # a session that this client does not know
    peer.seen = len(peer.packets)
    peer.session_present = 0
    eq(not c.connect(clean_session=False), True)
    p = peer.expect(P.CONNECT)
    eq(p.prop("session_expiry_interval"), 0xFFFFFFFF)
    c.disconnect()
    peer.session_present = 1
    peer.seen = len(peer.packets)
    eq(bool(c.connect(clean_session=False)), True)
    peer.expect(P.CONNECT, clean_start=0)


def test_connect_again_without_disconnect():
    peer = Peer()
    c = client(peer)
    c.connect()
    c.connect()
    eq([link.closed for link in peer.links], [True, False])


def test_refused_connect_has_the_return_codes_of_3_1_1():
    for code, want in ((0x84, 1), (0x85, 2), (0x88, 3), (0x86, 4), (0x87, 5), (0x8A, 0x8A)):
        c = client(Peer({P.CONNECT: P.connack(code)}))
        eq(raises(MQTTException, c.connect).args[0], want)


def test_refused_subscribe():
    c = client(Peer({P.SUBSCRIBE: lambda peer, p: P.suback(p.pid, [0x87])}))
    raises(AssertionError, c.subscribe, "t")
    c.set_callback(print)
    c.connect()
    eq(raises(MQTTException, c.subscribe, "t").args[0], 0x87)


def test_lost_connection_is_oserror():
    for end in ("close", "reset", "disconnect", "violation"):
        peer = Peer()
        c = client(peer)
        c.set_callback(print)
        c.connect()
        c.ping()
        c.check_msg()
        if end == "disconnect":
            peer.send(P.disconnect(0x8B))
        elif end == "violation":
            peer.send(b"\x00\x00")
        else:
            getattr(peer, end)()
        raises(OSError, c.wait_msg)
        eq(c.is_conn_issue(), True)
        raises(OSError, c.publish, "t", "x")
        raises(OSError, c.publish, "t", "x", False, 1)
        eq(c.pending(), 0)
        c.connect()
        c.publish("t", "x")


def test_sock_is_there_to_be_polled_or_closed():
    peer = Peer()
    c = client(peer)
    c.connect()
    c.sock.close()
    raises(OSError, c.wait_msg)


def test_ssl_params_of_older_versions():
    c = MQTTClient("id", "host", ssl=True, ssl_params={"server_hostname": "x", "cert": b"c", "key": b"k"})
    eq(c.ssl, {"verify": False, "server_hostname": "x", "cert": b"c", "key": b"k"})
    eq(MQTTClient("id", "host", 0, None, None, 0, False).ssl, None)


class Robust(robust.MQTTClient):
    """With a short delay."""

    DELAY = 0.01
    slept = 0

    def delay(self, i):
        self.slept += 1
        time.sleep(self.DELAY)


def test_robust_example_sub():
    peer = Peer(connack_props=_NO_IDS)
    got = []
    c = client(peer, Robust)
    c.DEBUG = False
    c.set_callback(lambda topic, msg: got.append((topic, msg)))
    if not c.connect(clean_session=False):
        c.subscribe(b"foo_topic")
    peer.send(P.publish("foo_topic", b"0"))
    c.wait_msg()
    peer.session_present = 1
    peer.reset()
    while c.sock is peer.links[0]:
        c.check_msg()  # finds the loss, reconnects
    peer.send(P.publish("foo_topic", b"1"))
    c.wait_msg()
    eq(got, [(b"foo_topic", b"0"), (b"foo_topic", b"1")])
    eq((len(peer.links), len(peer.of(P.SUBSCRIBE))), (2, 1))


def test_robust_reconnect_tries_until_it_succeeds():
    class Flaky(Peer):
        def __call__(self, client=None):
            self.refuse = None if client.slept > 2 else OSError(111, "refused")
            return Peer.__call__(self, client)

    c = client(Flaky(), Robust)
    c.reconnect()
    eq((c.slept, c.is_conn_issue()), (3, False))


def test_robust_publish_goes_through_a_lost_connection():
    for qos in (0, 1, 2):
        peer = Peer()
        c = client(peer, Robust)
        c.connect(False)
        c.publish("t", b"1", qos=qos)
        peer.session_present = 1
        peer.reset()
        if qos == 0:  # found at the write
            c.publish("t", b"2")
        else:
            c.publish("t", b"2", False, qos)
        assert [p.payload for p in peer.of(P.PUBLISH)][-1] == b"2", peer.packets
        eq((len(peer.links), c.pending()), (2, 0))


def test_robust_publish_cut_before_its_puback_is_sent_again_with_dup():
    def die(peer, p):
        peer.session_present = 1
        peer.reset()

    peer = Peer({P.PUBLISH: [die]})
    c = client(peer, Robust)
    c.connect(False)
    c.publish("t", b"1", False, 1)
    eq([(p.payload, p.dup, p.pid) for p in peer.of(P.PUBLISH)], [(b"1", 0, 1), (b"1", 1, 1)])
    eq(c.pending(), 0)
