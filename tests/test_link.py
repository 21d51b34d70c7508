"""link: when to try again, where, and when to stop; against the server in memory, with dice that roll what the test says."""

from support.clock import Clock
from support.packets import CONNECT, SUBSCRIBE, connack, disconnect, publish
from support.peer import Peer
from support.t import INTERPRETER, eq, raises, rows
from umqtt5 import MQTTClient, ProtocolError, Refused
from umqtt5.link import Link, dice
from umqtt5.redirect import references

TIMEOUT = 180
time = Clock()


class Dice:
    """Random numbers that are written down: always the highest (or as told), and what was asked."""

    def __init__(self, low=False):
        self.asked = []
        self.low = low

    def __call__(self, n):
        self.asked.append(n)
        return 0 if self.low else n - 1


class Case:
    """A link, its client and the server in memory; `ups` and `downs` as on_up and on_down told them."""

    def __init__(self, peer=None, client=None, **kw):
        self.peer = peer or Peer()
        self.where = []
        c = client or {}
        c.setdefault("transport", self.open)
        self.c = MQTTClient("id", "home", 1000, **c)
        self.ups = []
        self.downs = []
        self.dice = Dice()
        kw.setdefault("random", self.dice)
        kw.setdefault("on_up", self.on_up)
        self.link = Link(self.c, on_down=self.on_down, **kw)

    def open(self, client):
        self.where.append((client.server, client.port))
        return self.peer(client)

    def on_up(self, client, present):
        self.ups.append(present)

    def on_down(self, client, e):
        self.downs.append(e)

    def run(self, n=1):
        """Let n tries end (up or lost), skipping the waits."""
        for _ in range(n):
            self.link._at = time.ticks_ms()
            ups = len(self.ups)
            downs = len(self.downs)
            for _ in range(50):
                self.link.step()
                if ups != len(self.ups) or downs != len(self.downs):
                    break
            else:
                raise AssertionError("nothing happened")

    def lose(self):
        """The server closes the connection."""
        self.peer.close()
        self.settle()

    def settle(self):
        n = len(self.downs)
        for _ in range(50):
            self.link.step()
            if n != len(self.downs):
                return
        raise AssertionError("not lost")

    def wait(self):
        """What the link waits before the next try, in ms."""
        return self.link.next_ms


def refused(code, reference=None):
    """Answers of a server that refuses each CONNECT."""
    return {CONNECT: connack(code, [("server_reference", reference)] if reference else [])}


def test_connects_and_reports():
    k = Case()
    eq(k.link.up, False)
    eq(k.link.step(), 1)
    eq(k.link.step(), 0)
    eq((k.link.up, k.ups, k.downs, k.link.retries), (True, [False], [], 0))
    ms = k.link.step()
    assert 40000 < ms <= 45000, ms
    p = k.peer.expect(CONNECT)
    eq((p.clean_start, p.client_id), (1, "id"))


def test_back_off_doubles_to_its_ceiling():
    k = Case(Peer())
    k.peer.refuse = OSError(111)
    waits = []
    for _ in range(9):
        k.run()
        waits.append(k.wait())
    eq(waits, [1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000])
    eq(k.dice.asked, [w + 1 for w in waits])
    eq(k.link.retries, 9)


def test_full_jitter_reaches_down_to_zero():
    k = Case(Peer(), random=Dice(True))
    k.peer.refuse = OSError(111)
    k.run(5)
    eq(k.wait(), 0)


def test_limits_are_settable():
    k = Case(Peer(), min_ms=10, max_ms=35)
    k.peer.refuse = OSError(111)
    waits = []
    for _ in range(4):
        k.run()
        waits.append(k.wait())
    eq(waits, [10, 20, 35, 35])
    for low, high in ((0, 5), (6, 5), (1, 1 << 30)):
        raises(ValueError, Link, k.c, low, high)


def test_waits_before_the_next_try():
    k = Case(Peer(), min_ms=60)
    k.peer.refuse = OSError(111)
    k.run()
    n = len(k.where)
    t = time.ticks_ms()
    ms = k.link.step()
    assert 0 < ms <= 60
    while len(k.where) == n:
        k.link.poll(10)
    t = time.ticks_diff(time.ticks_ms(), t)
    assert 40 < t < 400, t


