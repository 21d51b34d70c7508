# ports/*/wifi and chip against drivers that behave like the real ones, in virtual time. Runs on CPython and MicroPython.
import sys

import fakes

BOARDS = ("esp32", "rp2")
HERE = sys.argv[0].rsplit("/", 1)[0]


def boot(world, sensor="mcu"):
    """The chip starts: fresh modules, the same world."""
    for b in BOARDS:
        p = HERE + "/../../../ports/" + b
        if p in sys.path:
            sys.path.remove(p)
    sys.path.insert(0, HERE + "/../../../ports/" + world.board)
    fakes.install(world, sensor)


def wifi(world, networks, **kw):
    boot(world)
    from wifi import Wifi

    return Wifi(networks, **kw)


def net(ssid, password="secret"):
    return {"ssid": ssid, "password": password}


def each(f, **kw):
    for b in BOARDS:
        w = fakes.World(b, **kw)
        w.ap("home", "secret")
        f(w)


def test_joins_and_gets_an_address_on_both_boards():
    def run(w):
        f = wifi(w, [net("home")], country="NL", hostname="node-1")
        assert not f.up()
        assert f.wait(5000)
        assert (w.country, w.hostname) == ("NL", "node-1")
        assert f.rssi() == -60 and f.ssid() == "home" and f.why == ""
        assert w.log == ["join home"], w.log  # the country was set before the radio

    each(run)


def test_power_saving_is_what_was_asked_for():
    for b, on, value in (("esp32", False, 0), ("esp32", True, 1), ("rp2", False, 0xA11140), ("rp2", True, 0xA11142)):
        w = fakes.World(b)
        f = wifi(w, [net("home")], power_save=on)
        f.up()
        assert w.sta.pm == value, (b, on, w.sta.pm)


def test_wrong_password_is_named_and_the_next_network_is_tried():
    def run(w):
        w.ap("other", "right")
        f = wifi(w, [net("home", "wrong"), net("other", "right")])
        seen = []
        for _ in range(200):
            if f.up():
                break
            if f.why and f.why not in seen:
                seen.append(f.why)
            w.pass_ms(50)
        assert f.ssid() == "other" and f.up()
        assert seen == ["wrong password"], seen
        assert w.log == ["join home", "join other"], w.log

    each(run)


def test_handshake_timeout_is_a_wrong_password_on_esp32():
    for status in (15, 204):
        w = fakes.World("esp32")
        w.ap("home", "secret", status=status)
        f = wifi(w, [net("home")])
        assert not f.wait(1500)
        assert f.why == "wrong password", (status, f.why)


def test_other_refusals_keep_their_number():
    for b, status in (("esp32", 203), ("esp32", 2), ("rp2", -1)):
        w = fakes.World(b)
        w.ap("home", "secret", status=status)
        f = wifi(w, [net("home")])
        assert not f.wait(1500)
        assert f.why == "refused (%d)" % status, f.why


def test_no_access_point_is_named_and_rounds_get_rarer():
    def run(w):
        del w.aps["home"]
        f = wifi(w, [net("home")])
        at = []
        for _ in range(6000):
            n = len(w.log)
            assert not f.up()
            if len(w.log) > n:
                at.append(w.ms)
            w.pass_ms(50)
        assert f.why == "no access point"
        gaps = [at[i + 1] - at[i] for i in range(len(at) - 1)]
        assert gaps[0] < 4500 and gaps[-1] > 60000, gaps
        assert max(gaps) < 64000, gaps
        w.ap("home", "secret")  # it appears at last
        assert f.wait(70000)

    each(run)


def test_slow_dhcp_is_waited_for_within_the_timeout():
    def run(w):
        w.ap("home", "secret", dhcp_ms=12000)
        assert wifi(w, [net("home")], timeout=20).wait(15000)
        w.ap("home", "secret", dhcp_ms=12000)
        f = wifi(w, [net("home")], timeout=5)
        assert not f.wait(6000)
        assert f.why == "time is up"

    each(run)


def test_a_try_that_hung_does_not_spoil_the_next_one():
    def run(w):
        w.ap("home", "secret", dhcp_ms=60000)
        w.ap("other", "right")
        f = wifi(w, [net("home"), net("other", "right")], timeout=5)
        assert f.wait(9000), f.why
        assert f.ssid() == "other" and w.log == ["join home", "join other"], w.log

    each(run)


