"""The CPython shim means what MicroPython means: the same tests pass on MicroPython itself.

What only CPython has to promise (the rest of the process is left alone) is in tests/host/test_shim_process.py.
"""

import errno
import io
import os
import select
import socket
import struct
import time

import micropython

from support.t import INTERPRETER, eq, raises, rows, scratch

INTERPRETERS = ("cpython", "micropython")
CERTS = __file__.rsplit("/", 1)[0] + "/support/certs/"
PERIOD = 1 << (30 if INTERPRETER == "cpython" else 62)


def pair():
    """Two connected TCP sockets."""
    listener = socket.socket()
    listener.bind(socket.getaddrinfo("127.0.0.1", 0)[0][-1])
    listener.listen(1)
    a = socket.socket()
    if hasattr(listener, "getsockname"):
        address = listener.getsockname()
    else:  # MicroPython's unix sockets do not tell: look where it listens
        address = socket.getaddrinfo("127.0.0.1", port_of(listener))[0][-1]
    a.connect(address)
    b = listener.accept()[0]
    listener.close()
    return a, b


def port_of(listener):
    """The port a socket listens on, from the kernel's table."""
    inode = readlink("/proc/self/fd/%d" % listener.fileno())
    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[9] in inode:
                return int(fields[1].split(":")[1], 16)
    raise OSError("not listening")


def readlink(path):
    """The target of a link, without os.readlink."""
    name = scratch() + "/link"
    os.system("readlink %s > %s" % (path, name))
    with open(name) as f:
        return f.read()


def test_a_dry_socket_reads_none_and_a_closed_one_reads_0():
    a, b = pair()
    a.setblocking(False)
    buf = bytearray(8)
    eq(a.readinto(buf), None)
    eq(a.readinto(buf, 3), None)
    eq(a.read(3), None)
    b.write(b"xy")
    b.close()
    time.sleep_ms(20)
    eq(a.readinto(buf), 2)
    eq(a.readinto(buf), 0)
    eq(a.readinto(buf), 0)
    eq(a.read(3), b"")
    a.close()


def test_readinto_takes_a_length_and_leaves_the_rest():
    a, b = pair()
    b.setblocking(False)
    a.write(b"abcdef")
    time.sleep_ms(20)
    buf = bytearray(b"........")
    eq(b.readinto(buf, 2), 2)
    eq(buf, b"ab......")
    eq(b.readinto(memoryview(buf)[4:], 100), 4)
    eq(buf, b"ab..cdef")
    a.close()
    b.close()


def test_readinto_of_a_blocking_socket_fills_the_buffer():
    a, b = pair()
    a.write(b"abc")
    a.write(b"def")
    buf = bytearray(6)
    eq(b.readinto(buf), 6)
    a.write(b"gh")
    a.close()
    eq(b.readinto(buf), 2)
    b.close()


WRITES = (
    ((), b"abcdef"),
    ((2,), b"ab"),
    ((99,), b"abcdef"),
    ((1, 3), b"bcd"),
    ((4, 99), b"ef"),
    ((6, 1), b""),
    ((9, 1), b""),
    ((0, 0), b""),
)


def test_write_takes_an_offset_and_a_length():
    for args, want in rows(WRITES):
        for source in (b"abcdef", bytearray(b"abcdef"), memoryview(b"abcdef")):
            a, b = pair()
            eq(a.write(source, *args), len(want))
            a.close()
            eq(b.read(), want)
            b.close()


def test_a_full_socket_takes_a_part_and_then_none():
    a, b = pair()
    a.setblocking(False)
    block = bytearray(1 << 20)
    sent = 0
    while True:
        n = a.write(block, 0, len(block))
        if n is None:
            break
        assert 0 < n <= len(block)
        sent += n
    assert sent % (1 << 20) != 0, "the last write was taken in part"
    eq(a.write(b"x"), None)
    got = 0
    sink = bytearray(1 << 16)
    b.setblocking(False)
    while got < sent:
        got += b.readinto(sink) or 0
    eq(got, sent)
    eq(a.write(b"x"), 1)
    a.close()
    b.close()


