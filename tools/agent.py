# The client as a process: one JSON object a line in (commands), one JSON object a line out (events).
#
# Belongs here: reading lines without blocking, translating a command into one call of umqtt5 and a callback or an exception
# of umqtt5 into one event. Never here: protocol knowledge (what the library refuses is reported as an `error` event, what it
# accepts is sent), waiting calls of the library, anything a test would need to look into the client with.
# Imports umqtt5 (its optional parts only when a command needs them) and modules that exist on CPython and MicroPython alike:
# the same file runs on both, and on a board by `mpremote run tools/agent.py`, hence one file.
#
# Where an event could have been another one:
#   connect      exactly one of: connected; refused (CONNACK >= 0x80); disconnected, before it was up, by "client" (the server
#                broke the protocol; the code is the one sent) or by "server" (a DISCONNECT came instead of CONNACK);
#                error OSError (no connection, closed or silent before CONNACK).
#                With `reconnect` there is no error OSError: the link goes on trying; a try that is refused and does not stop
#                it is `refused` without the tag. `connect` while connected or trying is an error.
#   in between   While a connection is being made, and while the network has taken only part of a packet, commands wait in order.
#                Not so a publish of QoS 1 and 2, which goes to the session at once unless something waits before it; stats,
#                hold, drop and quit never wait. With `reconnect` what needs a connection is an error while there is none.
#   lost         one `disconnected` for each `connected`. by "network" has reason_code null. `drop` counts as network.
#   acks         a PUBACK or PUBREC >= 0x80 is `acked` with that code and nothing else; a SUBACK failure is in reason_codes.
#   pong         for every PINGRESP, those of the keep-alive too; the tag of `ping` comes with the next one.
#   session      `connect` with the same fields as the last one (clean_start, timeout and reconnect aside) goes on with the
#                same client; with other fields a new one is made, which takes the session over if clean_start is false
#                (without `store`; the library keeps it if client_id, host and port are those of before).
#   error type   the first of Refused, ProtocolError, ResourceError, MQTTException, OSError, ValueError, TypeError that it is;
#                ImportError when a part of the library that the command needs is not installed; MemoryError: not carried out.
# hold, reauth and quit have no event of their own. stats collects garbage first.
# MicroPython unix has 2 MB of heap unless told otherwise: payloads over 1 MB want `micropython -X heapsize=32m`.
import json
import sys
from binascii import hexlify, unhexlify

_file = globals().get("__file__", "")
if _file[-8:] == "agent.py":  # in a checkout: the library is one folder up; on a board, by `mpremote run`: the installed one
    sys.path.insert(0, _file[:-8] + "..")

import umqtt5  # noqa: E402

_MICROPYTHON = sys.implementation.name == "micropython"
if _MICROPYTHON:
    import gc
    import select
    import time
    from collections import OrderedDict as _dict
else:
    import os

    from umqtt5_host import select
    from umqtt5_host import ticks as time

    _dict = dict

_IN = 1  # select.POLLIN
_OUT = 4  # select.POLLOUT
_ACKS = {4: "PUBACK", 5: "PUBREC", 7: "PUBCOMP"}
_BY = ("network", "server", "client")  # flags of on_disconnect

# what each command may carry besides do and tag
_FIELDS = {
    "connect": "host port client_id clean_start keepalive user password password_hex will props tls ws timeout rx tx inflight"
    " store reconnect strict auth",
    "publish": "topic payload payload_hex qos retain props prepared",
    "subscribe": "filters props",
    "unsubscribe": "filters props",
    "ping": "",
    "stats": "",
    "disconnect": "reason_code props",
    "reauth": "",
    "drop": "",
    "hold": "on",
    "quit": "",
}


# --- events out


def emit(ev, tag, *fields):
    """Write one event: name, value, name, value ... in that order. A bytes-like value is written as hex, in pieces, so that a
    large payload is never in memory three times."""
    out = sys.stdout
    text = '{"ev": ' + json.dumps(ev)
    if tag is not None:
        text += ', "tag": ' + json.dumps(tag)
    for i in range(0, len(fields), 2):
        text += ', "' + fields[i] + '": '
        value = fields[i + 1]
        if isinstance(value, (bytes, bytearray, memoryview)):
            out.write(text + '"')
            value = memoryview(value)
            for j in range(0, len(value), 4096):
                out.write(str(hexlify(value[j : j + 4096]), "ascii"))
            text = '"'
        else:
            text += json.dumps(value)
    out.write(text + "}\n")
    if not _MICROPYTHON:
        out.flush()


