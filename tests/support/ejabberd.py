"""Host only: ejabberd's MQTT 5.0 broker on free loopback ports, TCP and WebSocket, started without its service scripts.

with Ejabberd() as b:               # b.port, b.ws_port (path /mqtt); anyone gets in as NAME@localhost with any password
Ejabberd(options=["max_topic_depth: 3"], publish={"ok/#": "all"}, users={"node": "secret"})
"""

import glob
import os

from .brokers import Broker, free_port, program, wait_port


class Ejabberd(Broker):
    """options: more lines for mod_mqtt; publish, subscribe: {filter: "all" or "none"}, first match counts, then all;

    users: {name: password} (nobody else gets in; they log in as name@localhost).
    """

    name = "ejabberd"

    def __init__(self, options=(), publish=None, subscribe=None, users=None):
        super().__init__()
        self.ebin = sorted(glob.glob("/usr/lib/*/ejabberd-*/ebin"))
        if not self.ebin or program("erl") is None:
            raise FileNotFoundError("ejabberd is not installed: apt-get install ejabberd")
        self.ws_port = free_port()
        lines = ["hosts: [localhost]", "loglevel: info", "allow_multiple_connections: true"]
        lines += ["auth_method: [%s]" % ("internal" if users else "anonymous"), "anonymous_protocol: login_anon"]
        lines += ["listen:", '  - {port: %d, ip: "127.0.0.1", module: mod_mqtt}' % self.port]
        lines += ['  - {port: %d, ip: "127.0.0.1", module: ejabberd_http, request_handlers: {/mqtt: mod_mqtt}}' % self.ws_port]
        lines += ["modules:", "  mod_mqtt:", "    max_queue: 5000"] + ["    " + o for o in options]
        for what, rules in (("publish", publish), ("subscribe", subscribe)):
            if rules:
                lines.append("    access_%s:" % what)
                lines += ['      "%s": %s' % rule for rule in rules.items()]
        (self.folder / "ejabberd.yml").write_text("\n".join(lines) + "\n")
        self.users = users or {}
        self.start()

    def start(self):
        """Start (again), on the same ports."""
        super().start()
        wait_port(self.ws_port, self.process, what=self.name, log=self.log)
        if self.users:
            self.wait_log("users are there")
        return self

    def environment(self):
        """Of the process."""
        return dict(os.environ, HOME=str(self.folder), EJABBERD_CONFIG_PATH=str(self.folder / "ejabberd.yml"))

    def command(self):
        """Command line."""
        register = "".join('ejabberd_auth:try_register(<<"%s">>,<<"localhost">>,<<"%s">>),' % user for user in self.users.items())
        return [
            *(program("erl"), "-noinput", "-start_epmd", "false", "-pa", self.ebin[-1]),
            *("-mnesia", "dir", '"%s/mnesia"' % self.folder),
            *("-ejabberd", "config", '"%s/ejabberd.yml"' % self.folder, "log_path", '"%s/ejabberd.log"' % self.folder),
            *("-s", "ejabberd", "-eval", register + 'io:format("users are there~n").'),
        ]
