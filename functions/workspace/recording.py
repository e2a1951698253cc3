"""Records the display as a video, which goes to the core piece by piece as it is made: nothing of it lies here."""

import contextlib
import os
import select
import signal
import threading

from call import HUNG_UP, STREAMED, Gone
from contract import LIMITS, OPERATIONS
from guard import refuse_clients
from launch import base_environment
from problem import Problem
from tree import kill_tree, signal_one

# It takes what the agent leaves: a video with frames missing is better than a slow agent.
PROGRAM = ("/usr/bin/nice", "-n", "5", "/usr/bin/ffmpeg", "-nostdin", "-loglevel", "error")
FRAMES_A_SECOND = 8
# Seconds between pictures that stand for themselves: where a player can begin, or go on after a gap.
WHOLE_SECONDS = 5
PIECE_BYTES = 256 * 1024
SAID_BYTES = 2000
FIRST_MS = 30_000
TURN_SECONDS = 2


def routes(recorder):
    return {"recordDisplay": recorder.record, "endRecording": recorder.end}


class Recorder:
    """Makes one video at a time. `display` is there for as long as one is made."""

    def __init__(self, nursery, display):
        self.nursery, self.display = nursery, display
        self.busy = threading.Lock()
        self.child = None
        self.said = b""

    def record(self, call):
        refuse_clients(call)
        # Of one that has just ended the last program may be on its way out.
        if not self.busy.acquire(timeout=TURN_SECONDS):
            raise Problem("conflict", detail="The display is being recorded already")
        try:
            with self.display.hold() as screen, self._program(screen) as child:
                first = self._next(child, call, FIRST_MS)
                if not first:
                    raise Problem("display_unavailable", detail="The display cannot be recorded", said=self.said.decode("utf-8", "replace"))
                writer = call.stream(200, {"content-type": OPERATIONS["recordDisplay"]["streams"]["response"]})
                writer.write(first)
                while piece := self._next(child, call):
                    writer.write(piece)
                writer.end()
        finally:
            self.busy.release()
        return STREAMED

    def end(self, call):
        """Lets it write its last frame; who asked for the video sees it end."""
        refuse_clients(call)
        child = self.child
        if child is not None and not child.hear() and child.pid is not None:
            signal_one(child.pid, signal.SIGTERM)

    @contextlib.contextmanager
    def _program(self, screen):
        child = self.nursery.program(command(screen), "/tmp", {**base_environment(), "DISPLAY": screen.name}, input=False)
        self.child, self.said = child, b""
        try:
            yield child
        finally:
            self.child = None
            kill_tree(None if child.hear() else child.pid, child.tree)
            child.close()

    def _next(self, child, call, wait_ms=None):
        """The next piece; b"" at the end, or when none came in time."""
        poll = select.poll()
        poll.register(child.stdout, select.POLLIN)
        poll.register(child.stderr, select.POLLIN)
        poll.register(call, HUNG_UP)
        while ready := dict(poll.poll(wait_ms)):
            if call.fileno() in ready:
                raise Gone
            if child.stdout in ready:
                return os.read(child.stdout, PIECE_BYTES)
            piece = os.read(child.stderr, PIECE_BYTES)
            self.said = (self.said + piece)[-SAID_BYTES:]
            if not piece:
                poll.unregister(child.stderr)
        return b""


def command(screen):
    """A program that writes a video which can be cut anywhere: each second stands in a part of its own, and no index comes after."""
    width, height = screen.size
    seconds = LIMITS["recordingMs"] // 1000
    return [
        *PROGRAM,
        "-f", "x11grab", "-framerate", str(FRAMES_A_SECOND), "-video_size", f"{width}x{height}", "-i", screen.name,
        "-t", str(seconds), "-fs", str(LIMITS["recordingBytes"]), "-threads", "1", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2,format=yuv420p",
        "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-crf", "28", "-g", str(WHOLE_SECONDS * FRAMES_A_SECOND),
        # A place for the duration, which is not known yet: the core writes it there.
        "-metadata", f"DURATION={seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
        "-f", "matroska", "-cluster_time_limit", "1000", "-flush_packets", "1", "pipe:1",
    ]  # fmt: skip
