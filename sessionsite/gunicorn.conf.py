"""How the site is served. `make run` starts gunicorn with this; HOST and PORT come from its environment.

One machine, no proxy needed: static files are served by the site (whitenoise), and idle browsers hold no worker.
"""

import gc
import multiprocessing
import os
import socket
from typing import Any

bind = f"{os.environ.get('HOST') or '127.0.0.1'}:{os.environ.get('PORT') or '8000'}"
wsgi_app = "sessionsite.wsgi"

# Pages are CPU-bound (rendering), so processes do the work, one a core; more threads only fight over the interpreter.
workers = int(os.environ.get("WORKERS") or max(2, multiprocessing.cpu_count()))
# Threads, all the same, because a browser opens connections ahead and keeps them open: sync workers would wait on each of them in turn.
worker_class = "gthread"
threads = int(os.environ.get("THREADS") or 2)
keepalive = 5  # seconds
timeout = 60  # seconds without a sign of life, then the worker is replaced
graceful_timeout = 20  # seconds that a request in progress may take when the site is stopped
# Each worker loads the site itself: a preloaded one would hand the same database connections to all of them. HUP then loads new code.
preload_app = False
control_socket_disable = True  # nothing of ours speaks to it, and it would stand in the home folder
max_requests = 100_000  # a slow leak somewhere in a library never gets far; at a few hundred requests a second that is a few minutes
max_requests_jitter = 20_000


def when_ready(server: Any) -> None:
    """Let the kernel keep a connection until its first byte is there, so that one opened ahead costs no thread. Linux only."""
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        for listener in server.LISTENERS:
            if listener.sock.family in (socket.AF_INET, socket.AF_INET6):
                listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)  # seconds


def post_worker_init(worker: Any) -> None:
    """Leave what was loaded out of the search for cyclic garbage, and search less often: requests leave little of it, and each search walked through
    everything that lives, up to a third of a large request's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
