"""When a member and a non-member count as near-duplicates, as said in `config.yaml`."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat

from diffmia.spec import Spec


class DuplicatesSpec(Spec):
    """Both must hold; equal pixels always do."""

    bits: int = Field(6, ge=0, le=64, description="Bits of 64 in which their difference hashes differ, at most")
    rms: NonNegativeFloat = Field(10.0, description="Root mean square of their pixel differences, 0 to 255, at most")
