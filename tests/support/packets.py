"""MQTT 5.0 packets for tests: builders for what a server sends, a strict parser for what a client sent.

Written from the specification, independent of umqtt5 (it imports nothing), so that both can be wrong only separately. Runs on
every interpreter. Builders make wrong packets too: `packet(type, flags, body)` takes anything, so do raw property blocks.
"""

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE = 1, 2, 3, 4, 5, 6, 7, 8
SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = 9, 10, 11, 12, 13, 14, 15
NAMES = (
    "reserved CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK PINGREQ PINGRESP "
    "DISCONNECT AUTH"
).split()

# name: (identifier, type); types: 1, 2, 4 bytes, v variable byte integer, s string, b binary, p string pair
PROPERTIES = {
    "payload_format_indicator": (0x01, 1),
    "message_expiry_interval": (0x02, 4),
    "content_type": (0x03, "s"),
    "response_topic": (0x08, "s"),
    "correlation_data": (0x09, "b"),
    "subscription_identifier": (0x0B, "v"),
    "session_expiry_interval": (0x11, 4),
    "assigned_client_identifier": (0x12, "s"),
    "server_keep_alive": (0x13, 2),
    "authentication_method": (0x15, "s"),
    "authentication_data": (0x16, "b"),
    "request_problem_information": (0x17, 1),
    "will_delay_interval": (0x18, 4),
    "request_response_information": (0x19, 1),
    "response_information": (0x1A, "s"),
    "server_reference": (0x1C, "s"),
    "reason_string": (0x1F, "s"),
    "receive_maximum": (0x21, 2),
    "topic_alias_maximum": (0x22, 2),
    "topic_alias": (0x23, 2),
    "maximum_qos": (0x24, 1),
    "retain_available": (0x25, 1),
    "user_property": (0x26, "p"),
    "maximum_packet_size": (0x27, 4),
    "wildcard_subscription_available": (0x28, 1),
    "subscription_identifier_available": (0x29, 1),
    "shared_subscription_available": (0x2A, 1),
}
_BY_ID = {}
for _name in PROPERTIES:
    _BY_ID[PROPERTIES[_name][0]] = (_name, PROPERTIES[_name][1])


# --- fields


def data(x):
    """Bytes of a str or bytes-like object."""
    return x.encode() if isinstance(x, str) else bytes(x)


def vbi(n):
    """Variable byte integer in its shortest form."""
    out = b""
    while True:
        if n < 128:
            return out + bytes((n,))
        out += bytes((n & 127 | 128,))
        n >>= 7


def number(n, size):
    """Big-endian integer."""
    return n.to_bytes(size, "big")


def field(x):
    """Two bytes of length, then the bytes: a string or binary data."""
    x = data(x)
    return number(len(x), 2) + x


def one_property(name, value):
    """Identifier and value of one property."""
    ident, kind = PROPERTIES[name]
    if kind == "s" or kind == "b":
        body = field(value)
    elif kind == "p":
        body = field(value[0]) + field(value[1])
    elif kind == "v":
        body = vbi(value)
    else:
        body = number(value, kind)
    return bytes((ident,)) + body


def props(pairs=()):
    """Property block with its length. pairs: list of (name, value), dict, or bytes (a block as it is)."""
    if isinstance(pairs, (bytes, bytearray)):
        return bytes(pairs)
    if isinstance(pairs, dict):
        pairs = list(pairs.items())
    body = b"".join([one_property(name, value) for name, value in pairs])
    return vbi(len(body)) + body


# --- builders


def packet(kind, flags, body):
    """Any packet: fixed header, remaining length, body."""
    return bytes((kind << 4 | flags,)) + vbi(len(body)) + body


def connack(code=0, properties=(), session_present=0):
    """CONNACK."""
    return packet(CONNACK, 0, bytes((session_present, code)) + props(properties))


def publish(topic, payload=b"", qos=0, pid=None, properties=(), retain=False, dup=False):
    """PUBLISH; pid only with qos above 0 (default 1 there)."""
    body = field(topic)
    if qos:
        body += number(1 if pid is None else pid, 2)
    return packet(PUBLISH, (8 if dup else 0) | qos << 1 | (1 if retain else 0), body + props(properties) + data(payload))


def _ack(kind, flags, pid, code, properties):
    # the three legal lengths: neither, the code alone, both
    body = number(pid, 2)
    if code is not None or properties is not None:
        body += bytes((code or 0,))
    if properties is not None:
        body += props(properties)
    return packet(kind, flags, body)


