"""Other ways from one iterate to the next than Picard's epsilon^n = f(epsilon^{n-1}), for as many queries of f.

A *query* is one evaluation of f. An iteration has a canonical text, e.g. `picard` or `krasnoselskij-0.5`; `ITERATIONS`
lists them all. Everything here is a differentiable function of tensors whose first axis is the batch; each sample is
iterated on its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

POSITIVE = r"(1|0\.[0-9]*[1-9])"  # in (0, 1], the one way to write it
FRACTION = r"(0|1|0\.[0-9]*[1-9])"  # in [0, 1]
WHOLE = r"(0|[1-9][0-9]*)"

TIKHONOV = 1e-10  # added to Anderson's least squares: angles and relative changes of residuals below 1e-5 are noise


class Iteration(NamedTuple):
    """A family of iterations.

    Attributes
    ----------
    text : str
        How it is written, and what its parameters may be.
    pattern : str
        Regular expression of that text, with a group for each parameter.
    formula : str
        The next iterate x' of x, or x_n of x_{n-1} for n = 1, 2, …
    source : str
        Where it is from.
    """

    text: str
    pattern: str
    formula: str
    source: str


PICARD = "picard"

ITERATIONS = {
    PICARD: Iteration(PICARD, PICARD, "x' = f(x)", "Picard, J. Math. Pures Appl. 1890; OMS Eq. 7"),
    "krasnoselskij": Iteration(
        "krasnoselskij-<a> (0 < a <= 1)",
        f"krasnoselskij-{POSITIVE}",
        "x' = (1 - a) x + a f(x); a = 1 is Picard",
        "Krasnoselskij, Uspekhi Mat. Nauk 1955 (a = 1/2); Schaefer, Jber. DMV 1957 (any a)",
    ),
    "mann": Iteration(
        "mann-<power> (0 <= power <= 1)",
        f"mann-{FRACTION}",
        "x_n = (1 - a_n) x_{n-1} + a_n f(x_{n-1}) with a_n = (n + 1)^-power; power 0 is Picard, 1 is Mann's own mean",
        "Mann, Proc. AMS 1953",
    ),
    "ishikawa": Iteration(
        "ishikawa-<a>-<b> (0 < a <= 1, 0 <= b <= 1)",
        f"ishikawa-{POSITIVE}-{FRACTION}",
        "y = (1 - b) x + b f(x), x' = (1 - a) x + a f(y), two queries; a = b = 1 is Picard; with b = 0 both queries "
        "are the same, and it is Krasnoselskij of half as many steps (a = 1: Picard of half as many)",
        "Ishikawa, Proc. AMS 1974",
    ),
    "anderson": Iteration(
        "anderson-<m> (m = 0, 1, 2, …)",
        f"anderson-{WHOLE}",
        "x_n = f(x_{n-1}) - sum_i gamma_i df_i, where gamma minimises |r_{n-1} - sum_i gamma_i dr_i|, with residuals "
        "r = f(x) - x and the last m differences df and dr of answers and residuals; m = 0 is Picard",
        "Anderson, J. ACM 1965; Walker and Ni, SIAM J. Numer. Anal. 2011 (type II)",
    ),
}


def parse(iteration: str) -> tuple[str, tuple[float, ...]]:
    """Name in `ITERATIONS` and parameters of an iteration's text; ValueError if there is no such iteration."""
    for name, known in ITERATIONS.items():
        if match := re.fullmatch(known.pattern, iteration):
            return name, tuple(float(number) for number in match.groups())
    listed = ", ".join(known.text for known in ITERATIONS.values())
    raise ValueError(f"there is no iteration {iteration!r}; known are {listed}, numbers written without extra zeros")


def iterate(f: Callable[[Tensor], Tensor], start: Tensor, queries: int, iteration: str) -> Tensor:
    """The last iterate after exactly `queries` evaluations of f.

    Parameters
    ----------
    f : callable
        (B, ...) -> the same shape; row i of the answer depends on row i alone.
    start : Tensor (B, ...)
        The initial noise, returned if `queries` is 0.
    queries : int
        Evaluations of f; even for `ishikawa`.
    iteration : str
        Canonical text, see `ITERATIONS`.

    Raises
    ------
    ValueError
        If there is no such iteration, or `queries` is not a number of whole steps of it.
    """
    name, parameters = parse(iteration)
    step = 2 if name == "ishikawa" else 1
    if queries < 0 or queries % step:
        raise ValueError(f"{queries} queries are no whole number of steps of {iteration}, which takes {step} for each")
    if name == "anderson":
        return _anderson(f, start, queries, int(*parameters))
    x = start
    for n in range(1, queries // step + 1):
        match name:
            case "picard":
                x = f(x)
            case "krasnoselskij":
                x = x.lerp(f(x), *parameters)
            case "mann":
                x = x.lerp(f(x), (n + 1) ** -parameters[0])
            case "ishikawa":
                a, b = parameters
                x = x.lerp(f(x.lerp(f(x), b)), a)
    return x


def _anderson(f: Callable[[Tensor], Tensor], x: Tensor, queries: int, m: int) -> Tensor:
    import torch

    answers: list[Tensor] = []
    residuals: list[Tensor] = []
    for _ in range(queries):
        answer = f(x)
        answers = [*answers, answer][-m - 1 :]
        residuals = [*residuals, answer - x][-m - 1 :]
        x = _mix(torch.stack(answers), torch.stack(residuals)) if len(answers) > 1 else answer
    return x


def _mix(answers: Tensor, residuals: Tensor) -> Tensor:
    """Anderson's next iterate (B, ...) of the last answers and residuals (m + 1, B, ...)."""
    import torch

    r, dr = residuals[-1].double().flatten(1), residuals.double().diff(dim=0).flatten(2)
    normal = torch.einsum("ibd,jbd->bij", dr, dr)
    scale = normal.diagonal(dim1=1, dim2=2) + r.square().sum(1, keepdim=True)
    regular = normal + torch.diag_embed(TIKHONOV * scale + torch.finfo(torch.float64).tiny)  # also where all are zero
    gamma = torch.linalg.solve(regular, torch.einsum("ibd,bd->bi", dr, r))
    return answers[-1] - torch.einsum("bi,ib...->b...", gamma.to(answers.dtype), answers.diff(dim=0))
