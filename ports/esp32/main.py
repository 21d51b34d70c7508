# A telemetry node on an ESP32. Everything that differs from node to node is in settings.json; the sensor is here.
import chip
import node


def read(values):
    """Called before each message: put what you measure into `values`, a dictionary; it is sent as JSON."""
    t = chip.temperature()
    if t is not None:
        values["temperature"] = round(t, 1)
    # ---- your sensor: read it here, for example  values["humidity"] = sensor.humidity() ----


node.run(read)
