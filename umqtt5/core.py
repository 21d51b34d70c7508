"""Session: one MQTT 5 session over one connection at a time, without any waiting.

What belongs here: publish, the receive engine, PINGRESP and DISCONNECT, keep-alive, the answer to a violation. What does not:
the session image and PUBACK (image.py), waiting (client.py, aio.py), CONNECT and CONNACK (setup.py), inbound PUBLISH
(receive.py), SUBSCRIBE (subs.py), QoS 2 (qos2.py), what is rare (outbox.py, rare.py). A packet type whose handler is not loaded
yet loads its module (`load`).

A packet out:  publish() -> _prepare() encodes topic and properties once into `tx` -> _write() -> the socket (QoS 0)
               publish() -> _enqueue() appends a record to the image -> pump() -> _write() from the image (QoS 1 and 2)
A packet in:   work() -> _engine() fills `rx` -> _parse() finds a whole packet -> self._h[type](session, first byte, start, end)

Frames: a function whose arguments + locals + deepest stack + 3 per nested `try` stay within 11 words is called without touching
the heap (measured: one word more costs a block of 68 B and 1,400 instructions a call). Hence the reused arguments in publish().
"""

import time

from micropython import const

from . import ProtocolError, ResourceError

_FRAG = const(64)  # bytes read at a time into a packet that came in pieces; spare room at the end of rx
_BIG = const(0x0FFFFFFF)

_isinstance = isinstance
_bytes = bytes
_BYTES = (bytes, bytearray, memoryview)
_len = len  # an alias saves the failed look-up in the module's own table: 64 against 200-600 instructions a use
_ticks = time.ticks_ms
_diff = time.ticks_diff


def load(s, first, i, end):
    """Handler of packet types whose module is not loaded yet: load it, then handle the packet."""
    k = first >> 4
    if k == 14:
        return s.disconnect_in(first, i, end)
    try:
        if k == 15:
            from . import auth as m
        elif 4 < k < 8:
            from . import qos2 as m
        elif k == 3:
            from . import receive as m
        elif k == 4:
            from . import image as m
        else:
            from . import subs as m
    except (MemoryError, ImportError):
        s.close(0)
        raise ResourceError(_UNLOADED % ("packet type %d" % k)) from None
    m.register(s)
    s._h[k](s, first, i, end)


def illegal(s, first, i, end):
    """Handler of packets that a server never sends, and of a second CONNACK (0x21 to 0x2F: wrong flags first, 2.1.3)."""
    s.violation(0x81 if 0x20 < first < 0x30 else 0x82)


def pingresp(s, first, i, end):
    """PINGRESP (3.13)."""
    if first != 0xD0 or i != end:
        s.violation(0x81)
    s._pong = False
    s.set_due(_ticks())
    if s.on_pong:
        s._busy = 1
        s.on_pong(s)
        s._busy = 0


def _prepare(s, topic, props):
    # A topic that is not among the last eight, or with properties, or while something is in the way: check and encode all.
    if props or s._odd:
        return s._prepare_all(topic, props)
    s._topic = ...  # what no caller gives: None would be taken for a topic that is known
    props = _new_topic(s, topic)
    if props.__class__ is not _bytes or _len(props) + 8 > _len(s._tx):
        return s._prepare_all(topic, b"")
    s._tb = props
    s._topic = topic
    _head(s, _len(props) + 4)
    s._tm[4 : s._te] = props


def _head(s, n):
    # What stands around a topic without properties that ends at n.
    t = s._tm
    s._te = n
    s._th = n + 1
    t[2] = n - 4 >> 8
    t[3] = n - 4 & 255
    t[n] = 0


def _encoded(msg):
    if type(msg) is str:
        return msg.encode()
    raise TypeError("payload: give bytes, bytearray, memoryview or str")


def _new_topic(s, topic):
    # Not among the last eight topics: look at each byte, remember it. (The look costs more than all the rest of a publish.)
    t = s._check(topic)
    if type(t) is bytes and _len(t) + 8 <= _len(s._tx):
        k = s._seen
        k[k[8]] = t
        k[8] = k[8] + 1 & 7
    return t