def test_soft_reset_leaves_a_radio_that_is_joined():
    def run(w):
        f = wifi(w, [net("home")])
        assert f.wait(5000)
        from wifi import Wifi

        g = Wifi([net("home")])
        assert g.wait(5000)
        w.ap("other", "right")
        g = Wifi([net("other", "right")])
        assert g.wait(5000) and w.sta.target[0] == "other"

    each(run)


def test_lost_link_is_counted_and_joined_again():
    def run(w):
        f = wifi(w, [net("home")])
        assert f.wait(5000)
        w.pass_ms(10000)
        ap = w.aps.pop("home")
        assert not f.up()
        assert (f.lost, f.why) == (1, "link lost")
        assert f.rssi() is None
        w.aps["home"] = ap
        assert f.wait(10000) and f.lost == 1

    each(run)


def test_ticks_that_wrap_while_joining_do_no_harm():
    for wrap in (100, 900, 5000):
        each(lambda w: None)
        w = fakes.World("esp32", start_ms=(1 << 30) - wrap)
        f = wifi(w, [net("home")])
        assert not f.wait(4000) and f.why in ("no access point", "")
        w.ap("home", "secret")
        assert f.wait(10000), (wrap, f.why)
        assert w.ms > 1 << 30


def test_open_network_has_no_key():
    def run(w):
        w.ap("cafe")
        assert wifi(w, [{"ssid": "cafe"}]).wait(5000)
        assert wifi(w, [net("cafe", "")]).wait(5000)

    each(run)


def test_radio_off_and_on_again():
    def run(w):
        f = wifi(w, [net("home")])
        assert f.wait(5000)
        f.off()
        assert not w.radio_on
        import chip

        chip.sleep("light", 1000)  # a Pico W would hang with its radio on
        assert f.wait(5000) and f.lost == 0
        f.off()
        f.off()

    each(run)


def test_watchdog_is_fed_while_waiting_and_bites_when_not():
    def run(w):
        w.ap("home", "secret", dhcp_ms=15000)
        f = wifi(w, [net("home")])
        import chip

        dog = chip.watchdog(8000)
        f.feed = dog.feed
        assert f.wait(20000)
        assert w.feeds > 100
        w.pass_ms(7000)
        try:
            w.pass_ms(2000)
        except fakes.Reset as e:
            assert e.cause == "wdt"
        else:
            raise AssertionError("the watchdog did not bite")

    each(run)


def test_watchdog_times_stay_within_what_the_chip_can():
    for b, ms, want in (("esp32", 500, 1000), ("esp32", 30000, 30000), ("rp2", 30000, 8388), ("rp2", 2000, 2000)):
        w = fakes.World(b)
        boot(w)
        import chip

        chip.watchdog(ms)
        assert w.wdt_ms == want, (b, ms, w.wdt_ms)


def test_light_sleep_outlasts_the_watchdog():
    def run(w):
        boot(w)
        import chip

        dog = chip.watchdog(8000)
        chip.sleep("light", 61500, dog.feed)
        assert w.slept == 61500
        w.pass_ms(7900)

    each(run)


def test_chip_tells_identity_and_temperature():
    for b, sensor, cid in (("esp32", "mcu", "esp32-246f28010203"), ("esp32", "raw", "esp32-246f28010203"),
                           ("rp2", "", "pico-e6613852834b2c2f")):  # fmt: skip
        w = fakes.World(b)
        w.temperature = 31.0
        boot(w, sensor)
        import chip

        assert chip.client_id() == cid, chip.client_id()
        assert abs(chip.temperature() - 31) < 0.5, (b, sensor, chip.temperature())
        assert chip.BOARD == b
    w = fakes.World("esp32")
    boot(w, "none")
    import chip

    assert chip.temperature() is None


def test_deep_sleep_wakes_with_its_cause_and_power_loss_without():
    w = fakes.World("esp32")
    boot(w)
    import chip

    assert not chip.woke()
    try:
        chip.sleep("deep", 60000)
    except fakes.Reset as e:
        assert (e.cause, e.ms) == ("deep", 60000)
    boot(w)
    import chip

    assert chip.woke()
    boot(fakes.World("rp2"))
    import chip

    assert not chip.woke()


def test_both_boards_have_the_same_names():
    names = []
    for b in BOARDS:
        boot(fakes.World(b))
        import chip

        names.append([n for n in dir(chip) if n[0] != "_" and n not in ("const", "machine", "esp32", "hexlify")])
    assert names[0] == names[1], names
