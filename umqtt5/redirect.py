"""Server redirection (4.11): where to go instead. Loaded by link.py when a server says 0x9C or 0x9D.

What belongs here: reading Server References, choosing one. What does not: when to go there (link.py). Imports nothing.
"""


def references(text, allow=None):
    """Server Reference (3.2.2.3.16) -> list of (host, port), port 0 when none is given: `host[:port] [v6]:port`, apart by spaces.

    allow: hosts permitted, ".example.org" stands for every host below; None permits all. What is not readable is left out.
    """
    r = []
    for x in text.split():
        if x[0] == "[":
            h, _, p = x[1:].partition("]")
            if p:
                p = p[1:] if p[0] == ":" and len(p) > 1 else "?"
        elif x.count(":") > 1:
            h, p = x, ""
        else:
            h, c, p = x.partition(":")
            p = p or c
        try:
            p = int(p or 0)
        except ValueError:
            continue
        if h and 0 <= p < 65536:
            for a in (h,) if allow is None else allow:
                if h == a or a[:1] == "." and h.endswith(a):
                    r.append((h, p))
                    break
    return r


def follow(link, e):
    """Point the client of `link` to the server that Refused `e` names: for one connection (0x9C), or for good. False: none."""
    link._hops += 1
    if link._hops > link.hops:
        link._hops = 0
        return False
    c = link.client
    for k, v in e.props:
        if k == "server_reference":
            r = references(v, link.allow)
            if r:
                if e.reason_code == 0x9C:
                    link._home = c.server, c.port
                c.server, c.port = r.pop(0)
                link._refs = r
                return True
    return False
