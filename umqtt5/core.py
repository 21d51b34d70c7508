"""Session: one MQTT 5 session over one connection at a time, without any waiting.

What belongs here: publish, the session image (in-flight store, offline queue, replay), the receive engine, PUBACK, PINGRESP and
DISCONNECT, keep-alive, the answer to a violation. What does not: waiting (client.py, aio.py), CONNECT and CONNACK (setup.py),
SUBSCRIBE and inbound PUBLISH (subs.py), QoS 2 (qos2.py). Imports nothing of the package at load time; a packet type whose
handler is not loaded yet loads its module (`load`).

A packet out:  publish() -> _prepare() encodes topic and properties once into `tx` -> _write() -> the socket (QoS 0)
               publish() -> _enqueue() appends a record to `image` -> pump() -> _write() from the image (QoS 1 and 2)
A packet in:   work() -> _read() fills `rx` -> _parse() finds a whole packet -> self._h[type](session, first byte, start, end)

The session image (one bytearray, capacity made at construction; all that must survive a cut, a reset, a deep sleep):

    0 magic 'M'   1 layout version   2,3 last packet identifier   4,5 offset of the first unsent record
    6..9 tag of client identifier and server (0: there is no session)   10 the records, in order of publish:

    state   packet id   length   [queued at]   encoded packet
    1       2           2        4 (flag 0x10) `length` bytes
    states: 1 QoS 1 PUBLISH, 2 QoS 2 PUBLISH, 3 PUBREC seen, PUBREL is left (length 0), 4 inbound QoS 2 identifier (length 0)
    flags:  0x10 a queued-at time in seconds follows (Message Expiry Interval present), 0x40 a PUBREL has to be sent now

`_flight` is the number of sent and unacknowledged records: states 1 and 2 before the first unsent record, and all of state 3.

Frames: a function whose arguments + locals + deepest stack + 3 per nested `try` stay within 11 words is called without touching
the heap (measured: one word more costs a block of 68 B and 1,400 instructions a call). Hence the reused arguments in publish().
"""
import time

from micropython import const

_H = const(10)  # bytes of the image header
_FRAG = const(64)  # bytes read at a time into a packet that came in pieces; spare room at the end of rx
_QUEUED = const(0x10)
_BIG = const(0x0FFFFFFF)

_isinstance = isinstance
_BYTES = (bytes, bytearray, memoryview)
_len = len  # an alias saves the failed look-up in the module's own table: 64 against 200-600 instructions a use
_ticks = time.ticks_ms
_diff = time.ticks_diff


class MQTTException(Exception):
    """Base of what this library raises besides OSError (transport), ValueError and TypeError (arguments)."""


class ProtocolError(MQTTException):
    """The server broke the rules. `reason_code` (int) is what was sent in DISCONNECT; the connection is closed."""

    def __init__(self, reason_code, text=""):
        super().__init__(reason_code, text)
        self.reason_code = reason_code

    def __str__(self):
        from .reasons import ReasonCode

        return "server broke the protocol: %s %s" % (ReasonCode(self.reason_code, 14), self.args[1])


class Refused(MQTTException):
    """The server said no. `what`: packet name; `reason_code`: ReasonCode; `reason`: Reason String or ""; `props`: list."""

    def __init__(self, what, reason_code, packet, props=()):
        from .reasons import ReasonCode

        self.what = what
        self.reason_code = ReasonCode(reason_code, packet)
        self.props = props
        self.reason = ""
        for k, v in props:
            if k == "reason_string":
                self.reason = v
        super().__init__(what, reason_code)

    def __str__(self):
        return "%s refused: %s (0x%02X) %s" % (self.what, self.reason_code.name, self.reason_code.value, self.reason)


class ResourceError(MQTTException):
    """A buffer or a table of ours is full, or a call came at a moment when it cannot be served; nothing was sent."""


