"""Figures of matplotlib as media types; loaded when there is one to show."""

import io
from importlib.util import find_spec

SVG_POINTS = 20_000


def take_figures(plt, limit):
    """Renders each open figure and closes it."""
    for number in plt.get_fignums():
        figure = plt.figure(number)
        data = {"text/plain": repr(figure)}
        extent = extent_of(figure, plt.rcParams["savefig.pad_inches"])
        for media, form in (("image/png", "png"), ("image/svg+xml", "svg")):
            # As vectors, a cloud of points takes seconds to draw and megabytes to send.
            if form == "svg" and points_of(figure) > SVG_POINTS:
                continue
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, bbox_inches=extent)
            if buffer.tell() <= limit:
                data[media] = buffer.getvalue()
        plt.close(figure)
        yield data


def extent_of(figure, padding):
    """What `tight` means, worked out once for all forms: it takes a whole drawing to know."""
    figure.draw_without_rendering()
    renderer = getattr(figure.canvas, "get_renderer", None)
    if renderer is None:
        return "tight"
    return figure.get_tightbbox(renderer()).padded(padding)


def warm(plt):
    """Draws once what nobody sees: fonts, glyphs and all that is looked up at a first drawing are there for every fork."""
    figure, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], label="0123456789.−")
    axes.legend()
    for _ in take_figures(plt, 0):
        pass


def points_of(figure):
    total = 0
    for axes in figure.axes:
        total += sum(len(line.get_xdata(orig=False)) for line in axes.lines)
        total += sum(len(collection.get_offsets()) for collection in axes.collections)
        total += 50 * len(axes.patches)
    return total


def pyplot_spec(show):
    """How pyplot is loaded: as ever, and then with this `show`."""
    spec = find_spec("matplotlib.pyplot")
    if spec is None or spec.loader is None:
        return spec
    execute = spec.loader.exec_module

    def exec_module(module):
        execute(module)
        module.show = show

    spec.loader.exec_module = exec_module
    return spec
