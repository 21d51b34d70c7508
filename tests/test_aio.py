"""The asyncio face: over a real socket in the same process, so that waiting, waking and cancelling are the real ones."""

import asyncio
import gc
import socket
import sys
import time

import umqtt5
from support import packets as P
from support import t
from support.peer import Peer
from support.t import eq, raises
from support.tcp import TcpPeer
from umqtt5 import ProtocolError, Refused, ResourceError
from umqtt5.aio import MQTTClient

INTERPRETERS = ("cpython", "micropython")
ONLY = {"test_bytes_per_message": ("micropython",)}


def run(test, clean_start=True, connect=True, answers=None, props=(), **options):
    """Run test(client, server) with a client connected to a server on a socket."""

    async def main():
        srv = TcpPeer(answers, 0, props)
        srv.start()
        c = MQTTClient("c", "127.0.0.1", srv.port, **options)
        try:
            if connect:
                await c.connect(clean_start)
                srv.expect(P.CONNECT)
                c._sock.setsockopt(socket.SOL_SOCKET, 7, 16384)  # SO_SNDBUF: soon full
            await test(c, srv)
        finally:
            c.drop()
            srv.stop()
            await asyncio.sleep_ms(0)

    asyncio.run(main())


async def until(f, seconds=60):
    """Until f() is true."""
    end = time.ticks_add(time.ticks_ms(), seconds * 1000)
    while not f():
        assert time.ticks_diff(end, time.ticks_ms()) > 0, "does not happen"
        await asyncio.sleep_ms(5)


async def fails(kind, awaitable):
    """The exception of `kind` that awaiting raises."""
    try:
        r = await awaitable
    except kind as e:
        return e
    raise AssertionError("%s not raised, returned %r" % (kind.__name__, r))


def heard(c):
    got = []
    c.on_message = lambda m: got.append((bytes(m.topic()), bytes(m.payload()), m.qos()))
    return got


def test_dialogue():
    async def test(c, srv):
        got = heard(c)
        eq(await c.subscribe("a/#", 1), b"\x01")
        eq(await c.subscribe([("b", 2), ("c", 0, {"no_local": True})]), b"\x02\x00")
        eq([p.filters for p in srv.of(P.SUBSCRIBE)], [[("a/#", 1)], [("b", 2), ("c", 4)]])
        await c.publish("t", "0")
        one = await c.publish("t", b"1", qos=1)
        two = await c.publish("t", b"2", True, 2)
        eq((one > 0, two), (True, one + 1))
        await c.wait(one)
        await c.wait()
        eq(c.pending(), 0)
        eq([(p.payload, p.qos, p.retain) for p in srv.of(P.PUBLISH)], [(b"0", 0, 0), (b"1", 1, 0), (b"2", 2, 1)])
        srv.send(P.publish("a/1", b"x"), P.publish("a/2", b"y", 1, 7), P.publish("a/3", b"z", 2, 8))
        await until(lambda: len(got) == 3 and srv.of(P.PUBCOMP))
        eq(got, [(b"a/1", b"x", 0), (b"a/2", b"y", 1), (b"a/3", b"z", 2)])
        eq(await c.unsubscribe("a/#"), b"\x00")
        await c.disconnect()
        await until(lambda: srv.of(P.DISCONNECT))
        eq(c.isconnected(), False)

    run(test)


def test_handlers_publish_without_awaiting():
    async def test(c, srv):
        def echo(m):
            c.publish("out", m.payload(), qos=m.qos())

        await c.subscribe("in", 2, to=echo)
        srv.send(P.publish("in", b"0"), P.publish("in", b"1", 1, 5), P.publish("in", b"2", 2, 6))
        await until(lambda: len(srv.of(P.PUBLISH)) == 3)
        eq(sorted([(p.payload, p.qos) for p in srv.of(P.PUBLISH)]), [(b"0", 0), (b"1", 1), (b"2", 2)])
        await c.wait()

    run(test, props=(("subscription_identifier_available", 0),))


