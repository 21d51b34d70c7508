#!/usr/bin/env python3
"""Put firmware that you have (MicroPython's .bin or .uf2 for your board) onto a board.

    python3 tools/flash.py ESP32_GENERIC-v1.29.0.bin --port /dev/ttyUSB0     erase, write, verify, with esptool
    python3 tools/flash.py RPI_PICO_W-v1.29.0.uf2                            through the boot-select drive of the Pico

Everything on an ESP32 is erased first (--keep leaves its files). A Pico that runs MicroPython is sent into its boot loader when
its port is named or is the only one; else hold BOOTSEL while plugging it in. What is chosen is said before it is done.
"""

import argparse
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

from boardlink import BoardError, choose, close, open_port, ports, raw

# Chip number in the header of an ESP image: name for esptool, where the image starts in flash.
CHIPS = {
    0: ("esp32", 0x1000),
    2: ("esp32s2", 0x1000),
    5: ("esp32c3", 0),
    9: ("esp32s3", 0),
    12: ("esp32c2", 0),
    13: ("esp32c6", 0),
    16: ("esp32h2", 0),
    18: ("esp32p4", 0x2000),
    23: ("esp32c5", 0x2000),
}
# Family in a UF2 file: name, word that INFO_UF2.TXT of its boot-select drive has.
FAMILIES = {0xE48BFF56: ("RP2040", "RPI-RP2"), 0xE48BFF59: ("RP2350", "RP2350"), 0xE48BFF5A: ("RP2350", "RP2350")}


def kind(path):
    """("bin", chip name, offset) or ("uf2", chip name, word of its drive). BoardError for any other file."""
    try:
        head = Path(path).read_bytes()[:512]
    except OSError as e:
        raise BoardError("firmware: %s" % e) from e
    if head[:1] == b"\xe9" and len(head) >= 24:
        chip = struct.unpack_from("<H", head, 12)[0]
        if chip not in CHIPS:
            raise BoardError("%s is for a chip that flash.py does not know (%d)" % (path, chip))
        return ("bin", *CHIPS[chip])
    if len(head) == 512 and struct.unpack_from("<II", head) == (0x0A324655, 0x9E5D5157):
        family = struct.unpack_from("<I", head, 28)[0]
        if family not in FAMILIES:
            raise BoardError("%s is a .uf2 for another chip than RP2040 and RP2350 (family 0x%08x)" % (path, family))
        return ("uf2", *FAMILIES[family])
    raise BoardError("%s is neither an ESP32 image (.bin with boot loader) nor a .uf2 file" % path)


def esp32(o, chip, offset):
    """Erase, write and verify with esptool. Each command is shown."""
    port = choose(o.port)
    tool = [sys.executable, "-m", "esptool", "--chip", chip, "--port", port, "--baud", str(o.baud)]
    if subprocess.run([sys.executable, "-c", "import esptool"], capture_output=True).returncode:
        raise BoardError("esptool is not installed: %s -m pip install esptool" % sys.executable)
    steps = [] if o.keep else [["erase_flash"]]
    steps += [["write_flash", "-z", hex(offset), o.firmware], ["verify_flash", hex(offset), o.firmware]]
    for step in steps:
        print("esptool %s" % " ".join(step))
        if not o.dry_run and subprocess.run(tool + step).returncode:
            raise BoardError("esptool %s failed; hold BOOT (IO0) while it connects, or try --baud 115200" % step[0])


def drives():
    """Mounted boot-select drives: list of (folder, text of INFO_UF2.TXT)."""
    places = []
    try:
        with open("/proc/mounts") as f:
            places += [line.split()[1].replace("\\040", " ") for line in f]
    except OSError:
        places += ["/Volumes/" + n for n in os.listdir("/Volumes")] if os.path.isdir("/Volumes") else []
        places += ["%s:\\" % c for c in "DEFGHIJKLMNOPQRSTUVWXYZ"] if os.name == "nt" else []
    found = []
    for p in places:
        try:
            found.append((p, (Path(p) / "INFO_UF2.TXT").read_text()))
        except (OSError, UnicodeDecodeError):
            continue
    return found


def pico(o, chip, word):
    """Copy the .uf2 to the boot-select drive, which is asked for by the boot loader when there is none yet."""

    def look():
        if o.drive:
            info = Path(o.drive) / "INFO_UF2.TXT"
            return [(o.drive, info.read_text())] if info.exists() else []
        return drives()

    found = look()
    if not found:
        if o.port == "auto" and not ports():
            raise BoardError(
                "no Pico: no boot-select drive, no USB serial port. Hold BOOTSEL while plugging it in, mount the drive"
            )
        port = choose(o.port)
        print("%s: into the boot loader" % port)
        if o.dry_run:
            return
        t = open_port(port)
        try:
            raw(t, soft_reset=False)
            t.exec_raw_no_follow("import machine\nmachine.bootloader()")
            time.sleep(0.5)
        finally:
            close(t)
        end = time.monotonic() + o.wait
        while not found and time.monotonic() < end:
            time.sleep(0.3)
            found = look()
        if not found:
            raise BoardError("no boot-select drive came in %d s; mount it, or name its folder with --drive" % o.wait)
    if len(found) > 1:
        raise BoardError("several boot-select drives, name one with --drive: " + ", ".join(d for d, _ in found))
    drive, info = found[0]
    if word not in info:
        raise BoardError("%s is for the %s, the board at %s is another one" % (o.firmware, chip, drive))
    print("copy %s to %s" % (o.firmware, drive))
    if o.dry_run:
        return
    data = Path(o.firmware).read_bytes()
    try:
        with open(Path(drive) / Path(o.firmware).name, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
    except OSError as e:
        # the board starts its new firmware with the last block: the drive may be gone before the file is closed
        if (Path(drive) / "INFO_UF2.TXT").exists():
            raise BoardError("writing to %s failed: %s" % (drive, e)) from e


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("firmware", help=".bin or .uf2 file of MicroPython for the board")
    p.add_argument("--port", default="auto", help="serial device, or auto: the only USB serial port there is")
    p.add_argument("--baud", type=int, default=460800, help="ESP32 (460800)")
    p.add_argument("--keep", action="store_true", help="ESP32: do not erase first, the files stay")
    p.add_argument("--drive", help="Pico: folder of the boot-select drive")
    p.add_argument("--wait", type=float, default=30, help="Pico: seconds to wait for the drive")
    p.add_argument("--dry-run", action="store_true", help="say what would be done")
    o = p.parse_args(argv)
    try:
        what, chip, where = kind(o.firmware)
        print("%s: firmware for %s" % (o.firmware, chip))
        if what == "bin":
            esp32(o, chip, where)
        else:
            pico(o, chip, where)
    except BoardError as e:
        print("flash.py: %s" % e, file=sys.stderr)
        return 1
    print(
        "would be done" if o.dry_run else "done; next: python3 tools/deploy.py --board %s" % ("esp32" if what == "bin" else "rp2")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
