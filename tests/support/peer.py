"""A server in memory, for tests on every interpreter: `MQTTClient("id", "peer", transport=Peer())`.

No socket, no thread, no clock: the server's code runs inside the client's `write`, as soon as a packet is whole. What the network
does to the bytes is set by attributes that say so (see Network). What the server answers is in `peer.answers`.

    peer = Peer()                                  # a well-behaved server
    peer.answers[CONNECT] = connack(0x87)          # bytes; None: silence; a function(peer, packet) -> bytes or None;
    peer.answers[PUBLISH] = [None, puback(1)]      # a list: one of these after another, then the default
    c.publish("t", b"x", qos=1)
    p = peer.expect(PUBLISH, topic="t", dup=0)     # the next packet the client sent, checked; AssertionError with what came
    peer.send(publish("in", b"1"))                 # to the client, at its next read
    peer.nothing()                                 # the client has sent nothing else
    peer.close()  peer.reset()                     # end of the connection, in order or not
"""

from . import packets
from .packets import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    connack,
    pingresp,
    puback,
    pubcomp,
    pubrec,
    pubrel,
    suback,
    unsuback,
)

_ECONNRESET = 104


class Server:
    """What a server answers and remembers, without a network: base of Peer and of the TCP server in server.py."""

    def __init__(self, answers=None, session_present=0, connack_props=()):
        self.session_present = session_present
        self.connack_props = connack_props
        self.answers = answers or {}
        self.packets = []  # all packets of all connections, parsed
        self.seen = 0  # those that expect() has taken

    def answer(self, p):
        """Bytes to send for packet p, or None."""
        own = self.answers.get(p.type, self)
        if isinstance(own, list):
            own = own.pop(0) if own else self
        if own is self:
            return self.default(p)
        return own(self, p) if callable(own) else own

    def default(self, p):
        """What a well-behaved server answers."""
        kind = p.type
        if kind == CONNECT:
            return connack(0, self.connack_props, self.session_present)
        if kind == PUBLISH:
            return puback(p.pid) if p.qos == 1 else pubrec(p.pid) if p.qos == 2 else None
        if kind == PUBREC:
            return pubrel(p.pid) if p.code < 0x80 else None
        if kind == PUBREL:
            return pubcomp(p.pid)
        if kind == SUBSCRIBE:
            return suback(p.pid, [f[1] & 3 for f in p.filters])
        if kind == UNSUBSCRIBE:
            return unsuback(p.pid, [0] * len(p.filters))
        if kind == PINGREQ:
            return pingresp()
        return None

    def of(self, kind):
        """All packets of that type so far."""
        return [p for p in self.packets if p.type == kind]

    def check(self, p, kind, fields):
        """AssertionError unless p is of that type and has these field values."""
        if kind is not None and p.type != kind:
            raise AssertionError("got %r, want %s" % (p, packets.NAMES[kind]))
        for name in fields:
            got = getattr(p, name)
            if got != fields[name]:
                raise AssertionError("%s of %r is %r, want %r" % (name, p, got, fields[name]))
        return p

    def expect(self, kind=None, **fields):
        """The next packet nobody has asked for yet; its type and the given fields are checked."""
        if self.seen >= len(self.packets):
            raise AssertionError("the client sent no %s" % packets.NAMES[kind or 0])
        self.seen += 1
        return self.check(self.packets[self.seen - 1], kind, fields)

    def nothing(self):
        """AssertionError if the client has sent anything else."""
        if self.seen < len(self.packets):
            raise AssertionError("the client also sent %r" % (self.packets[self.seen :],))