def test_errors_are_oserrors_with_a_number():
    a, b = pair()
    b.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: close resets the connection
    b.close()
    time.sleep_ms(20)
    a.setblocking(False)
    eq(raises(OSError, a.readinto, bytearray(4)).errno, errno.ECONNRESET)
    a.close()
    assert raises(OSError, a.readinto, bytearray(4)).errno == errno.EBADF
    s = socket.socket()
    s.settimeout(0.05)
    s.bind(socket.getaddrinfo("127.0.0.1", 0)[0][-1])
    s.listen(1)
    a, b = pair()
    a.settimeout(0.05)
    eq(raises(OSError, a.readinto, bytearray(4)).errno, errno.ETIMEDOUT)


def test_a_connection_in_progress():
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.setblocking(False)
    address = socket.getaddrinfo("127.0.0.1", 1, 0, socket.SOCK_STREAM)[0][-1]
    e = raises(OSError, s.connect, address)
    assert e.errno in (errno.EINPROGRESS, errno.ECONNREFUSED), e.errno
    poller = select.poll()
    poller.register(s, select.POLLOUT)
    for obj, event in poller.ipoll(1000):
        assert obj is s
        assert event & (select.POLLERR | select.POLLHUP), event
        break
    else:
        raise AssertionError("a refused connection was not announced")
    s.close()


def test_poll_gives_the_object_back():
    a, b = pair()
    poller = select.poll()
    poller.register(a, select.POLLIN)
    eq(list(poller.ipoll(0)), [])
    start = time.ticks_ms()
    eq(poller.poll(50), [])
    assert 40 <= time.ticks_diff(time.ticks_ms(), start) < 20000
    b.write(b"x")
    for obj, event in poller.ipoll(1000):
        assert obj is a
        eq(event, select.POLLIN)
    poller.modify(a, select.POLLOUT)
    for obj, event in poller.ipoll(0):
        assert obj is a
        eq(event, select.POLLOUT)
    poller.register(b, select.POLLOUT)
    eq(len(poller.poll(0)), 2)
    poller.unregister(a)
    eq(poller.poll(0), [(b, select.POLLOUT)])
    raises(OSError, poller.modify, a, select.POLLIN)
    for _, _ in poller.ipoll(0, 1):
        pass
    eq(poller.poll(0), [])  # one-shot
    a.close()
    b.close()


class Pythonic(io.IOBase):
    """A stream written in Python."""

    def __init__(self):
        self.ready = 0

    def ioctl(self, request, arg):
        """Poll."""
        return self.ready & arg if request == 3 else -1  # 0 would be a file descriptor to MicroPython's poll


def test_poll_asks_a_stream_written_in_python():
    s = Pythonic()
    poller = select.poll()
    poller.register(s, select.POLLIN)
    eq(poller.poll(0), [])
    eq(poller.poll(20), [])
    s.ready = select.POLLIN
    eq(poller.poll(1000), [(s, select.POLLIN)])


def test_ticks_wrap():
    eq(time.ticks_add(PERIOD - 1, 3), 2)
    eq(time.ticks_add(2, -3), PERIOD - 1)
    eq(time.ticks_diff(2, PERIOD - 1), 3)
    eq(time.ticks_diff(PERIOD - 1, 2), -3)
    raises(OverflowError, time.ticks_add, 0, PERIOD >> 1)
    a = time.ticks_ms()
    time.sleep_ms(30)
    assert 25 <= time.ticks_diff(time.ticks_ms(), a) < 20000
    assert 0 <= time.ticks_us() < PERIOD


def test_ring():
    for ring in (micropython.RingIO(8), micropython.RingIO(bytearray(9))):
        eq(ring.any(), 0)
        eq(ring.read(), b"")
        eq(ring.write(b"abcdef", 2, 3), 3)
        eq(ring.any(), 3)
        eq(ring.write(b"0123456789"), 5)
        eq(ring.write(b"x"), 0)
        eq(ring.read(2), b"cd")
        buf = bytearray(4)
        eq(ring.readinto(buf, 1), 1)
        eq(ring.readinto(buf), 4)
        eq(buf, b"0123")
        eq(ring.readinto(buf), 1)
        eq(ring.readinto(buf), 0)
        eq(ring.readline(), b"")


def test_micropython_module():
    eq(micropython.const(5), 5)
    micropython.heap_lock()
    eq(micropython.heap_unlock(), 0)
    assert isinstance(micropython.mem_total(), int)
    seen = []
    micropython.schedule(seen.append, 1)
    time.sleep_ms(1)
    eq(seen, [1])


# --- TLS: both ends in this process, neither may block


