"""tools/herd.py: 10,000 nodes lose their broker in the same second; the peak against fixed-interval retry."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import herd

INTERPRETERS = ("host",)


def test_10000_nodes_come_back_without_a_stampede(tmp_path, capsys):
    picture = tmp_path / "herd.svg"
    result = herd.main(["--svg", str(picture)])
    fixed, ours, slow = result["every 5 s"], result["umqtt5"], result["umqtt5, min_ms=5000"]
    assert fixed["peak_per_s"] == 10000
    assert ours["peak_per_s"] < 2200, ours
    assert ours["peak_per_s_after_10s"] < 1100, ours
    assert slow["peak_per_s"] < 600, slow
    assert ours["all_back_after_s"] < 62 and ours["half_back_after_s"] < fixed["half_back_after_s"], result
    assert picture.read_text().startswith("<svg")
    assert "peak_per_s 1" in capsys.readouterr().out


def test_a_short_outage(tmp_path):
    times, back = herd.simulate(2000, 500, 1000, 7)
    f = herd.figures(times, back, 500)
    assert f["peak_per_s"] < 400 and f["half_back_after_s"] < 8, f
