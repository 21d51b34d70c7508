"""Runs the test functions of one file inside one interpreter and reports each on standard output, one JSON object a line.

    <interpreter> runner.py INTERPRETER PATH:PATH... SCRATCH FILE NAME...

Imports nothing that one of the interpreters lacks. Lines of the protocol begin with `@@`; all else is the tests' own output.
"""

import sys


def say(event, name="", **more):
    """One line of the protocol."""
    import json

    more["ev"] = event
    more["test"] = name
    print("@@" + json.dumps(more))
    if sys.implementation.name != "micropython":  # which does not buffer
        sys.stdout.flush()


def text_of(e):
    """The traceback; on CPython with the locals of the failing function."""
    if sys.implementation.name == "micropython":
        import io

        out = io.StringIO()
        sys.print_exception(e, out)
        return out.getvalue()
    import traceback

    tb = e.__traceback__.tb_next or e.__traceback__
    out = "".join(traceback.format_exception(type(e), e, tb))  # begins in the test file
    while tb.tb_next:
        tb = tb.tb_next
    for name, value in tb.tb_frame.f_locals.items():
        if not name.startswith("__"):
            out += "    %s = %s\n" % (name, repr(value)[:300])
    return out


def prepare(interpreter, paths, scratch, module):
    """Path, shim and collector; returns support.t."""
    for i, p in enumerate(paths.split(":")):
        sys.path.insert(i, p)
    if interpreter == "cpython":
        import umqtt5_host

        umqtt5_host.adopt("support", module)
    if interpreter == "wasm32":  # collecting there corrupts the heap
        import gc

        class NoCollector:
            """gc without its collector."""

            mem_alloc = gc.mem_alloc
            mem_free = gc.mem_free
            disable = gc.disable

            def __getattr__(self, name):
                return lambda *a: 0

        gc.disable()
        sys.modules["gc"] = NoCollector()
    import support.t as t

    t.INTERPRETER = interpreter
    t._scratch = scratch
    return t


def main(argv):
    """Run everything; the exit code is 0 whatever the tests did, so that another one means a crash."""
    interpreter, paths, scratch, path = argv[1:5]
    name = path.replace("\\", "/").split("/")[-1][:-3]
    sys.path[:] = [p for p in sys.path if not p.endswith("support")]
    t = prepare(interpreter, paths, scratch, name)
    say("begin")
    try:
        module = __import__(name)
    except BaseException as e:
        say("broken", text=text_of(e))
        return
    for test in argv[5:]:
        say("start", test)
        t.row = None
        try:
            getattr(module, test)()
        except t.Skip as e:
            say("skip", test, text=str(e))
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            where = "at row %r\n" % (t.row,) if t.row is not None else ""
            say("fail", test, text="%s: %s\n%s%s" % (type(e).__name__, e, where, text_of(e)))
        else:
            say("pass", test)
    say("done")


main(sys.argv)
