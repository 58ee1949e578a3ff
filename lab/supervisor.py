"""The first process of a host made of plain processes: everything that starts in the host stays below it.

`python supervisor.py BOOT_SCRIPT SSHD ARGUMENTS…`. As a child subreaper it becomes the parent of whatever daemonises
(a postmaster, a detached copy), so that the host's processes are its descendants, and nobody else's. It ends when the
last of them has ended and has been reaped: a zombie would still count as a running postmaster.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def main(boot_script: str, sshd: list[str]) -> None:
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("the kernel has no child subreapers")
    children = [sshd, *([["/bin/sh", boot_script]] if Path(boot_script).exists() else [])]
    for child in children:
        os.posix_spawn(child[0], child, os.environ)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(sys.argv[1], sys.argv[2:])
