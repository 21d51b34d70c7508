# The settings of a node: what keys there are, of what type, with what defaults; read from settings.json and checked.
# Runs on the board and on the host (tools/deploy.py checks with it before anything is copied). Imports json; knows no hardware.
import json

# key, kind, default (None: must be given), what it means. Kinds: str, int, bool, a tuple of words, wifi, tls, text (str or null).
KEYS = (
    ("wifi", "wifi", None, "networks in order of preference, each {ssid, password}"),
    ("country", "str", "", "two letters, for the radio's channels"),
    ("power_save", "bool", False, "let the radio doze between beacons"),
    ("wifi_timeout", "int", 20, "seconds for one network, address included"),
    ("server", "str", None, "name or address of the broker"),
    ("port", "int", 0, "0: 1883, or 8883 with tls"),
    ("user", "text", "", ""),
    ("password", "text", "", ""),
    ("tls", "tls", False, "{ca: file, server_hostname: name}, or false"),
    ("ntp", "str", "pool.ntp.org", "time server, needed for tls; empty: none"),
    ("client_id", "str", "", "empty: made from the chip's number"),
    ("topic", "str", "nodes", "telemetry goes to TOPIC/CLIENT_ID/telemetry"),
    ("qos", "int", 1, "0, 1 or 2"),
    ("keepalive", "int", 60, "seconds"),
    ("session_expiry", "int", 86400, "seconds that the broker keeps the session"),
    ("inflight", "int", 1000, "bytes for messages not yet acknowledged"),
    ("store", ("none", "file", "nvs", "rtc"), "none", "where these bytes survive a reset"),
    ("interval", "int", 60, "seconds between two measurements"),
    ("sleep", ("none", "light", "deep"), "none", "what to do between them"),
    ("watchdog", "int", 30, "seconds; 0: none"),
)
RANGES = {
    "wifi_timeout": (1, 300), "port": (0, 65535), "qos": (0, 2), "keepalive": (0, 65535), "session_expiry": (0, 4294967295),
    "inflight": (64, 65535), "interval": (1, 500000), "watchdog": (0, 120),
}  # fmt: skip
LACKS = {"rp2": (("store", "nvs"), ("store", "rtc"), ("sleep", "deep")), "esp32": ()}
_NAMES = {
    "str": "text",
    "text": "text",
    "int": "a whole number",
    "bool": "true or false",
    "wifi": 'a list of {"ssid": ..., "password": ...}',
    "tls": 'false or {"ca": ..., "server_hostname": ...}',
}


class SettingsError(Exception):
    """`lines`: one line of text for each thing that is wrong."""

    def __init__(self, lines):
        super().__init__("; ".join(lines))
        self.lines = lines


def _group(key, value, keys, required, say):
    # an object inside the settings: every key known, required ones there, every value text
    for k in value:
        if k not in keys:
            say('unknown key "%s" in "%s"' % (k, key))
        elif not isinstance(value[k], str):
            say('"%s" in "%s" must be text' % (k, key))
    if required not in value:
        say('missing key "%s" in "%s"' % (required, key))


def _fits(kind, v):
    if kind == "int":
        return type(v) is int
    if kind == "bool":
        return type(v) is bool
    if kind == "wifi":
        return isinstance(v, list) and len(v) > 0 and all(isinstance(n, dict) for n in v)
    if kind == "tls":
        return v is False or isinstance(v, dict)
    return isinstance(v, str)


def check(values, board=None, source="settings.json"):
    """Complete `values` (dict) with defaults, in place. Returns a list of lines, one for each mistake; empty when all is well.

    board: "esp32" or "rp2" refuses what that board cannot do.
    """
    lines = []

    def say(text):
        lines.append(source + ": " + text)

    known = [k[0] for k in KEYS]
    for key in values:
        if key not in known:
            say('unknown key "%s"' % key)
    for key, kind, default, _ in KEYS:
        if key not in values:
            if default is None:
                say('missing key "%s"' % key)
            else:
                values[key] = default
            continue
        v = values[key]
        if kind == "text" and v is None:
            values[key] = ""
        elif isinstance(kind, tuple):
            if v not in kind:
                say('"%s" must be one of %s' % (key, ", ".join(kind)))
            elif board and (key, v) in LACKS[board]:
                say('"%s": "%s" is not possible on %s' % (key, v, board))
        elif not _fits(kind, v):
            say('"%s" must be %s' % (key, _NAMES[kind]))
        elif kind == "wifi":
            for n in v:
                _group(key, n, ("ssid", "password"), "ssid", say)
        elif kind == "tls" and v is not False:
            _group(key, v, ("ca", "server_hostname"), "ca", say)
        elif key in RANGES and not RANGES[key][0] <= v <= RANGES[key][1]:
            say('"%s" must be between %d and %d' % (key, RANGES[key][0], RANGES[key][1]))
    if not lines:
        for key in ("server", "topic"):
            if not values[key]:
                say('"%s" must not be empty' % key)
        if values["country"] and len(values["country"]) != 2:
            say('"country" must be two letters')
        if values["sleep"] == "deep" and values["qos"] and values["store"] == "none":
            say('"sleep": "deep" with "qos": %d needs a "store", for example "rtc"' % values["qos"])
        if values["sleep"] != "none" and values["session_expiry"] <= values["interval"]:
            say('"session_expiry" must be longer than "interval", or the broker forgets the node while it sleeps')
        if values["store"] == "rtc" and values["inflight"] > 2037:
            say('"inflight" can be 2037 at most in RTC memory (1013 for two copies)')
        for c in "+#":
            if c in values["topic"]:
                say('"topic" must not contain "%s"' % c)
    return lines


def load(path="settings.json", board=None):
    """Read, check and complete the settings in `path`. Returns the dict; raises SettingsError with a line for each mistake."""
    try:
        with open(path) as f:
            values = json.load(f)
    except OSError:
        raise SettingsError([path + ": not found; copy settings.example.json and fill it in"])
    except ValueError:
        raise SettingsError([path + ": not valid JSON"])
    if not isinstance(values, dict):
        raise SettingsError([path + ": must be an object {...}"])
    lines = check(values, board, path)
    if lines:
        raise SettingsError(lines)
    return values
