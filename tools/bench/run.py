"""What umqtt5 costs: python3 tools/bench/run.py [--check | --record | --quick]

Without an option (`make bench`): measures everything, prints the tables, writes them into README.md between the markers
<!-- bench:NAME --> and <!-- /bench:NAME -->, and the pictures into docs/img/. --quick leaves out callgrind and throughput and
writes nothing. --check (`make bench-check`): measures what is the same on every machine and fails when a figure is worse than in
recorded.json, or a goal is missed. --record: lowers the ceilings in recorded.json to what is measured now; a figure that has
become worse needs a deliberate edit of that file.
"""

import datetime
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import measure  # noqa: E402
import pictures  # noqa: E402

RECORDED = HERE / "recorded.json"
SLACK = 1.02  # except allocation: fuel and RAM depend on the place of names in tables, and so on names that others bring along
PEER = "umqtt.simple"
ORDER = (
    "publish QoS 0", "publish QoS 0, changing topic", "send", "send_any", "send_in_place", "publish with alias",
    "publish QoS 1 and PUBACK", "publish QoS 2 and its acks", "receive QoS 0", "receive by subscription identifier",
    "receive with alias", "receive QoS 1", "receive QoS 2 and its acks", "receive byte by byte", "ping and pong", "idle poll",
)  # fmt: skip
# operation: (ratio to the peer's, must)
RATIOS = {
    "publish QoS 0": ("publish QoS 0", 0.45),
    "publish QoS 0, changing topic": ("publish QoS 0", 0.8),
    "send": ("publish QoS 0", 0.25),
    "send_any": ("publish QoS 0", 0.3),
    "send_in_place": ("publish QoS 0", 0.15),
    "receive QoS 0": ("receive QoS 0", 0.5),
}
BUDGET = {"import": 7.5, "publishing": 12, "lean": 9, "typical": 16, "every module": 28}  # KB
OUT_OF_REACH = ("every module",)  # its bytecode alone is 37 KB
TEXT = {
    "import": "`from umqtt5 import MQTTClient`",
    "publishing": "connected, publishing QoS 0 and 1, ping, everything loaded",
    "lean": "the same with `lean=True`",
    "typical": "and subscriptions, QoS 2",
    "every module": "every module of the library (`native` and the ports apart)",
}


def figures(target):
    """All deterministic figures as one flat dictionary {name: number}, and the raw ones."""
    fuel = measure.fuel(target)
    ram = measure.ram(target)
    raw = {"fuel": fuel, "ram": ram, "mpy": measure.sizes(target), "alloc32": measure.allocation(target, False)}
    raw["connect32"] = measure.connects(target, False)
    try:
        raw["alloc64"] = measure.allocation(target, True)
        raw["connect64"] = measure.connects(target, True)
    except FileNotFoundError:
        raw["alloc64"] = raw["connect64"] = {}
    flat = {}
    for op, n in fuel["umqtt5"].items():
        flat["fuel: " + op] = n
    for kind in ("profile", "module", "object"):
        for name, n in ram[kind].items():
            flat["RAM of %s: %s" % (kind, name)] = n
    for name, n in raw["mpy"].items():
        flat["size of " + name + ".mpy"] = n
    for bits in ("32", "64"):
        for op, (a, t, locked) in raw["alloc" + bits].get("umqtt5", {}).items():
            flat["bytes allocated, %s-bit: %s" % (bits, op)] = a + max(t, 0) + (locked != "locked")
        for what in ("first", "again") if raw["connect" + bits] else ():
            flat["bytes allocated, %s-bit: connect(), %s" % (bits, what)] = raw["connect" + bits][what]
    return flat, raw


def worse(flat, recorded):
    """Lines that say which figure is worse than recorded, or is not recorded."""
    out = []
    for name, n in flat.items():
        limit = recorded.get(name)
        if name.startswith("RAM of module"):
            continue  # the interpreter's table of names grows in steps of up to 4 KB: which module pays is chance
        if limit is None:
            out.append("%s: %d is not in recorded.json (run.py --record)" % (name, n))
        elif n > limit * SLACK:
            out.append("%s: %d, recorded %d" % (name, n, limit))
    return out


