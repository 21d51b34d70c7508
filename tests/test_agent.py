"""tools/agent.py keeps its contract: commands in, events out, on CPython and MicroPython, as a process and from outside only."""

import json
import shutil
import signal
import threading
import time

import pytest

from support import brokers, mpy
from support.packets import (
    AUTH,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    auth,
    connack,
    disconnect,
    packet,
    puback,
    publish,
    pubrec,
    suback,
    unsuback,
)

INTERPRETERS = ("host",)
SHORT_CONNACK_V3 = b"\x20\x02\x00\x05"
CONNACK_RESERVED_FLAG = packet(2, 0, b"\x02\x00\x00")
PUBLISH_WILDCARD = packet(3, 0, b"\x00\x01+\x00x")
TAKEN_OVER = disconnect(0x8E)
PROPS = [
    ("session_expiry_interval", 90),
    ("user_property", ("b", "1")),
    ("receive_maximum", 7),
    ("user_property", ("a", "é")),
    ("request_response_information", 1),
]


def ours(properties):
    """CONNECT's properties without what the client adds by itself."""
    return [p for p in properties if p[0] not in ("maximum_packet_size", "topic_alias_maximum")]


def up(agent, server, **fields):
    """Connected, CONNECT taken."""
    fields = {"client_id": "c", **fields}
    event = agent.do("connect", port=server.port, **fields)
    assert event["ev"] == "connected", event
    server.wait_for(CONNECT)
    return event


def clean(agent):
    """The agent ends by itself: exit code 0 and nothing on standard error."""
    assert agent.end() == 0, agent.stderr
    assert agent.stderr == ""


# --- what is there at start


def test_it_says_what_it_is(agents, interpreter, tmp_path):
    agent = agents(cwd=tmp_path)
    assert agent.ready["runtime"] == interpreter
    assert agent.ready["version"].count(".") == 2
    assert agent.events[0]["ev"] == "ready"
    clean(agent)


# --- connect


def test_connect_says_on_the_wire_what_the_command_says(agent, server):
    will = {"topic": "w/é", "payload_hex": "00ff", "qos": 1, "retain": True}
    will["props"] = {"will_delay_interval": 5, "content_type": "x"}
    up(agent, server, client_id="né", clean_start=False, keepalive=17, user="u", password_hex="00fe", will=will)
    p = server.packets[0]
    assert (p.client_id, p.clean_start, p.keepalive, p.user, p.password) == ("né", 0, 17, "u", b"\x00\xfe")
    w = p.will
    assert (w.topic, w.payload, w.qos, w.retain) == ("w/é", b"\x00\xff", 1, 1)
    assert w.props == [("will_delay_interval", 5), ("content_type", "x")]


def test_defaults_of_connect(agent, server):
    agent.do("connect", port=server.port)
    p = server.wait_for(CONNECT)
    assert (p.client_id, p.clean_start, p.keepalive, p.user, p.password, p.will) == ("", 1, 60, None, None, None)


def test_properties_leave_in_the_order_given(agent, server):
    up(agent, server, props=[[n, list(v) if isinstance(v, tuple) else v] for n, v in PROPS])
    assert ours(server.packets[0].props) == PROPS
    orders = [
        {"message_expiry_interval": 1, "content_type": "c", "payload_format_indicator": 1, "correlation_data_hex": "00ff"},
        {"correlation_data_hex": "00ff", "payload_format_indicator": 1, "content_type": "c", "message_expiry_interval": 1},
    ]
    for order in orders:
        agent.do("publish", topic="t", payload="\\\"}", props=order)
        p = server.wait_for(PUBLISH)
        assert [n for n, _ in p.props] == [n.replace("_hex", "") for n in order]
        assert p.prop("correlation_data") == b"\x00\xff"


def test_connected_carries_what_the_server_said(agent, server):
    server.connack_props = [
        ("assigned_client_identifier", "made-é"),
        ("server_keep_alive", 33),
        ("user_property", ("k", "1")),
        ("user_property", ("k", "2")),
        ("response_information", "r"),
    ]
    event = up(agent, server, client_id="")
    assert (event["session_present"], event["reason_code"], event["reason"]) == (False, 0, "Success")
    assert (event["client_id"], event["keepalive"]) == ("made-é", 33)
    assert event["props"]["user_property"] == [["k", "1"], ["k", "2"]]
    assert event["props"]["assigned_client_identifier"] == "made-é"


