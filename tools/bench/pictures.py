"""The benchmark's pictures, as SVG in docs/img/: RAM per module, allocation per operation, instructions against the peer."""


def write(raw, folder, order):
    """Draw them from the raw figures; says so and leaves the old ones where pygal is not installed."""
    try:
        import pygal
        from pygal.style import CleanStyle
    except ImportError:
        print("pictures: pygal is not installed (tools/setup_env.py bench)")
        return
    folder.mkdir(parents=True, exist_ok=True)

    def chart(name, title, labels, series, height=None):
        c = pygal.HorizontalBar(
            style=CleanStyle, title=title, height=height or 120 + 34 * len(labels), width=900, no_prefix=True, print_values=True,
            legend_at_bottom=True, truncate_label=-1, js=[], disable_xml_declaration=True,
        )  # fmt: skip
        c.x_labels = list(labels)
        for label, values in series:
            c.add(label, list(values))
        text = c.render().decode() if isinstance(c.render(), bytes) else c.render()
        (folder / name).write_text(text + "\n")

    ram = raw["ram"]
    rows = list(ram["module"].items()) + list(ram["peer"].items())
    chart("ram.svg", "RAM of code, bytes kept, 32-bit, .mpy", [r[0] for r in rows], [("bytes", [r[1] for r in rows])])
    peer = raw["alloc32"].get("umqtt.simple", {})
    both = [op for op in order if op in peer]
    values = [(lib, [max(raw["alloc32"][lib][op][:2]) / 100 for op in both]) for lib in ("umqtt5", "umqtt.simple")]
    chart("allocation.svg", "Bytes of heap per operation, 32-bit", both, values, 120 + 60 * len(both))
    fuel = raw["fuel"]
    both = [op for op in order if op in fuel.get("umqtt.simple", {})]
    values = [(lib, [fuel[lib][op] for op in both]) for lib in ("umqtt5", "umqtt.simple")]
    chart("instructions.svg", "WebAssembly instructions per operation, 32-bit", both, values, 120 + 60 * len(both))
