# The settings of the host node: what keys there are, and a check that names every mistake in one go.
# Belongs here: reading settings.json. Never here: what the settings do. Imports json only.
import json

# key, type, default (None: must be given), smallest, largest (for text: length)
KEYS = (
    ("server", str, None, 1, 255),
    ("port", int, 1883, 1, 65535),
    ("user", str, "", 0, 65535),
    ("password", str, "", 0, 65535),
    ("client_id", str, None, 1, 65535),
    ("topic", str, None, 1, 200),
    ("keepalive", int, 30, 0, 65535),
    ("session_expiry", int, 3600, 0, 4294967295),
    ("inflight", int, 2048, 256, 65535),
    ("interval_ms", int, 1000, 20, 86400000),
)


class SettingsError(Exception):
    """The text has one line for each thing that is wrong."""


def check(values):
    """Complete the dictionary `values` with defaults, in place -> list of mistakes, empty when all is well."""
    if not isinstance(values, dict):
        return ["must be one object: {...}"]
    wrong = ["unknown key: " + name for name in values if name not in [k[0] for k in KEYS]]
    for name, kind, default, low, high in KEYS:
        value = values.get(name)
        if value is None:
            if default is None:
                wrong.append("missing key: " + name)
            values[name] = default
        elif type(value) is not kind:
            wrong.append("%s: must be %s" % (name, "text" if kind is str else "a whole number"))
        elif not low <= (value if kind is int else len(value)) <= high:
            wrong.append("%s: %s %d to %d" % (name, "length" if kind is str else "must be", low, high))
        elif name == "topic" and ("+" in value or "#" in value):
            wrong.append("topic: no + and no #")
    return wrong


def load(path="settings.json"):
    """-> the settings as a complete dictionary. Raises SettingsError, whose text says what to do."""
    try:
        with open(path) as f:
            values = json.load(f)
    except OSError:
        raise SettingsError(path + ": not found; copy settings.example.json to it and put your broker in") from None
    except ValueError as e:
        raise SettingsError("%s: not JSON: %s" % (path, e)) from None
    wrong = check(values)
    if wrong:
        raise SettingsError("\n".join([path + ": " + line for line in wrong]))
    return values
