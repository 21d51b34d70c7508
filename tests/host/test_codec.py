"""Properties against an independent codec: what PyPI's mqtt5 writes is read here, what is written here is read there."""

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import umqtt5_host  # noqa: F401  (the shim)
from support import packets
from umqtt5 import props, wire

FEW = settings(max_examples=150, derandomize=True, deadline=None)
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=40)
TOPIC = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0+#"), min_size=1, max_size=40)
BINARY = st.binary(max_size=40)
U32 = st.integers(0, 0xFFFFFFFF)
FLAG = st.integers(0, 1)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=4)
USER = {"user_property": PAIRS}
REASON = {"reason_string": TEXT, **USER}
# what the other codec calls differently
THERE = {
    "user_property": "user_properties",
    "reason_string": "reason_str",
    "subscription_identifier": "subscription_ids",
    "receive_maximum": "receive_max",
    "topic_alias_maximum": "topic_alias_max",
    "maximum_packet_size": "max_packet_size",
    "maximum_qos": "max_qos",
    "assigned_client_identifier": "assigned_client_id",
    "response_information": "response_info",
    "request_problem_information": "request_problem_info",
    "request_response_information": "request_response_info",
    "subscription_identifier_available": "subscription_id_available",
}
MESSAGE = {
    "payload_format_indicator": FLAG,
    "message_expiry_interval": U32,
    "content_type": TEXT,
    "response_topic": TOPIC,
    "correlation_data": BINARY,
    **USER,
}
CONNACK = {
    "session_expiry_interval": U32,
    "assigned_client_identifier": TEXT,
    "server_keep_alive": st.integers(0, 65535),
    "authentication_method": TEXT,
    "authentication_data": BINARY,
    "response_information": TEXT,
    "server_reference": TEXT,
    "receive_maximum": st.integers(1, 65535),
    "topic_alias_maximum": st.integers(0, 65535),
    "maximum_qos": FLAG,
    "retain_available": FLAG,
    "maximum_packet_size": st.integers(1, 0xFFFFFFFF),
    "wildcard_subscription_available": FLAG,
    "subscription_identifier_available": FLAG,
    "shared_subscription_available": FLAG,
    **REASON,
}
CONNECT = {
    "session_expiry_interval": U32,
    "authentication_method": TEXT,
    "authentication_data": BINARY,
    "request_problem_information": FLAG,
    "request_response_information": FLAG,
    "receive_maximum": st.integers(1, 65535),
    "topic_alias_maximum": st.integers(0, 65535),
    "maximum_packet_size": st.integers(1, 0xFFFFFFFF),
    **USER,
}
AUTH = {"authentication_method": TEXT, "authentication_data": BINARY, **REASON}
ALIAS = {"topic_alias": st.integers(1, 65535)}
SUBSCRIPTIONS = {"subscription_identifier": st.lists(st.integers(1, 268435455), max_size=3)}


def some(properties):
    """Dictionaries with some of the properties; user properties are always there."""
    return st.fixed_dictionaries({"user_property": PAIRS}, optional={k: v for k, v in properties.items() if k != "user_property"})


def there(values):
    """Keyword arguments of the other codec."""
    out = {THERE.get(k, k): v for k, v in values.items()}
    if "max_qos" in out:
        out["max_qos"] = mqtt5.QoS(out["max_qos"])
    return {k: bool(v) if k.endswith("available") else v for k, v in out.items()}


BUSY = mqtt5.DisconnectReasonCode.SERVER_BUSY
CONTINUE = mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION

# packet type: offset of the properties behind the fixed header, what makes the packet
FROM_SERVER = {
    "CONNACK": (2, 2, CONNACK, mqtt5.ConnAckPacket, {}),
    "PUBLISH": (3, 3, {**MESSAGE, **ALIAS, **SUBSCRIPTIONS}, mqtt5.PublishPacket, {"topic": "t", "payload": b""}),
    "PUBACK": (4, 3, REASON, mqtt5.PubAckPacket, {"packet_id": 1, "reason_code": mqtt5.PubAckReasonCode.NOT_AUTHORIZED}),
    "SUBACK": (9, 2, REASON, mqtt5.SubAckPacket, {"packet_id": 1, "reason_codes": []}),
    "DISCONNECT": (14, 1, {"server_reference": TEXT, **REASON}, mqtt5.DisconnectPacket, {"reason_code": BUSY}),
    "AUTH": (15, 1, AUTH, mqtt5.AuthPacket, {"reason_code": CONTINUE}),
}


@pytest.mark.parametrize("name", FROM_SERVER)
def test_blocks_of_the_other_codec_are_read(name):
    packet, at, properties, make, fixed = FROM_SERVER[name]

    @FEW
    @given(some(properties))
    def check(values):
        raw = make(**fixed, **there(values)).write()
        start = 1 + wire.vbi_size(wire.vbi(raw, 1, len(raw))) + at
        if start == len(raw):  # nothing to say, nothing written
            return
        end = wire.walk(raw, start, len(raw), packet)
        assert end == len(raw)
        got = props.decode(raw, start)
        for k, v in values.items():
            mine = [x for n, x in got if n == k]
            # the other codec leaves out what has its default value
            assert mine == (v if isinstance(v, list) else [v]) or not mine, k

    check()


TO_SERVER = {
    "PUBLISH": (3, {**MESSAGE, **ALIAS}),
    "Will": (0, {**MESSAGE, "will_delay_interval": U32}),
    "CONNECT": (1, CONNECT),
    "DISCONNECT": (14, {"session_expiry_interval": U32, **REASON}),
    "AUTH": (15, AUTH),
    "PUBACK": (4, REASON),
    "SUBSCRIBE": (8, {"subscription_identifier": st.integers(1, 268435455), **USER}),
}


def body(packet, block):
    """First byte and body of a packet that carries the block."""
    if packet < 2:
        head = b"\0\4MQTT\5" + (b"\4" if not packet else b"\0") + b"\0\0"
        return 16, head + (b"\0\0\0" + block + b"\0\1t\0\0" if not packet else block + b"\0\0")
    if packet == 3:
        return 0x30, b"\0\1t" + block
    if packet == 8:
        return 0x82, b"\0\1" + block + b"\0\1t\0"
    return packet << 4, {4: b"\0\1\x87", 14: b"\x80", 15: b"\x18"}[packet] + block


@pytest.mark.parametrize("name", TO_SERVER)
def test_blocks_are_read_by_the_other_codec(name):
    packet, properties = TO_SERVER[name]

    @FEW
    @given(some(properties))
    def check(values):
        block = props.encode(packet, values)
        assert props.block(block, packet) == block
        first, rest = body(packet, block)
        raw = bytes((first,)) + packets.vbi(len(rest)) + rest
        got, n = mqtt5.read(memoryview(raw))
        assert n == len(raw)
        got = got.will if packet == 0 else got
        for k, v in values.items():
            k = "subscription_id" if (k, packet) == ("subscription_identifier", 8) else THERE.get(k, k)
            assert getattr(got, k) == v, k

    check()