def gone(tag, by, code, properties=()):
    emit("disconnected", tag, "by", by, "reason_code", code, "reason", reason(code, 14), "props", props_out(properties))


def props_out(pairs):
    """Properties as the library lists them -> the object of an event."""
    result = _dict()
    for name, value in pairs:
        if name in ("user_property", "subscription_identifier"):
            result.setdefault(name, []).append(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            result[name + "_hex"] = str(hexlify(value), "ascii")
        else:
            result[name] = value
    return result


def kind(e):
    """The documented class name of an exception of the library, None for any other exception: that one is a bug."""
    for cls in (umqtt5.Refused, umqtt5.ProtocolError, umqtt5.ResourceError, umqtt5.MQTTException, OSError, ValueError, TypeError):
        if isinstance(e, cls):
            return cls.__name__
    return None


def number(code):
    """The value of a ReasonCode or of an int; None stays None."""
    return None if code is None else int(getattr(code, "value", code))


def reason(code, packet):
    if code is None:
        return None
    from umqtt5.reasons import ReasonCode

    return ReasonCode(code, packet).name


# --- commands in


class Lines:
    """Splits what arrives into lines. The value of "payload_hex" or "payload" in a long line that comes in pieces is decoded as
    it arrives: in the line it is replaced by "@", the bytes go with the line."""

    def __init__(self):
        self.inside, self.odd, self.blob, self.line = False, b"", None, bytearray()

    def feed(self, data):
        """-> list of (line, payload or None or the exception that decoding it gave)."""
        done, i = [], 0
        if self.inside == "payload":
            data, self.odd = self.odd + data, b""
        while i < len(data):
            if self.inside == "payload":
                i = self._text(data, i)
                if i < 0:
                    break
                self.inside = False
            elif self.inside:
                j = data.find(b'"', i)
                self._hex(data[i : j if j >= 0 else len(data)])
                if j < 0:
                    break
                if self.odd:
                    self.blob = ValueError("an odd number of digits")
                self.inside, i = False, j
            j = data.find(b"\n", i)
            try:
                self.line.extend(data[i : j if j >= 0 else len(data)])
            except MemoryError as e:
                self.blob, self.line = e, bytearray(b"{}")
            if j < 0:
                self._long(self.line)
                break
            done.append((self.line, self.blob))
            self.odd, self.blob, self.line = b"", None, bytearray()
            i = j + 1
        return done

    def _long(self, line):
        for name in ("payload_hex", "payload"):
            i = -1 if self.blob is not None or len(line) < 2048 else line.find(b'"' + name.encode() + b'"')
            if i < 0:
                continue
            i = _skip(line, i + len(name) + 2)
            if line[i : i + 1] == b":":
                i = _skip(line, i + 1)
                if line[i : i + 1] == b'"' and _end(line, i) < 0:
                    rest, self.line = bytes(line[i + 1 :]), line[: i + 1] + b"@"
                    self.inside, self.blob = name, reserve()
                    if name == "payload":
                        self._text(rest, 0)
                    else:
                        self._hex(rest)

    def _text(self, data, i):
        """Take data[i:] of a JSON string -> where it ends, or -1: it goes on; an escape that is cut is kept in self.odd."""
        while True:
            j = data.find(b'"', i)
            k = data.find(b"\\", i, j if j >= 0 else len(data))
            self._add(data[i : k if k >= 0 else j if j >= 0 else len(data)])
            if k < 0:
                return j
            i = k + 2
            if data[k + 1 : i] == b"u":
                i = k + 6
                if data[k + 2 : k + 4].lower() in (b"d8", b"d9", b"da", b"db") and data[i : i + 1] in (b"", b"\\"):
                    i = k + 12  # with its other half
            if i > len(data):
                self.odd = data[k:]
                return -1
            try:
                self._add(_pairs(json.loads(b'"' + data[k:i] + b'"')).encode())
            except ValueError as e:
                self.blob, i = e, k + 2

    def _add(self, data):
        if not isinstance(self.blob, Exception):
            try:
                self.blob.extend(data)
            except MemoryError as e:
                self.blob = e

    def _hex(self, text):
        if isinstance(self.blob, Exception):
            return
        text = self.odd + text
        n = len(text) & ~1
        self.odd = text[n:]
        try:
            self._add(unhexlify(text[:n]))
        except ValueError as e:
            self.blob = e


def reserve():
    """An empty bytearray with room for most of a small heap: growing it would need the old and the new place at once."""
    room, n = bytearray(), 0
    if _MICROPYTHON:
        gc.collect()
        n = gc.mem_free() * 3 // 4
    while n > 4096:
        gc.collect()
        try:
            room = bytearray(n)
            room[:] = b""  # the room stays
            break
        except MemoryError:
            n = n * 3 // 4
    return room


def _end(b, i):
    """The quote that ends the JSON string beginning at i, or -1."""
    j = i
    while True:
        j = b.find(b'"', j + 1)
        k = j
        while k > 0 and b[k - 1] == 92:  # an odd number of backslashes escapes the quote
            k -= 1
        if j < 0 or not j - k & 1:
            return j


def _skip(b, i):
    while i < len(b) and b[i] in b" \t\r\n":
        i += 1
    return i


def loads(b):
    """JSON that keeps the order of objects: it is the order of properties on the wire, and MicroPython's own loads loses it."""
    if not _MICROPYTHON:
        return json.loads(b)
    value, i = _value(b, _skip(b, 0))
    if _skip(b, i) != len(b):
        raise ValueError("text after the JSON value")
    return value


def _value(b, i):
    first = b[i : i + 1]
    if first == b'"':
        j = _end(b, i)
        if j < 0:
            raise ValueError("string without an end")
        text = json.loads(memoryview(b)[i : j + 1])
        return (text if b.find(b"\\u", i, j) < 0 else _pairs(text)), j + 1
    if first not in (b"{", b"["):
        j = i
        while j < len(b) and b[j] not in b" \t\r\n,]}":
            j += 1
        return json.loads(memoryview(b)[i:j]), j
    out, key, close = (_dict(), None, 125) if first == b"{" else ([], None, 93)
    i = _skip(b, i + 1)
    if i < len(b) and b[i] == close:
        return out, i + 1
    while True:
        value, i = _value(b, i)
        i = _skip(b, i)
        if first == b"{":
            if b[i : i + 1] != b":" or not isinstance(value, str):
                raise ValueError("a name and a colon expected")
            key = value
            value, i = _value(b, _skip(b, i + 1))
            i = _skip(b, i)
            out[key] = value
        else:
            out.append(value)
        if i < len(b) and b[i] == close:
            return out, i + 1
        if b[i : i + 1] != b",":
            raise ValueError("a comma expected")
        i = _skip(b, i + 1)


def _pairs(text):
    """Surrogate pairs of `\\u` escapes become one character: MicroPython's json leaves them as two."""
    raw, out, i = text.encode(), b"", 0
    for j in range(len(raw) - 5):
        if j >= i and raw[j] == raw[j + 3] == 0xED and 0xA0 <= raw[j + 1] < 0xB0 <= raw[j + 4]:
            high, low = (raw[j + 1] & 15) << 6 | raw[j + 2] & 63, (raw[j + 4] & 15) << 6 | raw[j + 5] & 63
            out += raw[i:j] + chr(0x10000 + (high << 10) + low).encode()
            i = j + 6
    return str(out + raw[i:], "utf-8") if i else text


def check(cmd, blob):
    """ValueError for a dictionary that is not a command. `blob`: see Lines."""
    if not isinstance(cmd.get("do"), str) or cmd["do"] not in _FIELDS:
        raise ValueError("unknown command: " + str(cmd.get("do")))
    for name in list(cmd.keys()):
        if name not in ("do", "tag") and name not in _FIELDS[cmd["do"]].split():
            raise ValueError(cmd["do"] + ": unknown field: " + name)
    for name in ("will", "tls", "auth"):
        if not isinstance(cmd.get(name) or {}, dict):
            raise ValueError(name + ": not an object")
    if isinstance(blob, Exception):
        raise ValueError("payload: " + (str(blob) or "not enough memory"))
    if blob is not None:
        holder = cmd if "@" in (cmd.get("payload_hex"), cmd.get("payload")) else cmd.get("will") or {}
        holder.pop("payload", None)
        holder["payload_hex"] = blob


def payload_of(cmd):
    """payload or payload_hex of a command or a will -> bytes-like."""
    value = cmd.get("payload")
    if value is not None:
        if not isinstance(value, str):
            raise ValueError("payload: not a string")
        return value.encode()
    value = cmd.get("payload_hex") or ""
    return unhexlify(value) if isinstance(value, str) else value


def props_in(value):
    """The props of a command -> list of (name, value) for the library, in the order given."""
    pairs = []
    for item in value.items() if isinstance(value, dict) else value or ():
        if len(item) != 2 or not isinstance(item[0], str):
            raise ValueError("props: not an object and not an array of [name, value]")
        name, v = item
        if name[-4:] == "_hex":
            name, v = name[:-4], unhexlify(v)
        elif name == "user_property" and isinstance(v, list):
            v = [tuple(p) for p in ([v] if v and isinstance(v[0], str) else v)]
        pairs.append((name, v))
    return pairs or b""


# --- objects that the library takes


class Echo:
    """The mechanism "echo": nothing in CONNECT, each AUTH answered by the next of the steps given (empty after the last)."""

    name = "echo"

    def __init__(self, steps):
        self.steps = [unhexlify(s) for s in steps or ()]

    def first(self):
        return None

    def step(self, data):
        return self.steps.pop(0) if self.steps else b""

    def done(self, data):
        pass


class Carry:
    """A store that hands the session of one client object to the next."""

    def __init__(self, image):
        self.image = bytes(image)

    def load(self, image):
        image[:] = self.image
        return True

    def save(self, image):
        pass


# --- the client


class Agent:
    def __init__(self):
        self.client = self.link = self.config = None
        self.up = self.connecting = self.held = False
        self.ended = False  # a connection that was up has ended, its event is out, the library has yet to raise
        self.connect_tag = self.close_tag = None
        self.pings = []  # tags of `ping` that have no pong yet
        self.waiting = []  # commands that came while the connection is being made
        self.qos0 = 0  # QoS 0 messages sent, which client.sent does not count
        self.tags = {}  # packet id of a SUBSCRIBE or UNSUBSCRIBE -> tag, ticks when it was sent
        self.prepared = {}

    def line(self, text, blob):
        """One line of input."""
        if not text.strip():
            return
        cmd = {}
        try:
            cmd = loads(text)
            if not isinstance(cmd, dict):
                cmd = {}
            check(cmd, blob)
        except (ValueError, MemoryError) as e:
            emit("error", cmd.get("tag"), "type", "ValueError", "message", "command: " + str(e))
            return
        do = cmd["do"]
        now = do in ("stats", "hold", "drop", "quit") or (do == "publish" and cmd.get("qos") and not self.waiting)
        if not now and (self.waiting or self.blocked()):
            self.waiting.append(cmd)
        else:
            self.run(cmd)

    def run(self, cmd):
        try:
            getattr(self, cmd["do"])(cmd, cmd.get("tag"))
        except Exception as e:
            self.failed(e, cmd.get("tag"))

    def failed(self, e, tag):
        """A call of the library raised: the command was not carried out."""
        name = kind(e) or ("ImportError" if isinstance(e, ImportError) else "MemoryError" if isinstance(e, MemoryError) else None)
        if name is None:
            raise e
        code = number(getattr(e, "reason_code", None))
        emit("error", tag, "type", name, "message", str(e), *(() if code is None else ("reason_code", code)))

    def blocked(self):
        """Commands have to wait: `connect` has no outcome yet, or the network has taken only part of the last packet."""
        return self.connecting or (self.up and self.client.wants_write())

    def active(self):
        return self.up or self.connecting or self.link is not None

    def need(self):
        if self.client is None:
            raise OSError(107, "not connected")  # ENOTCONN; there is no client yet that could say so
        return self.client

    # --- commands: cmd, its tag

    def connect(self, cmd, tag):
        if self.active():
            raise ValueError("connected or connecting already")
        clean = bool(cmd.get("clean_start", True))
        config = {k: v for k, v in cmd.items() if k not in ("do", "tag", "clean_start", "timeout", "reconnect")}
        if config != self.config or clean and not cmd.get("client_id"):  # an empty client_id asks for a new one
            self.client = self.make(cmd, None if clean else self.client)
            self.config, self.prepared, self.qos0 = config, {}, 0
        self.tags, self.pings, self.connect_tag, self.ended = {}, [], tag, False
        if cmd.get("reconnect"):
            from umqtt5.link import Link

            self.client.timeout = cmd.get("timeout", 10)
            # shorter than a fleet wants: who watches this process wants to see it come back
            self.link = Link(self.client, 500, 8000, 5000, clean_start=clean, on_down=self.on_down)
            return
        self.connecting = True
        try:
            self.client.start(clean, cmd.get("timeout", 10))
        except Exception as e:
            self.lost(e)

    def make(self, cmd, old):
        kw = {"timeout": cmd.get("timeout", 10), "strict": bool(cmd.get("strict")), "props": props_in(cmd.get("props"))}
        for name, size in (("rx", 65535), ("tx", 70000), ("inflight", 65535)):
            if cmd.get(name) is not None:
                kw[name] = cmd[name]
            elif not _MICROPYTHON or gc.mem_free() > 1000000:  # a board keeps the library's own, which are small
                kw[name] = size
        if cmd.get("store"):
            from umqtt5.store import FileStore

            kw["store"] = FileStore(cmd["store"])
        elif old is not None:
            kw["store"], kw["write_ahead"] = Carry(old.image), False
        auth = cmd.get("auth") or {}
        if auth.get("mechanism") == "echo":
            kw["auth"] = Echo(auth.get("steps_hex"))
        elif auth.get("mechanism") == "SCRAM-SHA-256":
            from umqtt5.scram import ScramSha256

            kw["auth"] = ScramSha256(auth.get("user", ""), auth.get("password", ""), min_iterations=1)
        elif auth:
            raise ValueError("auth: mechanism SCRAM-SHA-256 or echo")
        if cmd.get("ws"):
            from umqtt5 import ws

            kw["transport"] = ws.client(cmd["ws"])
        tls = cmd.get("tls")
        if tls is not None:
            tls = dict(tls)
            tls.setdefault("verify", True)
        password = cmd.get("password")
        if cmd.get("password_hex") is not None:
            password = unhexlify(cmd["password_hex"])
        c = umqtt5.MQTTClient(
            cmd.get("client_id", ""), cmd.get("host", "127.0.0.1"), cmd.get("port", 1883), cmd.get("user"), password,
            cmd.get("keepalive", 60), tls, **kw
        )  # fmt: skip
        if getattr(kw.get("store"), "error", ""):  # what was stored is refused: the session begins anew
            sys.stderr.write(kw["store"].error + "\n")
        will = cmd.get("will")
        if will:
            qos, props = will.get("qos", 0), props_in(will.get("props"))
            c.set_last_will(will.get("topic", ""), payload_of(will), will.get("retain", False), qos, props)
        for name in ("on_connect", "on_disconnect", "on_message", "on_ack", "on_suback", "on_pong"):
            setattr(c, name, getattr(self, name))
        return c

    def publish(self, cmd, tag):
        c, topic, msg = self.need(), cmd.get("topic"), payload_of(cmd)
        block = props_in(cmd.get("props"))
        if block:  # publish() takes properties in one form only
            from umqtt5 import props

            block = props.encode(3, block)
        args = (bool(cmd.get("retain")), cmd.get("qos", 0), block)
        if cmd.get("prepared"):
            p, size = self.prepared.get((topic,) + args, (None, 0))
            if p is None or size < len(msg):
                p, size = c.publication(topic, len(msg), *args), len(msg)
                self.prepared[(topic,) + args] = p, size
            pid = p.send(msg) if len(msg) == size else p.send_any(msg)
        else:
            pid = c.publish(topic, msg, *args)
        if not pid:
            self.qos0 += 1
        emit("published", tag, "packet_id", pid or 0)

    def subscribe(self, cmd, tag):
        filters = [tuple(f) for f in cmd.get("filters") or ()]
        for f in filters:
            if not 1 < len(f) < 4 or not isinstance(f[-1], (int, dict)):
                raise ValueError("filters: an array of [filter, qos] or [filter, qos, {options}]")
        self.tags[self.need().subscribe_start(filters, props_in(cmd.get("props")))] = tag, time.ticks_ms()

    def unsubscribe(self, cmd, tag):
        pid = self.need().unsubscribe_start(list(cmd.get("filters") or ()), props_in(cmd.get("props")))
        self.tags[pid] = tag, time.ticks_ms()

    def unanswered(self):
        """SUBSCRIBE and UNSUBSCRIBE that the server left without an answer for `timeout` are errors, as in the blocking calls."""
        for pid in list(self.tags):
            tag, sent = self.tags[pid]
            if self.up and time.ticks_diff(time.ticks_ms(), sent) >= self.client.timeout * 1000:
                del self.tags[pid]
                self.failed(OSError(110, "no SUBACK or UNSUBACK in time"), tag)

    def ping(self, cmd, tag):
        self.need().ping()
        self.pings.append(tag)

    def reauth(self, cmd, tag):
        self.need().reauth()

    def hold(self, cmd, tag):
        self.held = bool(cmd.get("on", True))

    def quit(self, cmd, tag):
        sys.exit(0)

    def disconnect(self, cmd, tag):
        code, c = cmd.get("reason_code", 0), self.need()
        if not self.active():
            raise OSError(107, "not connected")
        self.close_tag, up = tag, self.up
        try:
            c.disconnect(code, props_in(cmd.get("props")))
        finally:
            self.close_tag = None
        if not up and self.link:  # between two connections: it stops trying
            gone(tag, "client", code)
        self.link, self.up = None, False

    def drop(self, cmd, tag):
        if not self.active():
            raise OSError(107, "not connected")
        self.close_tag = tag
        self.client.drop()
        self.close_tag = None
        if self.connecting:
            self.lost(OSError(103, "dropped"))  # ECONNABORTED: the outcome of `connect`

    def stats(self, cmd, tag):
        fields = ()
        if _MICROPYTHON:
            gc.collect()
            fields = ("mem_alloc", gc.mem_alloc(), "mem_free", gc.mem_free())
        c = self.client
        inflight, sent, received = (0, 0, 0) if c is None else (c.pending(), c.sent + self.qos0, c.received)
        emit("stats", tag, *(fields + ("inflight", inflight, "sent", sent, "received", received)))

    # --- what the library reports

    def on_connect(self, client, userdata, flags, code, properties):
        self.up, self.connecting, self.ended = True, False, False
        tag, self.connect_tag = self.connect_tag, None
        code, name = number(code), client.client_id
        if not isinstance(name, str):
            name = str(name, "utf-8")
        emit(
            "connected", tag, "session_present", bool(flags), "reason_code", code, "reason", reason(code, 2), "props",
            props_out(properties), "client_id", name, "keepalive", client.keepalive_now
        )  # fmt: skip

    def on_disconnect(self, client, userdata, flags, code, properties):
        self.up, self.ended = False, True
        gone(self.close_tag, _BY[flags], number(code) if flags else None, properties)

    def on_message(self, m):
        emit(
            "message", None, "topic", str(m.topic(), "utf-8"), "payload_hex", m.payload(), "qos", m.qos(), "retain",
            bool(m.retain()), "dup", bool(m.dup()), "props", props_out(m.properties())
        )  # fmt: skip

    def on_ack(self, client, pid, code, packet):
        emit(
            "acked", None, "packet_id", pid, "reason_code", number(code), "reason", reason(number(code), packet), "props",
            props_out(client.packet_props()), "packet", _ACKS[packet]
        )  # fmt: skip

    def on_suback(self, client, pid, packet):
        emit(
            "subscribed" if packet == 9 else "unsubscribed", self.tags.pop(pid, (None,))[0], "packet_id", pid, "reason_codes",
            list(client.packet_codes()), "props", props_out(client.packet_props())
        )  # fmt: skip

    def on_pong(self, client):
        emit("pong", self.pings.pop(0) if self.pings else None)

    def on_down(self, client, e):
        """The link lost a connection, or a try of it failed; it goes on by itself unless it is stopped."""
        if not self.link.stopped:  # if it is, it raises: see lost()
            if e is not None:
                self.outcome(e, None)
            self.ended = False

    def outcome(self, e, tag):
        """The event of a try that ended before the connection was up. What was up has had its `disconnected` already."""
        up, self.ended = self.ended, False
        code = number(getattr(e, "reason_code", None))
        if isinstance(e, umqtt5.Refused) and e.what == "CONNACK":
            emit(
                "refused", tag, "what", e.what, "reason_code", code, "reason", reason(code, 2), "action", e.reason_code.action,
                "props", props_out(e.props)
            )  # fmt: skip
        elif isinstance(e, (umqtt5.Refused, umqtt5.ProtocolError)):
            if not up:
                by_server = isinstance(e, umqtt5.Refused)
                gone(tag, "server" if by_server else "client", code, e.props if by_server else ())
        elif self.connecting or not isinstance(e, OSError):
            self.failed(e, tag)

    def lost(self, e):
        """The library raised while it was polled or was making the connection."""
        if kind(e) is None:
            raise e
        tag, self.connect_tag = self.connect_tag, None
        self.outcome(e, tag)
        self.connecting, self.link = False, None  # a link raises only when it gives up

    # --- the loop

    def step(self):
        """Let the library work once -> True when it did something."""
        did = False
        if self.held and self.up:
            self.client.flush()  # what has begun to leave goes on leaving
        elif self.active() and not self.held:
            try:
                did = (self.link or self.client).poll(0)
            except Exception as e:
                self.lost(e)
        while self.waiting and not self.blocked():
            self.run(self.waiting.pop(0))
            did = True
        if self.tags:
            self.unanswered()
        return did

    def wait(self):
        """-> (object to wait on, or None; what to wait for; milliseconds after which the library has to be polled anyway)."""
        c = self.client
        mask = _OUT if self.active() and c.wants_write() else 0
        if self.held or not self.active():
            return c.pollable() if mask else None, mask, 1000
        ms = min(c.due_ms(), 1000) if self.up else 20  # 20: look-up, handshakes, back-off: nothing to wait on
        return c.pollable(), mask | _IN, ms

    def finished(self):
        """End of input: True when there is nothing left to do but to leave."""
        self.held = False
        if self.waiting or self.blocked():
            return False
        if self.up:
            self.run({"do": "disconnect"})
        return True


def read_input():
    """What is on standard input, of which a poll said that something is -> bytes, empty at the end of input."""
    if not _MICROPYTHON:
        return os.read(0, 65536)
    poll = select.poll()
    poll.register(sys.stdin, _IN)
    ipoll, readinto = poll.ipoll, sys.stdin.buffer.readinto
    out, one, n = bytearray(4096), bytearray(1), 0
    while n < 4096:  # byte by byte: a longer read of MicroPython waits until all of it is there
        for _ in ipoll(0):
            break
        else:
            break
        if not readinto(one):
            break
        out[n] = one[0]
        n += 1
    return bytes(memoryview(out)[:n])


def main():
    agent, lines = Agent(), Lines()
    poll = watched = None
    eof = False
    emit("ready", None, "runtime", sys.implementation.name, "version", umqtt5.__version__)
    while True:
        busy = agent.step()
        if eof and agent.finished():
            return
        sock, mask, ms = agent.wait()
        if poll is None or watched != (sock, mask):
            poll, watched = select.poll(), (sock, mask)
            if not eof:
                poll.register(sys.stdin, _IN)
            if sock is not None:
                poll.register(sock, mask)
        for event in poll.poll(0 if busy else ms):
            if event[0] is sys.stdin:
                data = read_input()
                if not data:
                    eof, poll, data = True, None, b"\n"  # a last line may lack its end
                done = lines.feed(data)
                while done:
                    agent.line(*done.pop(0))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as e:
        sys.print_exception(e, sys.stderr)
        sys.exit(70)
