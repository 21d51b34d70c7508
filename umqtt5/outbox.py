"""What the session image meets seldom, and DISCONNECT and acknowledgements with more than the minimum.

What belongs here: QoS 0 without a connection, a full image, limits of the server, expiry in the queue, an identifier that may be
in use, refusals. What does not: anything on each packet, QoS 0 while connected (slow.py).
"""
import time

from . import ResourceError, strings

_len = len


def _queue0(s, msg, retain):
    # QoS 0 while there is no connection, by option: a record of state 5, which is freed when it is sent.
    n = 2 + len(s._tb) + (len(s._pb) or 1) + len(msg)
    if _room(s, n):
        return 0
    m = s.image
    i = len(m)
    s._record(n, 1 if retain else 0)
    m[i] |= 5
    m.extend(s._tb)
    m.extend(s._pb or b"\0")
    m.extend(msg)
    s._go()
    return 0


def _queued0(s, i):
    """Send and free a queued QoS 0 record."""
    m = s.image
    if m[i] & 0x10 and not _fresh(s, i):
        return
    n = m[i + 3] << 8 | m[i + 4]
    j = i + 5 + (m[i] >> 2 & 4)
    p = bytes(memoryview(m)[j : j + n])
    s._free(i)
    if n <= s._smax:
        s._write(p, 0, n)
    else:
        s.dropped += 1


def _limits(s, qos, retain):
    """QoS or RETAIN that the server does not take, or a wrong QoS: ValueError, or the QoS lowered by option."""
    from .slow import check_size

    if not 0 < qos < 3:
        raise ValueError("qos: %s is not 0, 1 or 2" % qos)
    check_size(s, 0, retain)
    if not s._options[2]:
        raise ValueError("qos %d: the server's Maximum QoS is %d (option downgrade_qos lowers it)" % (qos, s._caps & 3))
    return s._caps & 3


def _room(s, n):
    """Remaining Length n does not fit the server's limit or the image: raise, make room, or True when it is to be dropped."""
    from .slow import _vbi_size, check_size

    n += 1 + _vbi_size(n)
    check_size(s, n, False)
    m = s.image
    n += 9 if s._texp else 5
    if n > s._cap - 10:
        raise ResourceError("message needs %d bytes, inflight has %d" % (n, s._cap - 10))
    while len(m) + n > s._cap:
        if s._options[1] == "newest":
            s.dropped += 1
            return True
        i = m[4] << 8 | m[5]
        while i < len(m) and m[i] & 7 in (3, 4):
            i += 5
        if not s._options[1] or i >= len(m):
            raise ResourceError("the in-flight store is full: %d of %d bytes" % (len(m), s._cap))
        s._free(i)
        s.dropped += 1
    return False


def _take_back(s):
    """Remove the record that was appended last, and was not sent."""
    m = s.image
    i = k = 10
    while i < len(m):
        k = i
        i += 5 + (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)
    m[k:] = b""


def _free_id(s, n):
    """Next free packet identifier after n, and in s._idfree how many after it are free as well."""
    m = s.image
    while True:
        n = n % 65535 + 1
        d = 65535
        i = 10
        for k in s._acks:  # SUBSCRIBE and UNSUBSCRIBE that wait
            d = min(d, (k - n) % 65535)
        while i < len(m):
            if m[i] & 7 < 4:
                d = min(d, ((m[i + 1] << 8 | m[i + 2]) - n) % 65535)
            i += 5 + (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)
        if d:
            s._idfree = d - 1
            return n


def _fresh(s, i):
    """A queued record with Message Expiry Interval, about to be sent: drop it (False) or reduce the interval by the time
    waited.
    """
    m = s.image
    j = i + 9
    if m[j] & 8:  # sent before: no expiry any more (4.3.3-7)
        return True
    now = int(time.time())
    t = now - int.from_bytes(bytes(memoryview(m)[i + 5 : j]), "big")
    if t <= 0 or t > 300000000:  # ten years: the clock was set meanwhile
        return True
    k = j + 1
    while m[k] > 127:
        k += 1
    k += 3 + (m[k + 1] << 8 | m[k + 2])
    if m[j] & 6:
        k += 2
    from . import wire

    k = wire.find(m, k, 2)
    v = int.from_bytes(bytes(memoryview(m)[k : k + 4]), "big") - t
    if v <= 0:
        s.dropped += 1
        s._free(i)
        return False
    m[k : k + 4] = v.to_bytes(4, "big")
    s._stamp(m, i + 5)
    return True


def _note_refusal(s, i, end, packet):
    """Keep what an acknowledgement of 0x80 or more says, for wait()."""
    b = s._rx
    s._refused = (b[i] << 8 | b[i + 1], b[i + 2], packet, s.ack_props(i + 3, end, packet) if end - i > 3 else ())


def packet_props(s):
    """Inside on_ack and on_suback: the properties of that packet, a list of (name, value)."""
    from . import props

    if s._at and s._to > s._at:
        return props.decode(s._rx, s._at)
    return []


def packet_codes(s):
    """Inside on_suback: the reason codes, one byte for each filter."""
    return bytes(s._rx[s._to : s._i])


def _refuse(s, first, pid):
    # PUBACK or PUBREC of a message that was refused, with its properties as far as the server takes them.
    m = s._msg
    p = fit(s, m.props, 5, first >> 4)
    if not p or s._wn:
        return s._ack(first, pid, m.code)
    p = bytes((pid >> 8, pid & 255, m.code)) + p
    p = bytes((first,)) + strings.pack(_len(p)) + p
    s._write(p, 0, _len(p))


def _check_disconnect(s, reason, block):
    """Properties of a DISCONNECT as bytes; ValueError for a reason or property that a client may not send (3.14.2)."""
    from . import props, reasons

    if not reasons.sendable(reason, 14):
        raise ValueError("reason code 0x%02X: a client may not send it in DISCONNECT" % reason)
    block = props.block(block, 14) if block else b""
    if block:
        k = props.get(block, 0, "session_expiry_interval")
        if k is not None:
            if k and not s.session_expiry:
                raise ValueError("session_expiry_interval: CONNECT said 0, it cannot become %d now" % k)
            s._o["_expiry"] = k
        block = fit(s, block, 2, 14)
        if block:
            block = b"\xe0" + props.vbi(1 + len(block)) + bytes((reason,)) + block
    return block


def fit(s, block, n, packet):
    """Leave Reason String and User Properties out where the packet would pass the server's limit (3.14.2.2.3)."""
    from . import props

    for name in ("reason_string", "user_property"):
        if len(block) + n + 3 > s._smax:
            block = props.encode(packet, [x for x in props.decode(block) if x[0] != name])
    return block


def _save_rest(s, m):
    if m[4] << 8 | m[5] != _len(m):  # _pump() has saved what it sent
        s._persist(m[4] << 8 | m[5])


def _persist(s, unsent):
    """Save the image; when the store fails, set the first unsent record back and raise ResourceError. unsent=0: a record was
    removed; what is stored holds more than there is then, at worst a repetition after a reset.
    """
    try:
        s.store.save(s.image)
    except OSError as e:
        if unsent:
            s.image[4] = unsent >> 8
            s.image[5] = unsent & 255
            raise ResourceError("the store cannot save the session: %s" % e) from None


def _stamp(s, m, i):
    n = int(time.time())
    m[i] = n >> 24 & 255
    m[i + 1] = n >> 16 & 255
    m[i + 2] = n >> 8 & 255
    m[i + 3] = n & 255
