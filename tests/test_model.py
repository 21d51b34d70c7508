"""Model of the session: window, identifiers and image against a server that holds back, reorders and repeats its answers, loses
connections and sessions, while the node may be switched off. Longer: UMQTT5_MODEL=2000 (examples)."""

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import umqtt5_host  # noqa: F401
from support.broker import Broker
from umqtt5 import MQTTClient, ProtocolError, ResourceError

INTERPRETERS = ("host",)
EXAMPLES = int(os.getenv("UMQTT5_MODEL") or 150)


class Memory:
    """A store that survives the client object."""

    def __init__(self):
        self.image = None

    def load(self, image):
        if self.image is None:
            return False
        image[:] = self.image
        return True

    def save(self, image):
        self.image = bytes(image)


class Session(RuleBasedStateMachine):
    """The rules are what may happen; the invariants hold after each."""

    @initialize(window=st.integers(0, 4), inflight=st.sampled_from((80, 150, 1000)), takes=st.sampled_from((0, 1, 7)),
                arrives=st.sampled_from((0, 1, 5)), store=st.booleans(), queue_qos0=st.booleans())  # fmt: skip
    def begin(self, window, inflight, takes, arrives, store, queue_qos0):
        self.b = Broker(receive_maximum=window, takes=takes, arrives=arrives)
        self.b.hold = True
        self.store = Memory() if store else None
        self.args = {"inflight": inflight, "queue_qos0": queue_qos0}
        self.n = 0
        self.sent = []  # (payload, qos) that publish() took
        self.want = []  # (payload, qos) that the server accepted for the client
        self.got = []
        self.acked = []
        self.news = False  # the server lost its session, or the node its memory of one: messages may come as new ones
        self.last_ack = None
        self.boot()

    def boot(self):
        self.c = MQTTClient("m", "peer", keepalive=0, session_expiry=1000, transport=self.b, store=self.store, **self.args)
        self.c.on_message = lambda m: self.got.append((bytes(m.payload()), m.qos(), m.dup()))
        self.c.on_ack = lambda c, pid, code, packet: self.acked.append((pid, code))

    def safely(self, f, *args):
        """What the network may do: the connection is lost; or the server has a session of which the client never heard."""
        try:
            return f(*args)
        except OSError:
            assert not self.c.isconnected()
        except ProtocolError:
            assert self.c._need_clean, "the server did nothing wrong"
            self.news = True
            self.want = []

    @rule(qos=st.integers(0, 2), size=st.integers(0, 30))
    def publish(self, qos, size):
        self.n += 1
        x = b"%04d" % self.n + b"." * size
        room = self.args["inflight"] - len(self.c.image)
        try:
            self.c.publish("t", x, qos=qos)
        except ResourceError:
            assert room < 14 + 4 + len(x) + 5
            return
        except OSError:
            assert not qos, "QoS %d needs no connection" % qos
            return
        if qos:
            self.sent.append((x, qos))

    @rule()
    def poll(self):
        if self.c.isconnected():
            self.safely(self.c.poll)

    @precondition(lambda self: self.c.isconnected() and self.b.held)
    @rule(i=st.integers(0, 50))
    def answer(self, i):
        """One of the answers that wait, in any order."""
        i %= len(self.b.held)
        self.last_ack = self.b.held[i]
        self.b.release(i)
        self.safely(self.c.poll)

    @precondition(lambda self: self.c.isconnected() and self.last_ack and not self.b.link.dead)
    @rule()
    def repeat(self):
        """The last answer once more, while its identifier is not in use again."""
        if (self.last_ack[2] << 8 | self.last_ack[3]) not in self.b.open or self.last_ack[0] == 0x50:
            self.b.send(self.last_ack)
            self.safely(self.c.poll)

    @rule(qos=st.integers(1, 2))
    def deliver(self, qos):
        if self.b.session and (self.c.isconnected() or self.b.connects):
            self.n += 1
            x = b"in%04d" % self.n
            self.want.append((x, qos))
            self.b.deliver("in", x, qos)
            self.poll()

    @precondition(lambda self: self.c.isconnected())
    @rule(death=st.sampled_from(("reset", "eof")), left=st.integers(0, 60))
    def cut(self, death, left):
        """The connection goes; of what the server had sent, `left` bytes still arrive."""
        link = self.b.link
        link.inbox = link.inbox[:left]
        link.death = death
        link.dead = True
        self.last_ack = None
        self.poll()

    @precondition(lambda self: not self.c.isconnected())
    @rule(cut=st.one_of(st.none(), st.integers(0, 80)))
    def connect(self, cut):
        self.b.cut_out = cut
        self.last_ack = None
        self.safely(self.c.connect, False)
        self.b.cut_out = None

    @precondition(lambda self: not self.c.isconnected())
    @rule()
    def server_restarts(self):
        """Without persistence."""
        self.b.forget()
        self.news = True
        self.want = [x for x in self.want if x in [g[:2] for g in self.got]]

    @precondition(lambda self: self.store)
    @rule()
    def switched_off(self):
        if self.b.link:
            self.b.link.dead = True
        self.last_ack = None
        self.boot()

    @precondition(lambda self: self.c.isconnected())
    @rule(takes=st.sampled_from((0, 1, 3)), busy=st.integers(0, 5))
    def slow(self, takes, busy):
        self.b.link.takes = takes
        self.b.link.busy = busy

    @precondition(lambda self: self.c.isconnected() and not self.c.wants_write())
    @rule()
    def subscribe(self):
        try:
            self.c.subscribe_start([("s", 0)])
        except OSError:  # the write failed; the reader finds the end of the connection
            self.poll()

    def records(self):
        """[(offset, state, identifier)] of the image, walked independently of the library."""
        m = bytes(self.c.image)
        unsent = m[4] << 8 | m[5]
        out = []
        i = 10
        seen = i == unsent
        while i < len(m):
            out.append((i, m[i] & 7, m[i + 1] << 8 | m[i + 2]))
            assert 1 <= m[i] & 7 <= 5
            i += 5 + (m[i + 3] << 8 | m[i + 4]) + (4 if m[i] & 16 else 0)
            seen = seen or i == unsent
        assert i == len(m) and seen, (i, unsent)
        return out, unsent

    @invariant()
    def image_is_whole(self):
        assert len(self.c.image) <= self.args["inflight"]
        assert bytes(self.c.image[:2]) == b"M\1"
        self.records()

    @invariant()
    def identifiers_are_unique(self):
        out, _ = self.records()
        ids = [p for _, s, p in out if s < 4] + list(self.c._acks)
        assert len(ids) == len(set(ids)) and 0 not in ids, ids
        inbound = [p for _, s, p in out if s == 4]
        assert len(inbound) == len(set(inbound))

    @invariant()
    def quota_is_what_the_image_says(self):
        if self.c.isconnected():
            out, unsent = self.records()
            flight = len([1 for i, s, p in out if s < 3 and i < unsent or s == 3])
            assert self.c._flight == flight, (self.c._flight, flight)
            assert not self.b.window or flight <= self.b.window

    @invariant()
    def protocol_is_kept(self):
        assert not self.b.faults, self.b.faults

    @invariant()
    def nothing_twice(self):
        for log in (self.b.log, self.got):
            seen = {}
            for x, qos, dup in log:
                seen.setdefault((x, qos), []).append(dup)
            for (x, qos), flags in seen.items():
                if self.news or not qos:
                    continue
                assert qos == 1 or len(flags) == 1, (x, flags)
                assert all(flags[1:]), (x, flags)

    def teardown(self):
        """In the end everything arrives."""
        if not hasattr(self, "b"):
            return
        self.b.hold = False
        for _ in range(60):
            if self.c.isconnected():
                while self.b.held:
                    self.b.release()
                self.b.link.takes = self.b.link.busy = 0
                for _ in range(200):
                    self.safely(self.c.poll)
                    if not self.c.isconnected():
                        break
                if not self.c.pending() and not self.b.out:
                    break
            if not self.c.isconnected():
                self.safely(self.c.connect, False)
        assert not self.c.pending() and not self.b.out, (self.c.pending(), self.b.out)
        arrived = [g[:2] for g in self.b.log]
        assert not [x for x in self.sent if x not in arrived]
        refused = [x for x, code in self.b.refused if code == 0x97]  # no room for the identifier of an inbound message
        assert not [x for x in self.want if x not in [g[:2] for g in self.got] and x[0] not in refused]
        first = [x for i, x in enumerate(arrived) if x in self.sent and x not in arrived[:i]]
        assert first == self.sent, (first, self.sent)
        self.nothing_twice()
        self.protocol_is_kept()


TestSession = Session.TestCase
TestSession.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=50, deadline=None, derandomize=not os.getenv("UMQTT5_MODEL"), database=None,
    suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink)[: 1 if os.getenv("UMQTT5_NOSHRINK") else 2],
)  # fmt: skip
