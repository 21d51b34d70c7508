"""Drop-in for umqtt.simple and umqtt.robust: change the import, keep the program.

    from umqtt5.simple import MQTTClient             # was: from umqtt.simple import MQTTClient
    from umqtt5.robust import MQTTClient             # was: from umqtt.robust import MQTTClient

What belongs here: the meaning that those programs count on, over MQTT 5. What does not: anything new (use umqtt5.MQTTClient).
The same: positional arguments; publish(qos=1) waits for its PUBACK and delivers what comes meanwhile (in a callback it returns
once stored); subscribe() waits for the SUBACK; wait_msg() waits, check_msg() does not; the callback gets two bytes objects;
keepalive=0; a server that refuses is MQTTException(code) with the codes of MQTT 3.1.1 for CONNACK (1..5), a lost connection
OSError; clean_session=False keeps the session at the server for ever. Other: a message has to fit `rx` (2,048 bytes unless given,
the server is told); QoS 2 works; PINGREQ is sent by itself where a keepalive was given. More options: umqtt5.MQTTClient's.
"""

import time

from . import MQTTClient as _B
from . import MQTTException, ProtocolError, Refused, wire


class MQTTClient(_B):
    """umqtt.simple's client. ssl: as there (True: not verified), or as umqtt5.MQTTClient's; ssl_params: of older versions."""

    from .extra import wait_msg  # here, because robust.py calls the class's

    DELAY = 2
    DEBUG = False

    def __init__(
        self, client_id, server, port=0, user=None, password=None, keepalive=0, ssl=None, ssl_params=None, **options
    ):  # fmt: skip
        if ssl is True:
            p = ssl_params or {}
            ssl = {"verify": bool(p.get("cert_reqs"))}
            for k in ("key", "cert", "server_hostname", "cadata"):
                if p.get(k):
                    ssl["ca" if k == "cadata" else k] = p[k]
        options.setdefault("rx", 2048)
        options.setdefault("inflight", 2048)
        _B.__init__(self, client_id, server, port, user, password, keepalive, ssl or None, **options)

    def _lazy(self, name):
        return self._sock if name == "sock" else _B._lazy(self, name)

    def connect(self, clean_session=True, timeout=None):
        """Connect; returns whether the server kept a session. MQTTException(1..5) when refused, OSError."""
        self.close(0)
        k = self._given
        if wire.find(wire.pack(len(k[0])) + k[0], 0, 0x11) < 0:  # the constructor's props say nothing about it
            self._o["session_expiry"] = 0 if clean_session else 0xFFFFFFFF
            k[1] = b"" if clean_session else b"\x11\xff\xff\xff\xff"
        self._o["_expiry"] = self.session_expiry
        try:
            return _B.connect(self, clean_session, timeout)
        except Refused as e:
            k = e.reason_code.value
            if 0x83 < k < 0x89:  # the return codes of 3.1.1 for 0x84, 0x85 ...: 1, 2, 4, 5, 3
                k = 0x35421 >> 4 * (k - 0x84) & 15
            raise MQTTException(k) from None

    def _work(self):
        """As MQTTClient.check_msg(); what ends the connection is an OSError, which is what programs for umqtt expect."""
        try:
            return _B._work(self)
        except (Refused, ProtocolError) as e:
            if self._in_handler() or self._state or isinstance(e, Refused) and e.what == "CONNACK":
                raise
            raise OSError(104, str(e)) from None

    check_msg = _work

    def publish(self, topic, msg, retain=False, qos=0):
        """Send; at QoS 1 and 2 wait until it is acknowledged, without a bound. In a callback: return once stored."""
        self._acked(self._send(topic, msg, retain, qos))

    def _send(self, topic, msg, retain, qos):
        if self._state != 2:
            raise OSError(107, "not connected")
        return _B.publish(self, topic, msg, retain, qos)

    def _acked(self, pid):
        while pid and not self._in_handler() and self.pending(pid):
            self.poll(1000)
        if pid and self._refused and self._refused[0] == pid:
            self.wait(pid)  # raises it

    def subscribe(self, topic, qos=0):
        """Subscribe and wait for the SUBACK (in a callback: do not wait). MQTTException(code) when refused."""
        from . import subs

        if self._cb is None:
            raise AssertionError("Subscribe callback is not set")
        try:
            if self._in_handler():
                subs.subscribe_start(self, [(topic, qos)])
            else:
                subs.subscribe(self, topic, qos)
        except Refused as e:
            raise MQTTException(e.reason_code.value) from None

    # ---------------------------------------------------------------- umqtt.robust's, callable on both

    def delay(self, i):
        time.sleep(self.DELAY)

    def log(self, in_reconnect, e):
        if self.DEBUG:
            print(("mqtt reconnect: %r" if in_reconnect else "mqtt: %r") % e)

    def is_conn_issue(self):
        """True when the connection is lost."""
        return self._state != 2

    def reconnect(self):
        """Connect with clean_session=False until it succeeds."""
        i = 0
        while True:
            try:
                return self.connect(False)
            except OSError as e:
                self.log(True, e)
                i += 1
                self.delay(i)