def test_messages_waits_for_each_and_ends_with_disconnect():
    async def test(c, srv):
        got = []

        async def reader():
            async for m in c.messages():
                got.append((bytes(m.topic()), bytes(m.payload()), m.qos(), m.retain(), m.properties()))
                await asyncio.sleep_ms(1)

        task = asyncio.create_task(reader())
        await asyncio.sleep_ms(10)
        props = [("content_type", "x"), ("user_property", ("k", "v"))]
        want = []
        for i in range(20):
            p = props if i % 3 else []
            srv.send(P.publish("a/%d" % i, "x" * i, i % 3, i + 1, p, retain=i % 2))
            want.append((b"a/%d" % i, b"x" * i, i % 3, i % 2, p))
        await until(lambda: len(got) == 20)
        eq(got, want)
        await c.disconnect()
        await asyncio.wait_for(task, 30)

    run(test)


def test_messages_resolves_topic_aliases():
    async def test(c, srv):
        alias = [("topic_alias", 1)]
        box = c.messages()
        srv.send(P.publish("long/topic", b"1", 0, None, alias))
        srv.send(P.publish("", b"2", 0, None, alias), P.publish("", b"3", 1, 9, alias))
        got = []
        async for m in box:
            got.append((bytes(m.topic()), bytes(m.payload())))
            if len(got) == 3:
                break
        eq(got, [(b"long/topic", b"1"), (b"long/topic", b"2"), (b"long/topic", b"3")])

    run(test, topic_alias_maximum=4)


def test_messages_loses_nothing_when_its_room_is_full():
    async def test(c, srv):
        box = c.messages(200)
        for i in range(30):
            srv.send(P.publish("t", b"%02d" % i + b"." * 40, 1, i + 1))
        await asyncio.sleep_ms(100)
        assert len(srv.of(P.PUBACK)) < 10  # what waits is not acknowledged
        n = 0
        async for m in box:
            eq(bytes(m.payload())[:2], b"%02d" % n)
            n += 1
            if n == 30:
                break
            if n == 5:
                await c.publish("t", b"x")
        await until(lambda: len(srv.of(P.PUBACK)) == 30)
        box.close()
        got = heard(c)
        srv.send(P.publish("t", b"last"))
        await until(lambda: got)

    run(test)


def test_messages_while_the_body_waits_for_the_server():
    async def test(c, srv):
        box = c.messages()
        srv.send(P.publish("t", b"1"), P.publish("t", b"2"))
        n = 0
        async for m in box:
            await c.wait(await c.publish("r", m.payload(), qos=1))
            eq(await c.subscribe("more"), b"\0")
            n += 1
            if n == 2:
                break
        eq([p.payload for p in srv.of(P.PUBLISH)], [b"1", b"2"])

    run(test)


def test_message_is_gone_after_its_round():
    async def test(c, srv):
        srv.send(P.publish("t", b"1"), P.publish("t", b"2"))
        old = None
        async for m in c.messages():
            if old is not None:
                eq(bytes(m.payload()), b"2")
                break
            old = m.payload()
        if t.INTERPRETER == "cpython":
            raises(ValueError, bytes, old)

    run(test)


def test_messages_raises_what_ended_the_connection():
    async def test(c, srv):
        async def reader():
            async for _ in c.messages():
                pass

        task = asyncio.create_task(reader())
        await asyncio.sleep_ms(10)
        srv.send(P.disconnect(0x8B))
        e = await fails(Refused, task)
        eq((e.what, e.reason_code.value), ("DISCONNECT", 0x8B))

    run(test)


def test_several_tasks_publish_at_once():
    async def test(c, srv):
        async def one(k):
            for i in range(20):
                await c.wait(await c.publish("t/%d" % k, b"%d" % i, qos=1 + i % 2))

        await asyncio.gather(*[one(k) for k in range(5)])
        for k in range(5):
            eq([p.payload for p in srv.of(P.PUBLISH) if p.topic == "t/%d" % k], [b"%d" % i for i in range(20)])

    run(test, inflight=4096)