def test_every_kind_of_network_failure_is_just_lost():
    """Codes of Linux, lwIP (ESP32) and CYW43: look-up, refused, unreachable, reset, timeouts, EAGAIN variants."""
    for code in rows((-2, -3, -110, -202, 11, 101, 103, 104, 107, 110, 111, 112, 113, 115, 116, 118, 119, 128, 5, 12)):
        k = Case(Peer())
        k.peer.refuse = OSError(code)
        k.run()
        eq(len(k.downs), 1)
        eq(k.link.stopped, False)
        k.peer.refuse = None
        k.run()
        eq(k.link.up, True)

        def fail(buf, *args):
            raise OSError(code)

        k.c._sr = fail
        k.c._ready = False  # the engine has what it was
        k.settle()
        eq((k.link.up, len(k.downs)), (False, 2))
        k.run()
        k.c._sw = fail
        try:
            k.c.ping()
        except OSError as e:
            eq(e.args[0], code)
        k.peer.close()
        k.settle()
        k.run()
        eq(k.ups, [False] * 3)


def test_back_off_is_reset_only_by_a_connection_that_lasted():
    k = Case(Peer(), steady_ms=60000)
    for n in range(5):
        k.run()
        k.lose()
        eq(k.wait(), 1000 << n)
    k.run()
    k.link.steady_ms = 0
    k.link.step()
    eq(k.link.retries, 0)
    waits = []
    k.link.steady_ms = 60000
    for _ in range(4):  # a node of a fleet: spread over 8 times the time
        k.lose()
        waits.append(k.wait())
        k.run()
    eq(waits, [8000, 16000, 32000, 60000])
    k.link.start()
    k.lose()
    eq(k.wait(), 1000)


def test_takeover_war_is_bounded():
    """Two clients with one identifier, a server that just closes the older socket: the tries get rarer."""
    k = Case(Peer())
    waits = []
    for _ in range(10):
        k.run()
        k.lose()
        waits.append(k.wait())
    eq(waits[-1], 60000)
    eq(len(k.where), 10)


def test_taken_over_stops_and_tells_once():
    k = Case(Peer())
    k.run()
    k.peer.send(disconnect(0x8E))
    e = raises(Refused, k.link.poll)
    eq((e.what, e.reason_code), ("DISCONNECT", 0x8E))
    eq((k.link.stopped, k.link.up, len(k.downs)), (True, False, 1))
    for _ in range(20):
        eq(k.link.poll(), False)
        eq(k.link.step(), 1000)
    eq(len(k.where), 1)
    k.link.start()
    k.run()
    eq((k.link.up, len(k.where)), (True, 2))


def test_configuration_stops_and_tells_once():
    for code in rows((0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95, 0x9A, 0x9B)):
        k = Case(Peer(refused(code)))
        k.link.step()
        e = raises(Refused, k.link.poll)
        eq((e.what, e.reason_code, e.reason_code.action), ("CONNACK", code, "fix-config"))
        for _ in range(5):
            eq(k.link.poll(), False)
        eq(len(k.where), 1)
        eq(k.downs, [e])


def test_retry_later_waits_at_least_half():
    for code in rows((0x88, 0x89, 0x97, 0x9F)):
        k = Case(Peer(refused(code)), random=Dice(True))
        waits = []
        for _ in range(8):
            k.run()
            waits.append(k.wait())
        eq(waits, [1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000])
        eq(k.link.stopped, False)


def test_reconnect_and_bug_try_again_and_report():
    for code in rows((0x00, 0x80, 0x81, 0x82, 0x89, 0x8B, 0x8D, 0x93, 0x94, 0x96, 0x97, 0x98, 0xA0)):
        k = Case(Peer())
        k.run()
        k.peer.send(disconnect(code))
        k.settle()
        eq(k.link.stopped, False)
        eq(k.downs[0].reason_code, code)
        assert k.link.error is k.downs[0]
        k.run()
        eq((k.link.up, k.link.error), (True, None))


def test_violation_reconnects_and_reports():
    k = Case(Peer())
    k.run()
    k.peer.send(b"\x00\x00")
    k.settle()
    eq((type(k.downs[0]), k.downs[0].reason_code), (ProtocolError, 0x82))
    eq(k.wait(), 1000)
    k.run()
    eq(k.link.up, True)


