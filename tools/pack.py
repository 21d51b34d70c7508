#!/usr/bin/env python3
"""The library as boards get it: the same program in less RAM. `python3 tools/pack.py FOLDER` writes it there as source,
`python3 tools/pack.py --mpy FOLDER` compiled, with a package.json for mip.

Belongs here: taking away what a reader of umqtt5/ needs and a board does not. Never here: what changes what the library does.
Used by deploy.py (through boardfiles.py), by the benchmark and by all tests on 32-bit MicroPython, which so run what boards run.

names    A name that the firmware does not have costs 8 bytes and its length: private names, and arguments of private functions,
         become names that every MicroPython has (FREE).
modules  What every program loads is one module (ROOT): 300 bytes each.
texts    of exceptions go into a file beside the modules and are read when one is raised: about 50 bytes each. The list of what is
         loaded on first use (_LAZY) stands there too.
order    In a module of more than 128 names those used most come first: a byte less at each use.

The renaming is the same whatever is copied of the library. `python3 tools/pack.py --names` prints it, for reading a traceback.
"""

import ast
import builtins
import collections
import re
import sys
from pathlib import Path

NAME = "umqtt5"
CHECKOUT = Path(__file__).resolve().parent.parent
ROOT = ("__init__", "core", "client", "strings")  # one module
TEXTS = "texts"  # the file of them; HELPER names it too
FILED = "_LAZY"  # a text of ROOT that is the first line of the file
# Names of the interpreter and of the modules that all its ports have, from MicroPython 1.23 on; none that a subclass of
# MQTTClient would choose for something of its own.
FREE = (
    "a2b_base64 acos acosh addressof appendleft asin asinh atan atan2 atanh b2a_base64 binascii blit bound_method"
    " bytearray_at bytes_at cadata calcsize ceil cert_reqs certfile cmath copysign crc32 cur_task delattr deque dict_view"
    " divmod do_handshake ellipse erf erfc errno errorcode execfile expm1 fabs fileno fill_rect floor fmod framebuf frexp"
    " fromhex fromkeys frozenset getcwd getrandbits getvalue gmtime heap_lock heap_unlock heapify heappop heappush hline"
    " ilistdir imag indices intersection intersection_update isalpha isclose isdigit isdisjoint isenabled isfinite isinf"
    " islower isnan isspace issubset issuperset isupper kbd_intr keyfile ldexp lgamma load_cert_chain load_verify_locations"
    " localtime log10 log2 lstrip mem16 mem32 mem8 mem_alloc mem_current mem_free mem_info mem_peak mem_total memoryview"
    " mkdir mkfs mktime modf namedtuple opt_level pend_throw poly popitem popleft ps1 ps2 qstr_info radians randint"
    " randrange readblocks readlines rindex rmdir rpartition rsplit rstrip sizeof sleep_us splitlines sqrt stack_use statvfs"
    " stderr stdin stdout symmetric_difference symmetric_difference_update ticks_cpu ticks_us time_ns time_pulse_us uctypes"
    " umount unhexlify uniform unpack_from unregister verify_mode version_info vline wrap_socket writeblocks BFINT16 BFINT32"
    " BFINT8 BFUINT16 BFUINT32 BFUINT8 BF_LEN BF_POS BIG_ENDIAN LITTLE_ENDIAN EACCES EADDRINUSE EAGAIN EALREADY EBADF"
    " ECONNABORTED ECONNREFUSED ECONNRESET EEXIST EHOSTUNREACH EINPROGRESS EINVAL EIO EISDIR ENOBUFS ENODEV ENOENT ENOMEM"
    " ENOTCONN EOPNOTSUPP EPERM ETIMEDOUT FLOAT32 FLOAT64 GS2_HMSB GS4_HMSB GS8 MONO_HLSB MONO_HMSB MONO_VLSB MVLSB NATIVE"
    " PTR RGB565 UINT UINT64 ULONG ULONGLONG USHORT VOID CERT_NONE POLLERR POLLHUP PROTOCOL_TLS_SERVER ArithmeticError"
    " AssertionError EOFError IndentationError LookupError NameError NotImplementedError OverflowError StopAsyncIteration"
    " SyntaxError ZeroDivisionError CancelledError RingIO StringIO BytesIO OrderedDict TextIOWrapper FrameBuffer"
    " FrameBuffer1 IOBase FileIO DeflateIO VfsRom PinBase Signal TaskQueue NoneType NotImplemented AUTO ZLIB RAW GZIP"
    " byteorder classmethod staticmethod enumerate exc_info hashlib heapq usys libc_ver python_compiler modules atexit"
    " ImportError KeyError UnicodeError IndexError GeneratorExit Ellipsis bytecode locals eval hash issubclass callable sorted"
    " abs pow round ord"
).split()
# A look-up in a client's table of attributes begins at the hash of the name, modulo its size (construct.py), and goes on until
# it finds the name or a gap. So no two attributes begin at one place, and none where a method begins that is called for each
# packet: it is missed there first. Measured: up to 15 % of the instructions of a publish().
TABLE = 127
# Before that it looks into a cache of 64 places by the name's number, which is the same in every MicroPython for these names:
# each of the names looked up most has a place there of its own. Their order is that of 20 tried at random in which the slowest
# gated operation of tools/bench came out best.
HOT = "_topic _tprops _tm _th _last _sw _len _bytes _run _ready _e _is _tb _n _t _qmax _isinstance _odd _seen".split()
NUMBERS = {
    "divmod": 77, "isspace": 99, "ord": 119, "isalpha": 95, "issubclass": 100, "ZeroDivisionError": 56, "locals": 110,
    "KeyError": 41, "GeneratorExit": 37, "OverflowError": 49, "staticmethod": 148, "isdigit": 96, "SyntaxError": 52,
    "EOFError": 34, "IndentationError": 39, "Ellipsis": 35, "NotImplementedError": 47, "rstrip": 136, "islower": 98,
    "callable": 67, "hash": 90, "rindex": 133, "LookupError": 43, "rsplit": 135, "bytecode": 65, "isupper": 101, "pow": 122,
    "NoneType": 46, "NameError": 45, "lstrip": 112, "round": 134, "classmethod": 69, "eval": 80, "popitem": 121,
    "ArithmeticError": 30,
}  # fmt: skip
METHODS = "publish check_msg poll".split()
OWN = {"link": "link", "publication": "publication", "store": "store", "store_esp32": "store", "scram": "scram"}  # see _where()
OWN.update(ws="ws", upgrade="ws")
OURS = ("close", "register", "load")  # no user calls them with arguments by name
LETTERS = "bytes end int key start step stop sum sep value index count sort self send str".split()  # for arguments
COLD = ("violation", "fail")  # called with a text when something is wrong, as `raise` is
INTERNAL = "strings check_str utf8 vbi_size topic_name walk skip vbi TABLE block".split()  # our own
FOREIGN = {"_mpy", "_io_queue", "_task_queue"}  # MicroPython's own
KEEP = "__parentheses__"  # marks the function of (s.f)(x), see _parse()
LONG = 10  # up to so many characters MicroPython keeps a string as a name, once