def read(name):
    """A file of the certificate folder."""
    with open(CERTS + name, "rb") as f:
        return f.read()


def tls_pair(ca="ca.der", cert="server", hostname="localhost"):
    """(client, server), the handshake not begun."""
    import ssl

    a, b = pair()
    a.setblocking(False)
    b.setblocking(False)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(read(cert + ".der"), read(cert + ".key.der"))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        client.verify_mode = ssl.CERT_REQUIRED
        client.load_verify_locations(cadata=read(ca))
    return (
        client.wrap_socket(a, server_hostname=hostname, do_handshake_on_connect=False),
        server.wrap_socket(b, server_side=True, do_handshake_on_connect=False),
    )


def shake(c, s):
    """Drive a handshake by a write at one end and reads at the other, until "hello" is over."""
    buf = bytearray(16)
    sent = None
    for _ in range(2000):
        if sent is None:
            sent = c.write(b"hello", 0, 5)
        if s.readinto(buf) == 5:
            eq(sent, 5)
            eq(buf[:5], b"hello")
            return
        time.sleep_ms(1)
    raise AssertionError("no handshake")


def test_tls_writes_and_reads_drive_the_handshake():
    c, s = tls_pair()
    eq(c.readinto(bytearray(4)), None)
    shake(c, s)
    eq(c.readinto(bytearray(4)), None)
    s.write(b"abc")
    buf = bytearray(8)
    for _ in range(100):
        n = c.readinto(buf)
        if n:
            break
        time.sleep_ms(1)
    eq(n, 3)
    eq(buf[:3], b"abc")


def test_tls_poll_knows_decrypted_bytes():
    c, s = tls_pair()
    shake(c, s)
    poller = select.poll()
    poller.register(s, select.POLLIN)
    c.write(b"0123456789")
    eq(poller.poll(1000), [(s, select.POLLIN)])
    buf = bytearray(4)
    eq(s.readinto(buf), 4)
    eq(poller.poll(0), [(s, select.POLLIN)])  # the network is dry, the record is not
    eq(s.readinto(buf), 4)
    eq(s.readinto(buf), 2)
    eq(poller.poll(0), [])


def test_tls_large_write_arrives_whole_in_records():
    c, s = tls_pair()
    shake(c, s)
    data = bytes(range(256)) * 4096
    got = bytearray()
    buf = bytearray(50000)
    off = 0
    nones = 0
    while len(got) < len(data):
        if off < len(data):
            n = c.write(data, off, len(data) - off)
            nones += n is None
            off += n or 0
        n = s.readinto(buf)
        if n:
            got += buf[:n]
    eq(got == data, True)


def failure(**kw):
    """The exception that a handshake ends with at the client."""
    c, s = tls_pair(**kw)
    for _ in range(500):
        try:
            c.readinto(bytearray(4))
        except (OSError, ValueError) as e:
            again = raises((OSError, ValueError), c.write, b"x")
            assert isinstance(again, OSError), again
            return e
        try:
            s.readinto(bytearray(4))
        except OSError:
            pass
        time.sleep_ms(1)
    raise AssertionError("the handshake went through")


def test_tls_certificate_errors_are_value_errors_and_stay():
    # OpenSSL's and mbedtls's words
    for kw, words in rows(
        (
            ({"ca": "other.der"}, ("not correctly signed by the trusted", "unable to get local issuer")),
            ({"hostname": "example.org"}, ("does not match with the expected CN", "Hostname mismatch")),
            ({"cert": "expired"}, ("has expired", "has expired")),
        )
    ):
        e = failure(**kw)
        assert isinstance(e, ValueError), repr(e)
        assert words[0] in str(e) or words[1] in str(e), str(e)


def test_tls_end_reads_as_0_and_in_the_handshake_raises():
    c, s = tls_pair()
    shake(c, s)
    s.close()
    time.sleep_ms(20)
    eq(c.readinto(bytearray(4)), 0)
    eq(c.readinto(bytearray(4)), 0)
    c, s = tls_pair()
    eq(c.write(b"x"), None)
    s.close()
    time.sleep_ms(20)
    raises(OSError, c.readinto, bytearray(4))
    raises(OSError, c.readinto, bytearray(4))


