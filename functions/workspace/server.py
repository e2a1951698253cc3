"""The workspace's HTTP server: threads for the requests that are under way, one `epoll` for connections that wait."""

import errno
import queue
import select
import threading
import time

from connection import Connection
from dispatch import serve_request
from log import log_failure

STACK_BYTES = 512 * 1024
# Threads that are there before they are needed: where a sandbox has used up its processes, none can be had.
KEPT_THREADS = 4
MOST_THREADS = 256
LINGER_MS = 1_000
REFUSED_PAUSE_S = 0.05
ACCEPT_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def serve(listener, workspace, collector=None):
    """Answers whoever connects, for as long as the process lives. `collector` is started when somebody sends to it."""
    Server(listener, workspace, collector).run()


class Server:
    """A connection belongs to a thread while it is asked something, and for a moment afterwards; else to the epoll."""

    def __init__(self, listener, workspace, collector):
        self._listener, self._workspace, self._collector = listener, workspace, collector
        self._epoll = select.epoll()
        self._parked = {}
        self._queue = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        # Threads that wait for work, less the work that waits for them.
        self._free = 0

    def run(self):
        threading.stack_size(STACK_BYTES)
        for _ in range(KEPT_THREADS):
            self._start_thread()
        self._listener.setblocking(False)
        self._epoll.register(self._listener, select.EPOLLIN)
        if self._collector is not None:
            self._epoll.register(self._collector.fileno(), select.EPOLLIN)
        while True:
            for number, _ in self._epoll.poll():
                if number == self._listener.fileno():
                    self._accept()
                elif self._collector is not None and number == self._collector.fileno():
                    self._start_collector()
                else:
                    self._hand_over(self._parked.pop(number))

    def _start_collector(self):
        try:
            self._collector.start()
            self._epoll.unregister(self._collector.fileno())
        except RuntimeError:
            self._collector.turn_away()

    def _accept(self):
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # A client that left early concerns nobody; without descriptors the others have to be waited for.
            if error.errno in ACCEPT_ERRORS:
                time.sleep(REFUSED_PAUSE_S)
            return
        connection = Connection(sock)
        number = connection.fileno()
        self._parked[number] = connection
        self._epoll.register(number, select.EPOLLIN | select.EPOLLONESHOT)

    def _park(self, connection):
        number = connection.fileno()
        self._parked[number] = connection
        self._epoll.modify(number, select.EPOLLIN | select.EPOLLONESHOT)

    def _hand_over(self, connection):
        with self._lock:
            self._free -= 1
            wanted = self._free < 0 and self._threads < MOST_THREADS
        if wanted:
            self._start_thread()
        self._queue.put(connection)

    def _start_thread(self):
        try:
            threading.Thread(target=self._work, daemon=True).start()
        except RuntimeError:
            # Those that there are get to it when they can.
            return
        with self._lock:
            self._threads += 1
            self._free += 1

    def _work(self):
        while True:
            connection = self._queue.get()
            try:
                self._serve(connection)
            except Exception as error:
                log_failure("connection", error)
                connection.close()
            with self._lock:
                if self._free >= KEPT_THREADS:
                    self._threads -= 1
                    return
                self._free += 1

    def _serve(self, connection):
        while serve_request(self._workspace, connection):
            # The next request of a busy client is met here; one that waits for a thread of its own goes before it.
            if not connection.readable(0 if self._free < 0 else LINGER_MS):
                self._park(connection)
                return
        connection.close()
