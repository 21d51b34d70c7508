"""make demo: the verdict is right, failures say what to do, nothing is left behind. The settings of its node are checked."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

INTERPRETERS = ("host",)
ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "tools" / "demo.py"


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem + "_under_test", path)
    result = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(result)
    return result


@pytest.fixture
def demo():
    return module(DEMO)


def start(**environment):
    return subprocess.Popen(
        [sys.executable, str(DEMO)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=dict(os.environ, **environment),
    )  # fmt: skip


def left_behind(pid):
    """Processes that a demo of ours started: they live in sessions of their own, but inherit the mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if b"DEMO_MARK=%d" % pid in entry.read_bytes():
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


def test_every_qos1_message_is_delivered_and_the_summary_says_so():
    process = start(DEMO_SECONDS="2", DEMO_MARK=str(os.getpid()))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    last = out.strip().splitlines()[-1]
    assert last.startswith("OK: published ") and "reconnects 0" in last and "bytes per publish" in last
    for reading in ("status", "heap_free", "node_uptime"):
        assert reading in out
    assert not left_behind(os.getpid())


@pytest.mark.parametrize("sig, code", [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_order(sig, code):
    process = start(DEMO_SECONDS="60", DEMO_MARK=str(os.getpid()))
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "node_uptime" in line:
            break
    os.killpg(process.pid, sig)  # as a terminal does
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, "".join(lines) + out + err
    assert "Traceback" not in err
    if sig == signal.SIGINT:
        assert "OK: published" in out
    time.sleep(0.2)
    assert not left_behind(os.getpid())


def test_without_mosquitto_the_embedded_broker_is_used(demo, monkeypatch, capsys):
    monkeypatch.setattr(demo.shutil, "which", lambda name, path=None: None)
    assert demo.run(2) == 0
    out = capsys.readouterr().out
    assert "iotcore" in out and "OK: published" in out


class Heard:
    """A subscriber that has received so many messages of each reading."""

    def __init__(self, **counts):
        self.counts = counts

    def count(self, name):
        return self.counts.get(name, 0)


@pytest.mark.parametrize(
    "heard, code, text",
    [
        ({"load": 3, "uptime": 3}, 0, "OK: published 6 (QoS 0: 3, QoS 1: 3), delivered 6 (QoS 0: 3, QoS 1: 3)"),
        ({"load": 2, "uptime": 3}, 0, "OK: published 6 (QoS 0: 3, QoS 1: 3), delivered 5 (QoS 0: 2, QoS 1: 3)"),
        ({"load": 3, "uptime": 2}, 1, "QoS 1 messages missing: uptime: 2 of 3"),
    ],
)
def test_only_a_missing_qos1_message_is_a_failure(demo, capsys, monkeypatch, heard, code, text):
    now = iter(range(100))
    monkeypatch.setattr(demo.time, "monotonic", lambda: next(now))
    topics = {demo.TOPIC + "/load": [0, 3], demo.TOPIC + "/uptime": [1, 3]}
    summary = {"topics": topics, "acknowledged": 3, "heap_per_publish": 0, "reconnects": 0}
    assert demo.verdict(summary, Heard(**heard)) == code
    assert text in capsys.readouterr().out


def test_a_node_that_ends_by_itself_is_reported_with_its_words(demo, monkeypatch, tmp_path, capsys):
    for name in ("readings.py", "settings.py", "settings.example.json"):
        (tmp_path / name).write_text((demo.NODE / name).read_text())
    (tmp_path / "main.py").write_text("raise RuntimeError('sensor on fire')")
    monkeypatch.setattr(demo, "NODE", tmp_path)
    monkeypatch.setenv("DEMO_SECONDS", "2")
    monkeypatch.setattr(demo.signal, "signal", lambda *_: None)
    assert demo.main() == 2
    assert "sensor on fire" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["abc", "0", "-1", "nan"])
def test_a_wrong_duration_is_refused(text):
    process = start(DEMO_SECONDS=text)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "DEMO_SECONDS=" + text in err


# --- the settings of the host node

settings = module(ROOT / "ports" / "host_node" / "settings.py")
EXAMPLE = json.loads((ROOT / "ports" / "host_node" / "settings.example.json").read_text())


def test_the_example_settings_are_right_and_complete():
    assert settings.check(dict(EXAMPLE)) == []
    assert set(EXAMPLE) == {key[0] for key in settings.KEYS}


@pytest.mark.parametrize(
    "change, line",
    [
        ({"server": None}, "missing key: server"),
        ({"port": "1883"}, "port: must be a whole number"),
        ({"port": 70000}, "port: must be 1 to 65535"),
        ({"keepalive": True}, "keepalive: must be a whole number"),
        ({"topic": "a/#"}, "topic: no + and no #"),
        ({"topic": ""}, "topic: length 1 to 200"),
        ({"sever": "x"}, "unknown key: sever"),
    ],
)
def test_a_wrong_setting_is_named(change, line):
    assert settings.check(dict(EXAMPLE, **change)) == [line]


def test_all_wrong_settings_are_named_at_once(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"port": 0, "speed": 1}')
    with pytest.raises(settings.SettingsError) as e:
        settings.load(str(path))
    for part in ("unknown key: speed", "missing key: server", "missing key: topic", "port: must be 1 to 65535"):
        assert part in str(e.value)


@pytest.mark.parametrize("text, word", [(None, "copy settings.example.json"), ("{", "not JSON"), ("[]", "must be one object")])
def test_a_file_that_cannot_be_read_says_what_to_do(tmp_path, text, word):
    path = tmp_path / "settings.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(settings.SettingsError, match=word):
        settings.load(str(path))
