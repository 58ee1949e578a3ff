"""The first process of a host made of plain processes: everything that starts in the host stays below it.

`python -m lab.supervisor BOOT_SCRIPT SSHD ARGUMENTS…`. As a child subreaper it becomes the parent of whatever daemonises
(a postmaster, a detached copy), so that the host's processes are its descendants, and nobody else's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def main(boot_script: str, sshd: list[str]) -> None:
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("the kernel has no child subreapers")
    main_process = subprocess.Popen(sshd, stdin=subprocess.DEVNULL)
    if Path(boot_script).exists():
        subprocess.Popen(["/bin/sh", boot_script], stdin=subprocess.DEVNULL)
    while os.wait()[0] != main_process.pid:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(sys.argv[1], sys.argv[2:])
