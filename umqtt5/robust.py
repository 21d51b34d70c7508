"""Drop-in for umqtt.robust: simple.MQTTClient that reconnects by itself instead of raising OSError. See simple.py."""

from .extra import wait_msg
from .simple import MQTTClient as _B
from .simple import MQTTException  # noqa: F401


class MQTTClient(_B):
    """umqtt.robust's client."""

    def publish(self, topic, msg, retain=False, qos=0):
        """As simple's, through lost connections: what is stored already goes out again after the reconnect."""
        pid = -1
        while True:
            try:
                if pid < 0:
                    pid = self._send(topic, msg, retain, qos)
                return self._acked(pid)
            except OSError as e:
                self.log(False, e)
            self.reconnect()

    def wait_msg(self):
        while True:
            try:
                return wait_msg(self)
            except OSError as e:
                self.log(False, e)
            self.reconnect()

    def check_msg(self, attempts=2):
        while attempts:
            try:
                return _B.check_msg(self)
            except OSError as e:
                self.log(False, e)
            self.reconnect()
            attempts -= 1