def load(s, first, i, end):
    """Handler of packet types whose module is not loaded yet: load it, then handle the packet."""
    k = first >> 4
    try:
        if k == 15:
            from . import auth as m
        elif 4 < k < 8:
            from . import qos2 as m
        else:
            from . import subs as m
    except MemoryError:
        s.close(0)
        raise ResourceError("no memory to load the module for packet type %d: import it at start" % k) from None
    m.register(s)
    s._h[k](s, first, i, end)


def illegal(s, first, i, end):
    """Handler of packets that a server never sends."""
    s.violation(0x82)


def puback(s, first, i, end):
    """PUBACK (3.4): frees the record, tells the user. 0 B."""
    b = s._rx
    if first != 0x40:
        return s.violation(0x81)
    if end - i != 2 and (end - i < 2 or b[i + 2] and b[i + 2] != 0x10 or end - i > 3 and b[i + 3] | end - i > 4):
        s.check_ack(4, i, end)
    first = s.find_record(b[i] << 8 | b[i + 1], 1)
    if first:
        s.free(first)
        s.acked(i, end, 4)
    elif not b[i] | b[i + 1]:
        s.violation(0x82)


def pingresp(s, first, i, end):
    """PINGRESP (3.13)."""
    if first != 0xD0 or i != end:
        s.violation(0x81)
    s._pong = False
    s.set_due(_ticks())
    if s.on_pong:
        s.on_pong(s)


def disconnect_in(s, first, i, end):
    """DISCONNECT (3.14) from the server: close, then one Refused (or OSError for reason 0x00) for the caller."""
    b = s._rx
    if first != 0xE0:
        s.violation(0x81)
    code = b[i] if end > i else 0
    props = ()
    if end > i:
        from . import reasons

        if not reasons.legal(code, 14):
            s.violation(0x82 if code in (0x04, 0x01) else 0x81)
        if end > i + 1:
            props = s.ack_props(i + 1, end, 14)
    s.close(1, code, props)
    raise Refused("DISCONNECT", code, 14, props)


def _prepare(s, topic, props):
    # Check topic and properties, encode them into tx from offset 7 (5 bytes are kept for the fixed header, 2 for the length).
    if s._wn and s._wb is s._tx:  # the last packet stands there half written
        s.drain()
    s._topic = None
    t = topic
    if type(topic) is not bytes or topic not in s._seen:
        t = _new_topic(s, topic)
    s._tb = t
    if props or s._pb:
        _prepare_props(s, props)
    if props or s._alias or _len(t) + 8 > _len(s._tx):
        if not (s._alias and s._alias.header(s, t, props)):
            _head(s, t, props)
    else:
        tx = s._tx
        h = _len(t)
        tx[5] = h >> 8
        tx[6] = h & 255
        h += 7
        tx[7:h] = t
        tx[h] = 0
        s._th = h + 1
    s._topic = topic
    # only what cannot change may be known again by identity: a caller may reuse one bytearray for all topics
    s._tprops = props if type(topic) is bytes or type(topic) is str else s


def _head(s, t, props):
    # Topic and properties into tx without an alias; where they do not fit, QoS 0 says so and QoS 1 and 2 go through the image.
    tx = s._tx
    n = _len(t)
    h = 7 + n
    k = h + (_len(props) or 1)
    s._th = k
    if k <= _len(tx):
        tx[5] = n >> 8
        tx[6] = n & 255
        tx[7:h] = t
        if props:
            tx[h:k] = props
        else:
            tx[h] = 0


def _encoded(msg):
    if type(msg) is str:
        return msg.encode()
    raise TypeError("payload: give bytes, bytearray, memoryview or str")


def _new_topic(s, topic):
    # Not among the last eight topics: look at each byte, remember it. (The look costs more than all the rest of a publish.)
    t = s._check(topic)
    if type(t) is bytes:
        k = s._seen
        k[k[8]] = t
        k[8] = k[8] + 1 & 7
    return t


def _prepare_props(s, props):
    s._texp = False
    s._pb = props or b""
    if props:
        if type(props) is not bytes:
            raise TypeError("props: give bytes made by props.encode()")
        if props not in s._okprops:  # the last four blocks are known to be right
            from . import props as p

            p.block(props, 3)
            k = s._okprops
            k[k[4]] = props
            k[4] = k[4] + 1 & 3
        s._texp = s._find(props, 0, 2) >= 0
        if s._find(props, 0, 0x23) >= 0:
            from . import alias

            s._pb = alias.given(s, props)