def puback(pid, code=None, properties=None):
    """PUBACK, as short as what is given allows."""
    return _ack(PUBACK, 0, pid, code, properties)


def pubrec(pid, code=None, properties=None):
    """PUBREC, as short as what is given allows."""
    return _ack(PUBREC, 0, pid, code, properties)


def pubrel(pid, code=None, properties=None):
    """PUBREL, as short as what is given allows."""
    return _ack(PUBREL, 2, pid, code, properties)


def pubcomp(pid, code=None, properties=None):
    """PUBCOMP, as short as what is given allows."""
    return _ack(PUBCOMP, 0, pid, code, properties)


def suback(pid, codes, properties=()):
    """SUBACK; codes: list of reason codes."""
    return packet(SUBACK, 0, number(pid, 2) + props(properties) + bytes(codes))


def unsuback(pid, codes, properties=()):
    """UNSUBACK; codes: list of reason codes."""
    return packet(UNSUBACK, 0, number(pid, 2) + props(properties) + bytes(codes))


def pingresp():
    """PINGRESP."""
    return packet(PINGRESP, 0, b"")


def disconnect(code=None, properties=None):
    """DISCONNECT, as short as what is given allows."""
    body = b""
    if code is not None or properties is not None:
        body = bytes((code or 0,))
    if properties is not None:
        body += props(properties)
    return packet(DISCONNECT, 0, body)


def auth(code=None, properties=None):
    """AUTH, as short as what is given allows."""
    return packet(AUTH, 0, disconnect(code, properties)[2:])


# --- parser


class Malformed(Exception):
    """The client sent what no MQTT 5.0 packet can be."""


class Packet:
    """One packet: type, name, flags, raw (all its bytes) and the fields of its type.

    CONNECT     client_id, clean_start, keepalive, user, password, will (Packet with topic, payload, qos, retain, props) or None
    PUBLISH     topic, payload, qos, retain, dup, pid (None at QoS 0)
    acks        pid, code        SUBSCRIBE pid, filters [(filter, options byte)]        UNSUBSCRIBE pid, filters [filter]
    DISCONNECT, AUTH  code
    Everywhere: props, list of (name, value) in order, and block, the same as bytes with their length (b"" if there was none).
    Strings are str, payloads and binary data bytes.
    """

    pid = code = topic = payload = will = user = password = None
    props = ()
    block = b""
    flags = 0
    raw = b""

    def __init__(self, kind):
        self.type = kind
        self.name = NAMES[kind]

    def prop(self, name, default=None):
        """Value of the first property of that name."""
        for n, v in self.props:
            if n == name:
                return v
        return default

    def __repr__(self):
        return "<%s %s>" % (self.name, self.raw)


class _Reader:
    def __init__(self, buf, what):
        self.buf = buf
        self.i = 0
        self.what = what

    def bad(self, why):
        raise Malformed("%s: %s in %r" % (self.what, why, self.buf))

    def left(self):
        return len(self.buf) - self.i

    def take(self, n):
        if self.left() < n:
            self.bad("a field passes the end")
        self.i += n
        return self.buf[self.i - n : self.i]

    def number(self, size):
        n = 0
        for b in self.take(size):
            n = n << 8 | b
        return n

    def vbi(self):
        n = shift = 0
        while True:
            b = self.take(1)[0]
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                if shift > 7 and not b:
                    self.bad("overlong variable byte integer")
                return n
            if shift > 21:
                self.bad("variable byte integer over four bytes")

    def binary(self):
        return self.take(self.number(2))

    def string(self):
        b = self.binary()
        try:
            s = b.decode()
        except UnicodeError:
            self.bad("string is no UTF-8")
        if "\0" in s:
            self.bad("U+0000")
        for c in s:
            if 0xD800 <= ord(c) <= 0xDFFF:
                self.bad("surrogate")
        return s

    def properties(self, to):
        start = self.i
        end = self.vbi()
        end += self.i
        if end > len(self.buf):
            self.bad("the property length passes the end")
        out = []
        seen = []
        while self.i < end:
            ident = self.vbi()
            if ident not in _BY_ID:
                self.bad("unknown property 0x%02X" % ident)
            name, kind = _BY_ID[ident]
            if name in seen and name != "user_property":
                self.bad("%s twice" % name)
            seen.append(name)
            if kind == "s":
                value = self.string()
            elif kind == "b":
                value = self.binary()
            elif kind == "p":
                value = (self.string(), self.string())
            elif kind == "v":
                value = self.vbi()
            else:
                value = self.number(kind)
            out.append((name, value))
        if self.i != end:
            self.bad("a property passes the end of its block")
        to.props = out
        to.block = self.buf[start:end]


