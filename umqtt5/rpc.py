"""Request and response (4.10).

What belongs here: the response topic, correlation, and the blocking face's request(). What does not: answering.
"""

import time

from . import props as names


def _prepare(s, topic):
    """Where responses go, [topic, last number, {correlation: response}, socket], and its handler if it is to be subscribed to.

    `topic`: the caller's, or None: made from the server's Response Information, else "response/" + client id.
    """
    r = s._rpc
    if r and (not topic or r[0] == topic) and r[3] is s._sock:
        return r, None
    if not topic:
        topic = s.client_id
        if not isinstance(topic, str):
            topic = bytes(topic).decode()
        topic = (names.get(s.connack, 0, "response_information") or "response") + "/" + topic
    s._rpc = r = [topic, r[1] if r else 0, {}, s._sock]

    def _deliver(message):
        for k, v in message.properties():
            if k == "correlation_data" and v in r[2]:
                r[2][v] = bytes(message.payload())

    return r, _deliver


def packet(r, props):
    """Correlation and properties of the next request."""
    r[1] += 1
    k = b"%08d" % r[1]
    r[2][k] = None
    return k, names.encode(3, [("response_topic", r[0]), ("correlation_data", k)] + list(props))


def request(s, topic, msg, timeout=None, qos=0, props=(), response_topic=None):
    """Publish a request with Response Topic and Correlation Data and wait for the response; returns its payload (bytes).

    The response topic is subscribed to once a connection. `props`: further properties, a list of (name, value).
    Raises OSError when time is up, and as publish().
    """
    t = time.ticks_add(time.ticks_ms(), int((timeout or s.timeout) * 1000))
    r, to = _prepare(s, response_topic)
    if to:
        s.subscribe(r[0], qos, to=to)
    k, p = packet(r, props)
    try:
        s.publish(topic, msg, False, qos, p)
        while r[2][k] is None:
            left = time.ticks_diff(t, time.ticks_ms())
            if left <= 0:
                raise OSError(110, "no response in time")
            s.poll(left)
        return r[2][k]
    finally:
        del r[2][k]