class Session:
    """State of one session; faces subclass it and add only how to wait. Made by setup.construct()."""

    on_message = on_connect = on_disconnect = on_ack = on_suback = on_pong = on_chunk = None
    _cb = _will = _sock = _err = _refused = _alias = None
    _state = 0  # 0 closed, 1 waiting for CONNACK, 2 connected
    _qmax = _wn = sent = received = _busy = _left = _rel = _flight = dropped = 0
    _acks = ()
    _o = {}
    _msg = _rpc = on_auth = _qos2_in = _pubslow = _big_in = _alias_in = None
    _again = False

    def __getattr__(self, name):
        # What is not in the instance: options (setup.construct), and methods whose module is loaded on first use.
        v = self._o.get(name, self)
        if v is self:
            v = self._lazy(name)
        return v

    # ---------------------------------------------------------------- packets out

    def publish(self, topic, msg, retain=False, qos=0, props=b""):
        """Send (QoS 0) or store and send when there is room (QoS 1 and 2) one message; does not wait for acknowledgement.

        topic: bytes or str (a bytearray is encoded anew each time); msg: bytes-like or str; props: from props.encode().
        Returns the packet identifier, 0 for QoS 0. Raises ValueError/TypeError (arguments, server limits), ResourceError (no
        room),
        OSError (QoS 0 without a connection): in all these cases nothing was sent. 0 B. Spec 3.3.
        """
        if topic is not self._topic or props is not self._tprops:
            _prepare(self, topic, props)
        if not _isinstance(msg, _BYTES):
            msg = _encoded(msg)
        if qos:
            return self._enqueue(msg, qos, retain)
        topic = self._tx
        props = self._th
        qos = props + _len(msg)
        if qos != self._last or retain:  # another length than last time, or something is in the way
            # _qmax is one test for all: connected, nothing half written, fits tx and the server's limit, length below 128
            if qos > self._qmax or retain and not self._caps & 4:
                return self._publish_slow(msg, retain)
            topic[3] = 49 if retain else 48
            topic[4] = qos - 5
            self._last = 0 if retain else qos
        topic[props:qos] = msg
        qos -= 3
        props = (self._sw)(topic, 3, qos)  # _write() inline: a call is 700 to 1,000 instructions
        if props != qos:
            self._part(qos, props or 0)
        return self._zero  # 0; the asyncio face puts an awaitable here

    def _publish_slow(self, msg, retain):
        if self._pubslow is None:  # an import statement allocates each time
            from . import publication

            self._pubslow = publication.publish_slow
        return (self._pubslow)(self, msg, retain)

    def _write(self, buf, off, n):
        # Hand one packet to the socket. What it does not take now waits in _wb/_wo/_wn for flush(). Nothing may be pending here.
        # No try here: with one, four arguments make a frame of more than 11 words. OSError goes to publish()'s caller or to
        # work().
        k = (self._sw)(buf, off, n)
        if k != n:
            k = k or 0
            self._rest(buf, off, n - k, k)
        self.sent += 1
        return self._zero

    def _part(self, n, k):
        self._rest(self._tx, 3, n - k, k)

    def _rest(self, buf, off, n, k):
        self._wb = buf
        self._wo = off + k
        self._wn = n
        self._wt = _ticks()
        self._qmax = self._last = 0  # sends publish() through _publish_slow, which waits

    def _dead(self):
        # Writing failed, the peer is gone: discard from now on; the reader finds its DISCONNECT, the end of the stream, or
        # reports this.
        self._err = True
        self._qmax = self._last = self._wn = 0
        self._sw = _discard

    def flush(self):
        """Go on with a half-written packet. True when nothing is left."""
        while self._wn:
            try:
                k = (self._sw)(self._wb, self._wo, self._wn)
            except OSError:
                if self._state == 1:
                    raise
                self._dead()
                return True
            if not k:
                return False
            self._wo += k
            self._wn -= k
            self._wt = _ticks()
            if not self._wn:
                self._wb = None
                if self._wx is not None:  # the payload that follows its header from the caller's own buffer
                    self._wb = self._wx
                    self._wo = 0
                    self._wn = _len(self._wb)
                    self._wx = None
                elif self._owed:
                    k = self._owed
                    self._owed = 0
                    self._write(self._a, 0, k)
        if self._state == 2 and not self._err:
            self._qmax = self._qfast
            self.pump()  # records that had to wait for the socket
        return not self._wn

    def ack(self, first, pid, code=0):
        """Send an acknowledgement in its shortest form (3.4.2.1). 0 B."""
        a = self._a
        a[0] = first
        a[1] = 3 if code else 2
        a[2] = pid >> 8
        a[3] = pid & 255
        a[4] = code
        if self._wn:  # a handler's own publish is half written: the engine stands still until this went out after it
            self._owed = 4 + (code > 0)
        else:
            self._write(a, 0, 5 if code else 4)

    def disconnect_out(self, code, block=b""):
        # DISCONNECT (3.14) in its shortest form, if the stream stands between two packets; the caller closes.
        if self._sock is not None and self.flush():
            if block:
                p = bytes((0xE0, 1 + _len(block), code)) if _len(block) < 127 else None
                if p is None:
                    n = 1 + _len(block)
                    p = bytes((0xE0, n & 127 | 128, n >> 7, code))
                p += block
            else:
                p = bytes((0xE0, 1, code)) if code else b"\xe0\x00"
            self._write(p, 0, _len(p))
            self.flush()

    def violation(self, code, text=""):
        """The server broke the rules: DISCONNECT with `code`, close, raise ProtocolError. Never imports."""
        self.disconnect_out(code)
        self.close(2, code)
        raise ProtocolError(code, text)

    def close(self, by, code=0, props=()):
        """Close the socket and forget the connection; by: 0 network, 1 server's DISCONNECT, 2 ours. Calls on_disconnect once."""
        s = self._sock
        up = self._state == 2
        self._state = self._qmax = self._last = self._wn = self._owed = self._left = 0
        self._sock = self._wb = self._wx = self._pr = self._pw = self._err = self._topic = self._alias = None
        self._sw = self._sr = _closed
        self._acks = ()
        self._smax = _BIG
        if s is not None:
            try:
                s.close()
            except OSError:
                pass
        if up:
            self._o["_down_at"] = _ticks()
            self._o["_gone"] = code if by == 1 else 0
            if self.on_disconnect:
                from .reasons import ReasonCode

                self.on_disconnect(self, self.userdata, by, ReasonCode(code, 14) if by else None, props)

    # ---------------------------------------------------------------- the session image

    def _enqueue(self, msg, qos, retain):
        # Append a QoS 1 or 2 PUBLISH to the image, send it if its turn has come.
        if not 0 < qos < 3 or self._state == 2 and (qos > self._caps & 3 or retain and not self._caps & 4):
            qos = self._limits(qos, retain)
            if not qos:
                return self._publish_slow(msg, retain)
        n = 4 + _len(self._tb) + (_len(self._pb) or 1) + _len(msg)
        m = self.image
        if (n > self._smax - 5 or _len(m) + n + 14 > self._cap) and self._room(n):
            return 0
        self._record(n, qos << 1 | (1 if retain else 0))
        m.extend(self._tb)
        m.extend(self._r)  # packet identifier and a zero Property Length
        if self._pb:
            m[_len(m) - 1 :] = self._pb
        m.extend(msg)
        self._go()
        return m[2] << 8 | m[3]

    def _go(self):
        # A record was appended: send it, if its turn has come, or at least save it.
        try:
            if self._state == 2 and not self._wn:
                self.pump()
            if self._save:
                self._save_rest(self.image)
        except OSError:  # the message is stored: work() reports the loss
            self._dead()
        except ResourceError:  # the store cannot take it, nothing was sent: take it back
            from . import publication

            publication.take_back(self)
            raise

    def _save_rest(self, m):
        if m[4] << 8 | m[5] != _len(m):  # pump() has saved what it sent
            self.persist(m[4] << 8 | m[5])

    def persist(self, unsent):
        """Save the image; when the store fails, set the first unsent record back and raise ResourceError."""
        try:
            self.store.save(self.image)
        except OSError as e:
            self._mark(unsent)
            raise ResourceError("the store cannot save the session: %s" % e) from None

    def _record(self, n, flags):
        # The record's header, the fixed header and the topic's length; n: Remaining Length, flags: QoS and RETAIN bits.
        k = self.next_id()
        m = self.image
        i = _len(m)
        m.extend(_ZEROS)  # 15 bytes: cut to what is needed at the end
        m[i] = flags >> 1
        m[i + 1] = k >> 8
        m[i + 2] = k & 255
        self._r[0] = k >> 8
        self._r[1] = k & 255
        k = n + (2 if n < 128 else 3 if n < 16384 else 4)
        m[i + 3] = k >> 8
        m[i + 4] = k & 255
        i += 5
        if self._texp:
            m[i - 5] = flags >> 1 | _QUEUED
            self._stamp(m, i)
            i += 4
        m[i] = flags | 0x30
        i += 1
        while n > 127:
            m[i] = n & 127 | 128
            n >>= 7
            i += 1
        m[i] = n
        n = _len(self._tb)
        m[i + 1] = n >> 8
        m[i + 2] = n & 255
        i += 3
        m[i:] = b""

    def _stamp(self, m, i):
        n = int(time.time())
        m[i] = n >> 24 & 255
        m[i + 1] = n >> 16 & 255
        m[i + 2] = n >> 8 & 255
        m[i + 3] = n & 255

    def _limits(self, qos, retain):
        from . import publication

        return publication.limits(self, qos, retain)

    def _room(self, n):
        from . import publication

        return publication.room(self, n)

    def next_id(self):
        """The next free packet identifier (2.2.1): the last one plus 1; looks for one in use only when it may have come round."""
        m = self.image
        n = m[2] << 8 | m[3]
        if self._idfree:
            self._idfree -= 1
            n += 1
            if n > 65535:
                n = 1
        else:
            from . import publication

            n = publication.free_id(self, n)
        m[2] = n >> 8
        m[3] = n & 255
        return n

    def find_record(self, pid, state):
        """Offset of the record of `pid` in `state` that has been sent (any for state 3 and 4), or 0."""
        m = self.image
        i = _H
        end = _len(m)
        if state < 3:
            end = m[4] << 8 | m[5]
        while i < end:
            if m[i] & 7 == state and m[i + 2] == pid & 255 and m[i + 1] == pid >> 8:
                return i
            i += (m[i + 3] << 8) + (m[i] >> 2 & 4) + m[i + 4] + 5
        return 0

    def free(self, i, keep=0):
        """Remove the record at offset `i`; keep=1: leave its five bytes (QoS 2, PUBREL is left). 0 B."""
        m = self.image
        n = m[i + 3] << 8 | m[i + 4]
        n += m[i] >> 2 & 4
        if keep:
            i += 5
        else:
            n += 5
            if m[i] & 7 == 3 or m[i] & 7 < 3 and i < m[4] << 8 | m[5]:
                self._flight -= 1
        m[i : i + n] = b""
        if self._wn and self._wb is m and self._wo > i:  # the half-written record moved with the rest
            self._wo -= n
        i -= m[4] << 8 | m[5]
        if i < 0:
            n = (m[4] << 8 | m[5]) - n
            m[4] = n >> 8
            m[5] = n & 255
        if self._save and not keep:  # with keep the record is not finished: the caller saves
            self._saved()

    def _saved(self):
        try:
            self.store.save(self.image)
        except OSError:
            pass  # what is stored holds more than there is: at worst a repetition after a reset

    def pump(self):
        """Send records from the first unsent one on, as far as Receive Maximum and the socket allow. 0 B. Spec 4.9."""
        m = self.image
        if self._rel:
            self._rels(self)
        i = m[4] << 8 | m[5]
        while i < _len(m) and not self._wn:
            k = m[i]
            n = m[i + 3] << 8 | m[i + 4]
            if k & 7 < 3:
                if self._flight >= self._rmax:
                    break
                if k & _QUEUED and not self._fresh(i):
                    continue  # expired and gone: the next record is at i now
                self._mark(i + 5 + n + (k >> 2 & 4))
                if self._save:  # saved as sent before it is: after a reset it goes out again with DUP
                    self.persist(i)
                self._flight += 1
                self._write(m, i + 5 + (k >> 2 & 4), n)
            elif k & 7 == 5:
                self._queued0(i)
            else:
                self._mark(i + 5)
            i = m[4] << 8 | m[5]

    def _mark(self, i):
        self.image[4] = i >> 8
        self.image[5] = i & 255

    def _queued0(self, i):
        from . import publication

        publication.send0(self, i)

    def _fresh(self, i):
        from . import publication

        return publication.fresh(self, i)

    def acked(self, i, end, packet):
        """A message is done (or refused): remember a refusal for wait(), tell on_ack. i, end: the acknowledgement in rx."""
        if end - i > 2 and self._rx[i + 2] > 127:
            from . import publication

            publication.refused(self, i, end, packet)
        if self.on_ack:
            self._at = i + 3
            self._to = end
            self._busy = 1
            end = self._rx[i + 2] if end - i > 2 else 0
            i = self._rx[i] << 8 | self._rx[i + 1]
            self.on_ack(self, i, end, packet)
            self._busy = self._at = 0
        if not self._wn:
            self.pump()

    def check_ack(self, packet, i, end):
        """An acknowledgement that is not the plain success: check reason code and properties (3.4.2)."""
        if end - i < 2:
            self.violation(0x81)
        from . import reasons

        if end - i > 2 and not reasons.legal(self._rx[i + 2], packet):
            self.violation(0x81)
        if end - i > 3:
            self.ack_props(i + 3, end, packet)

    def ack_props(self, i, end, packet):
        """Check the property block at `i` that ends the packet at `end`; returns the decoded list of (name, value)."""
        from . import props, wire

        k = wire.walk(self._rx, i, end, packet)
        if k != end:
            self.violation(-k if k < 0 else 0x81)
        if self._noinfo and packet != 14 and self._rx[i]:  # Request Problem Information 0 was asked for (3.1.2.11.7)
            self.violation(0x82)
        return props.decode(self._rx, i)

    # ---------------------------------------------------------------- packets in

    def work(self):
        """One round without waiting: send what is left, read once, handle all whole packets, keep alive.

        Returns True when a packet was handled or bytes moved. Raises OSError (network lost), Refused (server's DISCONNECT,
        CONNACK),
        ProtocolError (violation); the connection is closed then. 0 B.
        """
        if self._busy:
            raise ResourceError("called from a handler: set a flag there and call it from the main loop")
        if self._sock is None:
            raise OSError(107, "not connected")
        try:
            r = self._wn
            if r and not self.flush():
                r = r != self._wn
            else:
                r = self._i != self._e and _parse(self) or _read(self) and (_parse(self) or True)
        except OSError:
            if self._busy or self._err or self._state != 2:
                if not self._busy:
                    self.close(0)
                self._busy = 0  # a handler's own OSError is passed on as it is
                raise
            self._dead()
            r = True
        except Exception:
            self._busy = 0
            raise
        if _diff(_ticks(), self._due) >= 0:
            self._alive(_ticks())
        return r

    def _long(self, i):
        # Remaining Length of one to four bytes: returns the offset behind it, leaves the packet's end in _n; 0 when bytes are
        # missing.
        b = self._rx
        n = k = 0
        while True:
            i += 1
            if i >= self._e:
                return 0
            n |= (b[i] & 127) << k
            k += 7
            if b[i] < 128:
                break
            if k > 21:
                self.violation(0x81)
        if not b[i]:
            self.violation(0x81)
        i += 1
        self._n = i + n
        return i

    def _too_large(self, i, s, end):
        # A packet above our Maximum Packet Size: a PUBLISH may go to on_chunk in pieces, anything else is a violation
        # (3.1.2.11.4).
        if self._rx[i] >> 4 != 3 or not self.on_chunk or self._state != 2:
            self.violation(0x95)
        if self._big_in is None:  # an import statement allocates each time
            from . import chunks

            self._big_in = chunks.begin
        return (self._big_in)(self, i, s, end)

    # ---------------------------------------------------------------- keep-alive (3.1.2.10)

    def set_due(self, t):
        """The next time, in ticks, at which the client itself has something to do."""
        k = self.keepalive_now * 750
        if self._state == 2 and not k:
            k = 60000
        self._due = time.ticks_add(t, k)

    def ping(self):
        """Send PINGREQ; its answer within the bound is checked by work(). 0 B."""
        if self._state != 2:
            raise OSError(107, "not connected")
        if self._wn:
            return
        self._write(b"\xc0\x00", 0, 2)
        self._pong = True
        self._bound()

    def _bound(self):
        # A PINGRESP has to be there within the timeout, or the keep-alive interval if that is shorter.
        k = self.keepalive_now * 1000
        if not 0 < k < self._tmo:
            k = self._tmo
        self._seen_at = self.received + self._e - self._left
        self._due = time.ticks_add(_ticks(), k)

    def _alive(self, t):
        # Time is up: for the CONNACK, for a stalled write, for a PINGRESP, or it is time to ping.
        if self._wn:
            if _diff(t, self._wt) < self._tmo:
                self._due = time.ticks_add(t, 1000 if self._tmo > 1000 else 100)
                return
        elif self._state == 2:
            if not self._pong:
                if self.keepalive_now:
                    self.ping()
                else:
                    self.set_due(t)
                return
            # a large packet may stand between PINGREQ and its answer: wait on as long as more of it arrives
            if (self._left or self._i != self._e) and self._seen_at != self.received + self._e - self._left:
                return self._bound()
        self.close(0)
        raise OSError(110, "no CONNACK in time" if not self._pong and not self._wn else "no answer from the server in time")


