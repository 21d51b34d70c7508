# Freezes the library into firmware, or names it for a require(): profile="telemetry", "typical", "everything".
# The list of files is that of the package file of the profile, which tools/profiles.py writes.
import json

options.defaults(profile="everything")  # noqa: F821
_name = "package.json" if options.profile == "everything" else "package-%s.json" % options.profile  # noqa: F821
with open(_name) as _f:
    _package = json.load(_f)

metadata(version=_package["version"], description="MQTT 5.0 client", license="MIT")  # noqa: F821
package("umqtt5", files=[f[0].split("/")[1] for f in _package["urls"]], base_path=".", opt=3)  # noqa: F821
