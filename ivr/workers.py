"""Worker processes that do not outlive what started them."""

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """To be called in a worker process as it starts: it ends as soon as its parent is gone, however that ended.

    A pool's worker waits for tasks on a pipe that it could write to itself, so it never sees that the other end is
    closed: when its parent is killed (SIGTERM of a batch system, `kill -9`) it would wait for good, with all it has
    loaded.
    """
    threading.Thread(target=_wait, name="end-with-parent", daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "not in a worker process"
    parent.join()
    os._exit(1)
