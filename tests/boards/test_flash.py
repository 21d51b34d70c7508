"""tools/flash.py with a stand-in for esptool and a folder that stands for the boot-select drive."""

import json
import os
import struct
import subprocess
import sys
import threading

import pytest
from conftest import ROOT, tool, until


@pytest.fixture
def esp_bin(tmp_path):
    def make(chip):
        f = tmp_path / "firmware.bin"
        f.write_bytes(b"\xe9\x03\x02\x20" + bytes(8) + struct.pack("<H", chip) + bytes(4000))
        return f

    return make


@pytest.fixture
def uf2(tmp_path):
    def make(family):
        f = tmp_path / "firmware.uf2"
        f.write_bytes(struct.pack("<8I", 0x0A324655, 0x9E5D5157, 0x2000, 0x10000000, 256, 0, 1, family) + bytes(480))
        return f

    return make


@pytest.fixture
def esptool(tmp_path):
    """flash(args) with a module esptool that writes its arguments down; esptool.fail: the step that fails."""
    d = tmp_path / "modules" / "esptool"
    d.mkdir(parents=True)
    log = tmp_path / "esptool.log"
    (d / "__init__.py").write_text("")
    (d / "__main__.py").write_text(
        "import json, os, sys\nopen(%r, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        "sys.exit(1 if os.environ.get('ESPTOOL_FAIL') in sys.argv else 0)\n" % str(log)
    )

    def flash(*args, fail=""):
        env = dict(os.environ, PYTHONPATH=str(d.parent), ESPTOOL_FAIL=fail)
        p = subprocess.run(
            [sys.executable, str(ROOT / "tools" / "flash.py"), *[str(a) for a in args]], capture_output=True, text=True, env=env
        )
        steps = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return p, steps

    return flash


@pytest.mark.parametrize("chip, name, offset", [(0, "esp32", "0x1000"), (5, "esp32c3", "0x0"), (9, "esp32s3", "0x0")])
def test_esp32_is_erased_written_and_verified(esptool, esp_bin, chip, name, offset):
    f = esp_bin(chip)
    p, steps = esptool(f, "--port", "/dev/ttyUSB9")
    assert p.returncode == 0, p.stderr
    start = ["--chip", name, "--port", "/dev/ttyUSB9", "--baud", "460800"]
    assert steps == [
        start + ["erase_flash"],
        start + ["write_flash", "-z", offset, str(f)],
        start + ["verify_flash", offset, str(f)],
    ]


def test_a_step_that_fails_ends_it(esptool, esp_bin):
    p, steps = esptool(esp_bin(0), "--port", "/dev/ttyUSB9", fail="write_flash")
    assert p.returncode == 1 and "esptool write_flash failed" in p.stderr and len(steps) == 2


def test_dry_run_and_keep_do_not_erase(esptool, esp_bin):
    p, steps = esptool(esp_bin(0), "--port", "/dev/ttyUSB9", "--dry-run")
    assert p.returncode == 0 and steps == [] and "esptool erase_flash" in p.stdout
    p, steps = esptool(esp_bin(0), "--port", "/dev/ttyUSB9", "--keep")
    assert [s[6] for s in steps] == ["write_flash", "verify_flash"]


def test_no_port_is_guessed(esp_bin, uf2, monkeypatch, capsys):
    import boardlink
    import flash

    for module in (boardlink, flash):  # whatever is plugged into this computer
        monkeypatch.setattr(module, "ports", lambda: [])
    monkeypatch.setattr(flash, "drives", lambda: [])
    assert flash.main([str(esp_bin(0)), "--dry-run"]) == 1
    assert "no USB serial port" in capsys.readouterr().err
    assert flash.main([str(uf2(0xE48BFF56)), "--dry-run"]) == 1
    assert "Hold BOOTSEL" in capsys.readouterr().err
    two = [("/dev/ttyACM0", "Pico 2e8a:0005"), ("/dev/ttyUSB0", "CP2102 10c4:ea60")]
    for module in (boardlink, flash):
        monkeypatch.setattr(module, "ports", lambda: two)
    assert flash.main([str(esp_bin(0)), "--dry-run"]) == 1
    assert "several ports" in capsys.readouterr().err
    for module in (boardlink, flash):
        monkeypatch.setattr(module, "ports", lambda: two[:1])
    assert flash.main([str(esp_bin(0)), "--dry-run"]) in (0, 1)  # 1 where esptool is not installed
    assert "port /dev/ttyACM0 (Pico 2e8a:0005), the only one" in capsys.readouterr().out


def test_other_files_are_refused(esptool, uf2, tmp_path):
    f = tmp_path / "x.bin"
    f.write_bytes(b"hello" * 200)
    p, _ = esptool(f)
    assert p.returncode == 1 and "neither" in p.stderr
    p, _ = esptool(uf2(0x12345678))
    assert p.returncode == 1 and "another chip" in p.stderr
    p, _ = esptool(tmp_path / "no-such-file.uf2")
    assert p.returncode == 1 and "No such file" in p.stderr


def test_uf2_goes_to_the_boot_select_drive(uf2, tmp_path):
    drive = tmp_path / "RPI-RP2"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n")
    f = uf2(0xE48BFF56)
    p = tool("flash.py", f, "--drive", drive)
    assert p.returncode == 0 and str(drive) in p.stdout, p.stderr
    assert (drive / f.name).read_bytes() == f.read_bytes()
    p = tool("flash.py", uf2(0xE48BFF59), "--drive", drive)
    assert p.returncode == 1 and "for the RP2350" in p.stderr


def test_running_pico_is_sent_into_its_boot_loader(boards, uf2, tmp_path):
    b = boards(board="rp2")
    drive = tmp_path / "RPI-RP2"

    def appear():
        if until(lambda: "bootloader" in b.causes, 120):
            drive.mkdir()
            (drive / "INFO_UF2.TXT").write_text("Board-ID: RPI-RP2\n")

    t = threading.Thread(target=appear)
    t.start()
    p = tool("flash.py", uf2(0xE48BFF56), "--port", b.port, "--drive", drive, "--wait", "60")
    t.join()
    assert p.returncode == 0 and "into the boot loader" in p.stdout, p.stdout + p.stderr
    assert (drive / "firmware.uf2").exists()