@pytest.mark.parametrize(
    "answer, code, reason, action",
    [
        (connack(0x87, [("reason_string", "no"), ("user_property", ("a", "b"))]), 135, "Not authorized", "fix-config"),
        (connack(0x88), 136, "Server unavailable", "retry-later"),
        (connack(0x9D, [("server_reference", "x:1")]), 157, "Server moved", "redirect"),
        (SHORT_CONNACK_V3, 132, "Unsupported Protocol Version", "fix-config"),
    ],
)
def test_refused_by_the_server(agent, server, answer, code, reason, action):
    server.answers[CONNECT] = answer
    event = agent.do("connect", port=server.port, client_id="c")
    assert (event["ev"], event["what"]) == ("refused", "CONNACK")
    assert (event["reason_code"], event["reason"], event["action"]) == (code, reason, action)
    if code == 135:
        assert event["props"] == {"reason_string": "no", "user_property": [["a", "b"]]}
    server.wait_closed()
    agent.none("disconnected")
    clean(agent)


def test_a_server_that_breaks_the_protocol_before_it_is_up(agent, server):
    server.answers[CONNECT] = CONNACK_RESERVED_FLAG
    event = agent.do("connect", port=server.port, client_id="c")
    assert (event["ev"], event["by"], event["reason_code"]) == ("disconnected", "client", 0x81)
    assert event["reason"] == "Malformed Packet"
    server.wait_for(DISCONNECT, code=0x81)
    clean(agent)


def test_no_connection_is_an_error_of_connect(agent, server):
    with brokers.socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        assert agent.do("connect", port=s.getsockname()[1])["type"] == "OSError"
    server.answers[CONNECT] = lambda server, p: p.link.end()
    event = agent.do("connect", port=server.port)
    assert (event["ev"], event["type"]) == ("error", "OSError")
    server.answers[CONNECT] = None
    start = time.monotonic()
    event = agent.do("connect", port=server.port, timeout=1)
    assert (event["ev"], event["type"]) == ("error", "OSError")
    assert 0.8 < time.monotonic() - start < 8  # and not the default, 10
    del server.answers[CONNECT]
    up(agent, server)
    agent.none("disconnected")
    clean(agent)


def test_connect_while_connected_is_an_error_and_changes_nothing(agent, server):
    up(agent, server)
    assert agent.do("connect", port=server.port)["ev"] == "error"
    assert agent.do("publish", topic="t", qos=1)["ev"] == "published"
    agent.wait("acked")
    assert len(server.connections) == 1


def test_what_needs_a_connection_waits_for_connect_in_order(agent, server):
    server.answers[CONNECT] = None
    agent.send("connect", port=server.port, client_id="c")
    server.wait_for(CONNECT)
    agent.do("publish", topic="q1", qos=1)  # the session takes it at once
    agent.send("subscribe", filters=[["f", 0]])
    agent.send("publish", topic="q0")
    agent.send("publish", topic="later", qos=1)
    assert agent.do("stats")["inflight"] == 1
    server.send(connack())
    agent.wait("connected")
    kinds = [server.expect().type for _ in range(4)]
    assert kinds == [PUBLISH, SUBSCRIBE, PUBLISH, PUBLISH]
    assert [p.topic for p in server.of(PUBLISH)] == ["q1", "q0", "later"]


# --- how a connection ends: one event each


def test_taken_over_by_another_client_of_the_same_name(agent, server):
    up(agent, server)
    server.send(TAKEN_OVER)
    server.close()
    event = agent.wait("disconnected")
    assert (event["by"], event["reason_code"], event["reason"]) == ("server", 0x8E, "Session taken over")
    agent.none("disconnected")
    clean(agent)


