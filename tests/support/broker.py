"""A server in memory that keeps sessions, for fault tests: what of a message arrived, how often, in what order, with what DUP.

    b = Broker()                                   # see Peer for what the network may do
    c.publish("t", b"1", qos=2); ...
    b.check(["1"], [])                             # every QoS 1 payload at least once, every QoS 2 payload exactly once
    b.deliver("in", b"x", 2)                       # to the client, now or when its session comes back
    b.forget()                                     # a restart without persistence
    b.hold = True; ...; b.release(0)               # acknowledgements wait until told

`faults` collects what the client did against the protocol, in words.
"""

from . import packets
from .packets import CONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE
from .peer import Peer


class Broker(Peer):
    """One client's session. `log`: (payload, qos, dup) of each PUBLISH that a subscriber would have got."""

    def __init__(self, receive_maximum=0, session=True, **network):
        super().__init__(**network)
        self.keep = session
        self.window = receive_maximum
        self.log = []
        self.faults = []
        self.refused = []  # (payload, reason code) of messages that the client did not take
        self.hold = False
        self.forget()
        self.connects = []  # (clean_start, session present)
        self.lost = 0  # sessions lost

    def forget(self):
        """Lose every session."""
        self.session = False
        self.received = set()  # QoS 2 identifiers not released
        self.open = {}  # identifiers of the client in use: pid -> PUBLISH
        self.out = []  # [pid, qos, payload, topic, state]: 0 to send, 1 sent, 2 PUBREL
        self.held = []
        self.last = 0
        self.lost = getattr(self, "lost", 0) + 1
        self.flight = 0

    def fault(self, text):
        self.faults.append(text)

    def default(self, p):
        """What a server with sessions answers."""
        kind = p.type
        if kind == CONNECT:
            return self._connect(p)
        if kind == PUBLISH:
            return self._publish(p)
        if kind == PUBREL:
            self.received.discard(p.pid)
            self.open.pop(p.pid, None)
            return self._later(packets.pubcomp(p.pid))
        if kind == PUBACK or kind == PUBCOMP:
            self.out = [m for m in self.out if m[0] != p.pid]
            return None
        if kind == PUBREC:
            for m in self.out:
                if m[0] == p.pid:
                    if p.code >= 0x80:
                        self.out.remove(m)
                        self.refused.append((m[2], p.code))
                        return None
                    m[4] = 2
            return packets.pubrel(p.pid)
        if kind == SUBSCRIBE:
            self.session = True
        return super().default(p)

    def _connect(self, p):
        if p.clean_start or not self.keep:
            self.forget()
        present = 1 if self.session else 0
        self.connects.append((p.clean_start, present))
        self.session = True
        self.held = []
        self.flight = 0
        self.fresh = {}
        answer = packets.connack(0, [("receive_maximum", self.window)] if self.window else (), present)
        for m in self.out:
            answer += self._send(m)
        return answer

    def _publish(self, p):
        if not p.qos:
            self.log.append((bytes(p.payload), 0, 0))
            return None
        if p.pid in self.fresh:
            self.fault("%r: identifier %d is in use" % (p, p.pid))
        elif p.pid in self.open and bytes(self.open[p.pid].payload) != bytes(p.payload):
            self.fault("%r: identifier %d belongs to %r" % (p, p.pid, self.open[p.pid]))
        elif p.pid in self.open and not p.dup:
            self.fault("%r: sent again without DUP" % p)
        self.fresh[p.pid] = p
        self.open[p.pid] = p
        if self.window and len(self.fresh) > self.window:
            self.fault("%r: %d unacknowledged, Receive Maximum is %d" % (p, len(self.fresh), self.window))
        if p.qos == 1:
            self.log.append((bytes(p.payload), 1, p.dup))
            return self._later(packets.puback(p.pid))
        if p.pid not in self.received:
            self.received.add(p.pid)
            self.log.append((bytes(p.payload), 2, p.dup))
        return self._later(packets.pubrec(p.pid))

    def _later(self, ack):
        if self.hold:
            self.held.append(ack)
            return None
        return self._acked(ack)

    def _acked(self, ack):
        pid = ack[2] << 8 | ack[3]
        if ack[0] >> 4 == PUBACK:
            self.open.pop(pid, None)
        if ack[0] >> 4 != PUBREC:
            self.fresh.pop(pid, None)
        return ack

    def release(self, i=0):
        """Send one of the acknowledgements that are held back."""
        ack = self.held.pop(i)
        if not self.link.dead:
            self.send(self._acked(ack))

    def deliver(self, topic, payload, qos):
        """A message for the client."""
        m = [0, qos, payload, topic, 0]
        if qos:
            self.last = self.last % 65535 + 1
            m[0] = self.last
            self.out.append(m)
        if self.link is not None and self.packets and not self.link.dead and not self.link.closed:
            self.send(self._send(m))

    def _send(self, m):
        pid, qos, payload, topic, state = m
        if state == 2:
            return packets.pubrel(pid)
        m[4] = 1
        return packets.publish(topic, payload, qos, pid, dup=state == 1)

    def check(self, sent1, sent2, new_session=False):
        """AssertionError unless all QoS 1 payloads arrived, again only with DUP, and QoS 2 payloads once. new_session: the server
        lost its session meanwhile, so a message may come as a new one."""
        if self.faults:
            raise AssertionError(self.faults)
        for x in sent1:
            n = [d for m, q, d in self.log if q == 1 and m == x]
            if not n or not new_session and [d for d in n[1:] if not d]:
                raise AssertionError("QoS 1 %r arrived with DUP %r" % (x, n))
        for x in sent2:
            n = [d for m, q, d in self.log if q == 2 and m == x]
            if not n or len(n) > 1 and not new_session:
                raise AssertionError("QoS 2 %r arrived %d times" % (x, len(n)))
        for m, q, _ in self.log:
            if q and m not in sent1 and m not in sent2:
                raise AssertionError("%r was never sent" % m)
        first = []
        for m, q, _ in self.log:
            if q and m not in first:
                first.append(m)
        want = [x for x in sent1 + sent2 if x in first]
        want.sort()
        if first != want:
            raise AssertionError("order %r" % first)
