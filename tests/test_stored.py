"""A session that survives its node: what a new client makes of a stored image, whole, damaged, foreign, of another version."""

from support.packets import CONNECT, PUBCOMP, PUBLISH, PUBREC, PUBREL, connack, publish
from support.peer import Peer
from support.t import eq, raises, rows, scratch
from umqtt5 import MQTTClient, ProtocolError, ResourceError
from umqtt5.store import FileStore

TIMEOUT = 180
_n = [0]


class Memory:
    """A store in memory; `error` as a real one's."""

    error = ""

    def __init__(self, image=None):
        self.image = image

    def load(self, image):
        if self.image is None:
            return False
        image[:] = self.image
        return True

    def save(self, image):
        self.image = bytes(image)


def path():
    _n[0] += 1
    return "%s/t%d" % (scratch(), _n[0])


def node(store, peer, name="n", server="peer", **kw):
    kw.setdefault("session_expiry", 1000)
    return MQTTClient(name, server, keepalive=0, transport=peer, store=store, **kw)


def silent(session_present=0):
    """A server that acknowledges nothing."""
    return Peer({PUBLISH: lambda *a: None, PUBREL: lambda *a: None}, session_present)


def poll(c):
    while c.poll():
        pass


def half_done(p):
    """A node that dies with a QoS 1 message unacknowledged, one QoS 2 released, one queued and one received at QoS 2."""
    peer = silent()
    peer.answers[PUBLISH] = [None, b"\x50\x02\x00\x02"]
    c = node(FileStore(p), peer)
    c.on_message = lambda m: None
    c.connect()
    c.publish("t", b"1", qos=1)
    c.publish("t", b"2", qos=2)
    poll(c)
    peer.send(publish("in", b"x", 2, 77))
    peer.answers[PUBREC] = None
    poll(c)
    c.drop()
    c.publish("t", b"3", qos=1)
    c.store.close()


def test_a_new_client_resumes():
    p = path()
    half_done(p)
    peer = Peer(session_present=1)
    c = node(FileStore(p), peer)
    got = []
    c.on_message = lambda m: got.append(bytes(m.payload()))
    eq(c.pending(), 3)
    eq(c.connect(False), True)
    poll(c)
    peer.expect(CONNECT, clean_start=0)
    eq(sorted([(x.name, x.pid, x.dup if x.type == PUBLISH else 0) for x in peer.packets[1:]]),
       [("PUBLISH", 1, 1), ("PUBLISH", 3, 0), ("PUBREL", 2, 0)])  # fmt: skip
    eq(c.pending(), 0)
    peer.send(publish("in", b"x", 2, 77, dup=True))
    poll(c)
    eq(got, [])  # delivered before the reset
    eq(peer.packets[-2].type, PUBREC)
    eq(c.publish("t", b"4", qos=1), 4)


def test_identifiers_stay_unique_over_a_reset():
    """The count stands before a wrap, 1 and 2 are in flight from before."""
    s = Memory()
    c = node(s, silent())
    c.connect()
    c.publish("t", b"1", qos=1)
    c.publish("t", b"2", qos=2)
    s.image = s.image[:2] + b"\xff\xfe" + s.image[4:]
    c = node(s, silent(1))
    c.connect(False)
    eq([c.publish("t", b"x", qos=1) for _ in range(3)], [65535, 3, 4])


def test_server_without_the_session():
    p = path()
    half_done(p)
    peer = Peer()
    c = node(FileStore(p), peer)
    got = []
    c.on_message = lambda m: got.append(bytes(m.payload()))
    eq(c.connect(False), False)
    poll(c)
    eq([(bytes(x.payload), x.dup) for x in peer.of(PUBLISH)], [(b"1", 0), (b"3", 0)])
    eq(peer.of(PUBREL), [])
    peer.send(publish("in", b"y", 2, 77))
    poll(c)
    eq(got, [b"y"])


def test_clean_start_drops_what_was_sent():
    p = path()
    half_done(p)
    peer = Peer()
    c = node(FileStore(p), peer)
    c.connect()
    poll(c)
    eq([bytes(x.payload) for x in peer.of(PUBLISH)], [b"3"])
    eq(c.pending(), 0)


def test_another_identifier_does_not_inherit_what_was_sent():
    p = path()
    half_done(p)
    peer = Peer()
    c = node(FileStore(p), peer, "other")
    c.connect(False)
    poll(c)
    eq([(bytes(x.payload), x.dup) for x in peer.of(PUBLISH)], [(b"3", 0)])


def test_another_server_gets_messages_as_new_ones():
    p = path()
    half_done(p)
    peer = Peer()
    c = node(FileStore(p), peer, server="elsewhere")
    c.connect(False)
    poll(c)
    eq([(bytes(x.payload), x.dup) for x in peer.of(PUBLISH)], [(b"1", 0), (b"3", 0)])
    eq(peer.of(PUBREL), [])


def damaged(p, how):
    """Write the file p anew, spoilt."""
    with open(p, "rb") as f:
        b = bytearray(f.read())
    how(b)
    with open(p, "wb") as f:
        f.write(b)


