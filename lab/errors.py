"""What the lab says when it cannot do something. The first line of each is fit to be shown as it is."""


class LabError(Exception):
    """Something in the lab is not as it must be; the message says what, and what to do."""


class MissingOnMachine(LabError):
    """The machine lacks a program or a build that the lab needs; the message says how to get it."""


class NotPossibleHere(LabError):
    """This backend, or this machine, cannot make that fault or that layout."""