def test_tls_context_defaults_and_bad_files():
    import ssl

    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    eq(c.verify_mode, ssl.CERT_NONE)
    raises((ValueError, OSError), c.load_verify_locations, cadata=b"no certificate")
    raises((ValueError, OSError), c.load_cert_chain, b"no certificate", b"no key")
    a, b = pair()
    c.verify_mode = ssl.CERT_REQUIRED
    raises(ValueError, c.wrap_socket, a)
    c.load_verify_locations(CERTS + "ca.der")
    c.load_cert_chain(CERTS + "client.der", CERTS + "client.key.der")


# --- asyncio: how umqtt5/aio.py waits


class Wait:
    """One reused awaitable: until the stream can be read or written."""

    def __init__(self, stream):
        self.stream = stream
        self.asked = self.write = False

    def __iter__(self):
        self.asked = False
        return self

    __await__ = __iter__

    def __next__(self):
        from asyncio import core

        if self.asked:
            raise StopIteration
        self.asked = True
        q = core._io_queue
        return q.queue_write(self.stream) if self.write else q.queue_read(self.stream)


def test_asyncio_waits_for_a_stream():
    import asyncio

    a, b = pair()
    a.setblocking(False)
    log = []

    async def reader():
        w = Wait(a)
        buf = bytearray(4)
        while True:
            await w
            n = a.readinto(buf)
            log.append((n, bytes(buf[: n or 0])))
            if not n:
                return

    async def main():
        task = asyncio.create_task(reader())
        await asyncio.sleep_ms(20)
        eq(log, [])
        for _ in range(3):
            b.write(b"xy")
            await asyncio.sleep_ms(20)
        eq(log, [(2, b"xy")] * 3)
        b.close()
        await asyncio.wait_for_ms(task, 1000)
        eq(log[3:], [(0, b"")])

    asyncio.run(main())


def test_asyncio_reader_and_writer_of_one_stream():
    import asyncio

    a, b = pair()
    a.setblocking(False)
    b.setblocking(False)
    order = []

    async def reader():
        await Wait(a)
        order.append("read")

    async def writer():
        w = Wait(a)
        w.write = True
        await w
        order.append("write")

    async def main():
        while a.write(bytearray(100000)) is not None:
            pass
        tasks = [asyncio.create_task(reader()), asyncio.create_task(writer())]
        await asyncio.sleep_ms(20)
        eq(order, [])
        for _ in range(200):
            b.readinto(bytearray(100000))
            await asyncio.sleep_ms(1)
        eq(order, ["write"])
        b.write(b"x")
        await asyncio.wait_for_ms(tasks[0], 1000)
        eq(order, ["write", "read"])

    asyncio.run(main())


def test_asyncio_a_cancelled_wait_leaves_nothing_behind():
    import asyncio

    a, b = pair()
    a.setblocking(False)

    async def reader():
        await Wait(a)

    async def main():
        for _ in range(3):
            raises_timeout = False
            try:
                await asyncio.wait_for_ms(reader(), 20)
            except asyncio.TimeoutError:
                raises_timeout = True
            assert raises_timeout
        b.write(b"x")
        await asyncio.wait_for_ms(reader(), 1000)

    asyncio.run(main())


def test_asyncio_waits_for_tls():
    import asyncio

    c, s = tls_pair()
    got = []

    async def client():
        w = Wait(c)
        w.write = True
        while c.write(b"ping") is None:
            await w
        w.write = False
        buf = bytearray(8)
        n = c.readinto(buf)
        while not n:
            await w
            n = c.readinto(buf)
        got.append(bytes(buf[:n]))

    async def server():
        w = Wait(s)
        buf = bytearray(8)
        n = s.readinto(buf)
        while not n:
            await w
            n = s.readinto(buf)
        s.write(buf, n)

    async def main():
        t = asyncio.create_task(server())
        await asyncio.wait_for_ms(client(), 5000)
        await t

    asyncio.run(main())
    eq(got, [b"ping"])


def test_asyncio_flag_and_sleep():
    import asyncio

    flag = asyncio.ThreadSafeFlag()
    seen = []

    async def waiter():
        for i in range(2):
            await flag.wait()
            seen.append(i)

    async def main():
        t = asyncio.create_task(waiter())
        await asyncio.sleep_ms(5)
        flag.set()
        await asyncio.sleep_ms(20)
        eq(seen, [0])
        flag.set()
        await asyncio.wait_for_ms(t, 1000)
        eq(seen, [0, 1])

    asyncio.run(main())
