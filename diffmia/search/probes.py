"""What can be asked of a model about a sample, and what is kept of the answer.

A *probe* names one search for a sample's noise: where it starts, at which timestep, and how many steps it takes.
A *reduction* names what is kept of it for a pair of iterates: the p-norms of their difference, or its magnitude at
every pixel. A *gradient probe* names a loss of such searches that is backpropagated to the model's parameters, and a
*Jacobian probe* a search whose map is differentiated at each of its iterates. All are plain values with a canonical
text form; the text is the beginning of the names of their columns.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from diffmia.search.iterations import PICARD, parse
from diffmia.spec import Spec

Start = Literal["gaussian", "proximal", "proximal_normalised", "inverted"]
Anchor = Literal["x0", "x0hat", "xt"]
Norm = Literal[1, 2, 3, 4, 5, 6, "inf"]

UNCONDITIONAL = "none"  # the condition under which a model is told nothing: a conditional one, the empty text

BASE_PAIR = (0, 1)  # ||epsilon^0 - epsilon^1||, the loss term of OMS Eq. 9
OMS_PAIR = (0, 2)  # ||epsilon^0 - epsilon^2||, with one more step (OMS Eq. 9)

NORMS: tuple[Norm, ...] = (1, 2, 3, 4, 5, 6, "inf")


class Question(Spec):
    """What a pass asks a model about every sample, and keeps as columns of one piece.

    Attributes
    ----------
    condition : str
        What a conditional model is told when it is asked: nothing (`none`), the samples' own captions (`caption`), or
        those of a captioner, by its id.
    """

    vectors: ClassVar[bool] = False  # whether a column holds a float32 vector of each sample, not a float64 number

    @property
    @abstractmethod
    def name(self) -> str:
        """Canonical text, with which the names of its columns begin."""

    @abstractmethod
    def columns(self) -> list[str]:
        """Names of its columns."""

    @abstractmethod
    def cost(self) -> int:
        """Model evaluations per sample that it costs alone; a backward pass counts as two (`BACKWARD`)."""


class Probe(Question):
    """One noise search about a sample, kept as the norms of the differences of its iterates.

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
    t_init : int
        Timestep of the first query, about x0 itself, that all starts but `gaussian` begin with. 0, or a little later
        where a model never saw the noise of a sample without any (continuous time).
    anchor : str
        What later iterates of an `inverted` search are attached to: the true x0, the estimate x0hat, or x_t.
    iteration : str
        How epsilon^2 follows from the two queries that Picard's iteration needs: `diffmia.search.iterations`.
    condition : str
        What a conditional model is told, see `Question`.
    """

    start: Start
    t: int
    n: int = 2
    draw: int = 0
    k: int = 0
    t_init: int = 0
    anchor: Anchor = "x0"
    iteration: str = "picard"
    condition: str = UNCONDITIONAL

    @model_validator(mode="after")
    def _trajectory_reaches_t(self) -> Probe:
        if (self.start == "inverted") != (self.k > 0):
            raise ValueError("k > 0 belongs to start 'inverted', and only there")
        if self.k and self.t % self.k:
            raise ValueError(f"a trajectory of step {self.k} does not reach t = {self.t}")
        if self.t_init and (self.start == "gaussian" or self.t_init >= (self.k or self.t)):
            raise ValueError("t_init is for a start that asks about x0, and comes before the next query")
        return self

    @model_validator(mode="after")
    def _iteration_is_known(self) -> Probe:
        if parse(self.iteration)[0] != PICARD and (self.k or self.n != OMS_PAIR[1]):
            raise ValueError("an iteration other than picard is for two queries at one timestep: n = 2, not inverted")
        return self

    @property
    def name(self) -> str:
        """Canonical text, e.g. `gaussian.t350` or `inverted.t100.k10.xt`; `n` is not part of it."""
        parts = [self.start, f"t{self.t}"]
        parts += [f"draw{self.draw}"] if self.draw else []
        parts += [f"k{self.k}"] if self.k else []
        parts += [f"init{self.t_init}"] if self.t_init else []
        defaults = {field: info.default for field, info in type(self).model_fields.items()}
        parts += [
            str(getattr(self, field))
            for field in ("anchor", "iteration", "condition")
            if getattr(self, field) != defaults[field]
        ]
        return ".".join(parts)

    def columns(self) -> list[str]:
        """Every pair of iterates in every norm."""
        return [column(self, (i, j), p) for i, j, p in reductions(self.n)]

    def cost(self) -> int:
        """See `Question.cost`."""
        return self.queries(self.n)

    def queries(self, iterates: int) -> int:
        """Model evaluations per sample that this search costs alone, up to and with iterate number `iterates`."""
        initial = {"gaussian": 0, "proximal": 1, "proximal_normalised": 1}
        if self.start in initial:
            return initial[self.start] + iterates
        return self.t // self.k + 1 + iterates  # 0, k, …, t on the trajectory, then the iterates


class SearchQuestion(Question):
    """What is kept of one noise search besides the norms that its own probe keeps."""

    of: Probe = Field(description="The search")

    @property
    def condition(self) -> str:
        """See `Question`."""
        return self.of.condition

    def cost(self) -> int:
        """See `Question.cost`."""
        return self.of.cost()


class DifferenceMap(SearchQuestion):
    """|epsilon^0 - epsilon^j| at every pixel, for j = 1 … n of a search: SecMI's |x_t - x~_t| up to a constant."""

    vectors: ClassVar[bool] = True

    kind: Literal["map"] = "map"

    @property
    def name(self) -> str:
        """See `Question.name`."""
        return f"{self.of.name}:map"

    def columns(self) -> list[str]:
        """One for each iterate after the first, each a flattened image (C * H * W)."""
        return [self.column(j) for j in range(1, self.of.n + 1)]

    def column(self, j: int) -> str:
        """Name of the column of |epsilon^0 - epsilon^j|."""
        return f"{self.of.name}:0-{j}:map"