def _read(s):
    # One read. In bulk when rx is empty; else, as readinto takes no offset, a fragment that is stored behind the packet it
    # belongs to. The packet moves to the front only when it would not fit. Measured against header-then-body reads: see design.
    b = s._rx
    e = s._e
    if s._i == e:
        if _len(b) < s._rl >> 1:
            while _len(b) < s._rl:
                b.extend(s._frag)
        k = (s._sr)(b)
        if k:
            s._i = 0
            s._e = k
            return True
    else:
        if e + _FRAG > _len(b) and s._i:
            b[0 : s._i] = b""
            e -= s._i
            s._i = 0
        k = (s._sr)(s._frag)
        if k:
            b[e : e + _FRAG] = s._frag
            s._e = e + k
            return True
        s._e = e
    if k is None and not s._err:
        return False
    s._err = True
    raise OSError(104, "connection closed by the server" if k == 0 else "connection lost")

def _parse(s):
    # Handle the packets that are whole in rx. True when there was one.
    b = s._rx
    r = False
    while not s._wn:
        i = s._i
        if s._left:
            if i == s._e:
                break
            s._chunk(s, i)
            r = True
            continue
        if s._e - i < 2:
            break
        j = i + 2
        n = b[i + 1]
        if n > s._rq:  # two bytes and more, or above our Maximum Packet Size
            j = s._long(i)
            if not j:
                break
            n = s._n
            if n - i > s._rl:
                if s._too_large(i, j, n):
                    r = True
                    continue
                break
        else:
            n += j
        if n > s._e:
            break
        s._i = n
        s.received += 1
        s._h[b[i] >> 4](s, b[i], j, n)
        r = True
        if s._sock is None:  # a handler closed the connection
            break
    return r


_ZEROS = bytes(15)


def _discard(buf, off, n):
    return n


def _closed(buf, off=0, n=0):
    raise OSError(107, "not connected")
