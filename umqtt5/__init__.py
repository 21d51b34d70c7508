"""umqtt5: an MQTT 5.0 client for MicroPython."""

import sys

if sys.implementation.name != "micropython":  # CPython: ports/host gives it what MicroPython has
    sys.path.insert(0, __path__[0] + "/../ports/host")
    import umqtt5_host  # noqa: F401

__version__ = "0.1.0"

from .client import MQTTClient
from .errors import MQTTException, ProtocolError, Refused, ResourceError

__all__ = ("MQTTClient", "MQTTException", "ProtocolError", "Refused", "ResourceError")
