# ports/common/clock against a time server that answers, is silent, or sends half an answer. Virtual time, both interpreters.
import fakes
from case_wifi import boot, each, net


def up(w):
    boot(w)
    from wifi import Wifi

    assert Wifi([net("home")]).wait(5000)
    from clock import Clock

    return Clock


def test_clock_is_unknown_until_set_and_then_right():
    def run(w):
        Clock = up(w)
        import clock

        assert clock.unix() == 0
        c = Clock()
        assert c.wait(5000)
        assert 1790000000 <= clock.unix() <= 1790000100

    each(run)


def test_silent_time_server_is_asked_ever_less_often():
    def run(w):
        Clock = up(w)
        w.ntp = "timeout"
        c = Clock()
        assert not c.wait(120000)
        assert 5 <= w.ntp_asked <= 7, w.ntp_asked
        assert "110" in c.why or "ETIMEDOUT" in c.why, c.why
        w.ntp = "short"
        w.pass_ms(300000)
        assert not c.sync()
        w.ntp = "ok"
        assert c.wait(310000) and c.why == ""

    each(run)


def test_clock_is_set_again_every_day_across_the_wrap_of_ticks():
    for start in (0, (1 << 30) - 3600000):
        w = fakes.World("esp32", start_ms=start)
        w.ap("home", "secret")
        Clock = up(w)
        c = Clock()
        for _ in range(5 * 24):
            assert c.sync()
            w.pass_ms(3600000)
        assert w.ntp_asked == 5, (start, w.ntp_asked)


def test_no_time_server_asks_nobody():
    def run(w):
        Clock = up(w)
        assert not Clock("").wait(1000)
        assert w.ntp_asked == 0

    each(run)


def test_date_known_already_asks_nobody():
    w = fakes.World("esp32")
    w.unix0 = 1790000000
    boot(w)
    from clock import Clock

    assert Clock().wait(0)
    assert w.ntp_asked == 0


def test_waiting_for_the_date_feeds_the_watchdog():
    def run(w):
        Clock = up(w)
        import chip

        w.ntp = "timeout"
        c = Clock(feed=chip.watchdog(3000).feed)
        c.wait(20000)

    each(run)


def test_uptime_is_right_after_ticks_have_wrapped_twice():
    w = fakes.World("rp2", start_ms=(1 << 30) - 500)
    boot(w)
    from clock import Uptime

    u = Uptime()
    for day in range(26):
        assert u.seconds() == day * 86400
        w.pass_ms(86400000)
    assert w.ms > 2 << 30
