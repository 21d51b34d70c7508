# Runs the cases of one file on this interpreter (CPython or MicroPython): run.py CASE_FILE_WITHOUT_PY [NAME ...]
# Prints "ok NAME" or "FAIL NAME" with its traceback; the pytest side (tests/boards/test_ports.py) reads these lines.
import sys

here = sys.argv[0].rsplit("/", 1)[0]
root = here + "/../../.."
if sys.implementation.name != "micropython":
    sys.path.insert(0, root + "/ports/host")
    import umqtt5_host

    umqtt5_host.adopt("node")
for p in (root + "/ports/common", root, here + "/..", here):
    sys.path.insert(0, p)


def show(e):
    if hasattr(sys, "print_exception"):
        sys.print_exception(e)
    else:
        import traceback

        traceback.print_exc(file=sys.stdout)


def main():
    m = __import__(sys.argv[1])
    bad = 0
    for name in sorted(dir(m)):
        if not name.startswith("test_") or (len(sys.argv) > 2 and name not in sys.argv[2:]):
            continue
        try:
            getattr(m, name)()
        except KeyboardInterrupt:
            raise
        except BaseException as e:  # a Reset that nobody expected is a failure like any other
            bad += 1
            print("FAIL " + name)
            show(e)
        else:
            print("ok " + name)
    sys.exit(1 if bad else 0)


main()