def test_session_present_without_a_session_goes_on_clean_at_once():
    k = Case(Peer({CONNECT: [connack(0, (), 1), connack(0, (), 1), connack(0, (), 0)]}), clean_start=False)
    k.run()
    eq(type(k.downs[0]), ProtocolError)
    eq(k.wait(), 0)
    k.run()  # says so to a Clean Start too: not at once any more
    assert k.wait() >= 1000
    k.run()
    eq([p.clean_start for p in k.peer.of(CONNECT)], [0, 1, 1])
    eq(k.ups, [False])


def test_clean_start_is_of_the_first_connection():
    for clean, want in rows(((True, [1, 1, 0]), (False, [0, 0, 0]), (None, [1, 1, 0]))):
        k = Case(Peer(), {"session_expiry": 60}, clean_start=clean)
        k.peer.refuse = None
        k.peer.answers = {CONNECT: [connack(0x88)]}
        k.run(2)
        k.lose()
        k.run()
        eq([p.clean_start for p in k.peer.of(CONNECT)], want)


def test_use_another_server_holds_for_one_connection():
    k = Case(Peer({CONNECT: [connack(0x9C, [("server_reference", "other:1884")])]}))
    k.run()
    eq(k.wait(), 1000)
    k.run()
    eq(k.ups, [False])
    k.lose()
    k.run()
    eq(k.where, [("home", 1000), ("other", 1884), ("home", 1000)])
    k.peer.send(disconnect(0x9C, [("server_reference", "third")]))
    k.settle()
    k.peer.refuse = OSError(111)
    k.run(2)
    eq(k.where[3:], [("third", 0), ("home", 1000)])


def test_server_moved_is_kept():
    k = Case(Peer({CONNECT: [connack(0x9D, [("server_reference", "new:7")])]}))
    k.run(2)
    k.lose()
    k.run()
    eq(k.where, [("home", 1000), ("new", 7), ("new", 7)])
    k.peer.send(disconnect(0x9C, [("server_reference", "x:8")]))
    k.settle()
    k.run()
    k.lose()
    k.run()
    eq(k.where[3:], [("x", 8), ("new", 7)])


def test_redirect_tries_the_servers_named_one_after_another():
    for code in rows((0x9C, 0x9D)):
        k = Case(Peer({CONNECT: [connack(code, [("server_reference", "a:1 b:2 c:3")])]}))
        k.run()
        k.peer.refuse = OSError(113)
        k.run(2)
        k.peer.refuse = None
        k.run()
        eq(k.where, [("home", 1000), ("a", 1), ("b", 2), ("c", 3)])
        eq(k.ups, [False])
        k.lose()
        k.run()
        eq(k.where[-1], ("home", 1000) if code == 0x9C else ("c", 3))
        k.peer.send(disconnect(code, [("server_reference", "a b")]))
        k.settle()
        k.peer.refuse = OSError(113)
        k.run(4)
        home = ("home", 1000) if code == 0x9C else ("b", 0)
        eq(k.where[5:], [("a", 0), ("b", 0), home, home])


def test_redirect_without_a_name_is_retry_later():
    for code in (0x9C, 0x9D):
        k = Case(Peer(refused(code)), random=Dice(True))
        k.run(2)
        eq((k.where, k.wait()), ([("home", 1000)] * 2, 2000))


def test_redirects_obey_the_list():
    k = Case(Peer(refused(0x9D, "bad.org:1 evil.example.org.bad good.example.org:9")), allow=(".example.org",))
    k.run(2)
    eq(k.where, [("home", 1000), ("good.example.org", 9)])
    k = Case(Peer(refused(0x9D, "bad.org:1")), allow=("example.org",))
    k.run(3)
    eq(k.where, [("home", 1000)] * 3)
    assert k.wait() == 8000, k.wait()


def test_redirects_in_a_circle_are_limited():
    k = Case(Peer(refused(0x9C, "a:1")), hops=3)
    waits = []
    for _ in range(12):
        k.run()
        waits.append(k.wait())
    eq([w[0] for w in k.where], ["home", "a", "a", "a"] * 3)
    eq(waits[:8], [1000, 1000, 1000, 16000, 1000, 1000, 1000, 60000])


