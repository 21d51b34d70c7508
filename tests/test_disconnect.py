"""DISCONNECT (3.14), both ways: reasons, properties, lengths, and that nothing follows."""

from support import packets as P
from support.packets import DISCONNECT, PUBLISH
from support.session import again, connected, settle
from support.t import eq, raises, rows
from umqtt5 import MQTTException, Refused, props

MANY = [
    ("reason_string", "because é"),
    ("user_property", ("b", "1")),
    ("user_property", ("a", "2")),
    ("user_property", ("b", "1")),
]
OURS = (0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99)
FROM_SERVER = (
    (0x80, "Unspecified error", "retry-later"),
    (0x81, "Malformed Packet", "bug"),
    (0x82, "Protocol Error", "bug"),
    (0x83, "Implementation specific error", "fix-config"),
    (0x87, "Not authorized", "fix-config"),
    (0x89, "Server busy", "retry-later"),
    (0x8B, "Server shutting down", "reconnect"),
    (0x8D, "Keep Alive timeout", "reconnect"),
    (0x8E, "Session taken over", "fix-config"),
    (0x8F, "Topic Filter invalid", "fix-config"),
    (0x90, "Topic Name invalid", "fix-config"),
    (0x93, "Receive Maximum exceeded", "bug"),
    (0x94, "Topic Alias invalid", "bug"),
    (0x95, "Packet too large", "fix-config"),
    (0x96, "Message rate too high", "retry-later"),
    (0x97, "Quota exceeded", "retry-later"),
    (0x98, "Administrative action", "retry-later"),
    (0x99, "Payload format invalid", "fix-config"),
    (0x9A, "Retain not supported", "fix-config"),
    (0x9B, "QoS not supported", "fix-config"),
    (0x9C, "Use another server", "redirect"),
    (0x9D, "Server moved", "redirect"),
    (0x9E, "Shared Subscriptions not supported", "fix-config"),
    (0x9F, "Connection rate exceeded", "retry-later"),
    (0xA0, "Maximum connect time", "reconnect"),
    (0xA1, "Subscription Identifiers not supported", "fix-config"),
    (0xA2, "Wildcard Subscriptions not supported", "fix-config"),
)


def test_bytes_out():
    for code, block, want in rows(
        (
            (0, b"", b"\xe0\x00"),
            (4, b"", b"\xe0\x01\x04"),
            (0, {"session_expiry_interval": 7}, b"\xe0\x07\x00\x05\x11\x00\x00\x00\x07"),
            (0x80, {"reason_string": "no"}, b"\xe0\x07\x80\x05\x1f\x00\x02no"),
        )
    ):
        c, peer = connected(session_expiry=100)
        c.disconnect(code, block)
        eq(peer.expect(DISCONNECT).raw, want)
        eq((peer.link.closed, c.isconnected()), (True, False))


def test_every_code_that_a_client_may_send_and_no_other():
    """3.14.2-1; the trap: codes that only a server may send."""
    for code in rows(range(256)):
        c, peer = connected()
        if code in OURS:
            c.disconnect(code)
            eq(peer.expect(DISCONNECT).code, code)
        else:
            raises(ValueError, c.disconnect, code)
            peer.nothing()
            eq(c.isconnected(), True)


def test_properties_out():
    for given in rows(
        ([("session_expiry_interval", 0)], [("session_expiry_interval", 0xFFFFFFFF)], MANY, [("reason_string", "x" * 200)])
    ):
        c, peer = connected(session_expiry=100)
        c.disconnect(0, given)
        eq(peer.expect(DISCONNECT).props, given)
        c, peer = connected(session_expiry=100)
        c.disconnect(0x98, props.encode(14, given))
        p = peer.expect(DISCONNECT)
        eq((p.code, p.props), (0x98, given))
    for wrong in rows(
        (
            {"server_reference": "x"},
            {"content_type": "x"},
            {"session_expiry_interval": -1},
            {"reason_string": b"\xff"},
            b"\x05\x11\x00",
        )
    ):
        c, peer = connected(session_expiry=100)
        raises(ValueError, c.disconnect, 0, wrong)
        peer.nothing()
        eq(c.isconnected(), True)


def test_long_properties_out():
    """Remaining Length of one, two and three bytes."""
    for n in rows((120, 121, 122, 123, 124, 125, 126, 127, 128, 16375, 16378, 16379, 16380, 16381, 16382, 20000, 65535)):
        c, peer = connected()
        c.disconnect(0x80, {"reason_string": "x" * n})
        eq(len(peer.expect(DISCONNECT).prop("reason_string")), n)


def test_session_expiry_cannot_become_non_zero():
    """U-24"""
    c, peer = connected()
    raises(ValueError, c.disconnect, 0, {"session_expiry_interval": 5})
    peer.nothing()
    eq(c.isconnected(), True)
    c.disconnect(0, {"session_expiry_interval": 0})
    eq(peer.expect(DISCONNECT).props, [("session_expiry_interval", 0)])