def test_full_store_makes_publishers_wait_but_not_handlers():
    async def test(c, srv):
        async def flood(k):
            for i in range(30):
                await c.publish("t/%d" % k, b"%02d" % i + b"x" * 60, qos=1 + i % 2)

        await asyncio.gather(*[flood(k) for k in range(3)])
        await c.wait()
        for k in range(3):
            eq([p.payload[:2] for p in srv.of(P.PUBLISH) if p.topic == "t/%d" % k], [b"%02d" % i for i in range(30)])
        raised = []

        def handler(m):
            try:
                for _ in range(20):
                    c.publish("h", b"x" * 60, qos=1)
            except ResourceError as e:
                raised.append(e)

        c.on_message = handler
        srv.send(P.publish("in"))
        await until(lambda: raised)
        await c.wait()
        await fails(ResourceError, publish(c, b"x" * 2000))

    async def publish(c, msg):
        await c.publish("t", msg, qos=1)

    run(test, inflight=400)


def test_backpressure_waits_and_keeps_every_packet_whole():
    async def test(c, srv):
        srv.stalled = True
        big = b"x" * 30000
        sent = []

        async def flood(k):
            for i in range(60):
                await c.publish("big/%d" % k, b"%02d" % i + big)
                sent.append(k)

        tasks = [asyncio.create_task(flood(k)) for k in range(3)]
        n = -1
        while n != len(sent):  # until the buffers are full
            n = len(sent)
            await asyncio.sleep_ms(300)
        assert n < 180, "the buffers never filled"
        c.publish("late", b"q", qos=1)  # not awaited, as nobody may do outside of a handler: not sent
        one = asyncio.create_task(later(c))
        await asyncio.sleep_ms(100)
        eq(len(sent), n)
        srv.stalled = False
        for k in tasks:
            await k
        await c.wait(await one)
        for k in range(3):
            eq([p.payload[:2] for p in srv.of(P.PUBLISH) if p.topic == "big/%d" % k], [b"%02d" % i for i in range(60)])
        await c.subscribe("still/works")

    async def later(c):
        return await c.publish("late", b"1", qos=1)

    run(test, timeout=60)


def test_half_written_packet_and_a_handler_that_publishes():
    async def test(c, srv):
        c.on_message = lambda m: c.publish("answer", m.payload())
        srv.stalled = True
        task = asyncio.create_task(flood(c))
        await asyncio.sleep_ms(200)
        await until(lambda: c._fl)  # the buffers are full
        srv.send(P.publish("in", b"1"), P.publish("in", b"2"), P.publish("in", b"3"))
        await asyncio.sleep_ms(50)
        srv.stalled = False
        await task
        await until(lambda: len([p for p in srv.of(P.PUBLISH) if p.topic == "answer"]) == 3)

    async def flood(c):
        for _ in range(200):
            await c.publish("big", b"x" * 30000)

    run(test)


def test_cancelled_publish_leaves_the_stream_whole():
    async def test(c, srv):
        srv.stalled = True

        async def flood():
            while True:
                await c.publish("big", b"y" * 30000)

        task = asyncio.create_task(flood())
        other = asyncio.create_task(flood())
        await asyncio.sleep_ms(200)
        task.cancel()
        other.cancel()
        await asyncio.sleep_ms(10)
        srv.stalled = False
        await c.drained()
        await c.wait(await c.publish("end", b"1", qos=1))
        eq({p.payload for p in srv.of(P.PUBLISH) if p.topic == "big"}, {b"y" * 30000})

    run(test)


def test_cancel_at_every_wait_leaves_the_connection_usable():
    async def test(c, srv):
        for name, make in (
            ("connect", lambda: c.connect()),
            ("subscribe", lambda: c.subscribe("a", 1)),
            ("unsubscribe", lambda: c.unsubscribe("a")),
            ("publish", lambda: publish(c)),
            ("messages", lambda: first(c)),
            ("wait_msg", lambda: c.wait_msg()),
            ("request", lambda: c.request("q", b"?")),
        ):
            for ms in (0, 1, 3, 8, 20):
                if not c.isconnected() and name != "connect":
                    await c.connect()
                task = asyncio.create_task(make())
                await asyncio.sleep_ms(ms)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass
                if name == "connect":
                    if c.isconnected():
                        await c.disconnect()
                    eq(c._sock, None, name)
                    continue
                if c._box:
                    c._box.close()
                await c.wait(timeout=30)
                eq(await c.subscribe("check/%s" % name, 1), b"\x01", name)
        eq(c._acks, {})

    async def publish(c):
        await c.wait(await c.publish("t", b"1", qos=2))

    async def first(c):
        async for m in c.messages():
            return m

    run(test, connect=False)