HELPER = """
def _line(n):
    with open(__path__ + "/texts") as f:
        for _ in range(n):
            f.readline()
        return f.readline()

def _text(n, a=None):
    try:
        n = _line(n)[:-1]
    except (OSError, MemoryError):
        return "(error %d)" % n
    return n if a is None else n % a
"""


class Library:
    """All modules, parsed; `pack()` gives {file name: text}."""

    def __init__(self, folder=CHECKOUT / NAME):
        self.folder = folder
        self.trees = {p.stem: _parse(p.read_text()) for p in sorted(folder.glob("*.py"))}
        self.consts = set()
        self.used = collections.Counter()
        self.strings = set()
        self.keywords = set()
        self.by_name = set()
        for tree in self.trees.values():
            _drop_docstrings(tree)
            _drop_shim(tree)
            self._look(tree)
        self.used["_text"] = 99  # of HELPER; in most modules
        self.used["_line"] = 2
        self.names = self._names()
        self.texts = []

    def _look(self, tree):
        for n in ast.walk(tree):
            if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call) and getattr(n.value.func, "id", "") == "const":
                self.consts.add(n.targets[0].id)
            for x in _identifiers(n):
                self.used[x] += 1
            if isinstance(n, ast.Constant) and isinstance(n.value, str):
                self.strings.add(n.value)
                for x in re.findall(r"\b_[a-z]\w*\b", n.value):
                    self.used[x] += 1
            if isinstance(n, ast.keyword) and n.arg:
                self.keywords.add(n.arg)
            if isinstance(n, ast.Call) and any(k.arg is None for k in n.keywords):  # f(**x): arguments by name
                self.by_name.add(getattr(n.func, "attr", getattr(n.func, "id", "")))

    def _names(self):
        """{name: the one that stands for it on a board}."""
        old = [n for n in self.used if n[0] == "_" and n[1:2] != "_" and len(n) > 1 and n not in self.consts | FOREIGN] + INTERNAL
        free = [n for n in dict.fromkeys([*NUMBERS, *FREE]) if n not in self.used and n not in self.strings]
        stored = set()
        for n in [n for stem in (*ROOT, "construct") for n in ast.walk(self.trees[stem])]:
            if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store):
                stored.add(n.attr)
        places = {place(n) for n in [*stored, *METHODS] if n not in old}
        where, alone = self._where(old)
        names = {}
        cached = set()
        for n in sorted(old, key=lambda n: (HOT.index(n) if n in HOT else 99, n not in stored, n in alone, -self.used[n], n)):
            # what only one module knows may have the same name as what that one does not know
            taken = {v for k, v in names.items() if n not in alone and k not in alone or where[n] & where[k]}
            if n in HOT:
                taken.update(x for x in free if NUMBERS.get(x, 0) % 64 in cached | {0})
            x = next((x for x in free if x not in taken and not (n in stored and place(x) in places)), None)
            if x is None:
                raise SystemExit("pack.py: no name is left for " + n)
            if n in HOT:
                cached.add(NUMBERS[x] % 64)
            if n in stored:
                places.add(place(x))
            names[n] = x
        return names

    def _where(self, names):
        """{name: the modules where it stands}, and those names that mean something in one module only: its globals, or what
        stands in a module whose objects are all its own (OWN)."""
        where = {n: {ROOT[0], *self.trees} if n in ("_text", "_line") else set() for n in names}
        shared = set()
        for stem, tree in self.trees.items():
            own = OWN.get(stem)
            stem = own or ROOT[0] if stem in ROOT else own or stem
            for n in ast.walk(tree):
                found = _identifiers(n)
                if isinstance(n, ast.Constant) and isinstance(n.value, str):
                    found = re.findall(r"\b_\w+\b", n.value)
                    shared.update(found)
                if not own and isinstance(n, (ast.Attribute, ast.keyword, ast.alias)):
                    shared.update(found)
                if not own and isinstance(n, ast.ClassDef):  # methods and attributes of a class
                    shared.update(x for k in n.body for t in [k, *getattr(k, "targets", ())] for x in _identifiers(t))
                for x in found:
                    if x in where:
                        where[x].add(stem)
        return where, {n for n in names if len(where[n]) == 1 and n not in shared}

    def rename(self, text):
        """Source text outside of the library with its private names renamed, line by line the same."""
        text = re.sub(r"\b_[a-z]\w*\b", lambda m: self.names.get(m[0], m[0]), text)
        return re.sub(r"\b(wire|strings|props)\.(\w+)", lambda m: m[1] + "." + self.names.get(m[2], m[2]), text)

    def pack(self):
        """{file name: content}: what belongs on a board."""
        self.texts = []
        out = {}
        for stem in self.trees:
            if stem == ROOT[0] or stem not in ROOT:
                tree = self._root() if stem == ROOT[0] else ast.parse(ast.unparse(self.trees[stem]))
                tree = _Rooted(stem).visit(tree)
                out[stem + ".py"] = self._finish(tree, stem)
        out[TEXTS] = "".join(t + "\n" for t in self.texts)
        return out

    def _root(self):
        # one module from those of ROOT, each where it is first imported
        body, done = [], set()

        def add(stem):
            done.add(stem)
            for n in ast.parse(ast.unparse(self.trees[stem])).body:
                if isinstance(n, ast.ImportFrom) and n.level and (n.module or ROOT[0]) in ROOT:
                    if n.module and n.module not in done:
                        add(n.module)
                else:
                    body.append(n)

        add(ROOT[0])
        seen = set()
        for n in list(body):
            k = ast.dump(n)
            if isinstance(n, (ast.Import, ast.ImportFrom, ast.Assign)) and k in seen:
                body.remove(n)  # a second `import time`, `_len = len`
            seen.add(k)
        defined = collections.Counter(n.name for n in body if isinstance(n, (ast.FunctionDef, ast.ClassDef)))
        twice = [n for n, k in defined.items() if k > 1]
        if twice:
            raise SystemExit("pack.py: defined in two of the modules that become one: " + ", ".join(twice))
        return ast.Module(body, [])

    def _file(self, tree):
        # FILED becomes a line of the file, where it is used a call that reads it
        for n in tree.body:
            if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == FILED:
                self.texts.append(_Rename(self.names).text(n.value.value))
                tree.body.remove(n)
        return _Filed(len(self.texts) - 1).visit(tree)

    def _finish(self, tree, stem):
        if stem == ROOT[0]:
            tree = self._file(tree)
        cold = _Cold(self.texts)
        tree = cold.visit(tree)
        if stem == ROOT[0]:
            tree.body[1:1] = ast.parse(HELPER).body
        elif cold.done:
            tree.body.insert(0, ast.parse("from . import _text").body[0])
        tree = _Bare().visit(_Arguments(self).visit(tree))
        tree = _Rename(self.names).visit(tree)
        _order(tree)
        return ast.unparse(ast.fix_missing_locations(tree)).replace(KEEP, "") + "\n"