def test_optional_properties_give_way_to_the_servers_limit():
    """3.14.2-3, -4"""
    c, peer = connected({}, {"maximum_packet_size": 20})
    c.disconnect(4, [("reason_string", "x" * 30), ("user_property", ("k", "v" * 30))])
    eq((peer.expect(DISCONNECT).code, peer.packets[-1].props), (4, []))
    c, peer = connected({}, {"maximum_packet_size": 20}, session_expiry=10)
    c.disconnect(4, [("reason_string", "x" * 30), ("session_expiry_interval", 0), ("user_property", ("k", "v" * 30))])
    eq(peer.expect(DISCONNECT).props, [("session_expiry_interval", 0)])


def test_every_length_in():
    """U-23, and the trap: a one-byte DISCONNECT loses its reason."""
    for raw, code, given in rows(
        (
            (b"\xe0\x01\x8b", 0x8B, []),
            (b"\xe0\x02\x8e\x00", 0x8E, []),
            (P.disconnect(0x8B, MANY), 0x8B, MANY),
            (P.disconnect(0x9C, {"server_reference": "a b"}), 0x9C, [("server_reference", "a b")]),
            (P.disconnect(0x8B, {"reason_string": "x" * 200}), 0x8B, [("reason_string", "x" * 200)]),
        )
    ):
        c, peer = connected()
        told = []
        c.on_disconnect = lambda c, u, flags, code, props, told=told: told.append((flags, code.value, list(props)))
        peer.send(raw)
        e = raises(Refused, settle, c)
        eq((e.what, e.reason_code.value, list(e.props)), ("DISCONNECT", code, given))
        eq(told, [(1, code, given)])
        eq((peer.link.closed, c.isconnected(), peer.of(DISCONNECT)), (True, False, []))


def test_normal_disconnection_by_the_server():
    for raw in rows((b"\xe0\x00", b"\xe0\x01\x00", b"\xe0\x02\x00\x00")):
        c, peer = connected()
        told = []
        c.on_disconnect = lambda c, u, flags, code, props, told=told: told.append((flags, code.value, code.name))
        peer.send(raw)
        raises((MQTTException, OSError), settle, c)
        eq(told, [(1, 0, "Normal disconnection")])
        eq((peer.link.closed, c.isconnected()), (True, False))


def test_every_reason_of_a_server():
    """4.13.2-1, U-25: the client closes although the server keeps the socket open."""
    for code, name, action in rows(FROM_SERVER):
        c, peer = connected()
        peer.send(P.disconnect(code), P.publish("late", b"x", 1, 1))
        e = raises(Refused, settle, c)
        eq((e.reason_code.value, e.reason_code.name, e.reason_code.action), (code, name, action))
        eq((peer.link.closed, c.isconnected(), len(peer.packets)), (True, False, 1))
        raises(OSError, c.poll)


def test_takeover_is_told_once():
    c, peer = connected()
    told = []
    c.on_disconnect = lambda c, u, flags, code, props: told.append((flags, code.value, code.getName()))
    peer.send(b"\xe0\x02\x8e\x00")
    e = raises(Refused, c.wait_msg)
    eq((e.reason_code.value, str(e.reason_code)), (142, "Session taken over"))
    eq(told, [(1, 142, "Session taken over")])


def test_nothing_follows_disconnect():
    """3.14.4-1, -2: even with messages waiting for quota and a half-written packet before it."""
    c, peer = connected({PUBLISH: None}, {"receive_maximum": 1}, session_expiry=100)
    for i in range(5):
        c.publish("t", b"%d" % i, False, 1)
    peer.send(P.publish("in", b"", 1, 1), P.puback(1))
    c.disconnect()
    eq(peer.packets[-1].name, "DISCONNECT")
    n = peer.link.written
    for f in (c.poll, c.ping, lambda: c.publish("t", b"")):
        raises(OSError, f)
    c.publish("t", b"later", False, 1)
    eq((peer.link.written, peer.link.closed), (n, True))
    again(c, peer)
    settle(c)
    eq((peer.of(PUBLISH)[-1].payload, peer.of(PUBLISH)[-1].dup), (b"0", 1))


def test_disconnect_twice_and_before_connecting():
    c, peer = connected()
    told = []
    c.on_disconnect = lambda c, u, flags, code, props: told.append((flags, code.value))
    c.disconnect()
    c.disconnect()
    c.drop()
    eq(len(peer.of(DISCONNECT)), 1)
    eq(told, [(2, 0)])


def test_disconnect_while_the_socket_takes_nothing():
    """Closes all the same; no half packet is followed by another."""
    c, peer = connected()
    peer.link.takes = 3
    peer.link.busy = 1
    c.publish("topic", b"payload")
    peer.link.stalled = True
    c.disconnect()
    eq((c.isconnected(), peer.link.closed), (False, True))


def test_disconnect_out_in_parts():
    c, peer = connected()
    peer.link.takes = 1
    c.disconnect(4, {"reason_string": "abc"})
    eq(peer.expect(DISCONNECT).prop("reason_string"), "abc")
    eq(peer.link.closed, True)


def test_drop_sends_nothing():
    c, peer = connected()
    told = []
    c.on_disconnect = lambda c, u, flags, code, props: told.append((flags, code))
    c.drop()
    peer.nothing()
    eq((told, peer.link.closed, c.isconnected()), ([(0, None)], True, False))
