"""The engine of a session: what comes in is read, cut into packets and handed to their handlers; what is not loaded is found.

What belongs here: the receive engine, PINGRESP, the look-up of modules, encoding of a topic, what a connection that is gone has
in place of its socket. What does not: the session itself (client.py), the session image and PUBACK (image.py), CONNECT and
CONNACK (setup.py), inbound PUBLISH and SUBSCRIBE (subs.py), QoS 2 (qos2.py), what is rare (slow.py, outbox.py, rare.py).
Handlers of packets and methods whose module is not loaded yet load it (`_LAZY`, `load`), so that they cost RAM only then.

A packet out:  publish() -> _prepare() encodes topic and properties once into `tx` -> the socket (QoS 0)
               publish() -> _enqueue() appends a record to the image -> _pump() -> _write() from the image (QoS 1 and 2)
A packet in:   _work() -> _engine() fills `rx`, finds a whole packet -> self._h[type](session, first byte, start, end)

Frames: a function whose arguments + locals + deepest stack + 3 per nested `try` stay within 11 words is called without touching
the heap (measured: one word more costs a block of 68 B and 1,400 instructions a call). Hence the reused arguments in publish().
"""

import time

from micropython import const

from .strings import check_str

_FRAG = const(64)  # bytes read at a time into a packet that came in pieces; spare room at the end of rx
_HANDLED = const(0xCAF8)  # by packet type: the modules of _LAZY have handlers for these, PINGRESP apart

_LAZY = (  # :module, the packet types that it handles, the names of its functions that become methods when first called
    ":image 4 _enqueue _go _record _find_record _free _next_id _pump _settled :waiting pending wait _tell "
    ":setup start _opening :construct set_last_will "
    ":subs 3 9 11 _ack subscribe subscribe_start :topics _match _check_filter :message _properties _by_id "
    ":alias _alias_begin _alias_in _alias_out _alias_sent :chunks _big_in "
    ":qos2 5 6 7 _qos2_in _rels "
    ":publication publication publish_from "
    ":slow _prepare_all publish_slow _publish_slow _drain :outbox _check_disconnect packet_props packet_codes _refuse _limits"
    " _room _queue0 _queued0 _fresh _save_rest _persist _stamp _note_refusal _take_back _free_id "
    ":rare 14 _seldom _check_ack ack_props _no_connack _authenticated _check_window "
    ":extra drop pollable wants_write due_ms set_callback wait_msg unsubscribe unsubscribe_start _sub_props _suback _denied "
    ":rpc request :auth 15 reauth "
)

_isinstance = isinstance
_bytes = bytes
_len = len  # an alias saves the failed look-up in the module's own table: 64 against 200-600 instructions a use
_ticks = time.ticks_ms
_diff = time.ticks_diff


def load(s, first, i, end):
    """Handler of PINGRESP (3.13), and of packet types whose module is not loaded yet: load it, then handle the packet. Of those
    that a server never sends, and of a second CONNACK, too: a violation (0x21 to 0x2F: wrong flags first, 2.1.3).
    """
    k = first >> 4
    if k == 13:
        if first != 0xD0 or i != end:
            s._violation(0x81)
        s._pong = False
        s._due_in()
        if s.on_pong:
            s._busy = 1
            s.on_pong(s)
            s._busy = 0
        return
    if not _HANDLED >> k & 1:
        s._violation(0x81 if 0x20 < first < 0x30 else 0x82)
    s._live[k] = s._lazy(str(k))
    s._live[k](s, first, i, end)


def _prepare(s, topic, props):
    # Not what the last publish() had: check it, encode what stands in front of the payload into tx.
    t = topic
    if not _isinstance(topic, _bytes) or topic not in s._seen:
        t = check_str(topic)  # looks at each byte, which costs more than all the rest of a publish: so the last eight are kept
        if t.__class__ is _bytes:
            s._seen.pop()
            s._seen.insert(0, t)
    n = _len(t)
    if props or s._odd or t.__class__ is not _bytes or n + 8 > _len(s._tx):
        return s._prepare_all(topic, props, t)
    s._topic = topic
    s._tprops = props
    s._tb = t
    topic = s._tm
    topic[2] = n >> 8
    topic[3] = n & 255
    n += 4
    topic[4:n] = t
    topic[n] = 0
    s._th = n + 1


