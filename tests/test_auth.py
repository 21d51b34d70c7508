"""Enhanced authentication (3.15, 4.12): the handshake, re-authentication, who may say what, and SCRAM-SHA-256 over the wire."""

from support import packets as P
from support.packets import AUTH, CONNECT, DISCONNECT, PUBLISH
from support.peer import Peer
from support.session import connected, make, settle, up, violated
from support.t import eq, raises, rows
from umqtt5 import MQTTException, ProtocolError, Refused

ONLY = {"test_scram_against_the_example_of_rfc_7677": ("cpython", "micropython")}  # wasm32 has no urandom
NAME = {"authentication_method": "steps"}


class Steps:
    """A mechanism that answers with what it was given and notes what it gets."""

    name = "steps"

    def __init__(self, *answers, first=None):
        self.answers = list(answers)
        self.given = first
        self.heard = []
        self.end = None

    def first(self):
        return self.given

    def step(self, data):
        self.heard.append(data)
        return self.answers.pop(0) if self.answers else None

    def done(self, data):
        self.end = (data,)
        if data == b"liar":
            raise ValueError("the server does not know the password")


def auth(code, data=None, **more):
    """AUTH of that mechanism."""
    pairs = dict(NAME)
    if data is not None:
        pairs["authentication_data"] = data
    pairs.update(more)
    return P.auth(code, pairs)


def handshake(steps, *server, **options):
    """Connect; the server answers CONNECT and each AUTH with these packets in turn. (client, peer)"""
    server = list(server)
    peer = Peer({CONNECT: server.pop(0), AUTH: server})
    return make(peer, auth=steps, **options), peer


def ready(steps, **options):
    """A connection that was authenticated."""
    c, peer = handshake(steps, P.connack(0, NAME), **options)
    c.connect()
    peer.expect(CONNECT)
    peer.answers = {AUTH: None}
    return c, peer


def test_two_rounds():
    """4.12.0-3, -5: code 0x18, the same method, the mechanism's data; the first data is in CONNECT."""
    steps = Steps(b"one", b"\x00two", first=b"first")
    c, peer = handshake(
        steps, auth(0x18, b"a"), auth(0x18, b"b"), P.connack(0, {"authentication_method": "steps", "authentication_data": b"end"})
    )
    c.connect()
    p = peer.expect(CONNECT)
    eq((p.prop("authentication_method"), p.prop("authentication_data")), ("steps", b"first"))
    for want in (b"one", b"\x00two"):
        p = peer.expect(AUTH, code=0x18)
        eq(p.props, [("authentication_method", "steps"), ("authentication_data", want)])
        eq(p.raw[0], 0xF0)
    eq((steps.heard, steps.end), ([b"a", b"b"], (b"end",)))
    up(c, peer)


def test_a_handshake_without_data():
    steps = Steps()
    c, peer = handshake(steps, auth(0x18), P.connack(0, NAME))
    c.connect()
    eq(peer.of(AUTH)[0].props, [("authentication_method", "steps")])
    eq((steps.heard, steps.end), ([None], (None,)))


def test_reason_string_and_user_properties_of_auth():
    steps = Steps(b"x")
    c, peer = handshake(steps, auth(0x18, b"a", reason_string="go on", user_property=("k", "v")), P.connack(0, NAME))
    c.connect()
    eq(steps.heard, [b"a"])


def test_in_pieces():
    for size in rows((1, 3, 0)):
        steps = Steps(b"one", b"two")
        c, peer = handshake(steps, auth(0x18, b"a"), auth(0x18, b"b"), P.connack(0, NAME))
        peer.arrives = peer.takes = size
        peer.gaps = True
        c.connect()
        eq([p.prop("authentication_data") for p in peer.of(AUTH)], [b"one", b"two"])


def test_refusal_in_the_middle():
    """4.12.0-1, -4"""
    for code in rows((0x8C, 0x87, 0x86)):
        steps = Steps(b"one")
        c, peer = handshake(steps, auth(0x18, b"a"), P.connack(code))
        e = raises(Refused, c.connect)
        eq((e.reason_code.value, peer.link.closed), (code, True))
        c, peer = handshake(Steps(), P.connack(code))
        e = raises(Refused, c.connect)
        eq((e.what, e.reason_code.value), ("CONNACK", code))


def test_wrong_codes_and_methods():
    """4.12.0-2, -5, 3.15.2-1"""
    for wrong, code in rows(
        (
            (auth(0x19, b"a"), 0x82),
            (auth(0x00, b"a"), 0x82),
            (auth(0x17, b"a"), 0x81),
            (P.auth(0x18, {"authentication_method": "other"}), 0x82),
            (P.auth(0x18, ()), 0x82),
            (P.auth(0x18), 0x82),
            (P.auth(), 0x82),
            (P.connack(0, {"authentication_method": "other"}), 0x82),
            (b"\xf1\x02\x18\x00", 0x81),
        )
    ):
        c, peer = handshake(Steps(), wrong)
        violated(c, peer, code, c.connect)


