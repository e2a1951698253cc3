"""Becomes the browser that a person or an agent starts on the desktop: with a profile of its own, and nobody driving it."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from browser.flags import PROGRAM, SEEN  # noqa: E402

os.execv(PROGRAM, [PROGRAM, *SEEN, *sys.argv[1:]])