def test_wait_for_gives_up_and_the_answer_may_come_later():
    async def test(c, srv):
        srv.seconds = 0.2
        pid = await c.publish("t", b"1", qos=1)
        await fails(asyncio.TimeoutError, asyncio.wait_for(c.wait(pid), 0.05))
        await c.wait(pid)
        await fails(asyncio.TimeoutError, asyncio.wait_for(c.subscribe("a"), 0.05))
        await until(lambda: not c._acks)
        eq(await c.subscribe("a", 2), b"\x02")

    run(test)


def test_timeouts_are_oserror():
    async def test(c, srv):
        srv.answers[P.SUBSCRIBE] = srv.answers[P.PUBLISH] = b""
        eq((await fails(OSError, c.subscribe("a", timeout=0.1))).args[0], 110)
        pid = await c.publish("t", b"1", qos=1)
        eq((await fails(OSError, c.wait(pid, timeout=0.1))).args[0], 110)
        eq(c.isconnected(), True)

    run(test)


def test_refusals_are_raised_where_one_waits():
    async def test(c, srv):
        srv.answers[P.SUBSCRIBE] = lambda srv, p: P.suback(p.pid, [0x87] * len(p.filters))
        srv.answers[P.PUBLISH] = lambda srv, p: P.puback(p.pid, 0x97, (("reason_string", "full"),))
        e = await fails(Refused, c.subscribe("a"))
        eq((e.what, e.reason_code.value), ("SUBACK", 0x87))
        eq(await c.subscribe([("a", 0), ("b", 0)]), b"\x87\x87")
        e = await fails(Refused, c.wait(await c.publish("t", b"1", qos=1)))
        eq((e.what, e.reason_code.value, e.reason), ("PUBACK", 0x97, "full"))

    run(test)
    answers = {P.CONNECT: P.connack(0x86)}

    async def refused(c, srv):
        eq((await fails(Refused, c.connect())).reason_code.value, 0x86)
        eq(c.isconnected(), False)

    run(refused, connect=False, answers=answers)


def test_connect_is_bounded_by_the_timeout():
    async def test(c, srv):
        srv.answers[P.CONNECT] = b""
        n = time.ticks_ms()
        eq((await fails(OSError, c.connect(timeout=0.3))).args[0], 110)
        assert time.ticks_diff(time.ticks_ms(), n) < 8000  # and not the default, 10 s
        srv.answers.clear()
        await c.connect()

    run(test, connect=False)


def test_connect_to_nobody():
    async def test(c, srv):
        c._o["port"] = 1
        await fails(OSError, c.connect())
        eq(c._sock, None)

    run(test, connect=False)


def test_lost_connection_wakes_everybody_and_connects_again():
    async def test(c, srv):
        downs = []
        c.on_disconnect = lambda c, u, flags, code, props: downs.append(flags)
        srv.answers[P.PUBLISH] = srv.answers[P.SUBSCRIBE] = b""
        tasks = [asyncio.create_task(f) for f in (waits(c), c.subscribe("x"), c.down())]
        await asyncio.sleep_ms(20)
        srv.cut()
        await fails(OSError, tasks[0])
        await fails(OSError, tasks[1])
        assert isinstance(await tasks[2], OSError)
        eq((c.isconnected(), downs), (False, [0]))
        await fails(OSError, c.publish_0("t"))
        srv.answers.clear()
        srv.session_present = 1
        eq(await c.connect(False), True)
        await c.wait()  # the message from before goes out again
        eq([(p.payload, p.dup) for p in srv.of(P.PUBLISH)], [(b"1", 0), (b"1", 1)])

    async def waits(c):
        await c.wait(await c.publish("t", b"1", qos=1))

    async def publish_0(c, topic):
        await c.publish(topic, b"")

    MQTTClient.publish_0 = publish_0
    run(test, session_expiry=100)


