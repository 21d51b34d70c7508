"""The SCRAM-SHA-256 mechanism (RFC 5802, RFC 7677) as an object for enhanced authentication (4.12).

Belongs here: the messages of the exchange and the arithmetic under them (HMAC, PBKDF2).
Never here: MQTT packets, sockets. Imports `binascii`, `hashlib`, `os` only. Nothing here runs per packet: it allocates
freely, once per authentication.
"""

from binascii import a2b_base64, b2a_base64
from hashlib import sha256
from os import urandom


def _pads(key):
    # The inner and the outer key of HMAC: 64 bytes each, the key, hashed if it is longer, filled up with zeros, XORed.
    if len(key) > 64:
        key = sha256(key).digest()
    a = bytearray(64)
    a[: len(key)] = key
    b = bytearray(a)
    for i in range(64):
        a[i] ^= 0x36
        b[i] ^= 0x5C
    return a, b


def _hmac(key, msg):
    # HMAC-SHA-256 (RFC 2104); MicroPython has no hmac module.
    a, b = _pads(key)
    return sha256(b + sha256(a + msg).digest()).digest()


def _hi(password, salt, n, feed):
    # PBKDF2 with HMAC-SHA-256, one block (RFC 5802 "Hi"). The two padded keys are made once, each round is two hashes over
    # the same two buffers; about 450 bytes of garbage a round on 32-bit, nothing kept.
    a, b = _pads(password)
    u = _hmac(password, salt + b"\0\0\0\1")
    a += u
    b += u
    x = int.from_bytes(u, "big")
    for i in range(1, n):
        if feed and not i & 63:
            feed()
        a[64:] = u
        b[64:] = sha256(a).digest()
        u = sha256(b).digest()
        x ^= int.from_bytes(u, "big")
    return x.to_bytes(32, "big")


def _base64(b):
    return b2a_base64(b)[:-1].decode()


class ScramSha256:
    """SCRAM-SHA-256 without channel binding, for `MQTTClient(auth=ScramSha256(user, password))`.

    user, password: str (sent as UTF-8) or bytes. ASCII needs no preparation; for other text give what SASLprep (RFC 4013)
    makes of it, it is not applied here. min_iterations, max_iterations: the iteration counts accepted from the server; below
    4096 a server (or who plays one) would learn a proof that is cheap to guess from, a huge count would hold the board for
    minutes. feed: called every 64 iterations, for a watchdog. The derived key (32 B) is kept: a reconnect or a
    re-authentication with the same salt and count costs five HMACs instead of the whole derivation.
    Wrong text from the server raises ValueError; neither password nor keys are ever part of it.
    """

    name = "SCRAM-SHA-256"

    def __init__(self, user, password, *, min_iterations=4096, max_iterations=100000, feed=None):
        if not isinstance(user, str):
            user = str(user, "utf-8")
        self.user = user.replace("=", "=3D").replace(",", "=2C")
        if isinstance(password, str):
            password = password.encode()
        self._args = password, min_iterations, max_iterations, feed
        self._known = ()
        self._owed = None  # None: no challenge seen; bytes: the server signature to come; True: verified

    def first(self):
        """Starts the exchange anew: the client-first-message, for CONNECT's or the first AUTH's Authentication Data."""
        self._owed = None
        self._bare = "n=%s,r=%s" % (self.user, _base64(urandom(18)))
        return ("n,," + self._bare).encode()

    def step(self, data):
        """Answers the Authentication Data of an AUTH 0x18 (bytes or memoryview): the client-final-message.

        Does not return before the key is derived: 59,000 instructions a round on the 32-bit build, 18 ms for 4096 rounds on a
        PC. If the server sends its signature here instead of with the CONNACK it is checked and b"" is the answer. Raises
        ValueError.
        """
        if self._owed:
            self.done(data)
            return b""
        data = str(data or b"", "utf-8")
        p = data.split(",")
        nonce = self._bare[self._bare.rfind("r=") :]
        if len(p) < 3 or p[1][:2] + p[2][:2] != "s=i=" or not p[2][2:].isdigit():
            raise ValueError("SCRAM: not a server-first-message")
        if not p[0].startswith(nonce) or len(p[0]) <= len(nonce):
            raise ValueError("SCRAM: the server's nonce does not extend ours")
        n = int(p[2][2:10])
        password, low, high, feed = self._args
        if len(p[2]) > 9 or not low <= n <= high:
            raise ValueError("SCRAM: iteration count outside of %d..%d" % (low, high))
        if self._known[:2] != (p[1], n):
            self._known = p[1], n, _hi(password, a2b_base64(p[1][2:]), n, feed)
        key = self._known[2]
        final = "c=biws," + p[0]
        msg = ",".join((self._bare, data, final)).encode()
        self._owed = _hmac(_hmac(key, b"Server Key"), msg)
        key = _hmac(key, b"Client Key")
        proof = bytearray(_hmac(sha256(key).digest(), msg))
        for i in range(32):
            proof[i] ^= key[i]
        return ("%s,p=%s" % (final, _base64(proof))).encode()

    def done(self, data):
        """Checks the server-final-message, the Authentication Data of the CONNACK or the last AUTH (bytes, memoryview, None).

        Raises ValueError if the server has not proven that it knows the password.
        """
        try:
            data = str(data or b"", "utf-8")
        except UnicodeError:
            data = "?"
        want = self._owed
        if data or want is not True:
            self._owed = None
            if data[:2] == "e=":
                raise ValueError("SCRAM: the server says " + data[2:])
            if not want or want is True or data.split(",")[0] != "v=" + _base64(want):
                raise ValueError("SCRAM: the server's signature is wrong or missing")
            self._owed = True
