"""The programs in the README run as they are written, and the commands it names exist."""

import os
import re
import subprocess
import sys

import pytest

from support import brokers, mpy

INTERPRETERS = ("host",)
README = (mpy.ROOT / "README.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
PRINTS = {"def lamp": "lamp b'on'", "asyncio": "b'balcony/lamp' b'on'"}  # what a program that contains this has to print


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_a_program_of_the_readme_runs(number, interpreter, broker, tmp_path):
    text = PROGRAMS[number]
    path = tmp_path / "program.py"
    path.write_text(text.replace('"192.168.1.10"', '"127.0.0.1", %d' % broker.port))
    topics = set(re.findall(r'publi(?:sh|cation)\(b"([^"]+)"', text))
    with brokers.Subscriber(broker.port, "#") as subscriber:
        if interpreter == "cpython":
            env = dict(os.environ, PYTHONPATH=str(mpy.ROOT))
            done = subprocess.run([sys.executable, str(path)], env=env, capture_output=True, text=True, timeout=120, check=False)
            code = done.returncode
        else:
            done = mpy.run([path], timeout=120)
            code = done.code
        assert code == 0, done.stdout + done.stderr
        for word, line in PRINTS.items():
            if word in text:
                assert line in done.stdout
        assert topics
        while not topics <= {topic for topic, _ in subscriber.pairs()}:
            subscriber.wait(len(subscriber.pairs()) + 1)


def test_the_first_program_is_within_the_first_thirty_lines():
    assert README.index("```python") < len("\n".join(README.splitlines()[:30]))


def test_the_commands_exist():
    targets = set(re.findall(r"^([a-z-]+):", (mpy.ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.M))
    assert named and named <= targets


def test_the_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert links
    for link in links:
        assert (mpy.ROOT / link).exists(), link


def test_every_marker_of_the_bench_is_closed():
    assert re.findall(r"<!-- bench:(\w+) -->", README) == re.findall(r"<!-- /bench:(\w+) -->", README)