class Trajectory(SearchQuestion):
    """How a long search goes on: the step that follows each iterate, and how far it still is from the last."""

    kind: Literal["trajectory"] = "trajectory"

    @property
    def name(self) -> str:
        """See `Question.name`."""
        return f"{self.of.name}:trajectory{self.of.n}"

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(i, i + 1), the steps, and (i, n), the errors, for i = 0 … n - 1."""
        n = self.of.n
        return sorted({(i, j) for i in range(n) for j in (i + 1, n)})

    def columns(self) -> list[str]:
        """The Euclidean norm of the difference of each pair."""
        return [self.column(*pair) for pair in self.pairs]

    def column(self, i: int, j: int) -> str:
        """Name of the column of ||epsilon^i - epsilon^j||_2."""
        return f"{self.name}:{i}-{j}"


class Drift(SearchQuestion):
    """||dx/dt|| of the probability-flow ODE at the state that each iterate is asked about (PIA Eq. 14)."""

    kind: Literal["drift"] = "drift"
    of: Probe = Field(description="The search, all of whose iterates are asked about at t")

    @field_validator("of")
    @classmethod
    def _at_one_timestep(cls, of: Probe) -> Probe:
        if of.start == "inverted":
            raise ValueError("an inverted search has its iterates at other states than x_t")
        return of

    @property
    def name(self) -> str:
        """See `Question.name`."""
        return f"{self.of.name}:drift"

    def columns(self) -> list[str]:
        """For each iterate after the first the norms of the drift that it implies."""
        return [self.column(j, p) for j in range(1, self.of.n + 1) for p in NORMS]

    def column(self, j: int, norm: Norm) -> str:
        """Name of the column of the drift at x_t of epsilon^{j-1}, with epsilon^j for the noise in it."""
        return f"{self.of.name}:drift{j}:l{norm}"


BACKWARD = 2  # forward passes that a backward pass is worth: it makes two products where a forward pass makes one
GradientLoss = Literal["base", "detached", "full", "training"]


class GradientProbe(Question):
    """The norms of the gradients of a loss with respect to each of the model's parameter tensors, at several timesteps.

    Attributes
    ----------
    loss : str
        With Gaussian epsilon^0 and the iterates of OMS Eq. 7: `base`: mean (epsilon^0 - epsilon^1)^2, the training loss
        (GSA). With one more step: `detached`: mean (epsilon^0 - epsilon^2)^2 (Eq. 9), where epsilon^1 is a constant in
        the second query; `full`: the same through both queries; `training`: mean (epsilon^1 - epsilon^2)^2, the
        training loss at the noise epsilon^1, a constant (the other reading of the text, Eq. 7).
    timesteps : tuple of int
        The i-th of them uses the sample's i-th Gaussian draw.
    condition : str
        What a conditional model is told, see `Question`.
    """

    vectors: ClassVar[bool] = True

    loss: GradientLoss
    timesteps: tuple[int, ...]
    condition: str = UNCONDITIONAL

    @property
    def name(self) -> str:
        """See `Question.name`."""
        told = "" if self.condition == UNCONDITIONAL else f".{self.condition}"
        return f"gradients.{self.loss}.t{'-'.join(map(str, self.timesteps))}{told}"

    @property
    def mean_column(self) -> str:
        """Name of the column of the norms of the gradients of the mean loss over the timesteps."""
        return f"{self.name}:mean"

    @property
    def timestep_columns(self) -> list[str]:
        """Names of the columns of the norms at each timestep."""
        return [f"{self.name}:t{t}" for t in self.timesteps]

    def columns(self) -> list[str]:
        """One for each timestep and one of their mean loss, each with an entry for each parameter tensor."""
        return [*self.timestep_columns, self.mean_column]

    def cost(self) -> int:
        """See `Question.cost`."""
        forward, backward = {"base": (1, 1), "detached": (2, 1), "training": (2, 1), "full": (2, 2)}[self.loss]
        return len(self.timesteps) * (forward + BACKWARD * backward)


PRODUCTS = 40  # products with a Jacobian or its transpose that the norm of one may take


class JacobianProbe(SearchQuestion):
    """The spectral norm of df/d epsilon at each iterate of a search: below 1 the map contracts there (OMS Fig. 1)."""

    kind: Literal["jacobian"] = "jacobian"
    of: Probe = Field(description="The search, all of whose iterates are asked about at t")

    @field_validator("of")
    @classmethod
    def _at_one_timestep(cls, of: Probe) -> Probe:
        if of.start == "inverted":
            raise ValueError("an inverted search asks at two timesteps, which are two maps")
        return of

    @property
    def name(self) -> str:
        """See `Question.name`."""
        return f"jacobian.{self.of.name}"

    def columns(self) -> list[str]:
        """One for each iterate, the initial noise among them."""
        return [self.column(i) for i in range(self.of.n + 1)]

    def column(self, i: int) -> str:
        """Name of the column of the norm at epsilon^i."""
        return f"{self.name}:{i}"

    def cost(self) -> int:
        """An upper bound: the search, then at each iterate f, its backward pass, and a backward pass for each product.

        How many products a norm takes, `PRODUCTS` at most, is seen only when it is taken.
        """
        return self.of.cost() + (self.of.n + 1) * (1 + BACKWARD * (1 + PRODUCTS))


def reductions(n: int) -> list[tuple[int, int, Norm]]:
    """All (i, j, p) kept of a search of `n` steps: every pair of iterates in every norm."""
    return [(i, j, p) for i, j in itertools.combinations(range(n + 1), 2) for p in NORMS]


def column(probe: Probe, pair: tuple[int, int], norm: Norm) -> str:
    """Name of the residual table's column that holds the `norm` of epsilon^i - epsilon^j."""
    return f"{probe.name}:{pair[0]}-{pair[1]}:l{norm}"


def merge(questions: list[Question]) -> list[Question]:
    """The fewest questions that answer all of them: one a name, the one with most columns, sorted by name."""
    longest: dict[str, Question] = {}
    for question in questions:
        if question.name not in longest or len(longest[question.name].columns()) < len(question.columns()):
            longest[question.name] = question
    return [longest[name] for name in sorted(longest)]