def _engine(s):
    # What _work() does, a round each time it is resumed. A generator, because it keeps in its frame what would be a dozen
    # attributes to look up (200 instructions each); an exception ends it, and _work() makes a new one.
    ticks = _ticks
    diff = _diff
    rx = s._rx
    while True:
        try:
            f = r = False  # handled a packet, or read; is to be called again at once
            while True:
                # a round, whatever the state is: send what is left; handle what is whole in rx; read once, if that was nothing
                n = s._wn
                if n:
                    s.flush()
                    r = n != s._wn
                while not s._wn:
                    i = s._i
                    n = s._e - i
                    if n and not (s._left or n < 2 or (k := rx[i + 1]) > s._rq or k + 2 > n):
                        s._i = n = i + 2 + k
                        s.received += 1
                        s._h[rx[i] >> 4](s, rx[i], i + 2, n)
                    elif not n or not s._seldom(i):  # a Remaining Length of two bytes or more, or not all is here
                        if f:  # handled one, or read
                            break
                        # In bulk when rx is empty; else, as readinto takes no offset, a fragment that is stored behind the
                        # packet it belongs to, which moves to the front. Measured against header-then-body reads: see design.
                        if n:
                            rx[0:i] = b""
                        s._i = 0
                        s._e = n
                        k = (s._sr)(s._frag if n else rx)
                        if not k:
                            if k is None and not s._err:
                                break
                            s._err = True
                            raise OSError(104, "connection closed by the server" if k == 0 else "connection lost")
                        if n:
                            rx[n : n + _FRAG] = s._frag
                        s._e = n + k
                    f = r = True
                due = s._due
                if s._i == s._e and s._qmax and not s._left:
                    s._ready = True
                    while _len(rx) < s._rl:
                        rx.extend(s._frag)
                    one = s._rq + 3  # Remaining Length in one byte, and within our Maximum Packet Size
                    read = s._sr
                    head = s._head
                    front = s._front
                    same = s._same
                    m = s._msg
                    to = m and m._to  # its handler, found by subscription identifier
                if diff(ticks(), due) >= 0:
                    s._alive()
                yield r
                n = s.received  # who changes it elsewhere ends this loop
                while s._ready:  # fast rounds: rx is empty, nothing half written, connected
                    k = read(rx)
                    f = k == same and front == head and (to or s.on_message)
                    if f:  # header, topic and length are those of the last message: everything but the payload is known
                        m._e = k  # while it is not negative, a handler runs
                        f(m)
                        m._e = -1
                        n += 1
                        s.received = n
                        r = True
                    elif k is None:
                        r = False
                    elif k == rx[1] + 2 and k < one:  # exactly one packet, the commonest case: what the slow round does, inline
                        s._i = s._e = k
                        n += 1
                        s.received = n
                        s._h[rx[0] >> 4](s, rx[0], 2, k)
                        head = s._head
                        front = s._front
                        same = s._same
                        m = s._msg
                        to = m and m._to  # its handler, found by subscription identifier
                        r = True
                    else:
                        s._ready = False
                        s._i = 0
                        s._e = k
                        f = r = k > 0
                        break
                    if diff(ticks(), due) >= 0:
                        s._alive()
                    yield r
                else:
                    f = r = False
        except (Exception, KeyboardInterrupt, SystemExit) as e:
            s._ready = False
            k = s._in_handler() or not _isinstance(e, OSError)  # a handler's own OSError is passed on as it is
            if k or s._err or s._state != 2:
                if not k:
                    s.close(0)
                s._busy = 0
                if s._msg:
                    s._msg._e = -1
                s._run = None
                raise
            s._dead()
        yield True


def _discard(buf, off, n):
    return n


def _closed(*_):
    raise OSError(107, "not connected")
