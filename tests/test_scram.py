# The SCRAM-SHA-256 mechanism: RFC 7677's example, PBKDF2 vectors, what a lying server may not get past.
from binascii import a2b_base64, b2a_base64, hexlify
from hashlib import sha256

from umqtt5 import scram

# RFC 7677 section 3
NONCE = b"rOprNGfwEbeRWgbNEkqO"
CLIENT_FIRST = b"n,,n=user,r=" + NONCE
SERVER_NONCE = NONCE + b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SERVER_FIRST = b"r=" + SERVER_NONCE + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
CLIENT_FINAL = b"c=biws,r=" + SERVER_NONCE + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

try:
    from gc import mem_free

    ROOM = mem_free() > 4000000  # 4096 rounds make 2 MB of garbage on 32-bit, where tests run without a collector
    ROOM = ROOM or __import__("sys").maxsize > 1 << 40
except ImportError:
    ROOM = True


_count = [0]


def _counted(n):
    # stands in for urandom where the build has no source of random bytes (WebAssembly)
    _count[0] += 1
    return sha256(bytes(_count)).digest()[:n]


try:
    scram.urandom(1)
except OSError:
    scram.urandom = _counted


def with_nonce(f):
    real = scram.urandom
    scram.urandom = lambda n: a2b_base64(NONCE)
    try:
        return f()
    finally:
        scram.urandom = real


def error(f, *args):
    try:
        f(*args)
    except ValueError as e:
        return str(e)
    raise AssertionError("no ValueError")


class Server:
    # The other side of the exchange, written from the RFC with its own arithmetic.
    def __init__(self, password=b"pencil", rounds=3):
        self.password = password
        self.rounds = rounds

    def challenge(self, client_first, salt=b"0123456789abcdef"):
        self.bare = client_first[3:]
        self.nonce = self.bare[self.bare.find(b",r=") + 3 :] + b"S3rv3r"
        self.salt = salt
        self.first = b"r=" + self.nonce + b",s=" + b2a_base64(salt)[:-1] + b",i=%d" % self.rounds
        return self.first

    def final(self, client_final):
        key = scram._hi(self.password, self.salt, self.rounds, None)
        at = client_final.find(b",p=")
        msg = self.bare + b"," + self.first + b"," + client_final[:at]
        client_key = scram._hmac(key, b"Client Key")
        stored = sha256(client_key).digest()
        signature = scram._hmac(stored, msg)
        proof = a2b_base64(client_final[at + 3 :])
        if sha256(bytes([proof[i] ^ signature[i] for i in range(32)])).digest() != stored:
            return b"e=invalid-proof"
        return b"v=" + b2a_base64(scram._hmac(scram._hmac(key, b"Server Key"), msg))[:-1]


def mechanism(**kw):
    kw["min_iterations"] = 1
    return scram.ScramSha256(kw.pop("user", "user"), kw.pop("password", "pencil"), **kw)


def test_rfc7677_example():
    if not ROOM:
        return

    def f():
        m = scram.ScramSha256("user", "pencil")
        assert m.name == "SCRAM-SHA-256"
        assert m.first() == CLIENT_FIRST
        assert m.step(memoryview(SERVER_FIRST)) == CLIENT_FINAL
        m.done(memoryview(SERVER_FINAL))

    with_nonce(f)


def test_pbkdf2_vectors():
    # RFC 6070's inputs with SHA-256
    hi = scram._hi
    assert hexlify(hi(b"password", b"salt", 1, None)) == b"120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"
    assert hexlify(hi(b"password", b"salt", 2, None)) == b"ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43"