def test_server_references_are_read():
    table = (
        ("a", [("a", 0)]),
        ("a:1883", [("a", 1883)]),
        ("a:1 b  c:3", [("a", 1), ("b", 0), ("c", 3)]),
        ("[fe80::1]:8883 [::1] ::2", [("fe80::1", 8883), ("::1", 0), ("::2", 0)]),
        ("10.0.0.1:65535", [("10.0.0.1", 65535)]),
        ("a:65536 a:x a:-1 : :5 a: [::1]x [::1]:", []),
        ("", []),
        ("   ", []),
        ("[", []),
        ("[]:1", []),
    )
    for text, want in rows(table):
        eq(references(text), want)
    for text, allow, want in rows(
        (
            ("a b.c", ("b.c",), [("b.c", 0)]),
            ("a.b.c b.c xb.c", (".b.c",), [("a.b.c", 0)]),
            ("a", (), []),
        )
    ):
        eq(references(text, allow), want)


def test_subscriptions_are_made_again_without_a_session():
    got = []
    k = Case(Peer(), {"session_expiry": 60})
    k.run()
    k.c.subscribe("a/+", 1, to=lambda m: got.append(bytes(m.topic())))
    k.c.subscribe([("b", 2), ("c", 0)])
    k.c.subscribe("d")
    k.c.unsubscribe("d")
    k.lose()
    k.peer.packets.clear()
    k.peer.seen = 0
    k.run()
    for _ in range(5):
        k.link.step()
    eq([f for p in k.peer.of(SUBSCRIBE) for f in p.filters], [("a/+", 1), ("b", 2), ("c", 0)])
    eq(k.peer.of(SUBSCRIBE)[0].prop("subscription_identifier"), 1)
    eq(k.ups, [False, False])
    k.peer.send(publish("a/1", b"x", properties=[("subscription_identifier", 1)]))
    k.link.step()
    eq(got, [b"a/1"])


def test_subscriptions_stay_with_a_session():
    k = Case(Peer(), {"session_expiry": 60})
    k.run()
    k.c.subscribe("a")
    k.lose()
    k.peer.session_present = 1
    k.peer.packets.clear()
    k.run()
    for _ in range(5):
        k.link.step()
    eq((k.ups, k.peer.of(SUBSCRIBE)), ([False, True], []))


def test_subscribe_in_on_up():
    k = Case()
    k.link.on_up = lambda c, present: k.ups.append(bytes(c.subscribe("t", 1)))
    k.run()
    eq(k.ups, [b"\x01"])


def test_connection_lost_in_on_up_is_lost():
    k = Case(Peer({SUBSCRIBE: lambda peer, p: peer.reset()}))
    k.link.on_up = lambda c, present: c.subscribe("t", 1)
    k.run()
    eq((k.link.up, len(k.downs), k.wait()), (False, 1, 1000))


def test_no_suback_in_on_up_is_lost():
    k = Case(Peer({SUBSCRIBE: None}))
    k.link.on_up = lambda c, present: c.subscribe("t", 1, timeout=0.05)
    k.run()
    eq((k.link.up, k.c.isconnected(), len(k.downs)), (False, False, 1))


def test_subscription_refused_in_on_up_reaches_the_caller():
    from support.packets import suback

    k = Case(Peer({SUBSCRIBE: lambda peer, p: suback(p.pid, [0x87])}))
    k.link.on_up = lambda c, present: c.subscribe("t", 1)
    k.link.step()
    e = raises(Refused, k.link.poll)
    eq((e.what, k.link.up, k.c.isconnected()), ("SUBACK", True, True))


def test_refusal_that_another_call_got_is_not_fought():
    k = Case()
    k.run()
    k.c.publish("t", b"x", qos=1)
    k.peer.send(disconnect(0x8E))
    k.peer.link.inbox = bytearray(disconnect(0x8E))
    raises(Refused, k.c.wait)
    eq(k.link.poll(), False)
    eq((k.link.stopped, len(k.where), k.downs), (True, 1, [None]))


