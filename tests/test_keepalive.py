"""Keep-alive (3.1.2.10, 3.12, 3.13): pings in time, whatever else is sent; no answer means that the connection is dead."""

from support import packets as P
from support.clock import Clock
from support.packets import PINGREQ, PINGRESP
from support.session import connected, heard, settle, up
from support.t import eq, raises, rows

time = Clock()


def run(c, ms, also=None):
    """Poll for that long."""
    end = time.ticks_add(time.ticks_ms(), ms)
    while time.ticks_diff(end, time.ticks_ms()) > 0:
        c.poll(20)
        if also:
            also()


def test_bytes_of_a_ping():
    c, peer = connected()
    c.ping()
    eq(peer.expect(PINGREQ).raw, b"\xc0\x00")


def test_pings_while_idle():
    """3.1.2-20: never more than the interval between two packets."""
    c, peer = connected(keepalive=1)
    pongs = []
    c.on_pong = lambda c: pongs.append(time.ticks_ms())
    start = time.ticks_ms()
    run(c, 2700)
    eq(len(pongs), 3)
    last = start
    for t in pongs:
        assert 600 < time.ticks_diff(t, last) < 1000, [time.ticks_diff(t, start) for t in pongs]
        last = t
    eq(c.isconnected(), True)


def test_pings_although_messages_are_sent():
    """A ping finds a half-open connection that swallows QoS 0 messages."""
    c, peer = connected(keepalive=1)
    run(c, 1800, lambda: c.publish("t", b"x"))
    eq(len(peer.of(PINGREQ)), 2)


def test_the_server_chooses_the_interval():
    """3.1.2-21, 3.2.2-21"""
    c, peer = connected({}, {"server_keep_alive": 1}, keepalive=600)
    run(c, 900)
    eq(len(peer.of(PINGREQ)), 1)
    c, peer = connected({}, {"server_keep_alive": 0}, keepalive=1)
    run(c, 1100)
    eq(len(peer.of(PINGREQ)), 0)
    c, peer = connected({}, (), keepalive=0)
    run(c, 300)
    eq(len(peer.of(PINGREQ)), 0)


def test_a_late_answer_starts_the_interval_anew():
    """However many rounds are idle before the PINGRESP, and wherever it is found: the next ping is due after the interval."""
    c, peer = connected({PINGREQ: None}, keepalive=8)
    for idle in rows((0, 40, 100)):
        n = len(peer.of(PINGREQ))
        c.ping()
        run(c, idle)
        peer.send(P.pingresp())
        run(c, 5800)
        eq(len(peer.of(PINGREQ)), n + 1)
        run(c, 400)
        eq(len(peer.of(PINGREQ)), n + 2)
        peer.send(P.pingresp())
        settle(c)


def test_no_answer_closes():
    """3.12.4-1, U-04"""
    c, peer = connected({PINGREQ: None}, keepalive=1)
    told = []
    c.on_disconnect = lambda c, u, flags, code, props: told.append((flags, code))
    start = time.ticks_ms()
    raises(OSError, run, c, 4000)
    took = time.ticks_diff(time.ticks_ms(), start)
    assert 1000 < took < 2500, took
    eq((peer.link.closed, c.isconnected(), told), (True, False, [(0, None)]))
    eq(len(peer.of(PINGREQ)), 1)


def test_a_ping_of_the_user_is_watched_too():
    c, peer = connected({PINGREQ: None}, keepalive=0, timeout=1)
    c.ping()
    raises(OSError, run, c, 3000)
    eq(peer.link.closed, True)


def test_an_answer_in_pieces_or_behind_other_packets_counts():
    c, peer = connected({PINGREQ: None}, keepalive=1)
    got = heard(c)
    run(c, 800)
    peer.send(P.publish("t", bytes(100))[:50])
    run(c, 300)
    peer.send(P.publish("t", bytes(100))[50:] + P.pingresp()[:1])
    run(c, 200)
    peer.send(P.pingresp()[1:])
    del peer.answers[PINGREQ]
    run(c, 1200)
    eq((c.isconnected(), len(got)), (True, 1))


def test_a_pingresp_nobody_asked_for():
    c, peer = connected()
    pongs = []
    c.on_pong = lambda c: pongs.append(1)
    peer.send(P.pingresp(), P.pingresp())
    settle(c)
    up(c, peer)
    eq(pongs[-1:], [1])
    eq(PINGRESP, 13)


def test_a_peer_that_takes_nothing_is_dead_after_the_timeout():
    c, peer = connected(keepalive=1, timeout=1)
    peer.link.stalled = True
    raises(OSError, run, c, 5000)
    eq(peer.link.closed, True)


def test_half_open():
    """Neither side hears anything any more: found by the keep-alive."""
    c, peer = connected(keepalive=1, timeout=1)
    peer.link.death = "silence"
    peer.link.dead = True
    raises(OSError, run, c, 5000)
    eq((peer.link.closed, c.isconnected()), (True, False))


def test_due_ms_says_when_to_poll_again():
    for keepalive in rows((4, 60)):
        c, peer = connected(keepalive=keepalive)
        assert keepalive * 740 < c.due_ms() <= keepalive * 750, c.due_ms()


def test_a_late_caller_pings_at_once():
    """Trap: the application did not poll for longer than the interval."""
    c, peer = connected(keepalive=1)
    time.sleep_ms(1300)
    c.poll()
    eq(len(peer.of(PINGREQ)), 1)
    settle(c)
    eq(c.isconnected(), True)


def test_waiting_is_not_busy():
    """poll() of a transport that cannot be polled sleeps between its looks."""
    c, peer = connected()
    n = [0]
    read = peer.link.readinto

    def counted(*a):
        n[0] += 1
        return read(*a)

    c._sr = counted
    c.poll(200)
    assert n[0] < 60, n
