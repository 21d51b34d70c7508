"""Request and response (4.10): one request at a time, waiting for its response."""
import time

from . import props as names


def request(s, topic, msg, timeout=None, qos=0, props=(), response_topic=None):
    """Publish a request with Response Topic and Correlation Data and wait for the response; returns its payload (bytes).

    The response topic is `response_topic`, else made from the server's Response Information, else "response/" + client id; it is
    subscribed to once. `props`: further properties, a list of (name, value). Raises OSError when time is up, and as publish().
    """
    r = s._rpc
    if r is None or response_topic and r[0] != response_topic:
        cid = s.client_id if isinstance(s.client_id, str) else bytes(s.client_id).decode()
        base = names.get(s.connack, 0, "response_information") if s.connack else None
        t = response_topic or (base + "/" + cid if base else "response/" + cid)
        r = [t, 0, None]

        def arrived(message):
            for k, v in message.properties():
                if k == "correlation_data" and v == b"%08d" % r[1]:
                    r[2] = bytes(message.payload())

        s.subscribe(t, qos, to=arrived)
        s._rpc = r
    r[1] += 1
    r[2] = None
    p = [("response_topic", r[0]), ("correlation_data", b"%08d" % r[1])]
    s.publish(topic, msg, False, qos, names.encode(3, p + list(props)))
    t = time.ticks_add(time.ticks_ms(), int((timeout or s.timeout) * 1000))
    while r[2] is None:
        k = time.ticks_diff(t, time.ticks_ms())
        if k <= 0:
            raise OSError(110, "no response in time")
        s.poll(k)
    return r[2]