def test_dropped_by_the_caller_comes_back():
    k = Case()
    k.run()
    k.c.drop()
    k.settle()
    eq((k.downs, k.wait()), ([None], 1000))
    k.run()
    eq(k.link.up, True)


def test_stop_stays_down():
    k = Case()
    k.run()
    k.link.stop()
    for _ in range(5):
        eq(k.link.poll(), False)
    eq((k.link.up, len(k.where), k.c.isconnected(), k.downs), (False, 1, False, []))
    k.link.start()
    k.run()
    eq(k.link.up, True)


def test_connect_is_bounded_by_its_timeout():
    k = Case(Peer({CONNECT: None}), {"timeout": 0.2})
    k.link.step()
    t = time.ticks_ms()
    while not k.downs:
        k.link.poll(50)
    t = time.ticks_diff(time.ticks_ms(), t)
    assert 150 < t < 1500, t
    k = Case(Peer({CONNECT: connack()[:3]}), {"timeout": 0.2})  # stalls in the middle of the CONNACK
    k.link.step()
    t = time.ticks_ms()
    while not k.downs:
        k.link.poll(50)
    t = time.ticks_diff(time.ticks_ms(), t)
    assert 150 < t < 1500, t


def test_write_that_stalls_while_connecting_is_bounded():
    k = Case(Peer(stalled=True), {"timeout": 0.2})
    k.link.step()
    t = time.ticks_ms()
    while not k.downs:
        k.link.poll(50)
    assert time.ticks_diff(time.ticks_ms(), t) < 2500


def test_half_open_is_lost():
    """Connected, then silence: no PINGRESP."""
    k = Case(Peer(), {"keepalive": 1, "timeout": 0.3})
    k.run()
    k.peer.link.death = "silence"
    k.peer.link.dead = True
    t = time.ticks_ms()
    while not k.downs:
        k.link.poll(100)
    t = time.ticks_diff(time.ticks_ms(), t)
    assert 500 < t < 3000, t


def test_stall_in_the_middle_of_a_packet_is_lost():
    for part in rows((b"\x30", b"\x30\x10\x00", b"\x30\x10\x00\x01t\x00abc", b"\x30\xff\xff", b"\x40")):
        k = Case(Peer(), {"keepalive": 1, "timeout": 0.3})
        k.run()
        k.peer.answers[12] = None  # PINGREQ
        k.peer.send(part)
        t = time.ticks_ms()
        while not k.downs:
            k.link.poll(100)
            assert time.ticks_diff(time.ticks_ms(), t) < 5000


def test_watchdog_is_fed_while_waiting():
    fed = []
    k = Case(Peer(), min_ms=1500, feed=lambda: fed.append(time.ticks_ms()))
    k.peer.refuse = OSError(111)
    k.run()
    fed.clear()
    t = time.ticks_ms()
    k.link.poll(1300)
    k.peer.refuse = None
    k.run()
    k.link.poll(1300)
    fed.append(time.ticks_ms())
    for x in fed:
        assert time.ticks_diff(x, t) <= 550, [time.ticks_diff(f, t) for f in fed]
        t = x


def test_credentials_stay_out_of_every_text():
    secret = "s3cr3t-w0rd"
    answers = (connack(0x86), connack(0x87), b"\x00\x00", lambda p, x: p.reset())
    for answer in rows(answers):
        k = Case(Peer({CONNECT: answer}), {"user": "u-" + secret, "password": secret.encode()})
        try:
            k.run()
        except Refused:
            pass
        for x in (k.downs[0], k.link, k.c, k.link.error):
            assert secret not in str(x) and secret not in repr(x)


def test_dice_roll_within_bounds():
    if INTERPRETER == "wasm32":
        return
    for n in (1, 2, 1000, 60001, 1 << 28):
        for _ in range(50):
            assert 0 <= dice(n) < n
    assert len(set([dice(1000) for _ in range(100)])) > 50


def test_poll_while_up_costs_nothing():
    if INTERPRETER == "cpython":
        return
    import gc

    k = Case()
    k.run()
    for _ in range(5):
        k.link.step()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(200):
        k.link.poll()
        k.link.step()
    used = gc.mem_alloc() - before
    gc.enable()
    eq(used, 0)
