"""Real hosts on one machine: sshd and PostgreSQL, to kill, cut, pause, slow and fill. See lab/README.md."""

from lab.errors import LabError, MissingOnMachine, NotPossibleHere
from lab.host import Host
from lab.lab import Lab

__all__ = ["Host", "Lab", "LabError", "MissingOnMachine", "NotPossibleHere"]