def missed(raw, recorded):
    """Lines that say which goal is not reached any more. No slack here; in place of a peer that cannot be had: as recorded."""
    out = []
    for name, limit in BUDGET.items():
        n = raw["ram"]["profile"][name]
        if n > limit * 1024 and name not in OUT_OF_REACH:
            out.append("RAM of profile: %s: %d, goal %d" % (name, n, limit * 1024))
    peer = raw["fuel"].get(PEER) or recorded["peer"]["fuel"]
    for op, (other, must) in RATIOS.items():
        n = raw["fuel"]["umqtt5"][op] / peer[other]
        if n > must:
            out.append("fuel: %s: %.3f of the peer's, goal %g" % (op, n, must))
    return out


def table(head, rows):
    """A markdown table."""
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(out + ["| " + " | ".join(str(x) for x in r) + " |" for r in rows])


def allocation_table(raw):
    def cell(bits, lib, op):
        a = raw["alloc" + bits].get(lib, {}).get(op)
        return "-" if a is None else "%d" % (max(a[0], a[1]) // 100)

    rows = []
    for op in ORDER:
        rows.append([op] + [cell(bits, lib, op) for lib in ("umqtt5", PEER) for bits in ("32", "64")])
    locked = all(a[2] == "locked" for b in ("32", "64") for a in raw["alloc" + b].get("umqtt5", {}).values())
    text = table(["bytes of heap per operation", "umqtt5, 32-bit", "64-bit", PEER + ", 32-bit", "64-bit"], rows)
    text += "\n\nEach of umqtt5 also runs with the heap locked: %s. Heap frames are counted." % ("yes" if locked else "NO")
    for bits in ("32", "64"):
        if raw["connect" + bits]:
            text += "\n\n`connect()`, %s-bit: %d B each time, %d B the first time, with the modules that it loads." % (
                bits, raw["connect" + bits]["again"], raw["connect" + bits]["first"]
            )  # fmt: skip
    return text


def ram_table(raw):
    ram = raw["ram"]
    rows = []
    for name, limit in BUDGET.items():
        n = ram["profile"][name]
        rows.append((TEXT[name], n, "%g KB" % limit, "yes" if n <= limit * 1024 else "**no**"))
    out = table(["RAM of code, 32-bit, bytes kept", "B", "goal", "reached"], rows)
    p = ram["peer"]
    out += (
        "\n\nWith a server whose CONNACK has properties, as mosquitto's has: publishing %d B, with `lean=True` %d B."
        % (ram["profile"]["announced"], ram["profile"]["announced, lean"])
    )
    if p:
        out += "\n\nThe same day, measured in the same way: " + ", ".join("%s %d B" % x for x in p.items()) + " (MQTT 3.1.1)."
    out += (
        "\n\nObjects of one connected client, `rx`, `tx` and `inflight` at their defaults (1,928 B) included: %d B.\n\n"
        % (ram["object"]["publishing"])
    )
    if raw.get("heap"):
        out += "Smallest heap that imports, connects and publishes (64-bit unix, .mpy): %d KB.\n" % raw["heap"]
    if raw.get("romfs"):
        out += "What connecting imports keeps %d B from files and %d B from a ROMFS (64-bit unix).\n" % tuple(raw["romfs"])
    out += "\n"
    files = {short: name.partition(".")[2] or "__init__" for name, short in measure.ORDER}  # core and client are in __init__
    rows = [(m, n, raw["mpy"][files[m]]) for m, n in ram["module"].items()]
    return out + table(["module, loaded in this order", "RAM, B", ".mpy, B"], rows)


def speed_table(raw, cg):
    fuel = raw["fuel"]
    peer = fuel.get(PEER, {})
    rows = []
    for op in ORDER:
        n = fuel["umqtt5"][op]
        base = fuel["floor"]["readinto" if op.startswith("receive") else "write"]
        other, must = RATIOS.get(op, (op, None))
        ratio = n / peer[other] if other in peer else None
        goal = ("%g %s" % (must, "yes" if ratio and ratio <= must else "**no**")) if must else ""
        x = cg.get("umqtt5", {}).get(op, "")
        y = cg.get(PEER, {}).get(other, "")
        row = [op, n, "%.1f" % (n / base), peer.get(other, "-"), "-" if ratio is None else "%.2f" % ratio, goal, x, y]
        rows.append(row + ["%.2f" % (x / y) if x and y else ""])
    head = ["instructions per operation", "umqtt5", "x bare socket", PEER, "ratio", "goal", "callgrind: umqtt5", PEER, "ratio"]
    text = table(head, rows)
    text += "\n\nWebAssembly instructions of the 32-bit interpreter, a RingIO as socket; bare write %d, bare readinto %d. " % (
        fuel["floor"]["write"],
        fuel["floor"]["readinto"],
    )
    return text + "Callgrind: x86 instructions of the 64-bit build, the collector included."


def other_tables(target, rates):
    rows = [("%s, %s" % (lib, what), "%.0f" % n) for what, lib, n in rates]
    text = table(["QoS 1 messages a second (this machine)", ""], rows)
    wire = [(what, n) for what, n in measure.guest(target, "guest_cost.py", "wire")]
    return text + "\n\n" + table(["100 messages of 32 bytes, topic of 18", "bytes on the wire"], wire)


def put(text, name, block):
    """README text with the block between its markers."""
    a, b = "<!-- bench:%s -->" % name, "<!-- /bench:%s -->" % name
    if a not in text:
        return text
    return re.sub(re.escape(a) + ".*?" + re.escape(b), lambda m: a + "\n" + block + "\n" + b, text, flags=re.S)


def main(argv):
    """Measure, print, write."""
    target = measure.tree()
    flat, raw = figures(target)
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {"figures": {}, "peer": {}}
    if not raw["fuel"].get(PEER):  # not to be had here: what was measured when it was
        raw["fuel"][PEER] = recorded["peer"].get("fuel", {})
        raw["ram"]["peer"] = recorded["peer"].get("ram", {})
        for k in ("alloc32", "alloc64"):
            raw[k][PEER] = recorded["peer"].get(k, {})
        print("figures of %s: recorded on %s" % (PEER, recorded["peer"].get("date")))
    if "--record" in argv:
        old = recorded["figures"]
        new = {k: min(n, old.get(k, n)) for k, n in flat.items()}
        peer = {"date": datetime.date.today().isoformat(), "version": "umqtt.simple 1.3.4, umqtt.robust 1.0"}
        peer.update({"fuel": raw["fuel"][PEER], "ram": raw["ram"]["peer"]})
        peer.update({k: raw[k].get(PEER, {}) for k in ("alloc32", "alloc64")})
        RECORDED.write_text(json.dumps({"figures": new, "peer": peer}, indent=1, sort_keys=True) + "\n")
        recorded["figures"] = new
    bad = worse(flat, recorded["figures"]) + missed(raw, recorded)
    if "--check" in argv:
        print("\n".join(bad) or "bench-check: %d figures, none worse than recorded; the goals are reached" % len(flat))
        return 1 if bad else 0
    quick = "--quick" in argv
    cg, rates = {}, []
    if not quick:
        import throughput

        ops = [("umqtt5", op) for op in RATIOS] + [(PEER, op) for op in ("publish QoS 0", "receive QoS 0")]
        cg = measure.callgrind(target, [o for o in ops if raw["fuel"].get(o[0])])
        rates = throughput.all_rates(target)
    raw["heap"] = measure.smallest_heap(target)
    raw["romfs"] = measure.romfs(target)
    blocks = {"allocation": allocation_table(raw), "ram": ram_table(raw), "speed": speed_table(raw, cg)}
    for name, file in (("allocation", "allocation"), ("ram", "ram"), ("speed", "instructions")):
        blocks[name] += "\n\n![%s](docs/img/%s.svg)" % (name, file)
    if not quick:
        blocks["throughput"] = other_tables(target, rates)
        if "<!-- bench:throughput -->" not in (measure.ROOT / "README.md").read_text():
            blocks["speed"] += "\n\n" + blocks["throughput"]
    for name, block in blocks.items():
        print("\n## %s\n\n%s" % (name, block))
    if bad:
        print("\nworse than recorded:\n" + "\n".join(bad))
    if not quick:
        readme = measure.ROOT / "README.md"
        text = readme.read_text()
        for name, block in blocks.items():
            text = put(text, name, block)
        readme.write_text(text)
        pictures.write(raw, measure.ROOT / "docs" / "img", ORDER)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