def split(buf):
    """(list of whole packets as bytes, rest) of a byte stream. Raises Malformed for a remaining length no packet can have."""
    out = []
    i = 0
    while i + 1 < len(buf):
        n = shift = 0
        j = i + 1
        while j < len(buf):
            n |= (buf[j] & 127) << shift
            j += 1
            if buf[j - 1] < 128:
                if j > i + 2 and not buf[j - 1]:
                    raise Malformed("overlong remaining length in %r" % buf[i:j])
                break
            shift += 7
            if shift > 21:
                raise Malformed("remaining length over four bytes in %r" % buf[i:j])
        else:
            break
        if j + n > len(buf):
            break
        out.append(bytes(buf[i : j + n]))
        i = j + n
    return out, bytes(buf[i:])


_CLIENT_FLAGS = {CONNECT: 0, PUBACK: 0, PUBREC: 0, PUBREL: 2, PUBCOMP: 0, SUBSCRIBE: 2, UNSUBSCRIBE: 2, PINGREQ: 0}
_CLIENT_FLAGS[DISCONNECT] = _CLIENT_FLAGS[AUTH] = 0


def parse(raw):
    """One whole packet of a client -> Packet. Raises Malformed."""
    kind = raw[0] >> 4
    p = Packet(kind)
    p.flags = raw[0] & 15
    p.raw = bytes(raw)
    whole, rest = split(raw)
    if rest or len(whole) != 1:
        raise Malformed("not one packet: %r" % raw)
    i = 1
    while raw[i] >= 128:
        i += 1
    r = _Reader(bytes(raw[i + 1 :]), p.name)
    if kind != PUBLISH and _CLIENT_FLAGS.get(kind) != p.flags:
        r.bad("flags %d, or not a client's packet" % p.flags)
    if kind == CONNECT:
        _connect(p, r)
    elif kind == PUBLISH:
        _publish(p, r)
    elif PUBACK <= kind <= PUBCOMP:
        p.pid = r.number(2)
        p.code = r.number(1) if r.left() else 0
        if r.left():
            r.properties(p)
    elif kind == SUBSCRIBE or kind == UNSUBSCRIBE:
        p.pid = r.number(2)
        r.properties(p)
        p.filters = []
        while r.left():
            f = r.string()
            p.filters.append((f, r.number(1)) if kind == SUBSCRIBE else f)
        if not p.filters:
            r.bad("no topic filter")
    elif kind == DISCONNECT or kind == AUTH:
        p.code = r.number(1) if r.left() else 0
        if r.left():
            r.properties(p)
    if r.left():
        r.bad("%d bytes left over" % r.left())
    if p.pid == 0:
        r.bad("packet identifier 0")
    return p


def _connect(p, r):
    if r.string() != "MQTT" or r.number(1) != 5:
        r.bad("not MQTT 5.0")
    flags = r.number(1)
    if flags & 1:
        r.bad("reserved flag")
    p.clean_start = flags >> 1 & 1
    p.keepalive = r.number(2)
    r.properties(p)
    p.client_id = r.string()
    if flags & 4:
        p.will = w = Packet(PUBLISH)
        w.qos = flags >> 3 & 3
        w.retain = flags >> 5 & 1
        r.properties(w)
        w.topic = r.string()
        w.payload = r.binary()
        if w.qos == 3:
            r.bad("Will QoS 3")
    elif flags & 0x38:
        r.bad("Will flags without a Will")
    if flags & 128:
        p.user = r.string()
    if flags & 64:
        p.password = r.binary()


def _publish(p, r):
    p.retain = p.flags & 1
    p.qos = p.flags >> 1 & 3
    p.dup = p.flags >> 3
    if p.qos == 3 or p.dup and not p.qos:
        r.bad("flags %d" % p.flags)
    p.topic = r.string()
    if "+" in p.topic or "#" in p.topic:
        r.bad("wildcard in a topic name")
    if p.qos:
        p.pid = r.number(2)
    r.properties(p)
    if not p.topic and p.prop("topic_alias") is None:
        r.bad("neither topic nor alias")
    p.payload = r.take(r.left())
