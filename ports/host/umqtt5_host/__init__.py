"""umqtt5 on CPython: what MicroPython has and CPython lacks.

What belongs here: stand-ins with MicroPython's meaning for `micropython`, `time.ticks_*`, sockets, poll objects, TLS and
asyncio's stream queue. What never does: anything that knows MQTT, anything a board needs (boards never see this folder).

`umqtt5/__init__.py` imports this package on CPython; afterwards the modules of umqtt5 are loaded by `_Loader`, which gives them
an `__import__` of their own: `import socket` in a module of umqtt5 is `umqtt5_host.socket`, in all other code of the process it
stays CPython's. What the whole process sees is only added, never replaced:

    module `micropython`; `time.ticks_ms/us/cpu/diff/add`, `time.sleep_ms/us`; `gc.mem_alloc/mem_free`; `sys.print_exception`;
    and `ssl.SSLContext.wrap_socket` understands a `umqtt5_host.socket.socket` (any other socket: as ever)

A program written for a board runs with `python3 -m umqtt5_host main.py`; `adopt("mymodule")` does it for one importable name.
"""

import builtins
import gc
import importlib
import sys
import time
from importlib.machinery import PathFinder, SourceFileLoader

from . import _micropython, ticks

# These names mean this package's modules in adopted code (and everything below them: "asyncio.core").
_MAPPED = ("socket", "select", "ssl", "asyncio")
_adopted = {"umqtt5"}
_import = builtins.__import__


def _shim_import(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and name.split(".")[0] in _MAPPED:
        top, _, rest = name.partition(".")
        module = importlib.import_module(__name__ + "." + top)
        if rest and fromlist:
            for part in rest.split("."):
                module = getattr(module, part)
        return module
    return _import(name, globals, locals, fromlist, level)


# The builtins of adopted modules. ptr8 and int types let annotations of viper functions evaluate.
BUILTINS = dict(vars(builtins))
BUILTINS.update(__import__=_shim_import, ptr8=_micropython.ptr8, ptr16=_micropython.ptr16, ptr32=_micropython.ptr32, uint=int)


class _Loader(SourceFileLoader):
    def exec_module(self, module):
        module.__dict__["__builtins__"] = BUILTINS
        super().exec_module(module)
        _forget_path()


class _Finder:
    @staticmethod
    def find_spec(fullname, path=None, target=None):
        if fullname.split(".")[0] not in _adopted:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def _forget_path():
    # umqtt5/__init__.py puts "<checkout>/umqtt5/../ports/host" first on the path to find this package: not needed any more.
    sys.path[:] = [p for p in sys.path if not p.endswith("/../ports/host")]


def adopt(*names):
    """Load the top-level modules or packages `names` as MicroPython code from now on (before their first import).

    Their `import socket`, `select`, `ssl` and `asyncio` give MicroPython's meaning. Raises ValueError if one is already loaded.
    """
    for name in names:
        if name in sys.modules:
            raise ValueError("%s is already imported" % name)
        _adopted.add(name)


def run(path, name="__main__"):
    """Run the program at `path` as MicroPython would (`sys.argv` as it is); returns its globals."""
    env = {"__builtins__": BUILTINS, "__name__": name, "__file__": path}
    with open(path, "rb") as f:
        code = compile(f.read(), path, "exec")
    exec(code, env)
    return env


set_ticks = ticks.set_ticks


def _print_exception(exc, file=None):
    import traceback

    traceback.print_exception(type(exc), exc, exc.__traceback__, file=file or sys.stdout)


def _mem_alloc():
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _mem_free():
    import os

    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not on macOS
        return 0


def _add(module, **names):
    for name, value in names.items():
        if not hasattr(module, name):
            setattr(module, name, value)


def _activate():
    sys.modules.setdefault("micropython", _micropython)
    _add(
        time,
        ticks_ms=ticks.ticks_ms,
        ticks_us=ticks.ticks_us,
        ticks_cpu=ticks.ticks_us,
        ticks_diff=ticks.ticks_diff,
        ticks_add=ticks.ticks_add,
        sleep_ms=ticks.sleep_ms,
        sleep_us=ticks.sleep_us,
    )
    # The process's own figures, so that a telemetry program has something to send; they prove nothing about allocation.
    _add(gc, mem_alloc=_mem_alloc, mem_free=_mem_free)
    _add(sys, print_exception=_print_exception)
    sys.meta_path.insert(0, _Finder)
    package = sys.modules.get("umqtt5")
    if package is not None:  # it is being imported right now, by CPython's loader: its functions get ours from here on
        package.__dict__["__builtins__"] = BUILTINS
    _forget_path()


_activate()
