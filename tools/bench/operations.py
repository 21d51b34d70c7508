"""The operations that are measured, on MicroPython: umqtt5's, those of umqtt.simple, and the bare socket floor.

What belongs here: for each operation what has to lie in the socket first (`pre`) and the call itself (`f`), for a RingIO as the
socket. What a call needs stands in its function's arguments: looking up globals or a closure's variables is not measured. What
does not: how it is measured (guest_cost.py, guest_ram.py). Runs on the unix build and on 32-bit WebAssembly.
"""

import sys

import micropython

SIZE = 32
TOPIC = b"sensors/node1/temp"
OTHER = b"sensors/node1/humi"
PAYLOAD = bytes(SIZE)


def packet(first, body):
    return bytearray((first, len(body))) + body


def name(b):
    return bytes((len(b) >> 8, len(b) & 255)) + b


CONNACK = b"\x20\x03\0\0\0"
IN0 = packet(0x30, name(TOPIC) + b"\0" + bytes(37))  # 60 bytes
IN1 = packet(0x32, name(TOPIC) + b"\0\1\0" + bytes(35))
IN2 = packet(0x34, name(TOPIC) + b"\0\1\0" + bytes(35))
ROUTED = packet(0x30, name(TOPIC) + b"\2\x0b\1" + bytes(35))  # with subscription identifier 1
ALIASED = packet(0x30, b"\0\0\3\x23\0\1" + bytes(35))
OLD0 = packet(0x30, name(TOPIC) + bytes(38))  # MQTT 3.1.1
OLD1 = packet(0x32, name(TOPIC) + b"\0\1" + bytes(36))
PONG = b"\xd0\0"


class Socket:
    """Two RingIO: what the server sent, what the client wrote."""

    def __init__(self):
        self.rx = micropython.RingIO(1024)
        self.tx = micropython.RingIO(1024)
        self.sink = bytearray(1024)
        self.write = self.tx.write
        self.readinto = self.rx.readinto
        self.read = self.rx.read

    def close(self):
        pass

    def setblocking(self, flag):
        pass

    def empty(self):
        while self.tx.any():
            self.tx.readinto(self.sink)


class Acks:
    """Puts acknowledgements into the socket, with the packet identifier of the client's own last publish; 0 B."""

    def __init__(self, sock):
        self.sock = sock
        self.pid = 0
        self.b = bytearray(4)

    def put(self, first):
        b = self.b
        b[0] = first
        b[1] = 2
        b[2] = self.pid >> 8
        b[3] = self.pid & 255
        self.sock.rx.write(b)


def client(sock, given=b"", **options):
    from umqtt5 import MQTTClient

    c = MQTTClient("bench", "peer", transport=lambda c: sock, **options)
    sock.rx.write(packet(0x20, b"\0\0" + bytes((len(given),)) + given))
    c.connect()
    sock.empty()
    return c


def nothing():
    pass


def floor(sock):
    """write() of a packet made before, readinto() of one."""
    raw = bytearray(55)
    tx = sock.tx
    rx = sock.rx
    sink = sock.sink
    return {
        "write": (nothing, lambda c=tx, t=raw, p=55: c.write(t, 0, p)),
        "readinto": (lambda: rx.write(IN0), lambda c=rx, t=sink, p=0: c.readinto(t)),
    }


def own(sock):
    """Everything that umqtt5 promises to do without allocation."""
    c = client(sock)
    rx = sock.rx
    acks = Acks(sock)
    state = [TOPIC, OTHER]

    def change():
        state.reverse()

    def qos1():
        acks.pid = c.publish(TOPIC, PAYLOAD, False, 1)
        acks.put(0x40)
        c.check_msg()

    def qos2():
        acks.pid = c.publish(TOPIC, PAYLOAD, False, 2)
        acks.put(0x50)
        c.check_msg()
        acks.put(0x70)
        c.check_msg()

    def in2():
        rx.write(IN2)
        c.check_msg()
        acks.pid = 1
        acks.put(0x62)
        c.check_msg()

    def ping():
        c.ping()
        rx.write(PONG)
        c.check_msg()

    def bytewise():
        i = 0
        while i < 60:
            one[0] = IN0[i]
            rx.write(one)
            c.check_msg()
            i += 1

    quiet = Socket()
    quiet.readinto = lambda buf, rx=quiet.rx: rx.readinto(buf) or None  # nothing there: a RingIO returns 0, which means closed
    d = client(quiet)
    one = bytearray(1)
    p = c.publication(TOPIC, SIZE)
    ops = {
        "publish QoS 0": (nothing, lambda c=c, t=TOPIC, p=PAYLOAD: c.publish(t, p)),
        "publish QoS 0, changing topic": (change, lambda c=c, t=state, p=PAYLOAD: c.publish(t[0], p)),
        "send": (nothing, lambda c=p, t=TOPIC, p=PAYLOAD: c.send(p)),
        "send_any": (nothing, lambda c=p, t=TOPIC, p=PAYLOAD: c.send_any(p)),
        "send_in_place": (nothing, lambda c=p, t=TOPIC, p=SIZE: c.send_in_place(p)),
        "publish QoS 1 and PUBACK": (nothing, qos1),
        "publish QoS 2 and its acks": (nothing, qos2),
        "receive QoS 0": (lambda: rx.write(IN0), lambda c=c, t=0, p=0: c.check_msg()),
        "receive QoS 1": (lambda: rx.write(IN1), lambda c=c, t=0, p=0: c.check_msg()),
        "receive QoS 2 and its acks": (nothing, in2),
        "ping and pong": (nothing, ping),
        "idle poll": (nothing, lambda c=d, t=0, p=0: c.check_msg()),
        "receive byte by byte": (nothing, bytewise),
    }

    subscribed(c, sock)
    c.on_message = lambda message, t=TOPIC: message.is_topic(t)
    return ops