def test_disconnect_of_the_server(agent, server):
    up(agent, server)
    server.send(disconnect(0x9D, [("reason_string", "go"), ("server_reference", "other")]))
    event = agent.wait("disconnected")
    assert (event["by"], event["reason_code"], event["reason"]) == ("server", 157, "Server moved")
    assert event["props"] == {"reason_string": "go", "server_reference": "other"}
    agent.none("disconnected")
    clean(agent)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_lost_connection(agent, server, end):
    up(agent, server)
    getattr(server, end)()
    event = agent.wait("disconnected")
    assert (event["by"], event["reason_code"], event["reason"], event["props"]) == ("network", None, None, {})
    assert agent.do("publish", topic="t")["type"] == "OSError"
    agent.none("disconnected")
    clean(agent)


def test_a_violation(agent, server):
    up(agent, server)
    server.send(PUBLISH_WILDCARD)
    event = agent.wait("disconnected")
    assert (event["by"], event["reason_code"], event["reason"]) == ("client", 0x82, "Protocol Error")
    server.wait_for(DISCONNECT, code=0x82)
    agent.none("disconnected")
    agent.none("message", 0)
    clean(agent)


def test_disconnect_by_command(agent, server):
    up(agent, server, props={"session_expiry_interval": 5})
    event = agent.do("disconnect", reason_code=4, props=[["user_property", ["a", "b"]], ["session_expiry_interval", 9]])
    assert (event["ev"], event["by"], event["reason_code"]) == ("disconnected", "client", 4)
    p = server.expect(DISCONNECT, code=4)
    assert p.props == [("user_property", ("a", "b")), ("session_expiry_interval", 9)]
    assert agent.do("disconnect")["ev"] == "error"
    agent.none("disconnected")
    clean(agent)


def test_a_refused_disconnect_leaves_the_connection(agent, server):
    up(agent, server)
    assert agent.do("disconnect", props={"session_expiry_interval": 9})["type"] == "ValueError"
    assert agent.do("publish", topic="t", qos=1)["ev"] == "published"
    agent.wait("acked")


def test_drop_sends_no_disconnect(agent, server):
    up(agent, server)
    event = agent.do("drop")
    assert (event["ev"], event["by"]) == ("disconnected", "network")
    server.wait_closed()
    server.nothing(0)
    assert agent.do("drop")["ev"] == "error"


def test_end_of_input_disconnects_and_exits(agent, server):
    up(agent, server)
    clean(agent)
    server.expect(DISCONNECT, code=0)


def test_quit_exits_without_disconnect(agent, server):
    up(agent, server)
    agent.send("quit")
    assert agent.process.wait(60) == 0
    server.wait_closed()
    server.nothing(0)


def test_sigterm_ends_it(agent, server):
    up(agent, server)
    agent.kill(signal.SIGTERM)
    assert agent.process.returncode == -signal.SIGTERM
    server.wait_closed()


# --- messages out


def test_publish_and_its_acknowledgements(agent, server):
    up(agent, server)
    assert agent.do("publish", topic="t", payload="é")["packet_id"] == 0
    assert server.wait_for(PUBLISH).payload == "é".encode()
    event = agent.do("publish", topic="t/é", payload_hex="00ff80", qos=1, retain=True)
    acked = agent.wait("acked", packet_id=event["packet_id"])
    assert (acked["reason_code"], acked["reason"], acked["packet"], acked["props"]) == (0, "Success", "PUBACK", {})
    p = server.wait_for(PUBLISH)
    assert (p.topic, p.payload, p.qos, p.retain, p.dup) == ("t/é", b"\x00\xff\x80", 1, 1, 0)
    event = agent.do("publish", topic="t", qos=2)
    acked = agent.wait("acked", packet_id=event["packet_id"])
    assert (acked["reason_code"], acked["packet"]) == (0, "PUBCOMP")
    server.wait_for(PUBREL)