def test_hmac_vectors():
    # RFC 4231 cases 1, 2 and 6 (a key longer than the block)
    h = scram._hmac
    assert hexlify(h(b"\x0b" * 20, b"Hi There"))[:16] == b"b0344c61d8db3853"
    assert hexlify(h(b"Jefe", b"what do ya want for nothing?"))[:16] == b"5bdcc146bf60754e"
    assert hexlify(h(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First"))[:16] == b"60e431591ee0b67f"


def test_exchange_succeeds_and_runs_again():
    m = mechanism()
    s = Server()
    nonces = set()
    for _ in range(3):
        first = m.first()
        nonces.add(bytes(first))
        final = s.final(m.step(s.challenge(first)))
        m.done(final)
    assert len(nonces) == 3


def test_derived_key_is_kept_for_the_same_salt_and_count():
    calls = []
    real = scram._hi

    def count(*a):
        calls.append(a[1:3])
        return real(*a)

    m = mechanism()
    s = Server()
    scram._hi = count
    try:
        m.step(s.challenge(m.first()))
        m.step(s.challenge(m.first()))
        assert len(calls) == 1
        m.step(s.challenge(m.first(), b"another salt"))
        assert len(calls) == 2
        s.rounds = 4
        m.step(s.challenge(m.first(), b"another salt"))
        assert len(calls) == 3
    finally:
        scram._hi = real


def test_signature_in_an_auth_packet_instead_of_the_connack():
    m = mechanism()
    s = Server()
    final = s.final(m.step(s.challenge(m.first())))
    assert m.step(final) == b""
    m.done(None)


def test_wrong_password_is_the_servers_error():
    m = mechanism(password="pen")
    s = Server()
    final = s.final(m.step(s.challenge(m.first())))
    assert error(m.done, final) == "SCRAM: the server says invalid-proof"


def test_server_without_the_password_is_not_believed():
    for final in (SERVER_FINAL, b"v=", b"", None, b"v=!!!!", b"x", b"\xff\xfe"):
        m = mechanism()
        s = Server()
        m.step(s.challenge(m.first()))
        assert error(m.done, final) == "SCRAM: the server's signature is wrong or missing"
        error(m.done, None)  # and it stays so
    m = mechanism()
    m.first()  # success without a challenge
    assert error(m.done, None) == "SCRAM: the server's signature is wrong or missing"
    m = mechanism()
    s = Server()
    m.step(s.challenge(m.first()))
    error(m.step, SERVER_FINAL)  # a wrong one in an AUTH packet


def test_verified_once_is_not_verified_for_ever():
    m = mechanism()
    s = Server()
    m.done(s.final(m.step(s.challenge(m.first()))))
    m.first()
    error(m.done, None)
    m.step(s.challenge(m.first()))
    error(m.done, None)


def test_nonce_must_extend_ours():
    m = mechanism()
    m.first()
    assert "nonce" in error(m.step, b"r=abc,s=MDEyMw==,i=10")
    nonce = m.first()[12:]
    assert "nonce" in error(m.step, b"r=" + nonce + b",s=MDEyMw==,i=10")
    assert "nonce" in error(m.step, b"r=" + nonce[:-1] + b"!yz,s=MDEyMw==,i=10")  # no nonce of ours has a "!"


def test_malformed_challenge():
    m = mechanism()
    n = b"r=" + m.first()[12:] + b"xyz"
    for data in (
        None,
        b"",
        b",,",
        n,
        n + b",s=MDEyMw==",
        n + b",i=10,s=MDEyMw==",
        n + b",s=MDEyMw==,i=",
        n + b",s=MDEyMw==,i=-5",
        n + b",s=MDEyMw==,i=1e3",
        b"m=ext," + n + b",s=MDEyMw==,i=10",
        b"e=unknown-user",
        b"\xff\xff,\xff\xff,\xff\xff",
    ):
        error(m.step, data)
    error(m.step, n + b",s=A,i=10")  # base64 that is none
    m.step(n + b",s=MDEyMw==,i=1,x=extension")  # optional extensions are skipped


def test_iteration_count_is_bounded_both_ways():
    m = scram.ScramSha256("user", "pencil")
    n = b"r=" + m.first()[12:] + b"xyz,s=MDEyMw==,i="
    for i in (b"0", b"1", b"4095", b"100001", b"4294967296", b"9" * 400):
        assert error(m.step, n + i) == "SCRAM: iteration count outside of 4096..100000"
    m = scram.ScramSha256("user", "pencil", min_iterations=1, max_iterations=5)
    n = b"r=" + m.first()[12:] + b"xyz,s=MDEyMw==,i="
    error(m.step, n + b"6")
    m.step(n + b"5")


def test_watchdog_is_fed():
    fed = []
    m = mechanism(feed=lambda: fed.append(1))
    n = b"r=" + m.first()[12:] + b"xyz,s=MDEyMw==,i=200"
    m.step(n)
    assert len(fed) == 3


def test_user_name_is_escaped():
    m = mechanism(user="a=b,c")
    assert m.first().startswith(b"n,,n=a=3Db=2Cc,r=")
    m = mechanism(user=b"r=,r=x")
    s = Server()
    m.done(s.final(m.step(s.challenge(m.first()))))
    m = mechanism(user="\u00fc")
    assert m.first().startswith(b"n,,n=\xc3\xbc,r=")


def test_password_is_never_shown():
    secret = "hunter2secret"
    m = mechanism(password=secret)
    n = b"r=" + m.first()[12:] + b"xyz"
    seen = repr(m) + str(m)
    for f, data in ((m.step, b"x"), (m.step, n + b",s=MDEyMw==,i=0"), (m.step, n + b",s=MDEyMw==,i=2"), (m.done, b"v=x")):
        try:
            f(data)
        except ValueError as e:
            seen += repr(e)
    assert secret not in seen
