# SPDX-License-Identifier: MIT
"""Waits for what a program writes into a folder, without looking at it all the time: inotify(7).

Python's own library has none, so it is called by way of libc.
"""
import contextlib
import ctypes
import os
import select
import time

# <sys/inotify.h>
IN_MODIFY, IN_CREATE, IN_MOVED_TO = 0x2, 0x100, 0x80
LIBC = ctypes.CDLL(None, use_errno=True)


def succeeded(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), f"inotify: {os.strerror(ctypes.get_errno())}")
    return result


@contextlib.contextmanager
def closing(fd):
    try:
        yield fd
    finally:
        os.close(fd)


def wait_until(condition, folder, seconds, process=None):
    """Looks again whenever a file in the folder changes. What condition() says when it holds, when the
    process has ended, or when the time is over."""
    end = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        changes = stack.enter_context(closing(succeeded(LIBC.inotify_init1(os.O_CLOEXEC))))
        succeeded(LIBC.inotify_add_watch(changes, os.fsencode(folder), IN_MODIFY | IN_CREATE | IN_MOVED_TO))
        watched = [changes]
        if process:
            watched.append(stack.enter_context(closing(os.pidfd_open(process.pid))))
        while not condition():
            ready = select.select(watched, [], [], max(0, end - time.monotonic()))[0]
            if changes not in ready:
                break
            os.read(changes, 1 << 16)
        return condition()