def both_slots(b):
    b[30] ^= 1
    b[len(b) // 2 + 30] ^= 1


def older(b):
    b[1] = b[len(b) // 2 + 1] = 0


def text(b):
    b[:] = b"this was never a session"


def test_damaged_store_is_a_clean_start_with_a_message():
    for how, word in rows(((both_slots, "damaged"), (older, "version"), (text, "not a session image"))):
        p = path()
        half_done(p)
        damaged(p, how)
        peer = Peer(session_present=0)
        c = node(FileStore(p), peer)
        assert word in c.store.error, c.store.error
        c.connect(False)
        poll(c)
        peer.expect(CONNECT, clean_start=1)
        peer.nothing()
        c.publish("t", b"new", qos=1)
        poll(c)
        eq(c.pending(), 0)
        c.store.close()
        c = node(FileStore(p), peer)
        eq((c.store.error, c.pending()), ("", 0))


def test_image_of_another_layout_is_a_clean_start_with_a_message():
    images = (b"M\2\0\5\0\x0a\1\2\3\4", b"M\1\0", b"", b"X" * 40, bytes(10), b"M\1\0\0\xff\xff\1\1\1\1")
    for image in rows(images):
        s = Memory(image)
        peer = Peer()
        c = node(s, peer)
        assert s.error, image
        c.connect(False)
        peer.expect(CONNECT, clean_start=1)
        c.publish("t", b"1", qos=2)
        poll(c)
        eq(c.pending(), 0)


def test_server_with_a_session_but_no_stored_state():
    """3.2.2.1.1: close, then Clean Start."""
    peer = Peer({CONNECT: [connack(0, (), 1)]})
    c = node(Memory(), peer)
    c.publish("t", b"q", qos=1)
    eq(raises(ProtocolError, c.connect, False).reason_code, 0x82)
    c.connect(False)
    poll(c)
    eq([x.clean_start for x in peer.of(CONNECT)], [0, 1])
    eq([bytes(x.payload) for x in peer.of(PUBLISH)], [b"q"])


def test_on_demand_saves_nothing_by_itself():
    s = Memory()
    peer = silent()
    c = node(s, peer, write_ahead=False)
    c.connect()
    c.publish("t", b"1", qos=1)
    eq(s.image, None)
    s.save(c.image)
    c.drop()
    peer.answers = {}
    peer.session_present = 1
    c = node(s, peer, write_ahead=False)
    c.connect(False)
    poll(c)
    eq([x.dup for x in peer.of(PUBLISH)], [0, 1])


def test_full_store_medium_is_told_and_nothing_is_sent():
    """No room on the flash: publish() raises, the message is neither sent nor kept."""
    s = Memory()
    peer = Peer()
    c = node(s, peer)
    c.connect()
    real = s.save

    def full(image):
        raise OSError(28)

    for qos in (1, 2):
        s.save = full
        before = bytes(c.image[4:])
        assert "28" in str(raises(ResourceError, c.publish, "t", b"x", qos=qos))
        eq((bytes(c.image[4:]), c.pending(), len(peer.of(PUBLISH)), c.isconnected()), (before, 0, qos - 1, True))
        s.save = real
        c.publish("t", b"y", qos=qos)
        poll(c)
        eq(c.pending(), 0)
    eq([bytes(x.payload) for x in peer.of(PUBLISH)], [b"y", b"y"])


def test_a_smaller_inflight_keeps_the_messages():
    p = path()
    c = node(FileStore(p), Peer(), inflight=1000)
    for i in range(20):
        c.publish("t", b"%02d" % i + bytes(20), qos=1)
    c.store.close()
    peer = Peer()
    c = node(FileStore(p), peer, inflight=200)
    eq(c.pending(), 20)
    raises(ResourceError, c.publish, "t", b"x", qos=1)
    c.connect(False)
    poll(c)
    eq([bytes(x.payload[:2]) for x in peer.of(PUBLISH)], [b"%02d" % i for i in range(20)])
    c.publish("t", b"x", qos=1)


def test_a_larger_inflight_keeps_the_messages():
    p = path()
    c = node(FileStore(p), Peer(), inflight=200)
    for i in range(5):
        c.publish("t", b"%02d" % i, qos=1)
    c.store.close()
    peer = Peer()
    c = node(FileStore(p), peer, inflight=3000)
    c.publish("t", bytes(2000), qos=1)
    c.store.close()
    c = node(FileStore(p), peer, inflight=3000)
    c.connect(False)
    poll(c)
    eq([len(x.payload) for x in peer.of(PUBLISH)], [2] * 5 + [2000])


def test_any_changed_image_neither_hangs_nor_raises_the_unexpected():
    """A valid image with one or two bytes changed, as if the checksum had been fooled."""
    s = Memory()
    c = node(s, silent())
    c.connect()
    c.publish("topic", b"1", qos=1)
    c.publish("topic", b"22", qos=2)
    c.drop()
    c.publish("t", b"333", qos=1)
    good = s.image
    for i in range(len(good)):
        for change in (1, 0x40, 0x80, 0xFF):
            for _ in rows(((i, change),)):
                b = bytearray(good)
                b[i] ^= change
                peer = Peer(session_present=1)
                peer.take = lambda link, p: None
                wire = Lenient()
                c = node(Memory(bytes(b)), lambda c: wire)
                for _ in range(3):
                    try:
                        if not c.isconnected():
                            c.connect(False)
                        for _ in range(20):
                            c.poll()
                        break
                    except (OSError, ProtocolError):
                        pass


class Lenient:
    """A transport with a server that accepts every CONNECT with a session and reads nothing else."""

    def __init__(self):
        self.inbox = b"\x20\x03\x01\x00\x00"

    def write(self, buf, off, n):
        return n

    def readinto(self, buf, n=-1):
        n = min(len(buf) if n < 0 else n, len(self.inbox))
        if not n:
            return None
        buf[0:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        return n

    def close(self):
        self.inbox = b"\x20\x03\x00\x00\x00"


assert PUBCOMP
