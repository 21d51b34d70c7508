# ports/common/settings: each mistake gives one clear line. Runs on CPython and MicroPython.
import json
import sys

import settings

GOOD = {"wifi": [{"ssid": "home", "password": "secret"}], "server": "broker"}


def lines(board=None, **change):
    v = dict(GOOD)
    for k in change:
        if change[k] is None:
            v.pop(k, None)
        else:
            v[k] = change[k]
    return settings.check(v, board)


def one(text, board=None, **change):
    got = lines(board, **change)
    assert got == ["settings.json: " + text], got


def test_good_settings_get_their_defaults():
    v = dict(GOOD)
    assert settings.check(v) == []
    assert [k[0] for k in settings.KEYS if k[0] not in v] == []
    assert (v["port"], v["qos"], v["tls"], v["sleep"]) == (0, 1, False, "none")


def test_unknown_key():
    one('unknown key "wfi"', wfi=1)
    one('unknown key "pass" in "wifi"', wifi=[{"ssid": "a", "pass": "b"}])
    one('unknown key "key" in "tls"', tls={"ca": "/ca.der", "key": "k"})


def test_missing_key():
    one('missing key "server"', server=None)
    one('missing key "wifi"', wifi=None)
    one('missing key "ssid" in "wifi"', wifi=[{"password": "b"}])
    one('missing key "ca" in "tls"', tls={})


def test_wrong_type():
    one('"port" must be a whole number', port="1883")
    one('"port" must be a whole number', port=True)
    one('"port" must be a whole number', port=1.5)
    one('"power_save" must be true or false', power_save=1)
    one('"server" must be text', server=5)
    one('"wifi" must be a list of {"ssid": ..., "password": ...}', wifi={"ssid": "a"})
    one('"wifi" must be a list of {"ssid": ..., "password": ...}', wifi=[])
    one('"password" in "wifi" must be text', wifi=[{"ssid": "a", "password": 12345678}])
    one('"tls" must be false or {"ca": ..., "server_hostname": ...}', tls=True)


def test_wrong_value():
    one('"qos" must be between 0 and 2', qos=3)
    one('"sleep" must be one of none, light, deep', sleep="long")
    one('"country" must be two letters', country="Netherlands")
    one('"topic" must not contain "#"', topic="a/#")
    one('"server" must not be empty', server="")
    one('"sleep": "deep" with "qos": 1 needs a "store", for example "rtc"', sleep="deep")
    one(
        '"session_expiry" must be longer than "interval", or the broker forgets the node while it sleeps',
        sleep="light",
        session_expiry=60,
    )
    one('"inflight" can be 2037 at most in RTC memory (1013 for two copies)', store="rtc", inflight=2048)


def test_what_the_board_cannot_do():
    one('"store": "rtc" is not possible on rp2', "rp2", store="rtc")
    one('"sleep": "deep" is not possible on rp2', "rp2", sleep="deep", store="file")
    assert lines("esp32", store="rtc", sleep="deep") == []


def test_each_mistake_has_its_line():
    assert len(lines(wfi=1, server=None, port="x", qos=9)) == 4


def test_load_says_what_is_wrong_with_the_file():
    path = sys.argv[0].rsplit("/", 1)[0] + "/no-such-settings.json"
    try:
        settings.load(path)
    except settings.SettingsError as e:
        assert e.lines == [path + ": not found; copy settings.example.json and fill it in"]
    else:
        raise AssertionError("nothing raised")


def test_the_examples_are_right():
    root = sys.argv[0].rsplit("/", 1)[0] + "/../../../ports/"
    for b in ("esp32", "rp2"):
        with open(root + b + "/settings.example.json") as f:
            v = json.load(f)
        assert settings.check(v, b) == []
