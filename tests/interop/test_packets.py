"""Whole packets against an independent codec, PyPI's mqtt5: what the client sends decodes there to the same values, what is made
there is taken by the client. Generated combinations of fields, properties and boundary values.

Disagreements, and the section that decides:
    Reason Code and Property Length may be left out of an acknowledgement (3.4.2.1): both do it, ours as soon as nothing is lost.
    The other codec leaves out properties that have their default value; a missing one means the same (3.1.2.11, 3.2.2.3).
"""

import mqtt5
from hypothesis import given, settings
from hypothesis import strategies as st

import umqtt5_host  # noqa: F401  (the shim)
from support import packets as P
from support.peer import Peer
from support.session import connected, make, settle
from umqtt5 import Refused

SOME = settings(max_examples=120, derandomize=True, deadline=None)
LENGTHS = st.sampled_from((0, 1, 2, 63, 120, 121, 122, 123, 127, 128, 129, 255, 256, 300, 16380, 16384))
CHARACTERS = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
TEXT = st.text(CHARACTERS, max_size=20) | LENGTHS.filter(lambda n: n < 400).map(lambda n: "x" * n)
TOPIC = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0+#"), min_size=1, max_size=20)
BINARY = st.binary(max_size=20) | LENGTHS.filter(lambda n: n < 400).map(bytes)
PAYLOAD = st.binary(max_size=20) | LENGTHS.map(bytes)
U16 = st.sampled_from((1, 2, 127, 128, 255, 256, 32767, 32768, 65535))
U32 = st.sampled_from((0, 1, 127, 128, 255, 65535, 65536, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=3)
QOS = st.integers(0, 2)
MESSAGE = {
    "payload_format_indicator": st.just(1),
    "message_expiry_interval": U32,
    "content_type": TEXT,
    "response_topic": TOPIC,
    "correlation_data": BINARY,
}
REASON = {"reason_string": TEXT}


def some(properties):
    """(pairs for our API in some order, dictionary for the other codec): a choice of these properties, and user properties."""

    def both(values, users, random):
        pairs = list(values.items()) + [("user_property", pair) for pair in users]
        order = [p for p in pairs if p[0] != "user_property"]
        random.shuffle(order)
        return order + [p for p in pairs if p[0] == "user_property"], {**values, "user_properties": users}

    return st.builds(both, st.fixed_dictionaries({}, optional=properties), PAIRS, st.randoms(use_true_random=False))


def read(raw):
    """Decoded by the other codec."""
    packet, n = mqtt5.read(memoryview(raw))
    assert n == len(raw)
    return packet


def same(packet, values, **names):
    """The attributes of the other codec's packet equal these values."""
    for k, v in values.items():
        assert getattr(packet, names.get(k, k)) == v, (k, packet)


DISCONNECTS = (
    0x80,
    0x81,
    0x82,
    0x83,
    0x87,
    0x89,
    0x8B,
    0x8D,
    0x8E,
    0x8F,
    0x90,
    0x93,
    0x94,
    0x95,
    0x96,
    0x97,
    0x98,
    0x99,
    0x9A,
    0x9B,
    0x9C,
)
DISCONNECTS += (0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2)


# --- what the client sends


@SOME
@given(
    st.fixed_dictionaries(
        {"client_id": TEXT, "keepalive": st.just(0) | U16},
        optional={
            "user": TEXT,
            "password": BINARY,
            "session_expiry": U32.filter(bool),
            "receive_maximum": U16,
            "rx": st.just(4096),
        },
    ),
    some({"request_problem_information": st.just(0), "request_response_information": st.just(1), "topic_alias_maximum": U16}),
    st.none()
    | st.tuples(
        TOPIC, PAYLOAD.filter(lambda b: len(b) < 65536), st.booleans(), QOS, some({**MESSAGE, "will_delay_interval": U32})
    ),
    st.booleans(),
)
def test_connect(options, given_properties, will, clean):
    pairs, _ = given_properties
    peer = Peer(connack_props=() if options["client_id"] else {"assigned_client_identifier": "x"})
    c = make(peer, props=pairs, **options)
    if will:
        c.set_last_will(*will[:4], will[4][0])
    c.connect(clean)
    p = read(peer.expect(P.CONNECT).raw)
    same(p, {"client_id": options["client_id"], "clean_start": clean, "keep_alive": options["keepalive"]})
    same(p, {"username": options.get("user"), "password": options.get("password")})
    assert p.session_expiry_interval == options.get("session_expiry", 0)
    assert p.max_packet_size == options.get("rx", 512)
    values = dict(x for x in pairs if x[0] != "user_property")
    assert p.request_problem_info is ("request_problem_information" not in values)
    assert p.request_response_info is ("request_response_information" in values)
    assert p.topic_alias_max == values.get("topic_alias_maximum", 0)
    if "receive_maximum" in options:
        assert p.receive_max == options["receive_maximum"]
    assert p.user_properties == [v for k, v in pairs if k == "user_property"]
    assert (p.will is None) == (will is None)
    if will:
        topic, payload, retain, qos, (_, properties) = will
        same(p.will, {"topic": topic, "payload": payload, "retain": retain, "qos": qos, **properties})


@SOME
@given(TOPIC, PAYLOAD, st.booleans(), QOS, some(MESSAGE), st.booleans(), st.sampled_from((64, 256, 20000)))
def test_publish(topic, payload, retain, qos, given_properties, prepared, tx):
    from umqtt5 import props

    pairs, values = given_properties
    c, peer = connected(inflight=40000, tx=max(tx, 4000) if not qos else tx)
    if prepared:
        c.publication(topic, len(payload), retain, qos, pairs).send(payload)
    else:
        c.publish(topic, payload, retain, qos, props.encode(3, pairs) if pairs else b"")
    settle(c)
    raw = peer.expect(P.PUBLISH).raw
    p = read(raw)
    same(p, {"topic": topic, "payload": payload, "retain": retain, "qos": qos, "duplicate": False, "topic_alias": None, **values})
    assert p.subscription_ids == [] and (p.packet_id is None) == (qos == 0)
    assert c.pending() == 0


FILTERS = st.lists(
    st.tuples(st.sampled_from(("a", "+", "#", "a/+/b", "é/#", "$share/g/x", "x" * 200)), QOS, st.booleans(), st.integers(0, 2)),
    min_size=1,
    max_size=4,
)


@SOME
@given(
    FILTERS, some({"subscription_identifier": st.sampled_from((1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455))}), PAIRS
)
def test_subscribe_and_unsubscribe(filters, given_properties, users):
    pairs, values = given_properties
    c, peer = connected()
    wanted = [(f, q, {"retain_as_published": rap, "retain_handling": rh}) for f, q, rap, rh in filters]
    c.subscribe(wanted, props=pairs)
    p = read(peer.expect(P.SUBSCRIBE).raw)
    got = [(f.pattern, f.max_qos, f.retain_as_published, f.retain_handling) for f in p.topic_filters]
    assert got == filters and not any(f.no_local for f in p.topic_filters)
    same(p, values, subscription_identifier="subscription_id")
    c.unsubscribe([f[0] for f in filters], props=[("user_property", u) for u in users])
    p = read(peer.expect(P.UNSUBSCRIBE).raw)
    assert (p.patterns, p.user_properties) == ([f[0] for f in filters], users)


@SOME
@given(st.sampled_from((0, 4, 0x80, 0x83, 0x98)), some({**REASON, "session_expiry_interval": U32}))
def test_disconnect(code, given_properties):
    pairs, values = given_properties
    c, peer = connected(session_expiry=5)
    c.disconnect(code, pairs)
    p = read(peer.expect(P.DISCONNECT).raw)
    same(p, {"reason_code": code, **values}, reason_string="reason_str")


@SOME
@given(st.integers(1, 2), U16, st.sampled_from((0x80, 0x87, 0x97)), some(REASON))
def test_rejections(qos, pid, code, given_properties):
    pairs, values = given_properties
    c, peer = connected()
    c.on_message = lambda m: m.reject(code, pairs)
    peer.send(P.publish("t", b"", qos, pid))
    settle(c)
    p = read(peer.expect(P.PUBACK if qos == 1 else P.PUBREC).raw)
    same(p, {"packet_id": pid, "reason_code": code, **values}, reason_string="reason_str")


# --- what the client gets


@SOME
@given(
    some(
        {
            "session_expiry_interval": U32,
            "assigned_client_id": TEXT,
            "server_keep_alive": U16,
            "response_info": TEXT,
            "server_reference": TEXT,
            "reason_str": TEXT,
            "receive_max": U16.filter(lambda n: n < 65535),
            "topic_alias_max": U16,
            "max_packet_size": U32.filter(bool),
        }
    ),
    st.fixed_dictionaries({}, optional={k: st.just(False) for k in ("retain_available", "wildcard_subscription_available")}),
)
def test_connack(given_properties, flags):
    _, values = given_properties
    raw = mqtt5.ConnAckPacket(**values, **flags).write()
    told = []
    peer = Peer({P.CONNECT: raw})
    c = make(peer, client_id="", rx=20000)
    c.on_connect = lambda c, u, f, code, props: told.append(props)
    c.connect()
    names = {
        "assigned_client_id": "assigned_client_identifier",
        "response_info": "response_information",
        "reason_str": "reason_string",
    }
    names.update(
        {"receive_max": "receive_maximum", "topic_alias_max": "topic_alias_maximum", "max_packet_size": "maximum_packet_size"}
    )
    got = dict(x for x in told[0] if x[0] != "user_property")
    users = values.pop("user_properties")
    assert got == {names.get(k, k): v for k, v in {**values, **{k: 0 for k in flags}}.items()}
    assert [v for k, v in told[0] if k == "user_property"] == users
    assert c.keepalive_now == values.get("server_keep_alive", 60)
    if "assigned_client_id" in values:
        assert c.client_id == values["assigned_client_id"]


@SOME
@given(
    TOPIC, PAYLOAD, st.booleans(), QOS, some(MESSAGE), st.lists(st.sampled_from((1, 127, 128, 16384, 268435455)), max_size=3), U16
)
def test_message(topic, payload, retain, qos, given_properties, ids, pid):
    _, values = given_properties
    raw = mqtt5.PublishPacket(
        topic, payload, qos=mqtt5.QoS(qos), retain=retain, packet_id=pid if qos else None, subscription_ids=ids, **values
    ).write()
    c, peer = connected(rx=40000)
    got = []
    c.on_message = lambda m: got.append((str(m.topic(), "utf-8"), bytes(m.payload()), m.qos(), m.retain(), m.properties()))
    peer.send(raw)
    settle(c)
    ((t, b, q, r, properties),) = got
    assert (t, b, q, bool(r)) == (topic, payload, qos, retain)
    assert [v for k, v in properties if k == "user_property"] == values.pop("user_properties")
    assert [v for k, v in properties if k == "subscription_identifier"] == ids
    assert dict(x for x in properties if x[0] not in ("user_property", "subscription_identifier")) == values
    assert [p.pid for p in peer.of(P.PUBACK) + peer.of(P.PUBREC)] == [pid][: qos > 0]


def told_of(values):
    """The list of pairs that our API gives for these values."""
    text = [("reason_string", values["reason_str"])] if "reason_str" in values else []
    return text + [("user_property", u) for u in values["user_properties"]]


@SOME
@given(st.sampled_from((0, 0x10, 0x80, 0x87, 0x99)), some({"reason_str": TEXT}), st.integers(1, 2))
def test_acknowledgements(code, given_properties, qos):
    _, values = given_properties
    c, peer = connected({P.PUBLISH: None, P.PUBREL: None}, rx=4000)
    told = []
    c.on_ack = lambda c, pid, code, packet: told.append((pid, code, packet, c.packet_props()))
    c.publish("t", b"", False, qos)
    kind, codes = (mqtt5.PubAckPacket, mqtt5.PubAckReasonCode) if qos == 1 else (mqtt5.PubRecPacket, mqtt5.PubRecReasonCode)
    peer.send(kind(1, reason_code=codes(code), **values).write())
    if qos == 2 and code < 0x80:
        settle(c)
        assert told == []
        code = 0x92 if code else 0
        peer.send(mqtt5.PubCompPacket(1, reason_code=mqtt5.PubCompReasonCode(code), **values).write())
    settle(c)
    ((pid, got, packet, properties),) = told
    assert (pid, got) == (1, code)
    assert sorted(properties) == sorted(told_of(values))
    if qos == 2 and code in (0, 0x92):
        peer.send(P.publish("t", b"", 2, 9))
        peer.answers[P.PUBREC] = mqtt5.PubRelPacket(9, **values).write()
        settle(c)
        assert peer.of(P.PUBCOMP)[0].code == 0


@SOME
@given(st.lists(st.sampled_from((0, 1, 2, 0x80, 0x87, 0x8F, 0xA2)), min_size=2, max_size=5), some({"reason_str": TEXT}))
def test_suback_and_unsuback(codes, given_properties):
    _, values = given_properties
    told = []
    c, peer = connected({P.SUBSCRIBE: None, P.UNSUBSCRIBE: None}, rx=4000)
    c.on_suback = lambda c, pid, packet: told.append((packet, list(c.packet_codes()), sorted(c.packet_props())))
    c.subscribe_start([("f%d" % i, 0) for i in range(len(codes))])
    peer.send(mqtt5.SubAckPacket(1, [mqtt5.SubAckReasonCode(x) for x in codes], **values).write())
    c.unsubscribe_start(["f%d" % i for i in range(len(codes))])
    un = [0x11 if x in (1, 2, 0xA2) else x for x in codes]
    peer.send(mqtt5.UnsubAckPacket(2, [mqtt5.UnsubAckReasonCode(x) for x in un], **values).write())
    settle(c)
    assert told == [(9, codes, sorted(told_of(values))), (11, un, sorted(told_of(values)))]


@SOME
@given(
    st.sampled_from(DISCONNECTS),
    some({"reason_str": TEXT, "server_reference": TEXT}),
)
def test_disconnect_from_the_server(code, given_properties):
    _, values = given_properties
    c, peer = connected(rx=4000)
    peer.send(mqtt5.DisconnectPacket(reason_code=mqtt5.DisconnectReasonCode(code), **values).write())
    try:
        settle(c)
        raise AssertionError("not raised")
    except Refused as e:
        assert (e.what, e.reason_code.value, e.reason) == ("DISCONNECT", code, values.get("reason_str", ""))
        assert [v for k, v in e.props if k == "user_property"] == values["user_properties"]
        assert dict(e.props).get("server_reference") == values.get("server_reference")


@SOME
@given(BINARY, BINARY, some({"reason_str": TEXT}))
def test_authentication(first, answer, given_properties):
    _, values = given_properties

    class Mechanism:
        name = "m"
        given = None

        def first(self):
            return first

        def step(self, data):
            self.given = data
            return answer

        def done(self, data):
            pass

    m = Mechanism()
    peer = Peer(
        {
            P.CONNECT: mqtt5.AuthPacket(
                reason_code=mqtt5.AuthReasonCode.CONTINUE_AUTHENTICATION,
                authentication_method="m",
                authentication_data=b"c",
                **values,
            ).write(),
            P.AUTH: mqtt5.ConnAckPacket(authentication_method="m").write(),
        }
    )
    c = make(peer, auth=m, rx=4000)
    c.connect()
    p = read(peer.expect(P.CONNECT).raw)
    assert (p.authentication_method, p.authentication_data or b"") == ("m", first)
    p = read(peer.expect(P.AUTH).raw)
    assert (p.reason_code, p.authentication_method, p.authentication_data or b"") == (0x18, "m", answer)
    assert m.given == b"c"