def place(name):
    """Where the look-up of a name begins in a client's table: py/qstr.c, where it keeps two bytes of the hash."""
    h = 5381
    for c in name.encode():
        h = h * 33 & 0xFFFFFFFF ^ c
    return (h & 0xFFFF or 1) % TABLE


def _parse(text):
    # `(s.f)(x)` is not `s.f(x)` for MicroPython (a load of an attribute instead of a method), but one for ast: mark it.
    tree = ast.parse(text)
    lines = text.splitlines()
    for n in ast.walk(tree):
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute):
            if lines[n.func.end_lineno - 1].encode()[n.func.end_col_offset :][:1] == b")":
                n.func = ast.Call(ast.Name(KEEP, ast.Load()), [n.func], [])
    return tree


def _identifiers(n):
    if isinstance(n, ast.Name):
        return [n.id]
    if isinstance(n, ast.Attribute):
        return [n.attr]
    if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [n.name]
    if isinstance(n, (ast.arg, ast.keyword)):
        return [n.arg] if n.arg else []
    if isinstance(n, ast.alias):
        return [n.name] + ([n.asname] if n.asname else [])
    if isinstance(n, (ast.Global, ast.Nonlocal)):
        return n.names
    if isinstance(n, ast.ExceptHandler):
        return [n.name] if n.name else []
    return []


