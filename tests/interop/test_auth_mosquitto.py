"""Enhanced authentication (section 4.12) through the agent, against mosquitto with the plugin of support/auth_plugin."""

import time

import pytest

from support import auth_plugin, harness


@pytest.fixture
def broker(mosquitto):
    """Function that starts mosquitto with the plugin; options of auth_plugin.config()."""
    if auth_plugin.missing():
        harness.leave_out(auth_plugin.missing())
    return lambda **kw: mosquitto(config=auth_plugin.config(**kw))


def scram(password="pencil", user="user"):
    return {"mechanism": "SCRAM-SHA-256", "user": user, "password": password}


def echo(*steps):
    return {"mechanism": "echo", "steps_hex": [s.encode().hex() for s in steps]}


def prop(ev, name):
    return ev["props"].get(name)


def works(agent):
    """The connection carries messages."""
    agent.do("subscribe", filters=[["t", 1]])
    agent.do("publish", topic="t", payload="x", qos=1)
    agent.wait("message", topic="t")


def wait_count(b, text, count):
    """Until the log has that text so often."""
    end = time.monotonic() + 60
    while b.log().count(text) < count:
        assert time.monotonic() < end, b.log()
        time.sleep(0.02)


def test_scram_at_connect(agent, broker):
    b = broker()
    ev = agent.do("connect", port=b.port, client_id="n", auth=scram())
    assert ev["ev"] == "connected", ev
    assert prop(ev, "authentication_method") == "SCRAM-SHA-256"
    assert bytes.fromhex(prop(ev, "authentication_data_hex")).startswith(b"v=")
    assert "u'user'" in b.log()
    works(agent)


def test_scram_with_user_and_password_that_need_escapes(agent, broker):
    b = broker(user="a=b,c", password="p=,r=x")
    assert agent.do("connect", port=b.port, auth=scram("p=,r=x", "a=b,c"))["ev"] == "connected"


@pytest.mark.parametrize("password, user", [("wrong", "user"), ("pencil", "nobody"), ("", "user")])
def test_scram_with_a_wrong_password_is_refused(agent, broker, password, user):
    ev = agent.do("connect", port=broker().port, auth=scram(password, user))
    assert (ev["ev"], ev["what"], ev["reason_code"]) == ("refused", "CONNACK", 0x87), ev
    assert password == "" or password not in agent.stderr


def test_server_that_does_not_know_the_password_is_not_believed(agent, broker):
    b = broker(lie=True)
    ev = agent.do("connect", port=b.port, auth=scram())
    assert (ev["ev"], ev["by"]) == ("disconnected", "client"), ev
    assert ev["reason_code"] >= 0x80
    agent.none("connected")


def test_signature_in_an_auth_packet_of_its_own(agent, broker):
    b = broker(in_auth=True)
    assert agent.do("connect", port=b.port, auth=scram())["ev"] == "connected"
    works(agent)


def test_iterations_out_of_bounds(agent, broker):
    b = broker(iterations=200000)  # the agent takes few, for test servers; a server that asks for too many is refused
    ev = agent.do("connect", port=b.port, auth=scram())
    assert (ev["ev"], ev["by"]) == ("disconnected", "client"), ev


def test_unknown_mechanism_is_refused(agent, broker):
    ev = agent.do("connect", port=broker().port, props={"authentication_method": "nix"})
    assert (ev["ev"], ev["reason_code"]) == ("refused", 0x8C), ev


def test_many_rounds(agent, broker):
    b = broker()
    ev = agent.do("connect", port=b.port, client_id="n", auth=echo("one", "", "2" * 200, "ok"))
    assert ev["ev"] == "connected", ev
    assert prop(ev, "authentication_method") == "echo"
    assert bytes.fromhex(prop(ev, "authentication_data_hex")) == b"ok"
    assert b.log().count("Received AUTH from n") == 4
    works(agent)


def test_refusal_after_some_rounds(agent, broker):
    ev = agent.do("connect", port=broker().port, auth=echo("one", "two", "no"))
    assert (ev["ev"], ev["reason_code"]) == ("refused", 0x87), ev


def test_success_without_data(agent, broker):
    assert agent.do("connect", port=broker().port, auth=echo("none"))["ev"] == "connected"


def test_reauthentication_on_a_live_connection(agent, broker):
    b = broker()
    agent.do("connect", port=b.port, client_id="n", auth=scram())
    for i in range(1, 4):
        agent.send("reauth")
        wait_count(b, "Sending AUTH to n (rc0", i)
        works(agent)
    agent.none("disconnected")


def test_reauthentication_in_many_rounds(agent, broker):
    """Without messages in between, which 4.12.1 allows: mosquitto 2.0.11 takes a PUBLISH then for a Protocol Error"""
    b = broker()
    agent.do("connect", port=b.port, client_id="n", auth=echo("ok", "one", "two", "three", "ok"))
    agent.do("subscribe", filters=[["t", 1]])
    agent.send("reauth")
    wait_count(b, "Sending AUTH to n (rc0", 1)
    works(agent)
    agent.none("disconnected")


def test_failed_reauthentication_ends_the_connection(agent, broker):
    """mosquitto 2.0.11 sends a second CONNACK, which is a packet that is illegal on a live connection: 0x82"""
    b = broker()
    agent.do("connect", port=b.port, client_id="n", auth=echo("ok", "no"))
    works(agent)
    agent.send("reauth")
    ev = agent.wait("disconnected")
    assert (ev["by"], ev["reason_code"]) == ("client", 0x82), ev
    assert agent.do("connect", port=b.port, client_id="n", auth=echo("ok"))["ev"] == "connected"


def test_reauthentication_without_a_method_is_refused_here(agent, broker):
    agent.do("connect", port=broker().port)
    ev = agent.do("reauth")
    assert (ev["ev"], ev["type"]) == ("error", "MQTTException"), ev
    works(agent)


def test_scram_again_after_the_connection_is_lost(agent, broker):
    b = broker()
    for _ in range(3):
        assert agent.do("connect", port=b.port, client_id="n", auth=scram())["ev"] == "connected"
        works(agent)
        agent.send("drop")
        agent.wait("disconnected")
