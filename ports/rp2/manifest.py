# Firmware with umqtt5 and the board's modules frozen in: they run from flash and take little RAM. main.py and settings.json stay
# files. In MicroPython's ports/rp2:  make BOARD=RPI_PICO_W FROZEN_MANIFEST=/path/to/umqtt5/ports/rp2/manifest.py
options.defaults(profile="telemetry")  # noqa: F821
include("$(PORT_DIR)/boards/manifest.py")  # noqa: F821
include("../../manifest.py", profile=options.profile)  # noqa: F821
module("chip.py", opt=3)  # noqa: F821
for _m in ("wifi.py", "clock.py", "settings.py", "node.py"):
    module(_m, base_path="../common", opt=3)  # noqa: F821
