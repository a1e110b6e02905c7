"""Ways in which a job can fail that have a name of their own, which stands where its result would be."""

from __future__ import annotations

from typing import ClassVar

from diffmia.errors import DiffmiaError


class Failure(DiffmiaError):
    """An error whose `kind` says in two words what there is in place of a result."""

    kind: ClassVar[str]


class OutOfMemory(Failure):
    """The memory of a device does not hold the least that a job must have there at once."""

    kind = "out of memory"


class NotApplicable(Failure):
    """An attack cannot be done on a target, as only its samples tell, and not yet the config."""

    kind = "not applicable"


class Stopped(Failure):
    """A job was told to end before it was done."""

    kind = "stopped"


class TimedOut(Failure):
    """A job took longer than the config allows."""

    kind = "timed out"