def subscribed(c, sock, to=None):
    from umqtt5 import subs

    n = subs.subscribe_start(c, [(TOPIC, 0)], b"", to)
    sock.rx.write(bytes((0x90, 4, n >> 8, n & 255, 0, 0)))
    c.check_msg()
    sock.empty()


def own_aliases(sock):
    c = client(sock, b"\x22\0\x0a", topic_alias_maximum=4)
    rx = sock.rx
    subscribed(c, sock)
    c.on_message = lambda m, t=TOPIC: m.is_topic(t)
    rx.write(packet(0x30, name(TOPIC) + b"\3\x23\0\1"))
    c.check_msg()
    return {
        "publish with alias": (nothing, lambda c=c, t=TOPIC, p=PAYLOAD: c.publish(t, p)),
        "receive with alias": (lambda: rx.write(ALIASED), lambda c=c, t=0, p=0: c.check_msg()),
    }


def own_routed(sock):
    c = client(sock)
    rx = sock.rx
    subscribed(c, sock, lambda message: None)
    return {"receive by subscription identifier": (lambda: rx.write(ROUTED), lambda c=c, t=0, p=0: c.check_msg())}


def simple(sock):
    """The same operations of umqtt.simple. The socket for its writes is the RingIO itself, as a socket would be."""
    import binascii
    import struct

    for n, m in (("usocket", sys), ("ustruct", struct), ("ubinascii", binascii)):
        sys.modules[n] = m
    from umqtt.simple import MQTTClient

    c = MQTTClient("bench", "peer")
    c.sock = sock.tx
    c.set_callback(lambda topic, msg, t=TOPIC: topic == t)
    d = MQTTClient("bench", "peer")
    d.sock = sock
    d.set_callback(lambda topic, msg, t=TOPIC: topic == t)
    e = MQTTClient("bench", "peer")
    e.sock = Socket()
    e.sock.read = lambda n: None
    rx = sock.rx
    ack = bytearray(b"\x40\2\0\0")

    def qos1():
        n = d.pid + 1
        ack[2] = n >> 8
        ack[3] = n & 255
        rx.write(ack)
        d.publish(TOPIC, PAYLOAD, False, 1)

    def ping():
        c.ping()
        rx.write(PONG)
        d.wait_msg()

    return {
        "publish QoS 0": (nothing, lambda c=c, t=TOPIC, p=PAYLOAD: c.publish(t, p)),
        "publish QoS 1 and PUBACK": (nothing, qos1),
        "receive QoS 0": (lambda: rx.write(OLD0), lambda c=d, t=0, p=0: c.wait_msg()),
        "receive QoS 1": (lambda: rx.write(OLD1), lambda c=d, t=0, p=0: c.wait_msg()),
        "ping and pong": (nothing, ping),
        "idle poll": (nothing, lambda c=e, t=0, p=0: c.check_msg()),
    }


SETS = (("floor", floor), ("umqtt5", own), ("umqtt5", own_aliases), ("umqtt5", own_routed), ("umqtt.simple", simple))


def all_sets(wanted=None):
    """(library, socket, {name: (pre, f)}) for each set; a library that is not on the path is left out."""
    for lib, make in SETS:
        if wanted is None or lib == wanted:
            s = Socket()
            try:
                yield lib, s, make(s)
            except ImportError as e:
                if lib != "umqtt.simple":
                    raise
                print("left out", lib, e)


def wire_bytes():
    """[(what, bytes on the wire of 100 messages)]: QoS 0, 32 bytes, the same topic."""
    out = []
    for what, given, options in (("without aliases", b"", {}), ("with topic aliases", b"\x22\0\x0a", {})):
        s = Socket()
        c = client(s, given, **options)
        n = 0
        for _ in range(100):
            c.publish(TOPIC, PAYLOAD)
            n += s.tx.any()
            s.empty()
        out.append((what, n))
    return out
