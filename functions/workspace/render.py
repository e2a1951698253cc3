"""
Draws a small picture of a file, the first page of a PDF or an image, and writes it to standard output as JPEG. It is a
program of the user's, run with `path side bytes`, and bounds itself before it looks at what may have been made to harm it.
"""

import contextlib
import io
import os
import resource
import subprocess
import sys

MEMORY_BYTES = 512 * 1024 * 1024
CPU_SECONDS = 4
PIXELS = 64 * 1024 * 1024
QUALITIES = (80, 60, 40, 20)
PDF = b"%PDF-"
# It draws on its standard output where it is given no name to write to.
PAGE = ("/usr/bin/pdftoppm", "-q", "-f", "1", "-l", "1", "-singlefile", "-scale-to")
WHITE = "#fff"


def bound():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    # It writes no file, and goes before anybody's work does where memory ends.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def main(path, side, size):
    bound()
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = PIXELS // 2
    with open(path, "rb") as file:
        head = file.read(len(PDF))
    shown = Image.open(io.BytesIO(first_page(path, side)) if head == PDF else path)
    shown.draft("RGB", (side, side))
    shown.thumbnail((side, side))
    os.write(1, encoded(flat(ImageOps.exif_transpose(shown), Image), size))


def first_page(path, side):
    page = subprocess.run([*PAGE, str(side), path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return page.stdout


def flat(image, Image):
    """On white where one could look through it, as on paper."""
    if image.mode not in ("RGBA", "LA", "PA", "P"):
        return image.convert("RGB")
    seen = image.convert("RGBA")
    ground = Image.new("RGBA", seen.size, WHITE)
    return Image.alpha_composite(ground, seen).convert("RGB")


def encoded(image, size):
    for quality in QUALITIES:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        if file.tell() <= size:
            return file.getvalue()
    raise ValueError("no picture is small enough")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
