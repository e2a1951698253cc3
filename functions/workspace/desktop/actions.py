"""What an agent does on the desktop: one action at a time, with mouse and keyboard, and what it sees afterwards."""

import base64
import io
import threading
import time

from PIL import Image

from desktop.keys import chord_of, typed
from desktop.pointer import pointer_of
from desktop.rfb import Viewer
from guard import refuse_clients
from problem import Problem

BUTTONS = {"left": 1, "middle": 2, "right": 4}
UP, DOWN, LEFT, RIGHT = 8, 16, 32, 64
CLICKS = {"click": 1, "double_click": 2, "triple_click": 3}
# Programs tell a drag from a jump by the movements between.
STEP_SECONDS = 0.008
STEPS = 6
# Enough for what is typed into to keep up, as it is one character after another.
TYPED_AT_ONCE = 20
# What programs need to show what was done to them, before it is looked at.
LOOKS, REDRAW_SECONDS = ("screenshot", "wait", "cursor_position", "screen_size"), 0.03
PNG_LEVEL = 1
# The log's picture has each side by so many times smaller.
THUMBNAIL_PART, THUMBNAIL_QUALITY = 4, 60


def routes(display):
    desktop = Desktop(display)

    def act(call):
        refuse_clients(call)
        return desktop.act(call.body)

    return {"actOnDesktop": act}


class Desktop:
    """Acts on the display by a view of its own, opened with the first action."""

    def __init__(self, display):
        self.display = display
        self.lock = threading.Lock()
        self.viewer = None

    def act(self, action):
        """Does one action and answers what there is to see."""
        kind = action["type"]
        if kind == "wait":
            time.sleep(action["ms"] / 1000)
        with self.display.hold() as screen:
            if not screen.managed.is_set():
                self.display.start()
            with self.lock:
                return self._act(screen, kind, action)

    def _act(self, screen, kind, action):
        viewer = self._viewer(screen)
        try:
            self._do(viewer, kind, action)
            if kind not in LOOKS:
                viewer.settle()
                time.sleep(REDRAW_SECONDS)
            image = image_of(viewer)
            x, y = pointer_of(screen.number)
        except Problem as problem:
            if problem.code == "display_unavailable":
                self._forget()
            raise
        result = {"type": kind, "cursor": {"x": x, "y": y}, "screen": {"width": viewer.width, "height": viewer.height}}
        if kind == "screenshot" or action.get("screenshot"):
            result["screenshot"] = encoded(image, "PNG", compress_level=PNG_LEVEL)
        return {**result, "thumbnail": encoded(image.reduce(THUMBNAIL_PART), "JPEG", quality=THUMBNAIL_QUALITY)}

    def _viewer(self, screen):
        if self.viewer is None or self.viewer.screen is not screen:
            self._forget()
            self.viewer = Viewer(screen)
        return self.viewer

    def _forget(self):
        if self.viewer is not None:
            self.viewer.close()
            self.viewer = None

    def _do(self, viewer, kind, action):
        if kind == "type":
            type_text(viewer, action["text"])
        elif kind == "keypress":
            with held(viewer, chord_of(action["keys"])):
                pass
        elif kind in CLICKS or kind in ("move", "drag", "scroll"):
            with held(viewer, chord_of(action.get("keys") or [])):
                self._point(viewer, kind, action)

    def _point(self, viewer, kind, action):
        if kind == "drag":
            return drag(viewer, [place_on(viewer, one["x"], one["y"]) for one in action["path"]], BUTTONS[action["button"]])
        if ("x" in action) != ("y" in action):
            raise Problem("invalid_request", detail="A place has both x and y")
        place = place_on(viewer, action["x"], action["y"]) if "x" in action else pointer_of(viewer.screen.number)
        viewer.point(0, *place)
        if kind in CLICKS:
            press(viewer, BUTTONS[action["button"]], CLICKS[kind], place)
        elif kind == "scroll":
            for amount, less, more in ((action["scrollX"], LEFT, RIGHT), (action["scrollY"], UP, DOWN)):
                press(viewer, more if amount > 0 else less, abs(amount), place)


class held:
    """Keys that are down while the block lasts, and up after it whatever happens."""

    def __init__(self, viewer, symbols):
        self.viewer, self.symbols = viewer, symbols

    def __enter__(self):
        for symbol in self.symbols:
            self.viewer.key(symbol, True)

    def __exit__(self, *_):
        for symbol in reversed(self.symbols):
            self.viewer.key(symbol, False)


def press(viewer, button, times, place):
    for _ in range(times):
        viewer.point(button, *place)
        viewer.point(0, *place)


def drag(viewer, path, button):
    viewer.point(0, *path[0])
    viewer.point(button, *path[0])
    for place in steps(path):
        time.sleep(STEP_SECONDS)
        viewer.point(button, *place)
    time.sleep(STEP_SECONDS)
    viewer.point(0, *path[-1])


def steps(path):
    """The places that a drag passes: of two that are all there is, some between, as what is dragged follows from the second on."""
    if len(path) > 2:
        return path[1:]
    (x, y), (to_x, to_y) = path
    return [(x + (to_x - x) * step // STEPS, y + (to_y - y) * step // STEPS) for step in range(1, STEPS + 1)]


def type_text(viewer, text):
    """Types a text, refused as a whole where a character of it cannot be typed."""
    symbols = [(character, typed(character)) for character in text]
    wrong = next((character for character, symbol in symbols if symbol is None), None)
    if wrong is not None:
        raise Problem("invalid_request", detail=f"The character U+{ord(wrong):04X} cannot be typed", next="Leave it out, or press a key.")
    for at, (_, symbol) in enumerate(symbols):
        viewer.key(symbol, True)
        viewer.key(symbol, False)
        if at % TYPED_AT_ONCE == TYPED_AT_ONCE - 1:
            viewer.settle()


def place_on(viewer, x, y):
    """A place in whole pixels; one that the screen has not is refused."""
    if not (0 <= x < viewer.width and 0 <= y < viewer.height):
        detail = f"({x}, {y}) lies outside of the screen, which is {viewer.width} by {viewer.height} pixels"
        raise Problem("invalid_request", detail=detail, width=viewer.width, height=viewer.height, next="Use x from 0 to width - 1 and y from 0 to height - 1.")
    return int(x), int(y)


def image_of(viewer):
    """What there is to see once everything that was sent has been done."""
    return Image.frombuffer("RGB", (viewer.width, viewer.height), bytes(viewer.look()), "raw", "BGRX", 0, 1)


def encoded(image, kind, **options):
    """A picture as text."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()
