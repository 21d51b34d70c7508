"""MQTTClient: the blocking face.

What belongs here: how to wait, with select or, for a transport that cannot be polled, by sleeping. What does not: anything about
packets. Methods that few nodes use, or only to connect, live in modules of their own and are found by __getattr__ on first use
(`_LAZY`), so that they cost RAM only then.
"""
import sys
import time

from .core import Session

_LAZY = (  # :module, then the names of its functions that become methods when they are first called
    ":image _enqueue _go _mark _record find_record free next_id pump acked "
    ":setup start set_last_will _unload "
    ":subs subscribe subscribe_start unsubscribe unsubscribe_start packet_codes "
    ":publication publication publish_from "
    ":outbox drain packet_props _limits _room _queued0 _fresh _save_rest persist _stamp _tell "
    ":rare _prepare_all disconnect_in _judge check_ack ack_props _long _too_large "
    ":extra drop pollable wants_write due_ms "
    ":rpc request :auth reauth "
)


def _unload(*names):
    """Modules that are not needed again, or not soon, leave the memory with the next collection. Nothing else may hold them."""
    for m in names:
        if sys.modules.pop("umqtt5." + m, None):
            delattr(sys.modules["umqtt5"], m)


class MQTTClient(Session):
    """MQTT 5.0 client with the names of umqtt.simple.

    MQTTClient(client_id, server, port=0, user=None, password=None, keepalive=60, ssl=None, **options): see construct.py and
    the README.
    """

    publish = Session.publish  # found one table earlier
    work = check_msg = Session.work  # check_msg: handle what has come without waiting, as in umqtt.simple
    feed = None  # called at least twice a second while waiting: for a watchdog

    def __init__(self, *args, **options):
        from . import construct

        construct.construct(self, *args, **options)
        _unload("construct")

    def _lazy(self, name):
        i = _LAZY.find(" " + name + " ")
        if i < 0:
            raise AttributeError(name)
        m = _LAZY[_LAZY.rfind(":", 0, i) + 1 :].split(" ", 1)[0]
        setattr(Session, name, getattr(__import__("umqtt5." + m, None, None, (name,)), name))
        return getattr(self, name)

    def connect(self, clean_start: bool = True, timeout=None) -> bool:
        """Connect and wait for the CONNACK, at most `timeout` seconds (default: the constructor's). Returns Session Present.

        Raises Refused (CONNACK of 0x80 or more), OSError (network, time), ProtocolError, ValueError, MQTTException (connected
        already).
        """
        self.start(clean_start, timeout)
        while self._state == 1:
            self.poll(1000)
        if self.lean:
            self._unload()
        return self.session_present

    def isconnected(self) -> bool:
        return self._state == 2

    def poll(self, timeout_ms: int = 0) -> bool:
        """Handle what has come; wait at most `timeout_ms` for something to come. True when something was handled. 0 B."""
        if self.work():
            return True
        if timeout_ms:
            t = time.ticks_add(time.ticks_ms(), timeout_ms)
            while True:
                k = time.ticks_diff(t, time.ticks_ms())
                if k <= 0:
                    break
                self._wait(k)
                if self.work():
                    return True
        return False

    def _wait(self, timeout_ms):
        # Until the socket is ready or the client itself has something to do (keep-alive), at most `timeout_ms`.
        k = time.ticks_diff(self._due, time.ticks_ms())
        if k < timeout_ms:
            timeout_ms = k if k > 0 else 0
        if self.feed:
            self.feed()
            if timeout_ms > 500:
                timeout_ms = 500
        p = self._pr
        if self._wn:
            # while connecting, the socket may be writable and TLS or WebSocket still wait for the server's answer
            if self._state == 2 or p is None:
                p = self._pw
            elif timeout_ms > 20:
                timeout_ms = 20
        if p is None:
            time.sleep_ms(5 if timeout_ms > 5 else timeout_ms)
        else:
            for _ in p.ipoll(timeout_ms):
                break

    def set_callback(self, f):
        """f(topic, msg) with two bytes objects, as in umqtt.simple; `on_message` is the one that allocates nothing."""
        self._cb = f

    def wait_msg(self) -> None:
        """Wait until a packet was handled, as in umqtt.simple."""
        n = self.received
        while n == self.received:
            self.poll(1000)

    def pending(self, packet_id=None) -> int:
        """How many messages (QoS 1 and 2, sent or queued) are not acknowledged; of that identifier: 0 or 1."""
        m = self.image
        i = 10
        n = 0
        while i < len(m):
            if m[i] & 7 < 4 and (packet_id is None or m[i + 1] << 8 | m[i + 2] == packet_id):
                n += 1
            i += 5 + (m[i + 3] << 8 | m[i + 4]) + (m[i] >> 2 & 4)
        return n

    def wait(self, packet_id=None, timeout=None) -> None:
        """Wait until that message, or all, are acknowledged; `timeout` in seconds (default: the constructor's).

        Raises Refused when the server refused it (PUBACK or PUBREC of 0x80 or more), OSError when time is up or the link is lost.
        """
        timeout = time.ticks_add(time.ticks_ms(), int((timeout or self.timeout) * 1000))
        while self.pending(packet_id):
            self.poll(time.ticks_diff(timeout, time.ticks_ms()))
            if time.ticks_diff(timeout, time.ticks_ms()) <= 0:
                raise OSError(110, "no acknowledgement in time")
        if self._refused:
            self._tell(packet_id)

    def disconnect(self, reason: int = 0, props=b"") -> None:
        """DISCONNECT (3.14) with a reason code that a client may send and properties (bytes or dictionary), then close."""
        if self._sock is None:
            return
        if reason or props:
            from . import outbox

            props = outbox.check_disconnect(self, reason, props)
        if self._state == 2:
            self.disconnect_out(reason, props)  # props: the whole packet
        self.close(2, reason)