class Network:
    """One connection in memory, the client's end: write(buf, off, n), readinto(buf, n), close(). Made by Peer.

    Set on the Peer before the client connects, or on `peer.link` at any time:
      arrives       bytes that one readinto returns at most (0: all there is); 1 is a packet byte by byte
      gaps          True: each readinto that found something is followed by one that finds nothing (None)
      takes         bytes that one write takes at most (0: all)
      busy          the next `busy` writes take nothing (None), as before a connection is made or with full buffers
      stalled       True: no write takes anything, no read finds anything, until False again
      cut_out       the connection dies when the client has written that many bytes; those before it still arrive
      cut_in        the connection dies when the client has read that many bytes
      death         what dying looks like: "reset" (OSError on both ends), "eof" (reads 0, writes fail), "silence" (half-open)
    """

    def __init__(self, peer):
        self.peer = peer
        for name in _NETWORK:
            setattr(self, name, getattr(peer, name))
        self.inbox = bytearray()  # to the client
        self.outbox = bytearray()  # from the client, not yet a whole packet
        self.written = 0
        self.read = 0
        self.writes = []  # size of each write that took something
        self.ended = False  # the server has closed: end of file after the inbox
        self.dead = False
        self.closed = False  # by the client
        self._gap = False

    def write(self, buf, off=0, n=None):
        """As a socket's; MicroPython's write(buf, off, n)."""
        if self.closed:
            raise OSError(9, "closed")
        if self.dead:
            return self._dead(True)
        n = len(buf) - off if n is None else n
        if off < 0 or off + n > len(buf):
            raise AssertionError("write(%d bytes, %d, %d)" % (len(buf), off, n))
        if self.stalled or self.busy:
            self.busy = max(0, self.busy - 1)
            return None
        if self.takes:
            n = min(n, self.takes)
        if self.cut_out is not None:
            n = min(n, self.cut_out - self.written)
            if n <= 0:
                self.dead = True
                return self._dead(True)
        if not n:
            return 0
        self.written += n
        self.writes.append(n)
        self.outbox += bytes(memoryview(buf)[off : off + n])
        self._serve()
        return n

    def _serve(self):
        whole, rest = packets.split(self.outbox)
        self.outbox = bytearray(rest)
        for raw in whole:
            self.peer.take(self, packets.parse(raw))

    def readinto(self, buf, n=-1):
        """As a socket's: count, 0 closed, None nothing yet."""
        if self.closed:
            raise OSError(9, "closed")
        n = len(buf) if n < 0 else min(n, len(buf))
        if self.stalled:
            return None
        if self._gap:
            self._gap = False
            return None
        n = min(n, len(self.inbox))
        if self.arrives:
            n = min(n, self.arrives)
        if self.cut_in is not None:
            n = min(n, self.cut_in - self.read)
            if self.cut_in <= self.read:
                self.dead = True
        if self.dead and not (n > 0 and self.cut_in is None):
            return self._dead(False)
        if not n:
            return 0 if self.ended else None
        memoryview(buf)[:n] = self.inbox[:n]
        self.inbox = self.inbox[n:]
        self.read += n
        self._gap = self.gaps
        return n

    def _dead(self, writing):
        if self.death == "silence":
            return None
        if self.death == "eof" and not writing:
            return 0
        raise OSError(_ECONNRESET, "reset")

    def close(self):
        """By the client."""
        self.closed = True


_NETWORK = ("arrives", "gaps", "takes", "busy", "stalled", "cut_out", "cut_in", "death")


class Peer(Server):
    """A server in memory and the factory of its connections; `link` is the last one, `links` all."""

    arrives = takes = busy = 0
    gaps = stalled = False
    cut_out = cut_in = None
    death = "reset"
    refuse = None  # an OSError that connecting raises

    def __init__(self, answers=None, session_present=0, connack_props=(), **network):
        super().__init__(answers, session_present, connack_props)
        self.links = []
        self.link = None
        for name in network:
            if name not in _NETWORK:
                raise ValueError(name)
            setattr(self, name, network[name])

    def __call__(self, client=None):
        """transport=peer: one more connection."""
        if self.refuse is not None:
            raise self.refuse
        self.link = Network(self)
        self.links.append(self.link)
        return self.link

    def take(self, link, p):
        """A packet has arrived."""
        p.link = link
        self.packets.append(p)
        out = self.answer(p)
        if out and not link.ended:
            link.inbox += out
        if p.type == DISCONNECT:
            link.ended = True

    def send(self, *parts):
        """To the client: bytes, at its next reads."""
        for part in parts:
            self.link.inbox += part

    def close(self):
        """End of file for the client, after what has been sent."""
        self.link.ended = True

    def reset(self):
        """The connection is gone at once: reads and writes raise ECONNRESET (or as `death` says)."""
        self.link.inbox = bytearray()
        self.link.dead = True
