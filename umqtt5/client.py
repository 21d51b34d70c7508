"""MQTTClient: one MQTT 5 session over one connection at a time, and the blocking face.

What belongs here: publish, PINGRESP and DISCONNECT, keep-alive, the answer to a violation; how to wait, with select or, for a
transport that cannot be polled, by sleeping. What does not: what core.py lists. Methods that few nodes use, or only to connect,
live in modules of their own and are found by __getattr__ on first use (`_LAZY` in core.py).
"""

import time

from micropython import const

from . import ProtocolError, ResourceError
from .core import _LAZY, _bytes, _closed, _diff, _discard, _engine, _isinstance, _len, _prepare, _ticks

_BIG = const(0x0FFFFFFF)
_BYTES = (bytes, bytearray, memoryview)


def _unload(*names):
    """Modules that are not needed again, or not soon, leave the memory with the next collection. Nothing else may hold them."""
    import sys

    for m in names:
        if sys.modules.pop("umqtt5." + m, None):
            delattr(sys.modules["umqtt5"], m)


class MQTTClient:
    """MQTT 5.0 client with the names of umqtt.simple; the asyncio face is a subclass.

    MQTTClient(client_id, server, port=0, user=None, password=None, keepalive=60, ssl=None, **options): see construct.py and
    the README.
    """

    # attributes: see construct.py
    _o = {}
    feed = None  # called at least twice a second while waiting: for a watchdog

    def __init__(self, *args, **options):
        from . import construct

        construct.construct(self, *args, **options)
        _unload("construct")

    def __getattr__(self, name):
        # What is not in the instance: options (construct.py); handlers that are not set (on_...): 0 B. Methods: _lazy().
        v = self._o.get(name, self)
        if v is self:
            v = None if name.startswith("on_") else self._lazy(name)
        return v

    def _lazy(self, name):
        # The method `name`, whose module is loaded on first use; for the type of a packet, _handler() of its module.
        try:
            t = _LAZY
            i = t.find(" " + name + " ")
            if i < 0:
                raise AttributeError(name)
            i = t.rfind(":", 0, i) + 1
            i = __import__("umqtt5." + t[i : t.find(" ", i)], None, None, "_")
        except (MemoryError, ImportError, OSError):
            if len(name) < 3:
                self.close(0)
            raise ResourceError(
                "method or packet type %s: no memory for its module, or not on this board; import it at start" % name
            ) from None
        if len(name) < 3:
            return i._handler
        setattr(MQTTClient, name, getattr(i, name))
        return getattr(self, name)

    # ---------------------------------------------------------------- packets out

    def publish(self, topic, msg, retain: bool = False, qos: int = 0, props: bytes = b"") -> int:
        """Send (QoS 0) or store and send when there is room (QoS 1 and 2) one message; does not wait for acknowledgement.

        topic: bytes or str (a bytearray is encoded anew each time); msg: bytes-like or str; props: from props.encode().
        Returns the packet identifier, 0 for QoS 0. Raises ValueError/TypeError (arguments, server limits), ResourceError (no
        room), OSError (QoS 0 without a connection): in all these cases nothing was sent. 0 B. Spec 3.3.
        """
        if not topic is self._topic or not props is self._tprops:  # noqa: E714 (130 instructions less than `is not`)
            if props or self._odd or _len(topic) + 5 != self._th or not topic.__class__ is _bytes or topic not in self._seen:  # noqa: E714
                _prepare(self, topic, props)
            else:  # one of the last eight, as long as the last one: it is valid and fits. Inline: a call is a fifth of all this
                self._topic = self._tb = topic  # _tprops is as empty as props: nothing _odd
                self._tm[4 : self._th - 1] = topic
        if not msg.__class__ is _bytes and not _isinstance(msg, _BYTES):  # noqa: E714 (two thirds of isinstance alone)
            if type(msg) is not str:
                raise TypeError("payload: give bytes, bytearray, memoryview or str")
            msg = msg.encode()
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
            qos += 3  # of tx: its memoryview begins there
            self._rest(self._tx, (props or 0) + 3, qos)
        return 0

    def _write(self, buf, off, n):
        # Hand one packet to the socket. What it does not take now waits in _wb/_wo/_wn for flush(). Nothing may be pending here.
        # No try here: with one, four arguments make a frame of more than 11 words. OSError goes to publish()'s caller or to
        # _work().
        k = (self._sw)(buf, off, n) or 0
        if k != n:
            self._rest(buf, off + k, off + n)
        self.sent += 1

    def _rest(self, buf, off, end):
        self._wb = buf
        self._wo = off
        self._wn = end - off
        self._wt = _ticks()
        self._odd = True
        self._slower()

    def _slower(self):
        # Something is in the way: publish() goes through _publish_slow, _work() looks at everything, publications through _slow.
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
            if not self._wn:  # what comes next: the payload of this packet, in the caller's own buffer, or an acknowledgement
                k = self._wx
                self._wx = None
                self._wo = 0
                if k:
                    self._wn = _len(k)
                else:
                    k = self._a
                    self._wn = self._owed
                    self._owed = 0
                self._wb = k
        if self._state == 2 and not self._err:
            self._qmax = self._qfast
            if _len(self.image) > 10:
                self._pump()  # records that had to wait for the socket
        return not self._wn

    def _disconnect_out(self, reason, packet=None):
        # DISCONNECT (3.14) in its shortest form, or `packet`, if the stream stands between two packets; the caller closes.
        if self._sock is not None and self.flush():
            packet = packet or bytes((0xE0, reason > 0, reason))[: 2 + (reason > 0)]
            self._write(packet, 0, _len(packet))
            self.flush()

    def _violation(self, reason, msg=""):
        """The server broke the rules: DISCONNECT with `reason`, close, raise ProtocolError. Never imports."""
        self._disconnect_out(reason)
        self.close(2, reason)
        raise ProtocolError(reason, msg)

    def close(self, by, reason=0, props=()):
        """Close the socket and forget the connection; by: 0 network, 1 server's DISCONNECT, 2 ours. Calls on_disconnect once."""
        s = self._sock
        up = self._state == 2
        self._state = self._wn = self._owed = self._left = self._i = self._e = self._th = 0
        self._sock = self._wb = self._wx = self._pr = self._pw = self._err = self._alias = self._run = None
        self._topic = ...  # what no caller gives: None would be taken for a topic that is known
        self._sw = self._sr = _closed
        self._slower()
        self._acks = ()
        self._smax = _BIG
        if s is not None:
            try:
                s.close()
            except OSError:
                pass
        if up:
            self._o["_down_at"] = _ticks()
            self._o["_gone"] = reason if by == 1 else 0
            if self.on_disconnect:
                from .reasons import _down

                _down(self, by, reason, props)

    # ---------------------------------------------------------------- packets in

    def _work(self) -> bool:
        """One round without waiting: send what is left, read once, handle all whole packets, keep alive.

        Returns True when a packet was handled or bytes moved. Raises OSError (network lost), Refused (server's DISCONNECT,
        CONNACK), ProtocolError (violation): the connection is closed then. 0 B.
        """
        run = self._run
        if not run:  # the first round of a connection, or after an exception
            self._run = run = _engine(self).send
        try:
            return run(None)
        except ValueError:
            if self._in_handler():  # a generator that runs cannot be resumed
                raise ResourceError("called from a handler: set a flag there and call it from the main loop") from None
            raise

    def _in_handler(self):
        """Is this call made by one of the handlers?"""
        return self._busy or self._msg is not None and self._msg._e >= 0

    # ---------------------------------------------------------------- keep-alive (3.1.2.10)

    def _due_in(self, timeout_ms=0):
        """When the client itself has something to do next: in so many milliseconds; when a PINGRESP has to be there (within the
        timeout, or the keep-alive interval if that is shorter); or when it is time to ping.
        """
        if not timeout_ms:
            timeout_ms = self.keepalive_now * 750 or 60000
            if self._pong:
                timeout_ms = min(self.keepalive_now * 1000 or self._tmo, self._tmo)
                self._known = self.received + self._e - self._left
        self._due = time.ticks_add(_ticks(), timeout_ms)
        self._ready = False  # _engine() has what it was

    def ping(self):
        """Send PINGREQ; its answer within the bound is checked by _work(). 0 B."""
        if self._state != 2:
            _closed()
        if not self._wn:
            self._write(b"\xc0\0", 0, 2)
            self._pong = True
            self._due_in()

    def _alive(self):
        # Time is up: for the CONNACK, for a stalled write, for a PINGRESP, or it is time to ping.
        k = self._state
        if k == 1:
            pass
        elif self._wn:
            timeout_ms = self._tmo - _diff(_ticks(), self._wt)
            if timeout_ms > 0:
                return self._due_in(min(timeout_ms, 1000))
        elif not self._pong and self.keepalive_now:
            return self.ping()
        # a large packet may stand between PINGREQ and its answer: wait on as long as more of it arrives
        elif not self._pong or (self._left or self._i != self._e) and self._known != self.received + self._e - self._left:
            return self._due_in()
        self.close(0)
        raise OSError(110, "no CONNACK in time" if k == 1 else "no answer from the server in time")

    # ---------------------------------------------------------------- the blocking face

    check_msg = _work  # handle what has come without waiting, as in umqtt.simple

    def connect(self, clean_start: bool = True, timeout=None) -> bool:
        """Connect and wait for the CONNACK, at most `timeout` seconds (default: the constructor's). Returns Session Present.

        Raises Refused (CONNACK of 0x80 or more), OSError (network, time), ProtocolError, ValueError, MQTTException (connected
        already).
        """
        self.start(clean_start, timeout)
        while self._state == 1:
            self.poll(1000)
        return self.session_present

    def isconnected(self) -> bool:
        return self._state == 2

    def poll(self, timeout_ms: int = 0) -> bool:
        """Handle what has come; wait at most `timeout_ms` for something to come. True when something was handled. 0 B."""
        if not timeout_ms:
            return self._work()
        t = time.ticks_add(_ticks(), timeout_ms)
        while not self._work():
            timeout_ms = _diff(t, _ticks())
            if timeout_ms <= 0:
                return False
            self._wait(timeout_ms)
        return True

    def _wait(self, timeout_ms):
        # Until the socket is ready or the client itself has something to do (keep-alive), at most `timeout_ms`.
        timeout_ms = max(0, min(timeout_ms, _diff(self._due, _ticks())))
        if self.feed:
            self.feed()
            timeout_ms = min(timeout_ms, 500)
        p = self._pr
        if self._wn:
            # while connecting, the socket may be writable and TLS or WebSocket still wait for the server's answer
            if self._state == 2 or p is None:
                p = self._pw
            else:
                timeout_ms = min(timeout_ms, 20)
        if p is None:
            time.sleep_ms(min(timeout_ms, 5))
        else:
            for _ in p.ipoll(timeout_ms):
                break

    def disconnect(self, reason: int = 0, props=b"") -> None:
        """DISCONNECT (3.14) with a reason code that a client may send and properties (bytes or dictionary), then close."""
        if self._sock is not None:
            if reason or props:
                props = self._check_disconnect(reason, props)  # the whole packet
            if self._state == 2:
                self._disconnect_out(reason, props)
            self.close(2, reason)
