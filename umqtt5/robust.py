"""Drop-in for umqtt.robust: simple.MQTTClient that reconnects by itself instead of raising OSError. See simple.py."""

from .simple import MQTTClient as _B
from .simple import MQTTException  # noqa: F401


class MQTTClient(_B):
    """umqtt.robust's client."""

    def _keep(self, n, f, *a):
        # f(self, *a), through lost connections; n: how often it is tried, negative: for ever.
        while n:
            try:
                return f(self, *a)
            except OSError as e:
                self.log(False, e)
            self.reconnect()
            n -= 1

    def publish(self, topic, msg, retain=False, qos=0):
        """As simple's, through lost connections: what is stored already goes out again after the reconnect."""
        return self._keep(-1, _B._acked, self._keep(-1, _B._send, topic, msg, retain, qos))

    def wait_msg(self):
        return self._keep(-1, _B.wait_msg)

    def check_msg(self, attempts=2):
        return self._keep(attempts, _B.check_msg)