def test_violation_by_the_server_is_a_protocol_error():
    async def test(c, srv):
        srv.send(b"\x00\x00")
        e = await c.down()
        assert isinstance(e, ProtocolError)
        await until(lambda: srv.of(P.DISCONNECT))
        eq(srv.of(P.DISCONNECT)[0].code, e.reason_code)

    run(test)


def test_handler_that_raises_is_reported_and_the_client_goes_on():
    async def test(c, srv):
        reported = []
        asyncio.get_event_loop().set_exception_handler(lambda loop, context: reported.append(str(context["exception"])))
        got = []

        def handler(m):
            if m.byte(0) == 48:
                raise ValueError("mine")
            got.append(bytes(m.payload()))

        c.on_message = handler
        srv.send(P.publish("t", b"0", 1, 4), P.publish("t", b"1", 1, 5))
        await until(lambda: got)
        asyncio.get_event_loop().set_exception_handler(None)
        eq(reported, ["mine"])
        eq([p.pid for p in srv.of(P.PUBACK)], [5])

    run(test)


def test_idle_keeps_alive_and_notices_a_dead_server():
    async def test(c, srv):
        n = time.ticks_ms()
        await asyncio.sleep_ms(2500)
        assert 2 <= len(srv.of(P.PINGREQ)) <= 4, srv.packets
        srv.answers[P.PINGREQ] = b""
        e = await c.down()
        eq(e.args[0], 110)
        assert time.ticks_diff(time.ticks_ms(), n) < 20000

    run(test, keepalive=1)


def test_full_queue_of_messages_keeps_alive():
    async def test(c, srv):
        box = c.messages(60)
        srv.send(P.publish("t", b"x" * 50), P.publish("t", b"y" * 50))
        await asyncio.sleep_ms(2600)
        assert c.isconnected() and srv.of(P.PINGREQ)
        n = 0
        async for _ in box:
            n += 1
            if n == 2:
                break

    run(test, keepalive=1)


def test_async_with():
    async def test(c, srv):
        async with c as d:
            assert d is c and c.isconnected()
        eq(c.isconnected(), False)
        await until(lambda: srv.of(P.DISCONNECT))

    run(test, connect=False)


def test_up_waits_for_the_connection():
    async def test(c, srv):
        task = asyncio.create_task(c.up())
        await asyncio.sleep_ms(10)
        await c.connect()
        await task

    run(test, connect=False)


def test_keep_reconnects_and_messages_goes_on():
    async def test(c, srv):
        got = []
        ups = []

        async def reader():
            async for m in c.messages():
                got.append(bytes(m.payload()))

        keeper = asyncio.create_task(c.keep(min_ms=20, max_ms=50, on_up=lambda c, present: ups.append(present)))
        await c.up()
        await c.subscribe("t", 1)
        task = asyncio.create_task(reader())
        for i in range(3):
            await c.up()
            await until(lambda: len(srv.of(P.SUBSCRIBE)) == i + 1)
            srv.send(P.publish("t", b"%d" % i))
            await until(lambda: len(got) == i + 1)
            srv.cut()
            await c.down()
        await c.up()
        eq(got, [b"0", b"1", b"2"])
        assert len(ups) >= 4
        await c.disconnect()
        await asyncio.wait_for(task, 30)
        await asyncio.wait_for(keeper, 30)

    run(test, connect=False)


def test_keep_stops_when_only_a_person_can_help():
    async def test(c, srv):
        e = await fails(Refused, asyncio.wait_for(c.keep(min_ms=20), 30))
        eq((e.reason_code.value, srv.total), (0x86, 1))
        await asyncio.sleep_ms(100)
        eq(srv.total, 1)

    run(test, connect=False, answers={P.CONNECT: P.connack(0x86)})


