"""The generated tables: checked in as the generator writes them, and every row of tables/*.tsv found again in the modules."""
import csv
import subprocess
import sys
from pathlib import Path

import pytest

import umqtt5_host  # noqa: F401  (the shim)
from umqtt5 import props, reasons, wire

INTERPRETERS = ("host",)
ROOT = Path(__file__).resolve().parent.parent
PACKETS = {"Will": 0, "CONNECT": 1, "CONNACK": 2, "PUBLISH": 3, "PUBACK": 4, "PUBREC": 5, "PUBREL": 6, "PUBCOMP": 7,
           "SUBSCRIBE": 8, "SUBACK": 9, "UNSUBSCRIBE": 10, "UNSUBACK": 11, "DISCONNECT": 14, "AUTH": 15}  # fmt: skip
VALUES = {"Byte": 1, "Two Byte Integer": 1, "Four Byte Integer": 1, "Variable Byte Integer": 1, "UTF-8 Encoded String": "x",
          "Binary Data": b"x", "UTF-8 String Pair": ("k", "v")}  # fmt: skip


def table(name):
    with open(ROOT / "tables" / name, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t"))


def packets(field):
    return set() if field in ("", "-") else {PACKETS[p.strip()] for p in field.split(",")}


def test_checked_in_tables_are_what_the_generator_writes():
    got = subprocess.run([sys.executable, ROOT / "tools/gen_tables.py", "--check"], capture_output=True, text=True, check=False)
    assert got.returncode == 0, got.stdout + got.stderr


def test_generator_notices_a_stale_table(tmp_path):
    for path in ("tools/gen_tables.py", "tables/properties.tsv", "tables/reason_codes.tsv", "umqtt5/wire.py", "umqtt5/props.py",
                 "umqtt5/reasons.py"):  # fmt: skip
        (tmp_path / path).parent.mkdir(exist_ok=True)
        text = (ROOT / path).read_text(encoding="utf-8")
        (tmp_path / path).write_text(text.replace("Banned", "Baned") if "reason" in path else text, encoding="utf-8")
    (tmp_path / "umqtt5/reasons.py").write_text((ROOT / "umqtt5/reasons.py").read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, tmp_path / "tools/gen_tables.py"]
    got = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert got.returncode == 1 and "umqtt5/reasons.py" in got.stdout and "wire" not in got.stdout
    assert subprocess.run(command, check=False).returncode == 0
    assert subprocess.run([*command, "--check"], check=False).returncode == 0


@pytest.mark.parametrize("row", table("properties.tsv"), ids=lambda r: r["name"])
def test_property(row):
    name = row["name"].lower().replace(" ", "_")
    block = props.encode(None, [(name, VALUES[row["wire_type"]])])
    assert block[1] == int(row["id"], 16)
    assert props.decode(block) == [(name, VALUES[row["wire_type"]])]
    for packet in range(16):
        good = wire.walk(block, 0, len(block), packet) == len(block)
        assert good == (packet in packets(row["client_may_receive_in"])), packet
        try:
            props.encode(packet, [(name, VALUES[row["wire_type"]])])
            good = True
        except ValueError:
            good = False
        assert good == (packet in packets(row["client_may_send_in"])), packet


@pytest.mark.parametrize("row", table("reason_codes.tsv"), ids=lambda r: r["name"])
def test_reason_code(row):
    code = int(row["dec"])
    r = reasons.ReasonCode(code)
    names = row["name"].split(" / ")
    assert r.name == names[0]
    assert set(r.packets) == {p.strip() for p in row["packets"].split(",")}
    assert r.action == row["client_action"]
    if len(names) > 1:
        assert [reasons.ReasonCode(code, p).name for p in (2, 9, 14)] == names
    server, client = set(), set()
    for part in row["sent_by"].replace("unlisted in 3.14.2.1 (Server by sense)", "Server").split(";"):
        who, where = part.split(":")
        if "Server" in who:
            server |= packets(where)
        if "Client" in who:
            client |= packets(where)
    for packet in range(16):
        assert reasons.legal(code, packet) == (packet in server), packet
        assert reasons.sendable(code, packet) == (packet in client), packet
