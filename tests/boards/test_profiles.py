"""One version, one list of files for each profile, in every place that has them."""

import json
import os
import re
import subprocess

import board
import profiles
import pytest
from boardfiles import COMMON
from conftest import ROOT


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_package_files_are_what_profiles_writes(profile):
    text = profiles.package_text(profiles.files(profile))
    assert profiles.package_file(profile).read_text() == text, "run tools/profiles.py --write"


def test_one_version_everywhere():
    version = profiles.version()
    for p in profiles.PROFILES:
        assert json.loads(profiles.package_file(p).read_text())["version"] == version
    project = (ROOT / "pyproject.toml").read_text()
    assert 'version = "%s"' % version in project or re.search(r'version = \{ *attr = "umqtt5.__version__" *\}', project)
    changes = ROOT / "CHANGELOG.md"
    if changes.exists():
        assert version in changes.read_text()


def test_profiles_grow():
    a, b, c = [set(profiles.modules(p)) for p in profiles.PROFILES]
    assert a < b < c
    assert c == {p.stem for p in (ROOT / "umqtt5").glob("*.py")}
    assert {"__init__", "core", "setup", "wire", "props", "reasons", "link", "store", "publication"} <= a
    assert {"subs", "topics", "qos2", "alias"} <= b


class Options:
    def __init__(self, given):
        self.given = given
        self.default = {}

    def defaults(self, **kw):
        self.default = kw

    def __getattr__(self, name):
        return self.given.get(name, self.default.get(name))


def run_manifest(path, found, **given):
    """What MicroPython's manifest tool does: the file runs in its own folder; files are collected as on the board."""

    def package(name, files=None, base_path=".", opt=None):
        for f in files:
            assert (path.parent / base_path / name / f).resolve().exists(), f
            found["files"].append("%s/%s" % (name, f))

    def module(name, base_path=".", opt=None):
        assert (path.parent / base_path / name).resolve().exists(), name
        found["files"].append(name)

    def include(name, **kw):
        if name.startswith("$("):
            found["included"].append(name)
        else:
            run_manifest((path.parent / name).resolve(), found, **kw)

    def metadata(**kw):
        found.update(kw)

    before = os.getcwd()
    os.chdir(path.parent)
    try:
        exec(
            path.read_text(),
            {"options": Options(given), "package": package, "module": module, "include": include, "metadata": metadata},
        )
    finally:
        os.chdir(before)
    return found


@pytest.mark.parametrize("kind", ["esp32", "rp2"])
@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_manifest_freezes_the_profile_and_the_boards_modules(kind, profile):
    found = run_manifest(ROOT / "ports" / kind / "manifest.py", {"files": [], "included": []}, profile=profile)
    want = ["umqtt5/%s.py" % m for m in profiles.modules(profile)] + ["chip.py"] + [m + ".py" for m in COMMON]
    assert sorted(found["files"]) == sorted(want)
    assert found["version"] == profiles.version()
    assert found["included"] == ["$(PORT_DIR)/boards/manifest.py"]


def test_manifest_without_options():
    found = run_manifest(ROOT / "manifest.py", {"files": [], "included": []})
    assert sorted(found["files"]) == sorted("umqtt5/%s.py" % m for m in profiles.modules("everything"))


@pytest.mark.parametrize("profile", profiles.PROFILES)
def test_each_module_of_a_profile_imports_without_the_others(profile, tmp_path):
    """No module of a profile needs, at its import, one that the profile has not."""
    (tmp_path / "umqtt5").mkdir()
    for m in profiles.modules(profile):
        (tmp_path / "umqtt5" / (m + ".py")).write_text((ROOT / "umqtt5" / (m + ".py")).read_text())
    names = [m for m in profiles.modules(profile) if m[0] != "_" and m != "store_esp32"]
    code = (
        "import sys\nsys.path[:] = [%r, '.frozen']\n" % str(tmp_path)
        + "".join("import umqtt5.%s\n" % m for m in names)
        + "print('ALL')"
    )
    p = subprocess.run([board.micropython(), "-X", "heapsize=8m", "-c", code], capture_output=True, text=True, timeout=240)
    assert p.stdout.strip() == "ALL", p.stdout + p.stderr


def test_settings_are_never_committed():
    assert any(line.strip() == "settings.json" for line in (ROOT / ".gitignore").read_text().splitlines())
    for kind in ("esp32", "rp2"):
        assert (ROOT / "ports" / kind / "settings.example.json").exists()
