"""Deep sleep: many wakes of an ESP32 with a file standing for its RTC memory, over a real broker."""

import json
import subprocess
import sys
import threading
from collections import Counter

import board
import paho.mqtt.client as paho
import pytest
from conftest import HERE, until


class Listener:
    """What arrives at the broker, QoS 2, from before the first wake to after the last."""

    def __init__(self, port):
        self.got = []
        self.there = threading.Event()
        c = self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=5)
        c.on_connect = lambda *a: c.subscribe("nodes/#", 2)
        c.on_subscribe = lambda *a: self.there.set()
        c.on_message = lambda c, u, m: self.got.append((m.topic, json.loads(m.payload) if m.payload[:1] == b"{" else m.payload))
        c.connect("127.0.0.1", port)
        c.loop_start()
        assert self.there.wait(120)

    def numbers(self):
        return [v["n"] for t, v in list(self.got) if t.endswith("/telemetry")]


@pytest.mark.parametrize("interpreter", ["micropython", "cpython"])
def test_a_thousand_wakes_deliver_every_message_once(broker, tmp_path, interpreter):
    """QoS 2 from deep sleep to deep sleep; in half of the wakes the link breaks or the chip is reset in the dialogue."""
    listener = Listener(broker.port)
    accepted, awake, state = [], [], {"next": 0, "seed": 12345}
    total = 1000 if interpreter == "micropython" else 100
    part = total // 4  # a new process each quarter: nothing but the files is left
    for quarter in range(5):
        job = {"port": broker.port, "wakes": part if quarter < 4 else 10, "first": state["next"], "seed": state["seed"],
               "path": str(tmp_path / "chip"), "trouble": quarter < 4}  # fmt: skip
        (tmp_path / "job.json").write_text(json.dumps(job))
        exe = board.micropython() if interpreter == "micropython" else sys.executable
        p = subprocess.run([exe, str(HERE / "wakes.py"), str(tmp_path / "job.json")], capture_output=True, text=True, timeout=600)
        assert p.returncode == 0, p.stdout[-2000:] + p.stderr[-3000:]
        state = json.loads(p.stdout.splitlines()[-1])
        accepted += state["accepted"]
        awake += state["awake"]
    assert state["left"] == 0
    until(lambda: set(accepted) <= set(listener.numbers()), 120)
    got = Counter(listener.numbers())
    assert [n for n in accepted if n not in got] == []  # nothing lost
    assert [n for n in got if got[n] > 1] == []  # nothing twice
    assert len(accepted) > total * 0.9 and len(awake) > total * 0.4
    assert max(awake) < 30000
    assert any(t.endswith("/awake") for t, _ in listener.got)