@pytest.mark.parametrize("qos, answer, name", [(1, puback, "PUBACK"), (2, pubrec, "PUBREC")])
def test_a_publish_that_the_server_refuses(agent, server, qos, answer, name):
    up(agent, server)
    server.answers[PUBLISH] = answer(1, 0x97, [("reason_string", "full"), ("user_property", ("a", "b"))])
    agent.do("publish", topic="t", qos=qos)
    event = agent.wait("acked")
    assert (event["packet"], event["reason_code"], event["reason"]) == (name, 0x97, "Quota exceeded")
    assert event["props"] == {"reason_string": "full", "user_property": [["a", "b"]]}
    agent.none("refused", 0.1)
    assert agent.do("stats")["inflight"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"topic": "a/+"},
        {"topic": ""},
        {"topic": "a\0"},
        {"topic": "x" * 65536},
        {"topic": "t", "qos": 3},
        {"topic": "t", "props": {"no_such_property": 1}},
        {"topic": "t", "props": {"session_expiry_interval": 1}},
        {"topic": "t", "props": {"payload_format_indicator": 2}},
        {"topic": "t", "props": [["content_type"]]},
        {"topic": "t", "props": {"correlation_data_hex": "0g"}},
        {"topic": "t", "payload_hex": "123"},
        {"topic": "t", "payload": 5},
        {"payload": "x"},
    ],
    ids=lambda fields: json.dumps(fields)[:40],
)
def test_what_the_library_refuses_is_an_error_and_the_connection_stays(agent, server, fields):
    up(agent, server)
    event = agent.do("publish", **fields)
    assert (event["ev"], event["type"] in ("ValueError", "TypeError")) == ("error", True)
    agent.do("ping")
    server.expect(PINGREQ)
    clean(agent)


def test_a_prepared_publication(agent, server):
    up(agent, server)
    for payload in ("one", "two", "seven", "1"):
        agent.do("publish", topic="p", payload=payload, prepared=True, props={"content_type": "c"})
        p = server.wait_for(PUBLISH)
        assert (p.topic, p.payload, p.props) == ("p", payload.encode(), [("content_type", "c")])
    event = agent.do("publish", topic="p", payload="q", prepared=True, qos=1)
    assert agent.wait("acked")["packet_id"] == event["packet_id"]


# --- subscriptions and messages in


def test_subscribe_and_unsubscribe(agent, server):
    up(agent, server)
    server.answers[SUBSCRIBE] = suback(1, [0, 0x87, 2], [("reason_string", "partly")])
    filters = [["a/#", 0], ["b", 1, {"no_local": True}], ["c", 2, {"retain_as_published": True, "retain_handling": 2}]]
    event = agent.do("subscribe", filters=filters, props={"subscription_identifier": 300, "user_property": [["a", "b"]]})
    assert (event["ev"], event["packet_id"], event["reason_codes"]) == ("subscribed", 1, [0, 0x87, 2])
    assert event["props"] == {"reason_string": "partly"}
    p = server.expect(SUBSCRIBE)
    assert p.filters == [("a/#", 0), ("b", 1 | 4), ("c", 2 | 8 | 2 << 4)]
    assert p.props == [("subscription_identifier", 300), ("user_property", ("a", "b"))]
    server.answers[UNSUBSCRIBE] = lambda s, p: unsuback(p.pid, [0, 0x11])
    event = agent.do("unsubscribe", filters=["a/#", "zz"], props={"user_property": [["a", "b"]]})
    assert (event["ev"], event["reason_codes"], event["props"]) == ("unsubscribed", [0, 0x11], {})
    assert server.expect(UNSUBSCRIBE).filters == ["a/#", "zz"]


@pytest.mark.parametrize("filters", [[], [["a/#/b", 0]], [["a", 3]], [["a", 0, {"nonsense": 1}]], [["a"]], "a", [5]], ids=str)
def test_a_wrong_subscription_is_an_error(agent, server, filters):
    up(agent, server)
    assert agent.do("subscribe", filters=filters)["ev"] == "error"
    agent.do("ping")
    server.expect(PINGREQ)
    clean(agent)


def test_a_message_with_everything(agent, server):
    up(agent, server)
    properties = [
        ("payload_format_indicator", 0),
        ("message_expiry_interval", 4294967295),
        ("content_type", "é"),
        ("response_topic", "r"),
        ("correlation_data", b"\x00\xff"),
        ("subscription_identifier", 1),
        ("subscription_identifier", 268435455),
        ("user_property", ("a", "1")),
        ("user_property", ("a", "2")),
    ]
    server.send(publish("in/é", b"\x00\xff", 1, 9, properties, retain=True, dup=True))
    event = agent.wait("message")
    assert (event["topic"], event["payload_hex"], event["qos"]) == ("in/é", "00ff", 1)
    assert (event["retain"], event["dup"]) == (True, True)
    assert event["props"] == {
        "payload_format_indicator": 0,
        "message_expiry_interval": 4294967295,
        "content_type": "é",
        "response_topic": "r",
        "correlation_data_hex": "00ff",
        "subscription_identifier": [1, 268435455],
        "user_property": [["a", "1"], ["a", "2"]],
    }
    server.expect(PUBACK, pid=9, code=0)
    server.send(publish("empty", b"", 2, 10))
    assert agent.wait("message")["payload_hex"] == ""
    server.expect(PUBREC, pid=10, code=0)