def test_keep_is_ended_by_cancelling():
    async def test(c, srv):
        keeper = asyncio.create_task(c.keep(min_ms=20))
        await c.up()
        keeper.cancel()
        await fails(asyncio.CancelledError, keeper)
        eq((c.isconnected(), c._link), (False, None))
        await c.connect()

    run(test, connect=False)


def test_requests_of_several_tasks():
    async def test(c, srv):
        def answer(srv, p):
            props = (("correlation_data", p.prop("correlation_data")),)
            return P.publish(p.prop("response_topic"), p.payload + b"!", 0, None, props)

        srv.answers[P.PUBLISH] = answer
        eq(await asyncio.gather(*[c.request("q", b"%d" % i) for i in range(5)]), [b"%d!" % i for i in range(5)])
        eq(len(srv.of(P.SUBSCRIBE)), 1)
        srv.answers[P.PUBLISH] = b""
        eq((await fails(OSError, c.request("q", b"?", timeout=0.1))).args[0], 110)

    run(test, props=(("subscription_identifier_available", 0),))


def test_prepared_publications():
    async def test(c, srv):
        p = c.publication("t", 4)
        for i in range(3):
            await p.send(b"%04d" % i)
        q = c.publication("t", 8, qos=1)
        await c.wait(await q.send_any(b"abc"))
        eq([x.payload for x in srv.of(P.PUBLISH)], [b"0000", b"0001", b"0002", b"abc"])

    run(test)


class Reader:
    """Gives its bytes in pieces."""

    def __init__(self, data):
        self.data = data

    def readinto(self, buf):
        n = min(len(buf), len(self.data), 70)
        buf[:n] = self.data[:n]
        self.data = self.data[n:]
        return n


def test_a_plain_subscribe_needs_no_rules_for_filters():
    """topics.py is loaded for wildcards and options only, as with the blocking face."""

    async def test(c, srv):
        if sys.modules.pop("umqtt5.topics", None):  # from the tests before
            del umqtt5.topics
        if "_check_filter" in umqtt5.MQTTClient.__dict__:
            del umqtt5.MQTTClient._check_filter
        await c.subscribe("a/b", 1)
        eq("umqtt5.topics" in sys.modules, False)
        await c.subscribe("a/b", 1, no_local=True)
        eq("umqtt5.topics" in sys.modules, True)
        eq([p.filters for p in srv.of(P.SUBSCRIBE)], [[("a/b", 1)], [("a/b", 5)]])

    run(test)


def test_publish_from_a_reader():
    async def test(c, srv):
        body = bytes([i & 255 for i in range(3000)])
        for qos in (0, 1, 2):
            await c.publish_from("big", Reader(body), len(body), False, qos)
        await c.wait()
        eq([(p.qos, p.payload == body) for p in srv.of(P.PUBLISH)], [(0, True), (1, True), (2, True)])

    run(test, tx=100, props=(("receive_maximum", 1),))


def test_transport_that_cannot_be_polled():
    async def main():
        peer = Peer()
        c = MQTTClient("c", "peer", transport=peer)
        await c.connect()
        got = heard(c)
        peer.link.takes = 5
        peer.link.stalled = True
        task = asyncio.create_task(publish(c))
        await asyncio.sleep_ms(20)
        raises(ResourceError, c._drain)
        peer.link.stalled = False
        await task
        await c.publish("t", b"a long message in pieces")
        await c.publish("t", b"another one", qos=1)
        await c.wait()
        peer.send(P.publish("in", b"1"))
        await until(lambda: got)
        await c.publish_from("r", Reader(b"z" * 500), 500)
        eq(peer.of(P.PUBLISH).pop().payload, b"z" * 500)
        peer.packets.pop()
        eq([p.payload for p in peer.of(P.PUBLISH)], [b"held", b"a long message in pieces", b"another one"])
        await c.disconnect()

    async def publish(c):
        await c.publish("t", b"held")

    asyncio.run(main())