def _drop_docstrings(tree):
    for n in ast.walk(tree):
        body = getattr(n, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            if isinstance(body[0].value.value, str):
                body[0:1] = [] if len(body) > 1 or isinstance(n, ast.Module) else [ast.Pass()]


def _drop_shim(tree):
    # `if sys.implementation.name != "micropython":` of a module: a board needs what follows `else:`
    body = []
    for n in tree.body:
        shim = isinstance(n, ast.If) and ast.unparse(n.test) == "sys.implementation.name != 'micropython'"
        body += n.orelse if shim else [n]
    used = {n.id for k in body for n in ast.walk(k) if isinstance(n, ast.Name)}
    unused = [ast.unparse(k) for k in body if isinstance(k, ast.Import) and k.names[0].name == "sys" and "sys" not in used]
    # the compiler knows const(), and drops a constant whose name is private
    if all(n.targets[0].id[0] == "_" for n in body if "const(" in ast.unparse(n)[:40] and isinstance(n, ast.Assign)):
        unused.append("from micropython import const")
    tree.body = [n for n in body if ast.unparse(n) not in unused and not ast.unparse(n).startswith("__all__ = ")]


class _Rooted(ast.NodeTransformer):
    """Names of the modules that became one are taken from the package itself."""

    def __init__(self, stem):
        self.stem = stem

    def visit_ImportFrom(self, n):
        if not n.level:
            return n
        if n.module in ROOT:
            n.module = None
        elif n.module is None:
            root = [ast.alias(NAME, a.asname or a.name) for a in n.names if a.name in ROOT]  # a module that is the package now
            n.names = [a for a in n.names if a.name not in ROOT]
            return ([ast.Import(root)] if root else []) + ([n] if n.names else [])
        return n


class _Filed(ast.NodeTransformer):
    """FILED is read where it is used."""

    def __init__(self, line):
        self.line = line

    def visit_Name(self, n):
        return ast.Call(ast.Name("_line", ast.Load()), [ast.Constant(self.line)], []) if n.id == FILED else n


class _Cold(ast.NodeTransformer):
    """Texts of exceptions become numbers of lines in the file of texts."""

    def __init__(self, texts):
        self.texts = texts
        self.cold = False
        self.done = False

    def visit_Raise(self, n):
        before, self.cold = self.cold, True
        self.generic_visit(n)
        self.cold = before
        return n

    def visit_Call(self, n):
        f = n.func
        if getattr(f, "attr", getattr(f, "id", "")) in COLD:
            return self.visit_Raise(n)
        return self.generic_visit(n)

    def visit_BinOp(self, n):
        if self.cold and isinstance(n.op, ast.Mod) and self._is_text(n.left):
            return self._call(n.left.value, [self.visit(n.right)])
        return self.generic_visit(n)

    def visit_Constant(self, n):
        return self._call(n.value, []) if self.cold and self._is_text(n) else n

    def _is_text(self, n):
        return isinstance(n, ast.Constant) and isinstance(n.value, str) and len(n.value) > LONG and "\n" not in n.value

    def _call(self, text, args):
        self.done = True
        if text not in self.texts:
            self.texts.append(text)
        return ast.Call(ast.Name("_text", ast.Load()), [ast.Constant(self.texts.index(text)), *args], [])


class _Bare(ast.NodeTransformer):
    """A class with an empty body is made by type(): 32 bytes less each."""

    def visit_ClassDef(self, n):
        if len(n.body) > 1 or not isinstance(n.body[0], ast.Pass):
            return self.generic_visit(n)
        bases = ast.Tuple(n.bases, ast.Load())
        return ast.Assign(
            [ast.Name(n.name, ast.Store())],
            ast.Call(ast.Name("type", ast.Load()), [ast.Constant(n.name), bases, ast.Dict([], [])], []),
        )


class _Rename(ast.NodeTransformer):
    """Every identifier by the map; in strings too, where they are looked up by name."""

    def __init__(self, names):
        self.names = names
        self.word = re.compile(r"\b[A-Za-z_]\w*\b")

    def generic_visit(self, n):
        for field in ("id", "attr", "name", "arg", "asname"):
            v = getattr(n, field, None)
            if isinstance(v, str) and v in self.names:
                setattr(n, field, self.names[v])
        if isinstance(n, (ast.Global, ast.Nonlocal)):
            n.names = [self.names.get(v, v) for v in n.names]
        return super().generic_visit(n)

    def visit_Constant(self, n):
        if n.value == "big":
            n.value = "str"  # any text but "little" means that
        elif isinstance(n.value, str) and re.fullmatch(r"[\w :.]+", n.value) and not re.fullmatch(r"[A-Za-z]\w*", n.value):
            n.value = self.text(n.value)
        return n

    def text(self, text):
        """A string with every word in it by the map."""
        return self.word.sub(lambda m: self.names.get(m[0], m[0]), text)


class _Arguments(ast.NodeTransformer):
    """Arguments of internal functions, where nothing passes them by name, become names that cost nothing."""

    def __init__(self, library):
        self.library = library

    def visit_FunctionDef(self, n):
        self.generic_visit(n)
        lib = self.library
        if n.name not in lib.names and n.name not in OURS or n.name in lib.by_name or n.decorator_list:
            return n
        inside = {x for k in ast.walk(n) for x in _identifiers(k)}
        letters = [x for x in LETTERS + FREE if x not in inside]
        names = {}
        for a in n.args.args:
            if a.arg not in lib.keywords and a.arg not in lib.strings and a.arg not in _KNOWN and letters:
                names[a.arg] = letters.pop(0)
        if names and not any(isinstance(k, (ast.FunctionDef, ast.Lambda)) and k is not n for k in ast.walk(n)):
            for k in ast.walk(n):
                if isinstance(k, ast.Name) and k.id in names:
                    k.id = names[k.id]
                elif isinstance(k, ast.arg) and k.arg in names:
                    k.arg = names[k.arg]
                elif isinstance(k, ast.ExceptHandler) and k.name in names:
                    k.name = names[k.name]
                elif isinstance(k, ast.alias) and (k.asname or k.name) in names:
                    raise SystemExit("pack.py: %s() imports over its argument" % n.name)
        return n


_KNOWN = set(FREE) | set(LETTERS) | set(dir(builtins))


def _order(tree):
    # A function that is never called names what is used most; it is gone when the module has been loaded.
    used = collections.Counter(x for n in ast.walk(tree) if isinstance(n, (ast.Attribute, ast.Name)) for x in _identifiers(n))
    attributes = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    if len(used) > 128:
        common = [n for n, k in used.most_common() if k > 1 and n in attributes][:100]
        tree.body.insert(0, ast.parse("lambda: (%s)" % ", ".join("key." + n for n in common)).body[0])


def main(argv):
    lib = Library()
    if argv == ["--names"]:
        for old, new in sorted(lib.names.items(), key=lambda x: x[1]):
            print("%-20s %s" % (new, old))
    elif len(argv) == 1 and argv[0][0] != "-":
        out = Path(argv[0])
        out.mkdir(parents=True, exist_ok=True)
        for name, text in lib.pack().items():
            (out / name).write_text(text)
    elif len(argv) == 2 and argv[0] == "--mpy" and argv[1][0] != "-":
        _compile(lib, Path(argv[1]))
    else:
        sys.exit(__doc__)


def _compile(lib, out):
    """Into that folder for mip: bytecode only, which runs on every chip."""
    from boardfiles import compiled
    from profiles import package_text

    (out / NAME).mkdir(parents=True, exist_ok=True)
    files = {}
    for name, text in lib.pack().items():
        path = "%s/%s" % (NAME, name)
        if name.endswith(".py"):
            files[path[:-3] + ".mpy"] = compiled(text, path)
        else:
            files[path] = text.encode()
    for path, data in files.items():
        (out / path).write_bytes(data)
    (out / "package.json").write_text(package_text(files))


if __name__ == "__main__":
    main(sys.argv[1:])
