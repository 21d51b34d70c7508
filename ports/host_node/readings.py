# What this machine can be asked for: the sensors of the host node.
# Belongs here: one function a value, which raises OSError where there is nothing to read. Never here: MQTT.
# Linux tells these in /proc and /sys; elsewhere only the values of MicroPython itself are left.
import gc
import os
import time

_start = time.ticks_ms()


def _first(path):
    with open(path) as f:
        return f.readline()


def load():
    """Processes that run or wait to run, mean over a minute."""
    return float(_first("/proc/loadavg").split()[0])


def mem_free():
    """MB of memory that programs can still have."""
    with open("/proc/meminfo") as f:
        for line in f:
            if line.startswith("MemAvailable"):
                return round(int(line.split()[1]) / 1024, 1)
    raise OSError(2)


def uptime():
    """Seconds since the machine was started."""
    return float(_first("/proc/uptime").split()[0])


def temperature():
    """Degrees Celsius of the first sensor that answers."""
    for folder, name in (("/sys/class/thermal", "temp"), ("/sys/class/hwmon", "temp1_input")):
        try:
            parts = sorted(os.listdir(folder))
        except OSError:
            continue
        for part in parts:
            try:
                value = int(_first(folder + "/" + part + "/" + name))
            except (OSError, ValueError):
                continue
            if -50000 < value < 200000:
                return value / 1000
    raise OSError(2)


def heap_free():
    """Bytes free on MicroPython's own heap, garbage not counted as free."""
    return gc.mem_free()


def node_uptime():
    """Seconds since this program was started."""
    return time.ticks_diff(time.ticks_ms(), _start) // 1000


# name, unit, QoS, function: QoS 0 where the next value soon makes up for a lost one
ALL = (
    ("load", "", 0, load),
    ("mem_free", "MB", 0, mem_free),
    ("heap_free", "B", 0, heap_free),
    ("uptime", "s", 1, uptime),
    ("temperature", "C", 1, temperature),
    ("node_uptime", "s", 1, node_uptime),
)


def present():
    """The rows of ALL that this machine can answer."""
    rows = []
    for row in ALL:
        try:
            row[3]()
        except OSError:
            continue
        rows.append(row)
    return rows
