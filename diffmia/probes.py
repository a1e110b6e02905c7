"""What can be asked of a model about a sample, and what is kept of the answer.

A *probe* names one search for a sample's noise: where it starts, at which timestep, and how many steps it takes.
A *reduction* names one number kept of it: the p-norm of the difference of two iterates. Both are plain values with a
canonical text form; the text is the column's name in the residual table.
"""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import model_validator

from diffmia.spec import Spec

Start = Literal["gaussian", "proximal", "proximal_normalised", "inverted"]
Anchor = Literal["x0", "x0hat", "xt"]
Norm = Literal[1, 2, 3, 4, 5, 6, "inf"]

NORMS: tuple[Norm, ...] = (1, 2, 3, 4, 5, 6, "inf")


class Probe(Spec):
    """One noise search about a sample.

    Attributes
    ----------
    start : str
        The initial noise: `gaussian` (a fixed draw), `proximal` (epsilon_theta(x0, 0)), `proximal_normalised` (that,
        rescaled to the mean magnitude of Gaussian noise), `inverted` (epsilon_theta(x_t, t) on the DDIM-inverted x_t).
    t : int
        Timestep. Queries are made at t; of an `inverted` search epsilon^0 is taken at t, later iterates at t + k.
    n : int
        Number of iterates after the initial noise.
    draw : int
        Which Gaussian draw (`gaussian` only).
    k : int
        Step of the DDIM trajectory (`inverted` only, else 0).
    anchor : str
        What later iterates of an `inverted` search are attached to: the true x0, the estimate x0hat, or x_t.
    iteration, view, condition : str
        How an iterate follows from the last, what is done to the sample first, and what a conditional model is told.
    """

    start: Start
    t: int
    n: int = 2
    draw: int = 0
    k: int = 0
    anchor: Anchor = "x0"
    iteration: Literal["picard"] = "picard"
    view: Literal["identity"] = "identity"
    condition: Literal["none"] = "none"

    @model_validator(mode="after")
    def _trajectory_reaches_t(self) -> Probe:
        if (self.start == "inverted") != (self.k > 0):
            raise ValueError("k > 0 belongs to start 'inverted', and only there")
        if self.k and self.t % self.k:
            raise ValueError(f"a trajectory of step {self.k} does not reach t = {self.t}")
        return self

    @property
    def name(self) -> str:
        """Canonical text, e.g. `gaussian.t350` or `inverted.t100.k10.xt`; `n` is not part of it."""
        parts = [self.start, f"t{self.t}"]
        parts += [f"draw{self.draw}"] if self.draw else []
        parts += [f"k{self.k}"] if self.k else []
        defaults = {field: info.default for field, info in type(self).model_fields.items()}
        parts += [
            str(getattr(self, field))
            for field in ("anchor", "iteration", "view", "condition")
            if getattr(self, field) != defaults[field]
        ]
        return ".".join(parts)

    def queries(self, iterates: int) -> int:
        """Model evaluations per sample that this search costs alone, up to and with iterate number `iterates`."""
        initial = {"gaussian": 0, "proximal": 1, "proximal_normalised": 1}
        if self.start in initial:
            return initial[self.start] + iterates
        return self.t // self.k + 1 + iterates  # 0, k, …, t on the trajectory, then the iterates


def reductions(n: int) -> list[tuple[int, int, Norm]]:
    """All (i, j, p) kept of a search of `n` steps: every pair of iterates in every norm."""
    return [(i, j, p) for i, j in itertools.combinations(range(n + 1), 2) for p in NORMS]


def column(probe: Probe, pair: tuple[int, int], norm: Norm) -> str:
    """Name of the residual table's column that holds the `norm` of epsilon^i - epsilon^j."""
    return f"{probe.name}:{pair[0]}-{pair[1]}:l{norm}"


def merge(probes: list[Probe]) -> list[Probe]:
    """The fewest probes that answer all of `probes`: one a name, as long as the longest asked for, sorted by name."""
    longest: dict[str, Probe] = {}
    for probe in probes:
        if probe.name not in longest or longest[probe.name].n < probe.n:
            longest[probe.name] = probe
    return [longest[name] for name in sorted(longest)]