def test_a_topic_alias_is_resolved(agent, server):
    up(agent, server, props={"topic_alias_maximum": 3})
    server.send(publish("long/topic", b"1", properties=[("topic_alias", 2)]), publish("", b"2", properties=[("topic_alias", 2)]))
    assert [agent.wait("message")["topic"] for _ in range(2)] == ["long/topic"] * 2


def test_a_message_above_rx_is_a_violation(agent, server):
    up(agent, server, rx=128)
    assert server.packets[0].prop("maximum_packet_size") == 128
    server.send(publish("t", b"x" * 500))
    assert agent.wait("disconnected")["reason_code"] == 0x95


def test_a_large_message_is_reported_whole(agent, server):
    payload = bytes(range(256)) * 200
    up(agent, server, rx=60000)
    server.send(publish("t", payload))
    assert bytes.fromhex(agent.wait("message")["payload_hex"]) == payload


# --- enhanced authentication


def asked(data, code=0x18):
    """AUTH of the server."""
    return auth(code, [("authentication_method", "echo"), ("authentication_data", data)])


def test_the_echo_mechanism_answers_in_turn(agent, server):
    server.answers[CONNECT] = asked(b"1")
    server.answers[AUTH] = [asked(b"2"), connack(0, [("authentication_method", "echo"), ("authentication_data", b"end")])]
    steps = {"mechanism": "echo", "steps_hex": ["61", "62ff", "63", "64"]}
    event = agent.do("connect", port=server.port, client_id="c", auth=steps)
    assert (event["ev"], event["props"]["authentication_data_hex"]) == ("connected", b"end".hex())
    assert server.expect(CONNECT).prop("authentication_method") == "echo"
    assert [server.expect(AUTH).prop("authentication_data") for _ in range(2)] == [b"a", b"b\xff"]
    server.answers[AUTH] = [asked(b"3"), asked(b"4"), asked(b"end", 0)]
    agent.send("reauth")
    p = server.wait_for(AUTH)
    assert (p.code, p.prop("authentication_method")) == (0x19, "echo")
    assert [server.wait_for(AUTH).prop("authentication_data") for _ in range(2)] == [b"c", b"d"]
    agent.do("publish", topic="t", qos=1)
    agent.wait("acked")
    server.send(disconnect(0x87))
    assert agent.wait("disconnected")["reason_code"] == 0x87
    clean(agent)


# --- the rest


def test_ping_and_keep_alive_report_each_pong(agent, server):
    up(agent, server, keepalive=1)
    assert agent.do("ping")["ev"] == "pong"
    assert "tag" not in agent.wait("pong")
    assert len(server.of(PINGREQ)) >= 2


def test_stats_count(agent, server, interpreter):
    first = agent.do("stats")
    assert (first["inflight"], first["sent"], first["received"]) == (0, 0, 0)
    up(agent, server)
    server.answers[PUBLISH] = None
    before = agent.do("stats")
    agent.do("publish", topic="t", qos=1)
    agent.do("publish", topic="t", qos=2)
    server.send(publish("t"))
    agent.wait("message")
    event = agent.do("stats")
    assert (event["inflight"], event["sent"] - before["sent"], event["received"] - before["received"]) == (2, 2, 1)
    assert ("mem_alloc" in event, "mem_free" in event) == ((interpreter == "micropython"),) * 2


def test_hold_stops_reading_and_goes_on(agent, server):
    up(agent, server)
    agent.send("hold", on=True)
    agent.do("stats")
    server.send(publish("t", b"1"))
    agent.none("message", 0.4)
    agent.do("publish", topic="out")
    server.wait_for(PUBLISH)
    agent.send("hold", on=False)
    assert agent.wait("message")["topic"] == "t"


