"""Builds the extended-authentication plugin for mosquitto (auth_plugin/auth_plugin.c says what it does) and its configuration.

Needs a C compiler and the headers of the broker (Debian: gcc, mosquitto-dev).
"""

import hashlib
import os
import shutil
import subprocess

from .mpy import ROOT

SOURCE = ROOT / "tests" / "support" / "auth_plugin" / "auth_plugin.c"
HEADER = "/usr/include/mosquitto_plugin.h"


def missing():
    """Why it cannot be built here, or ""."""
    if shutil.which("cc") is None:
        return "no C compiler (cc)"
    return "" if os.path.exists(HEADER) else "no " + HEADER + " (Debian: mosquitto-dev)"


def build():
    """Path of the .so; kept in .cache until the source changes. RuntimeError with the compiler's words."""
    target = ROOT / ".cache" / ("auth_plugin-%s.so" % hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16])
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        making = target.with_suffix(".%d" % os.getpid())
        done = subprocess.run(
            ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", str(making), str(SOURCE)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError("cannot build %s: %s%s" % (SOURCE, missing(), done.stderr))
        making.rename(target)
    return target


def config(user="user", password="pencil", iterations=4096, lie=False, in_auth=False):
    """Lines for mosquitto.conf: mechanisms SCRAM-SHA-256 (for this user) and echo; see the C file for the options."""
    return [
        "plugin %s" % build(),
        "plugin_opt_user %s" % user,
        "plugin_opt_password %s" % password,
        "plugin_opt_iterations %d" % iterations,
        "plugin_opt_lie %s" % ("true" if lie else "false"),
        "plugin_opt_in_auth %s" % ("true" if in_auth else "false"),
    ]
