"""python3 -m umqtt5_host main.py [arguments]: run a MicroPython program on CPython."""

import os
import sys

from . import run

if len(sys.argv) < 2:
    sys.exit(__doc__)
del sys.argv[0]
sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
run(sys.argv[0])
