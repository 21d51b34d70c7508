"""tools/setup_env.py: what goes wrong on a fresh machine is one clear line that says what to do."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def machine(tmp_path):
    """Function that runs setup_env.py in a bare checkout without apt-get; returns (exit code, output)."""
    home = tmp_path / "checkout"
    (home / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "setup_env.py", home / "tools")
    shutil.copy(ROOT / "pyproject.toml", home)
    (tmp_path / "bin").mkdir()

    def run(what, modules=None, **env):
        (tmp_path / "modules").mkdir(exist_ok=True)
        for name, text in (modules or {}).items():
            (tmp_path / "modules" / name).write_text(text)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
        clean.update(PATH=str(tmp_path / "bin"), PYTHONPATH=str(tmp_path / "modules"), **env)
        command = [sys.executable, "tools/setup_env.py", what]
        done = subprocess.run(command, cwd=home, env=clean, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout + done.stderr

    run.home = home
    return run


def test_no_venv_module(machine):
    code, out = machine("demo", {"venv.py": 'raise SystemExit("No module named venv")'})
    assert code != 0 and "apt-get install python3-venv" in out and "Traceback" not in out, out
    assert not (machine.home / ".venv").exists()


def test_no_network_for_pip(machine):
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
    code, out = machine("demo", **index)
    assert code != 0 and "cannot reach the package index" in out and "Traceback" not in out, out
    before = out.count("making .venv")
    code, out = machine("demo", **index)  # the next try goes on where this one stopped
    assert code != 0 and (before, out.count("making .venv")) == (1, 0), out


def test_what_cannot_be_installed_is_left_out_and_said_so_every_time(machine, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "something-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("something.py", "")
        wheel.writestr("something-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: something\nVersion: 1\n")
        wheel.writestr("something-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("something-1.dist-info/RECORD", "")
    text = (machine.home / "pyproject.toml").read_text()
    start = text.index("demo = [")
    (machine.home / "pyproject.toml").write_text(
        text[:start] + 'demo = ["something==1", "nothing-of-that-name==1"]\n\nx = [\n' + text[start + 8 :]
    )
    for _ in range(2):  # the second time from the stamp
        code, out = machine("demo", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
        assert code == 0 and "left out: nothing-of-that-name==1 cannot be installed here" in out, out


def test_debian_packages_that_are_missing_are_named_with_what_they_leave_out(machine, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import setup_env

    monkeypatch.setattr(setup_env, "SYSTEM", (("no-such-package", "/nowhere", "tests of nothing"),))
    monkeypatch.setenv("PATH", "/nowhere")
    setup_env.system_packages()
    out = capsys.readouterr().out
    assert "left out without no-such-package: tests of nothing (as root: apt-get install no-such-package)" in out


def test_every_pinned_version_is_one_version():
    sys.path.insert(0, str(ROOT / "tools"))
    import setup_env

    groups = {group for groups in setup_env.GROUPS.values() for group in groups} | set(setup_env.STUBS)
    pins = [r for group in groups for r in setup_env.pinned(group)]
    assert pins and all("==" in r for r in pins)
