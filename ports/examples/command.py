"""Commands over MQTT 5: each is answered on the asker's response topic, with its correlation data (section 4.10).

    commands = Commands(client, "node/1/cmd")        # after connect()
    commands.add("led", lambda args: set_led(args[0]))

    client.request("node/1/cmd", "led on")           # anywhere else -> b"ok", or what the function returned

A command is words; the first is its name. The answer to an unknown or failed one begins with "error".
"""

from umqtt5 import props


class Commands:
    """Answers what comes on `topic`."""

    def __init__(self, client, topic, qos=1):
        self._client = client
        self._table = {}
        client.subscribe(topic, qos, to=self._arrived)

    def add(self, name, function):
        """function(list of words) -> bytes or str of the answer, None: "ok"."""
        self._table[name] = function

    def _arrived(self, message):
        to = None
        answer = []
        for name, value in message.properties():
            if name == "response_topic":
                to = value
            elif name == "correlation_data":
                answer.append((name, value))
        result = self._run(bytes(message.payload()))
        if to:
            self._client.publish(to, result, False, message.qos(), props.encode(3, answer))

    def _run(self, line):
        try:
            words = line.decode().split()
            result = self._table[words[0]](words[1:])
        except Exception as e:  # a command must not end the node
            return "error: %s: %s" % (type(e).__name__, e)
        return "ok" if result is None else result


def main(host, port, topic):
    """A node with two commands, until "stop"."""
    from umqtt5 import MQTTClient

    running = [True]
    c = MQTTClient("", host, int(port))
    c.connect()
    commands = Commands(c, topic)
    commands.add("add", lambda args: str(sum(int(a) for a in args)))
    commands.add("stop", lambda args: running.clear())
    print("ready")
    while running:
        c.poll(1000)
    c.wait()
    c.disconnect()


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])
