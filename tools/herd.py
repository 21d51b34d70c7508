"""10,000 nodes lose their broker in the same second: the connection attempts per second that follow, as a picture and as figures.

    python tools/herd.py [--nodes 10000] [--outage 30] [--svg herd.svg] [--json]

A simulation with a clock of its own: each node runs umqtt5.link.Link (its step(), its schedule, nothing copied) with a client
that only says "connected", "refused" or "lost". Nodes had been connected for long. While the broker is away every attempt is
refused at once; afterwards it takes `--accept` connections a second and leaves the rest unanswered for the connect timeout.
Compared with nodes that try every 5 s. Prints peaks (in any one second, in any 100 ms), and when all nodes were back. Imports
umqtt5.link and the standard library.
"""

import argparse
import heapq
import json
import random
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "ports/host"), str(ROOT)]
import umqtt5_host  # noqa: E402, F401
from umqtt5 import link as _link  # noqa: E402

TIMEOUT = 10000  # ms that a connection attempt without an answer takes


class Client:
    """As much of a client as Link sees."""

    client_id, server, port = "n", "broker", 1883
    feed = _need_clean = _routes = None
    _gone = _wn = _due = 0
    session_present = True
    image = b"M\1\0\0\0\x0a\1\2\3\4"

    def _in_handler(self):
        """Nobody here has handlers."""
        return False

    def __init__(self, world):
        self.world = world
        self._sock = None
        self._state = 0
        self.lost = False

    def start(self, clean):
        self._sock = self
        self.fate = self.world.attempt()
        if self.fate == "refused":
            raise OSError(111, "refused")

    def _work(self):
        if self.lost:
            self.lost = False
            raise OSError(104, "lost")
        if self._state == 0:
            if self.fate == "silent":
                raise OSError(110, "no answer")
            self._state = 2
            return True
        return False

    def close(self, by):
        self._sock = None
        self._state = 0


class Fixed:
    """What many clients do: try again every `every` ms."""

    def __init__(self, client, every):
        self.client = client
        self.every = every
        self.up = False

    def step(self):
        c = self.client
        try:
            if c._sock is None:
                c.start(False)
            self.up = c._work() or c._state == 2
            return 1 << 28
        except OSError:
            c.close(0)
            self.up = False
            return self.every


class World:
    """The broker, the clock and the count of attempts."""

    def __init__(self, outage, accept):
        self.now = 0  # ms
        self.outage = outage
        self.accept = accept
        self.attempts = []
        self.accepted = {}

    def attempt(self):
        """One connection attempt: what becomes of it."""
        self.attempts.append(self.now)
        if self.now < self.outage:
            return "refused"
        second = self.now // 1000
        n = self.accepted.get(second, 0)
        self.accepted[second] = n + 1
        return "up" if n < self.accept else "silent"


def simulate(nodes, outage, accept, seed, every=0, min_ms=1000, max_ms=60000, spread=3, limit=900000):
    """-> (times of all attempts in ms, when each node was back)."""
    r = random.Random(seed)
    world = World(outage, accept)
    _link._ticks = lambda: world.now
    _link._diff = lambda a, b: a - b
    _link.time = types.SimpleNamespace(ticks_add=lambda a, b: a + b)
    heap = []
    back = []
    for i in range(nodes):
        c = Client(world)
        c._sock = c
        c._state = 2
        n = Fixed(c, every) if every else _link.Link(c, min_ms, max_ms, clean_start=False, random=r.randrange)
        if not every:
            n._steady, n._spread = True, spread
        n.up = n._busy = c.lost = True
        heapq.heappush(heap, (r.randrange(1000), i, n))
    while heap:
        t, i, n = heapq.heappop(heap)
        if t > limit:
            back.append(limit)
            continue
        world.now = t
        c = n.client
        waiting = c._sock is not None and c._state == 0
        k = n.step()
        if n.up and c._state == 2 and not c.lost:
            back.append(t)
            continue
        if c._sock is not None and c._state == 0 and not waiting and c.fate == "silent":
            k = TIMEOUT
        heapq.heappush(heap, (t + k, i, n))
    return world.attempts, back


