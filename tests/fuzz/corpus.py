"""Every packet a server can send, with every property it can carry there: what the fuzzer mutates."""

from support import packets as p

SAMPLES = {
    "payload_format_indicator": (0, 1),
    "message_expiry_interval": (0, 60, 0xFFFFFFFF),
    "content_type": ("", "text/plain", "\u00e9\u20ac"),
    "response_topic": ("r/1", "\u00e9"),
    "correlation_data": (b"", b"\x00\xff\x01"),
    "subscription_identifier": (1, 127, 128, 268435455),
    "session_expiry_interval": (0, 0x12345678),
    "assigned_client_identifier": ("auto-1",),
    "server_keep_alive": (0, 7, 65535),
    "authentication_method": ("m",),
    "authentication_data": (b"", b"data"),
    "response_information": ("info",),
    "server_reference": ("other:1883",),
    "reason_string": ("", "because \u20ac"),
    "receive_maximum": (1, 65535),
    "topic_alias_maximum": (0, 3),
    "topic_alias": (1, 3),
    "maximum_qos": (0, 1),
    "retain_available": (0, 1),
    "user_property": (("k", "v"), ("", "")),
    "maximum_packet_size": (1, 300, 0xFFFFFFFF),
    "wildcard_subscription_available": (0, 1),
    "subscription_identifier_available": (0, 1),
    "shared_subscription_available": (0, 1),
}
_ACK = "reason_string user_property"
ALLOWED = {
    p.CONNACK: "session_expiry_interval assigned_client_identifier server_keep_alive authentication_method authentication_data"
    " response_information server_reference reason_string receive_maximum topic_alias_maximum maximum_qos retain_available"
    " user_property maximum_packet_size wildcard_subscription_available subscription_identifier_available"
    " shared_subscription_available",
    p.PUBLISH: "payload_format_indicator message_expiry_interval content_type response_topic correlation_data"
    " subscription_identifier topic_alias user_property",
    p.PUBACK: _ACK,
    p.PUBREC: _ACK,
    p.PUBREL: _ACK,
    p.PUBCOMP: _ACK,
    p.SUBACK: _ACK,
    p.UNSUBACK: _ACK,
    p.DISCONNECT: "server_reference reason_string user_property",
    p.AUTH: "authentication_method authentication_data reason_string user_property",
}


def _one(kind, props):
    """Packets of that type with these properties. Identifiers 1 to 4 are those that the client under test waits for."""
    if kind == p.CONNACK:
        return [p.connack(0, props)]
    if kind == p.PUBLISH:
        three = ("in/a", b"payload", 0, None), ("in/b", b"", 1, 7), ("c", b"x", 2, 8)
        return [p.publish(*x, props) for x in three]
    if p.PUBACK <= kind <= p.PUBCOMP:
        f = (p.puback, p.pubrec, p.pubrel, p.pubcomp)[kind - 4]
        return [f(2 if kind == p.PUBACK else 8 if kind == p.PUBREL else 3, 0, props)]
    if kind == p.SUBACK:
        return [p.suback(1, [0, 1], props)]
    if kind == p.UNSUBACK:
        return [p.unsuback(4, [0], props)]
    return [(p.disconnect if kind == p.DISCONNECT else p.auth)(0x18 if kind == p.AUTH else 0x8B, props)]


def make():
    """-> dict: packet type -> list of packets as bytes."""
    out = {}
    for kind in ALLOWED:
        r = _one(kind, [])
        names = ALLOWED[kind].split()
        for name in names:
            for value in SAMPLES[name]:
                r.extend(_one(kind, [(name, value)]))
        r.extend(_one(kind, [(n, SAMPLES[n][-1]) for n in names]))
        r.extend(_one(kind, [("user_property", ("a", "b"))] * 3))
        out[kind] = r
    out[p.CONNACK] += [p.connack(0, [], 1), p.connack(0x87, [("reason_string", "no")]), p.connack(0x9C), b"\x20\x02\x00\x05"]
    for pid in (2, 3, 9):
        acks = (p.puback, 4, (0x10, 0x87)), (p.pubrec, 5, (0x97, 0x80)), (p.pubrel, 6, (0x92,)), (p.pubcomp, 7, (0x92,))
        for f, kind, codes in acks:
            out[kind].append(f(pid))
            for code in codes:
                out[kind].append(f(pid, code))
    out[p.SUBACK] += [p.suback(1, [0x80, 0x87]), p.suback(1, [2])]
    out[p.UNSUBACK] += [p.unsuback(4, [0x11])]
    out[p.PINGRESP] = [p.pingresp()]
    out[p.DISCONNECT] += [p.disconnect(), p.disconnect(0x8E)]
    out[p.AUTH] += [p.auth(), p.auth(0, [("authentication_method", "m"), ("authentication_data", b"end")])]
    out[p.PUBLISH] += [p.publish("big", bytes(300)), p.publish("big", bytes(700), 1, 9)]
    out[p.PUBLISH] += [p.publish("", b"x", 0, None, [("topic_alias", n)]) for n in (1, 1, 3, 4)]
    out[p.PUBLISH] += [p.publish("c", b"x", 2, 8, dup=True), p.publish("in/a", b"1" * 120, retain=True)]
    return out