class Session:
    """State of one session; faces subclass it and add only how to wait. Made by construct.py."""

    on_message = on_connect = on_disconnect = on_ack = on_suback = on_pong = on_chunk = None
    _cb = _will = _sock = _refused = None
    _state = 0  # 0 closed, 1 waiting for CONNACK, 2 connected
    _zero = _rel = _flight = dropped = _at = 0
    _pubs = ()
    _o = {}
    _msg = _rpc = on_auth = _qos2_in = _pubslow = _big_in = _alias_in = None
    _again = False

    def __getattr__(self, name):
        # What is not in the instance: options (construct.py), and methods whose module is loaded on first use.
        v = self._o.get(name, self)
        return _load_name(self, name) if v is self else v

    # ---------------------------------------------------------------- packets out

    def publish(self, topic, msg, retain: bool = False, qos: int = 0, props: bytes = b"") -> int:
        """Send (QoS 0) or store and send when there is room (QoS 1 and 2) one message; does not wait for acknowledgement.

        topic: bytes or str (a bytearray is encoded anew each time); msg: bytes-like or str; props: from props.encode().
        Returns the packet identifier, 0 for QoS 0. Raises ValueError/TypeError (arguments, server limits), ResourceError (no
        room), OSError (QoS 0 without a connection): in all these cases nothing was sent. 0 B. Spec 3.3.
        """
        if not topic is self._topic or props:  # noqa: E714 (130 instructions less than `is not`)
            if props or self._odd or not _isinstance(topic, _bytes) or topic not in self._seen:
                _prepare(self, topic, props)
            else:  # one of the last eight: it is valid and fits. Inline: a call is a fifth of all this
                self._topic = self._tb = topic
                props = _len(topic) + 4
                if props != self._te:  # of another length than the last one
                    _head(self, props)
                self._tm[4:props] = topic
        if not msg.__class__ is _bytes and not _isinstance(msg, _BYTES):  # noqa: E714 (two thirds of isinstance alone)
            msg = _encoded(msg)
        if qos:
            return self._enqueue(msg, qos, retain)
        topic = self._tm
        props = self._th
        qos = props + _len(msg)
        if qos != self._last or retain:  # another length than last time, or something is in the way
            # _qmax is one test for all: connected, nothing half written, fits tx and the server's limit, length below 128
            if qos > self._qmax or retain and not self._caps & 4:
                return self._publish_slow(msg, retain)
            topic[0] = 49 if retain else 48
            topic[1] = qos - 2
            self._last = 0 if retain else qos
        topic[props:qos] = msg
        props = (self._sw)(topic, 0, qos)  # _write() inline: a call is 700 to 1,000 instructions
        if props != qos:
            self._part(qos, props or 0)
        return 0

    def _publish_slow(self, msg, retain):
        if self._pubslow is None:  # an import statement allocates each time
            from . import outbox

            self._pubslow = outbox.publish_slow
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

    def _part(self, n, k):
        self._rest(self._tx, 3, n - k, k)

    def _rest(self, buf, off, n, k):
        self._wb = buf
        self._wo = off + k
        self._wn = n
        self._wt = _ticks()
        self._odd = True
        self._slower()

    def _slower(self):
        # Something is in the way: publish() goes through _publish_slow, work() through _round, publications through _slow.
        self._qmax = self._last = 0
        self._ready = False
        for p in self._pubs:
            if p:
                p._park()

    def _dead(self):
        # Writing failed, the peer is gone: discard from now on. The reader finds its DISCONNECT or the end of the stream, or
        # reports this.
        self._err = True
        self._wn = 0
        self._sw = _discard
        self._slower()

    def flush(self) -> bool:
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
            if _len(self.image) > 10:
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

    def disconnect_out(self, code, p=None):
        # DISCONNECT (3.14) in its shortest form, or p, if the stream stands between two packets; the caller closes.
        if self._sock is not None and self.flush():
            if not p:
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
        self._state = self._wn = self._owed = self._left = 0
        self._sock = self._wb = self._wx = self._pr = self._pw = self._err = self._alias = None
        self._topic = self._tprops = ...
        self._te = 0
        self._sw = self._sr = _closed
        self._slower()
        self._run = self._o["_run"]  # a bound method made at construction: here is no memory to be asked for
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

    # ---------------------------------------------------------------- packets in

    def work(self) -> bool:
        """One round without waiting: send what is left, read once, handle all whole packets, keep alive.

        Returns True when a packet was handled or bytes moved. Raises OSError (network lost), Refused (server's DISCONNECT,
        CONNACK), ProtocolError (violation): the connection is closed then. 0 B.
        """
        try:
            return self._run(None)
        except ValueError:
            if self.in_handler():  # a generator that runs cannot be resumed
                raise ResourceError("called from a handler: set a flag there and call it from the main loop") from None
            raise

    def in_handler(self):
        """Is this call made by one of the handlers?"""
        return self._busy or self._msg is not None and self._msg._e >= 0

    def _begin(self, _):
        # The first round of a connection, or after an exception.
        g = _engine(self)
        self._run = g.send
        return g.send(None)

    # ---------------------------------------------------------------- keep-alive (3.1.2.10)

    def set_due(self, t):
        """The next time, in ticks, at which the client itself has something to do."""
        k = self.keepalive_now * 750
        if self._state == 2 and not k:
            k = 60000
        self._due = time.ticks_add(t, k)
        self._ready = False  # _engine() has what it was

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
        self._ready = False

    def _alive(self, t):
        # Time is up: for the CONNACK, for a stalled write, for a PINGRESP, or it is time to ping.
        if self._wn and self._state == 2:
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


