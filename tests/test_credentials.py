"""Credentials never appear in what the library raises or shows (user name, password, Will)."""

from support import packets as P
from support.peer import Peer
from support.session import make
from support.t import eq
from umqtt5 import ProtocolError, Refused

USER = "u5er-of-the-node"
PASSWORD = "pa55word-of-the-node"


def shown(e, c):
    """All that a log would hold of an exception and of the client."""
    return "%s %r %r %r %s" % (e, e, getattr(e, "args", ()), getattr(e, "__dict__", ()), repr(c))


def failed(answers, kind, user=USER, password=PASSWORD):
    """The exception of connect() with credentials, and what it shows."""
    peer = Peer(answers) if answers else Peer()
    try:
        c = make(peer, user=user, password=password)
        c.connect()
    except kind as e:
        text = shown(e, c)
        for secret in (USER, PASSWORD):
            assert secret not in text, text
        return e
    raise AssertionError("connect() went well")


def test_refused_connections_do_not_show_credentials():
    for code in (0x84, 0x86, 0x87, 0x8A, 0x9D):
        e = failed({P.CONNECT: P.connack(code)}, Refused)
        eq(e.reason_code.value, code)


def test_broken_servers_do_not_show_credentials():
    failed({P.CONNECT: b"\x20\x03\x02\x00\x00"}, ProtocolError)


def test_bad_credentials_are_named_not_shown():
    e = failed(None, ValueError, user=USER + "\x00")
    assert "user" in str(e)
    e = failed(None, ValueError, password=PASSWORD * 4000)
    assert "password" in str(e)
