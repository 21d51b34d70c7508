"""MQTT over a UART: a modem in transparent mode, or a second board or computer that passes the bytes on to a broker.

    uart = machine.UART(1, 115200, rxbuf=1024, timeout=0)
    client = MQTTClient("node", "-", transport=Serial(uart))

A transport is any object that a call transport(client) returns, anew for each connection, with
    write(buf, off, n)   -> bytes taken (1..n), None when nothing can be taken now; OSError when it is over
    readinto(buf)        -> bytes read, None when there is nothing now, 0 when the other end has closed; never waits
    close()
and, if it can be polled, `sock`: the object for select.poll. It may still be connecting; write returns None until then.
Bytes have to arrive in order, all of them: a line without flow control and without a checksum is not enough for long cables.
"""


class Serial:
    """Transport over an object with write(buf, off, n), readinto(buf) and any(), such as machine.UART or micropython.RingIO."""

    def __init__(self, uart, poll=False):
        self._uart = uart
        if poll:
            self.sock = uart

    def __call__(self, client):
        # A new connection: what is left of the last one is not for it.
        buf = bytearray(64)
        while self._uart.any():
            self._uart.readinto(buf)
        return self

    def write(self, buf, off, n):
        return self._uart.write(buf, off, n) or None

    def readinto(self, buf):
        return self._uart.readinto(buf) or None

    def close(self):
        pass  # the line stays; the other end sees DISCONNECT, or that nothing comes any more


def bridge(uart, server, port, buf=None):
    """The other end, without waiting: a generator that passes bytes between `uart` and a TCP connection; call next() often."""
    import socket

    buf = buf or bytearray(256)
    view = memoryview(buf)
    tcp = None
    try:
        while True:
            n = uart.readinto(buf) if uart.any() else 0
            if n:
                if tcp is None:
                    tcp = socket.socket()
                    tcp.connect(socket.getaddrinfo(server, port)[0][-1])
                    tcp.setblocking(False)
                at = 0
                while at < n:
                    at += tcp.write(view[at:n]) or 0
                    yield
            n = tcp.readinto(buf) if tcp else None
            if n == 0:
                return
            at = 0
            while n and at < n:
                at += uart.write(view[at:n]) or 0
                yield
            yield
    finally:
        if tcp:
            tcp.close()