def peak(times, width):
    """The most attempts in any window of `width` ms."""
    times = sorted(times)
    best = j = 0
    for i, t in enumerate(times):
        while times[j] <= t - width:
            j += 1
        best = max(best, i - j + 1)
    return best


def figures(times, back, outage):
    """What is printed of one run."""
    later = [t for t in times if t >= 10000]
    return {
        "attempts": len(times),
        "peak_per_s": peak(times, 1000),
        "peak_per_100ms": peak(times, 100),
        "peak_per_s_after_10s": peak(later, 1000) if later else 0,
        "all_back_after_s": round((max(back) - outage) / 1000, 1),
        "half_back_after_s": round((sorted(back)[len(back) // 2] - outage) / 1000, 1),
    }


def per_second(times, seconds):
    """Attempts in each second."""
    out = [0] * seconds
    for t in times:
        if t // 1000 < seconds:
            out[t // 1000] += 1
    return out


def svg(runs, seconds, outage):
    """A picture: attempts per second over time, one panel for each run, the same scale."""
    top = max(max(per_second(times, seconds)) for _, times, _ in runs)
    w, h, gap = 760, 150, 46
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">'
           % (w + 90, (h + gap) * len(runs) + 30)]  # fmt: skip
    out.append('<rect width="100%" height="100%" fill="white"/>')
    for i, (name, times, f) in enumerate(runs):
        y = i * (h + gap) + 24
        out.append('<text x="60" y="%d">%s: peak %d a second, %d after the first 10 s; all back %s s after the broker</text>'
                   % (y - 6, name, f["peak_per_s"], f["peak_per_s_after_10s"], f["all_back_after_s"]))  # fmt: skip
        x = 60 + w * outage / 1000 / seconds
        out.append('<rect x="60" y="%d" width="%.1f" height="%d" fill="#eee"/>' % (y, x - 60, h))
        for s, n in enumerate(per_second(times, seconds)):
            if n:
                colour = "#b40" if "every" in name else "#06c"
                box = (60 + w * s / seconds, y + h - h * n / top, w / seconds * 0.9, h * n / top, colour)
                out.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>' % box)
        out.append('<path d="M60 %d v%d h%d" fill="none" stroke="black"/>' % (y, h, w))
        for at, n in ((y + 9, top), (y + h, 0)):
            out.append('<text x="55" y="%d" text-anchor="end">%d</text>' % (at, n))
    y = (h + gap) * len(runs) + 12
    for s in range(0, seconds + 1, 30):
        out.append('<text x="%.0f" y="%d" text-anchor="middle">%d s</text>' % (60 + w * s / seconds, y, s))
    return "\n".join(out) + "\n</svg>\n"


def main(argv=None):
    """Run and print; returns {name: figures}."""
    p = argparse.ArgumentParser(description="Reconnect rate of many nodes after a broker's outage.")
    p.add_argument("--nodes", type=int, default=10000)
    p.add_argument("--outage", type=float, default=30, help="seconds that the broker is away")
    p.add_argument("--accept", type=int, default=1000, help="connections a second that the broker takes")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--svg", help="write the picture to this file")
    p.add_argument("--json", action="store_true")
    a = p.parse_args(argv)
    outage = int(a.outage * 1000)
    runs = []
    kinds = (("every 5 s", {"every": 5000}), ("umqtt5", {}), ("umqtt5, min_ms=5000", {"min_ms": 5000}))
    for name, kw in kinds:
        times, back = simulate(a.nodes, outage, a.accept, a.seed, **kw)
        runs.append((name, times, figures(times, back, outage)))
    if a.svg:
        Path(a.svg).write_text(svg(runs, 180, outage))
    result = {name: f for name, _, f in runs}
    if a.json:
        print(json.dumps(result))
    else:
        for name in result:
            print("%-22s" % name, "  ".join("%s %s" % x for x in result[name].items()))
    return result


if __name__ == "__main__":
    main()