def test_it_answers_while_the_server_takes_nothing(agents, server):
    agent = agents(heap="16m")
    up(agent, server, timeout=60)  # how long a server may take nothing
    server.stall()
    for i in range(40):
        agent.send("publish", topic="t", payload_hex="00" * 100000, tag="p%d" % i)
    agent.wait("published", tag="p0")
    assert agent.do("stats")["ev"] == "stats"
    server.stall(False)
    for i in range(1, 40):
        agent.wait("published", tag="p%d" % i)
    agent.do("publish", topic="t", qos=1)
    agent.wait("acked")
    assert len(server.of(PUBLISH)) == 41
    clean(agent)


def test_the_tag_comes_back_as_it_was(agent, server):
    tag = {"z": [1, None, "é\n\"\\\u0001"], "a": 1.5, "b": True}
    agent.send("connect", tag=tag, port=server.port)
    assert agent.wait("connected")["tag"] == tag
    agent.send("publish", tag=0, topic="t")
    assert agent.wait("published")["tag"] == 0


# --- lines


def test_lines_in_any_pieces(agent, server):
    up(agent, server)
    text = '{"do": "publish", "topic": "é\\u00e9\\n\\"", "payload": "a\\\\", "tag": 1}\n\n'
    text += '  {"do":"publish","topic":"b","tag":2}\r\n{"do": "publish", "topic": "c", "tag": 3}'
    data = text.encode()
    raw = agent.process.stdin.buffer
    for i in range(0, len(data), 7):
        raw.write(data[i : i + 7])
        raw.flush()
        time.sleep(0.005)
    assert agent.end() == 0
    server.wait_for(DISCONNECT)
    assert [p.topic for p in server.of(PUBLISH)] == ['éé\n"', "b", "c"]
    assert server.of(PUBLISH)[0].payload == b"a\\"


def test_the_connection_goes_on_while_a_line_is_incomplete(agent, server):
    up(agent, server)
    agent.process.stdin.write('{"do": "publish", "topic": ')
    agent.process.stdin.flush()
    time.sleep(0.2)
    server.send(publish("in", b"1"))
    agent.wait("message")
    agent.process.stdin.write('"t", "tag": 5}\n')
    agent.process.stdin.flush()
    agent.wait("published", tag=5)


@pytest.mark.parametrize(
    "line, text",
    [
        ("nonsense", ""),
        ("{", ""),
        ('{"do": "publish", "topic": "a" "payload": "b"}', ""),
        ("[1]", "unknown command"),
        ('"x"', "unknown command"),
        ("{}", "unknown command"),
        ('{"do": "fly"}', "unknown command: fly"),
        ('{"do": "publish", "topic": "t", "payolad": "x"}', "unknown field: payolad"),
        ('{"do": "connect", "will": "x"}', "will: not an object"),
        ('{"do": "connect", "auth": {"mechanism": "magic"}}', "auth"),
        ('{"do": "publish", "topic": "t"}', "not connected"),
        ('{"do": "ping"}', "not connected"),
        ('{"do": "reauth"}', "not connected"),
        ('{"do": "subscribe", "filters": [["a", 0]]}', "not connected"),
    ],
)
def test_a_line_that_cannot_be_carried_out_is_an_error(agent, line, text):
    agent.process.stdin.write(line + "\n")
    agent.process.stdin.flush()
    event = agent.wait("error")
    assert text in event["message"] and event["type"] in ("ValueError", "OSError")
    clean(agent)