# What a message may allocate on a 64-bit MicroPython, twice the bytes of a 32-bit one. The call frame of the own loop (144 a
# round, given back at once) is subtracted, nothing else.
BUDGET = 128


def test_bytes_per_message():
    import micropython

    core = asyncio.core
    q = core._io_queue
    wait = q.wait_io_event
    rounds = [0]

    def counted(dt):
        rounds[0] += 1
        wait(dt)

    figures = {}
    total = micropython.mem_total

    async def test(c, srv):
        topic = b"t"
        payload = b"0123456789"
        packet = P.publish("in", payload, 0)
        packet1 = P.publish("in", payload, 1, 9)
        seen = [0]

        def bump(m):
            seen[0] += 1

        def acked(c, pid, code, packet):
            seen[0] += 1

        gc.collect()
        gc.disable()
        x = total()
        wait(0)
        frame = total() - x
        q.wait_io_event = counted

        def start():
            seen[0] = rounds[0] = 0
            return total()

        def stop(name, x, n=100):
            figures[name] = (total() - x - rounds[0] * frame) // n

        srv.task.cancel()  # the server's own task would be counted
        peer = srv._c
        sink = bytearray(2000)
        await c.publish(topic, payload)
        x = start()
        for _ in range(100):
            await c.publish(topic, payload)
        stop("publish 0", x)
        c.on_ack = acked
        ack = bytearray(P.puback(1))

        def get(k):  # the server, without a task
            ack[2] = k >> 8
            ack[3] = k & 255
            peer.readinto(sink)
            peer.write(ack)

        c._gate.open()
        k = await c.publish(topic, payload, False, 1)
        get(k)
        await c.wait()
        x = start()
        for i in range(100):
            get(await c.publish(topic, payload, False, 1))
            while seen[0] <= i:
                await asyncio.sleep_ms(0)
        stop("publish 1, acknowledged", x)
        x = start()
        for _ in range(100):
            k = await c.publish(topic, payload, False, 1)
            get(k)
            await c.wait(k)
        stop("publish 1, wait()", x)
        c.on_message = bump
        peer.write(packet)
        await asyncio.sleep_ms(20)
        for name, p in (("receive 0", packet), ("receive 1", packet1)):
            x = start()
            for i in range(100):
                peer.write(p)
                while seen[0] <= i:
                    await asyncio.sleep_ms(0)
            stop(name, x)
        c.on_message = None
        box = c.messages()
        peer.write(packet)
        n = -1
        async for _ in box:
            n += 1
            if n == 0:
                x = start()
            if n == 100:
                break
            peer.write(packet)
        stop("messages()", x)
        x = start()
        await asyncio.sleep_ms(3000)
        stop("idle second", x, 3)

    try:
        run(test, inflight=4096, keepalive=0)
    finally:
        gc.enable()
        q.wait_io_event = wait
    eq(figures["publish 0"], 0)
    for name in ("publish 1, acknowledged", "receive 0", "receive 1", "messages()"):
        assert figures[name] <= BUDGET, figures
    assert figures["idle second"] <= 64, figures


def test_table_of_attributes_is_not_full():
    c = MQTTClient("c", "peer", transport=Peer())
    n = len(c.__dict__)
    size = 127  # construct._spread() makes it as large
    assert n <= size * 0.8, n


def test_no_attribute_of_the_core_is_taken_for_another_purpose():
    meant = (
        "__init__ close _drain publish _rest _enqueue _room _publish_slow _lazy __module__ __qualname__ __doc__ "
        "__firstlineno__ __static_attributes__ __getattr__"
    ).split()
    blocking = umqtt5.MQTTClient("c", "peer", transport=Peer())
    waits = (
        "connect disconnect start subscribe unsubscribe wait wait_msg request pending drop due_ms "
        "wants_write isconnected publish_from feed _wait set_callback"
    ).split()
    core_names = set(dir(umqtt5.MQTTClient)) | set(blocking.__dict__) | set(blocking._o)
    taken = [n for n in MQTTClient.__dict__ if n in core_names and n not in meant and n not in waits]
    eq(taken, [])