def test_a_server_that_cannot_prove_itself():
    """4.12.1-2: DISCONNECT and close, with the mechanism's words in the exception."""
    steps = Steps()
    c, peer = handshake(steps, P.connack(0, {"authentication_method": "steps", "authentication_data": b"liar"}))
    e = raises(ProtocolError, c.connect)
    assert "password" in str(e), e
    eq((peer.packets[-1].name, peer.link.closed, c.isconnected()), ("DISCONNECT", True, False))

    class Careful(Steps):
        def step(self, data):
            raise ValueError("wrong salt")

    c, peer = handshake(Careful(), auth(0x18, b"a"))
    e = raises(ProtocolError, c.connect)
    assert "wrong salt" in str(e), e
    eq((peer.packets[-1].name, peer.link.closed), ("DISCONNECT", True))


def test_reauthentication():
    """4.12.1-1: 0x19 with the same method; messages go on meanwhile; on_auth tells of the end."""
    steps = Steps(b"two", first=b"one")
    c, peer = ready(steps)
    told = []
    c.on_auth = lambda c: told.append(1)
    c.reauth()
    p = peer.expect(AUTH, code=0x19)
    eq(p.props, [("authentication_method", "steps"), ("authentication_data", b"one")])
    c.publish("t", b"x")
    peer.expect(PUBLISH)
    peer.send(P.publish("in", b"1", 1, 1), auth(0x18, b"a"))
    settle(c)
    peer.expect(P.PUBACK)
    p = peer.expect(AUTH, code=0x18)
    eq(p.props, [("authentication_method", "steps"), ("authentication_data", b"two")])
    eq(told, [])
    peer.send(auth(0x00, b"end"))
    settle(c)
    eq((told, steps.end), ([1], (b"end",)))
    up(c, peer)
    c.reauth()  # and once more
    peer.send(auth(0x00))
    settle(c)
    eq(told, [1, 1])


def test_failed_reauthentication():
    """4.12.1-2"""
    for end in rows((auth(0x00, b"liar"), P.disconnect(0x87))):
        c, peer = ready(Steps())
        c.reauth()
        peer.send(end)
        e = raises(MQTTException, settle, c)
        eq((peer.link.closed, c.isconnected()), (True, False))
        if end[0] >> 4 == DISCONNECT:
            eq(e.reason_code.value, 0x87)
        else:
            eq(peer.packets[-1].name, "DISCONNECT")


def test_connack_on_a_live_connection():
    """mosquitto 2.0.11 sends one after a failed re-authentication: closed as the violation table says."""
    c, peer = ready(Steps())
    c.reauth()
    peer.send(P.connack(0x87))
    violated(c, peer, 0x82)


def test_auth_that_nobody_asked_for():
    for raw in rows((auth(0x18, b"a"), auth(0x00), auth(0x19))):
        c, peer = ready(Steps())
        peer.send(raw)
        violated(c, peer, 0x82)


def test_reauth_needs_a_method_and_a_connection():
    """4.12.0-7"""
    c, peer = connected()
    raises(MQTTException, c.reauth)
    peer.nothing()
    up(c, peer)
    c, peer = ready(Steps())
    c.drop()
    raises(OSError, c.reauth)


def test_auth_too_large_for_the_server():
    """3.15.2-2, -3: AUTH of ours carries neither Reason String nor User Properties; one that cannot fit is refused here."""
    c, peer = ready(Steps(first=bytes(100)))
    del c
    steps = Steps(first=bytes(100))
    c, peer = handshake(steps, P.connack(0, {"authentication_method": "steps", "maximum_packet_size": 60}))
    c.connect()
    peer.answers = {AUTH: None}
    raises(ValueError, c.reauth)
    eq(peer.of(AUTH), [])
    steps.given = bytes(10)
    c.reauth()
    p = peer.of(AUTH)[0]
    assert len(p.raw) <= 60 and not p.prop("reason_string") and not p.prop("user_property"), p


def test_reason_string_in_auth_after_problem_information_0():
    steps = Steps(b"x")
    c, peer = handshake(steps, auth(0x18, b"a", reason_string="no"), P.connack(0, NAME), props={"request_problem_information": 0})
    violated(c, peer, 0x82, c.connect)


def test_scram_against_the_example_of_rfc_7677():
    from umqtt5.scram import ScramSha256

    first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    final = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    proof = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    method = {"authentication_method": "SCRAM-SHA-256"}

    class Fixed(ScramSha256):
        """The nonce of the example."""

        def first(self):
            data = ScramSha256.first(self)
            nonce = data[data.find(b"r=") + 2 :].decode()
            for name in dir(self):
                v = getattr(self, name)
                if isinstance(v, str) and nonce in v:
                    setattr(self, name, v.replace(nonce, "rOprNGfwEbeRWgbNEkqO"))
            return data.replace(nonce.encode(), b"rOprNGfwEbeRWgbNEkqO")

    def with_data(make_packet, code, data):
        pairs = dict(method)
        pairs["authentication_data"] = data
        return make_packet(code, pairs)

    for end in (proof, b"v=AAAATRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="):
        peer = Peer({CONNECT: with_data(P.auth, 0x18, challenge), AUTH: [with_data(P.connack, 0, end)]})
        c = make(peer, auth=Fixed("user", "pencil"), timeout=30)
        if end != proof:
            raises(ProtocolError, c.connect)
            continue
        c.connect()
        eq(peer.expect(CONNECT).prop("authentication_data"), first)
        eq(peer.expect(AUTH).prop("authentication_data"), final)