@pytest.mark.parametrize("size", [1000, 3000, 500000])
def test_a_large_payload_in_the_heap_that_micropython_has_by_default(agents, server, size):
    agent = agents(heap="2m")
    up(agent, server)
    payload = bytes(range(251)) * (size // 251)
    agent.do("publish", topic="t", payload_hex=payload.hex(), props={"content_type": "x"})
    p = server.wait_for(PUBLISH)
    assert (p.payload, p.props) == (payload, [("content_type", "x")])
    assert agent.do("publish", topic="t", payload_hex=payload.hex() + "0g")["type"] == "ValueError"
    assert agent.do("publish", topic="t", payload_hex=payload.hex() + "0")["type"] == "ValueError"
    agent.do("ping")
    clean(agent)


# --- session


def test_the_same_connect_goes_on_with_the_session(agent, server):
    fields = {"clean_start": False, "props": {"session_expiry_interval": 60}}
    up(agent, server, **fields)
    server.answers[PUBLISH] = None
    first = agent.do("publish", topic="t", payload="1", qos=1)["packet_id"]
    server.wait_for(PUBLISH)
    agent.do("drop")
    second = agent.do("publish", topic="t", payload="2", qos=1)["packet_id"]
    server.session_present = 1
    del server.answers[PUBLISH]
    assert up(agent, server, **fields)["session_present"] is True
    replay, new = server.expect(PUBLISH), server.expect(PUBLISH)
    assert (replay.pid, replay.dup, replay.payload) == (first, 1, b"1")
    assert (new.pid, new.dup, new.payload) == (second, 0, b"2")
    agent.wait("acked", packet_id=second)


def test_other_fields_with_clean_start_false_keep_the_session_too(agent, server):
    up(agent, server, props={"session_expiry_interval": 60})
    server.answers[PUBLISH] = None
    pid = agent.do("publish", topic="t", qos=1)["packet_id"]
    server.wait_for(PUBLISH)
    agent.do("drop")
    server.session_present = 1
    assert up(agent, server, clean_start=False, keepalive=5, props={"session_expiry_interval": 60})["session_present"] is True
    server.expect(PUBLISH, pid=pid, dup=1)
    agent.do("drop")
    assert agent.do("connect", port=server.port, client_id="other", clean_start=False)["ev"] == "disconnected"  # no session here


# --- reconnect


def test_reconnect_keeps_the_link_up(agent, server):
    fields = {"reconnect": True, "clean_start": False, "props": {"session_expiry_interval": 60}}
    up(agent, server, **fields)
    assert agent.do("subscribe", filters=[["mine", 1]])["ev"] == "subscribed"
    server.wait_for(SUBSCRIBE)
    asked = threading.Event()
    server.answers[CONNECT] = lambda server, p: asked.wait(60) and connack()
    server.close()
    assert agent.wait("disconnected")["by"] == "network"
    pid = agent.do("publish", topic="queued", qos=1)["packet_id"]
    assert agent.do("publish", topic="lost")["ev"] == "error"
    asked.set()  # the wait before a new try is random and may be next to nothing: not before the two are published
    event = agent.wait("connected")
    del server.answers[CONNECT]
    assert "tag" not in event and event["session_present"] is False
    p = server.wait_for(PUBLISH)
    assert (p.topic, p.pid, p.dup) == ("queued", pid, 0)
    agent.wait("acked", packet_id=pid)
    server.wait_for(SUBSCRIBE)  # made again, as the server has no session
    assert agent.do("drop")["by"] == "network"
    agent.wait("connected")
    assert agent.do("disconnect")["by"] == "client"
    agent.none("disconnected")
    agent.none("connected", 1.5)
    clean(agent)


def test_reconnect_reports_refusals_and_stops_where_trying_is_no_use(agent, server):
    server.answers[CONNECT] = [connack(0x88), connack()]
    event = agent.do("connect", port=server.port, client_id="c", reconnect=True)
    assert event["ev"] == "connected"
    assert agent.wait("refused")["reason_code"] == 0x88
    server.send(TAKEN_OVER)
    assert agent.wait("disconnected")["reason_code"] == 0x8E
    agent.none("disconnected")
    agent.none("connected", 1.5)
    assert agent.do("disconnect")["ev"] == "error"
    server.answers[CONNECT] = connack(0x87)
    event = agent.do("connect", port=server.port, client_id="c", reconnect=True)
    assert (event["ev"], event["reason_code"]) == ("refused", 0x87)
    agent.none("refused", 1.5)
    clean(agent)


def test_reconnect_goes_on_while_nobody_answers(agent, server):
    port = server.port
    server.stop()
    agent.send("connect", port=port, client_id="c", reconnect=True)
    pid = agent.do("publish", topic="queued", qos=1)["packet_id"]
    assert pid == 1
    agent.none("error", 2)
    event = agent.do("disconnect")
    assert (event["ev"], event["by"]) == ("disconnected", "client")
    clean(agent)


# --- bugs and missing parts


@pytest.fixture
def checkout(tmp_path):
    """A copy of what the agent needs, to be spoilt."""
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("umqtt5", "ports/host/umqtt5_host"):
        shutil.copytree(mpy.ROOT / folder, tmp_path / folder, ignore=ignore)
    (tmp_path / "tools").mkdir()
    shutil.copy(mpy.ROOT / "tools" / "agent.py", tmp_path / "tools")
    return tmp_path


def test_an_undocumented_exception_ends_it_with_a_traceback_and_70(agents, checkout, server):
    with (checkout / "umqtt5" / "core.py").open("a") as f:
        f.write("\n\ndef load(s, first, i, end):\n    return {}[first]\n")
    agent = agents(path=checkout / "tools" / "agent.py")
    up(agent, server)
    agent.send("ping")
    assert agent.process.wait(60) == 70
    agent.kill()
    assert "KeyError" in agent.stderr and "Traceback" in agent.stderr


def test_a_part_that_is_not_installed_is_an_error(agents, checkout, server):
    (checkout / "umqtt5" / "ws.py").unlink()
    agent = agents(path=checkout / "tools" / "agent.py")
    event = agent.do("connect", port=server.port, ws="/mqtt")
    assert (event["ev"], event["type"]) == ("error", "ImportError")
    up(agent, server)
    clean(agent)


# --- real mosquitto


def test_a_dialogue_with_mosquitto(agents, mosquitto):
    broker = mosquitto(users={"node": "secret"})
    a, b = agents(), agents()
    event = a.do("connect", port=broker.port, client_id="a", user="node", password="wrong")
    assert (event["ev"], event["reason_code"], event["action"]) == ("refused", 135, "fix-config")
    will = {"topic": "a/status", "payload": "gone", "qos": 1, "props": {"user_property": [["why", "will"]]}}
    assert a.do("connect", port=broker.port, client_id="a", user="node", password="secret", will=will)["ev"] == "connected"
    assert b.do("connect", port=broker.port, client_id="b", user="node", password="secret")["ev"] == "connected"
    assert b.do("subscribe", filters=[["a/#", 2]], props={"subscription_identifier": 5})["reason_codes"] == [2]
    for qos in (0, 1, 2):
        a.do("publish", topic="a/%d" % qos, payload="p%d" % qos, qos=qos, props={"response_topic": "r"})
        event = b.wait("message", topic="a/%d" % qos)
        assert (event["qos"], event["payload_hex"]) == (qos, (b"p%d" % qos).hex())
        assert event["props"] == {"response_topic": "r", "subscription_identifier": [5]}
    a.do("drop")
    event = b.wait("message", topic="a/status")
    assert event["props"]["user_property"] == [["why", "will"]]
    clean(a)
    clean(b)


def test_topics_published_at_several_qos_where_the_server_allows_aliases(agents, broker):
    a, b = agents(), agents()
    assert a.do("connect", port=broker.port, client_id="a")["props"]["topic_alias_maximum"] > 0
    b.do("connect", port=broker.port, client_id="b")
    b.do("subscribe", filters=[["t/#", 2]])
    sent = [("a", 0), ("b", 1), ("a", 0), ("b", 0), ("c", 2), ("b", 0), ("c", 0), ("a", 1), ("a", 0), ("d", 1), ("d", 0)]
    for n, (topic, qos) in enumerate(sent):
        a.do("publish", topic="t/" + topic, payload=str(n), qos=qos)
    for n, (topic, _) in enumerate(sent):
        b.wait("message", topic="t/" + topic, payload_hex=str(n).encode().hex())
    clean(a)
    clean(b)


def test_the_session_survives_the_process_in_a_store(agents, broker, tmp_path):
    fields = {"port": broker.port, "client_id": "s", "clean_start": False, "store": str(tmp_path / "session")}
    fields["props"] = {"session_expiry_interval": 100}
    a = agents()
    a.do("connect", **fields)
    a.send("hold")
    pid = a.do("publish", topic="kept", payload="1", qos=1)["packet_id"]
    a.kill()
    b = agents()
    event = b.do("connect", **fields)
    assert (event["ev"], event["session_present"]) == ("connected", True)
    assert b.wait("acked")["packet_id"] == pid
    clean(b)