def _engine(s):
    # What work() does, a round each time it is resumed. A generator, because it keeps in its frame what would be a dozen
    # attributes to look up (200 instructions each); an exception ends it, and _begin() makes a new one.
    ticks = _ticks
    diff = _diff
    keeps = hasattr(memoryview, "release")  # CPython can end a memoryview that was kept
    while True:
        try:
            if s._ready:
                rx = s._rx
                read = s._sr
                head = s._head
                front = s._front
                same = s._same
                m = s._msg
                due = s._due
                one = s._rq + 3  # Remaining Length in one byte, and within our Maximum Packet Size
                while s._ready:  # rx is empty, nothing half written, connected
                    k = read(rx)
                    f = k == same and front == head and s.on_message
                    if f:  # header, topic and length are those of the last message: everything but the payload is known
                        m._e = k  # while it is not negative, a handler runs
                        f(m)
                        m._e = -1
                        if keeps and m._v:
                            m._end()
                        s.received += 1
                        r = True
                    elif k:
                        if rx[1] + 2 == k and k < one:  # exactly one packet, the commonest case: _parse() inline
                            s._i = s._e = k
                            s.received += 1
                            s._h[rx[0] >> 4](s, rx[0], 2, k)
                        else:
                            s._i = 0
                            s._e = k
                            _parse(s)
                            if s._i != s._e:
                                s._ready = False
                        head = s._head
                        front = s._front
                        same = s._same
                        m = s._msg
                        r = True
                    else:
                        r = _nothing(s, k)
                    if diff(ticks(), due) >= 0:
                        s._alive(ticks())
                    yield r
                continue
            r = _round(s)
            if diff(ticks(), s._due) >= 0:
                s._alive(ticks())
        except OSError:
            s._ready = False
            r = s.in_handler()  # a handler's own OSError is passed on as it is
            if r or s._err or s._state != 2:
                if r:
                    _handled(s)
                else:
                    s.close(0)
                s._run = s._o["_run"]
                raise
            s._dead()
            r = True
        except (Exception, KeyboardInterrupt, SystemExit):
            s._ready = False
            _handled(s)
            s._run = s._o["_run"]
            raise
        yield r


def _handled(s):
    # A handler has raised.
    s._busy = 0
    if s._msg:
        s._msg._end()


def _round(s):
    # One round, whatever the state is.
    if s._sock is None:
        raise OSError(107, "not connected")
    r = s._wn
    if r and not s.flush():
        return r != s._wn
    r = s._i != s._e and _parse(s) or _read(s) and (_parse(s) or True)
    s._ready = s._i == s._e and s._state == 2 and not (s._wn or s._left or s._err) and _len(s._rx) >= s._rl
    return r


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
    return _nothing(s, k)


def _nothing(s, k):
    # A read gave None (nothing there) or 0 (closed).
    if s._ready:
        s._i = s._e = 0
    if k is None and not s._err:
        return False
    s._err = True
    s._ready = False
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
            s._judge(b[i] >> 4, b[i] & 15)
            break
        s._i = n
        s.received += 1
        s._h[b[i] >> 4](s, b[i], j, n)
        r = True
        if s._sock is None:  # a handler closed the connection
            break
    return r


def _discard(buf, off, n):
    return n


def _closed(buf, off=0, n=0):
    raise OSError(107, "not connected")


def _load_name(s, name):
    # The try is here and not in __getattr__, which options read on each packet pass: its frame would go to the heap.
    try:
        return s._lazy(name)
    except (MemoryError, ImportError):
        raise ResourceError(_UNLOADED % name) from None


_UNLOADED = "%s: no memory for its module, or not on this board; import it at start"
