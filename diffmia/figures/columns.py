"""Which columns of the residual table each figure of noise searches is drawn from."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from diffmia.search.iterations import PICARD
from diffmia.search.probes import BASE_PAIR, NORMS, OMS_PAIR, column

if TYPE_CHECKING:
    from diffmia.attacks.residual import ResidualAttack
    from diffmia.search.studies import StudiesSpec

Columns = list[list[Any]]  # of StudiedAttack


def base_and_oms(attack: ResidualAttack, t: int) -> list[str]:
    """The residual without and with one more step, in the attack's norm, at timestep `t`."""
    return [column(attack.probe(t), pair, attack.norm) for pair in (BASE_PAIR, OMS_PAIR)]


def over_timesteps(attack: ResidualAttack, t: int, studies: StudiesSpec) -> Columns:
    """Timestep, then the two residuals there."""
    return [[at, *base_and_oms(attack, at)] for at in _timesteps(t, studies)]


def over_pairs(attack: ResidualAttack, t: int, studies: StudiesSpec) -> Columns:
    """Pair of iterates, then its residual at the attack's own timestep and in its norm."""
    iterates = range(max(studies.iterates, OMS_PAIR[1]) + 1)
    return [[pair, column(attack.probe(t), pair, attack.norm)] for pair in itertools.combinations(iterates, 2)]


def over_iterations(attack: ResidualAttack, t: int, studies: StudiesSpec) -> Columns:
    """Iteration, then the residual that it leads to with two queries; `base`: that of the first query alone."""
    if attack.k or not studies.iterations:
        return []
    made = [[it, column(attack.probe(t, iteration=it), OMS_PAIR, attack.norm)] for it in (PICARD, *studies.iterations)]
    return [["base", column(attack.probe(t), BASE_PAIR, attack.norm)], *made]


def over_norms(attack: ResidualAttack, t: int, studies: StudiesSpec) -> Columns:
    """Norm, then the residual without and with one more step at the attack's own timestep."""
    return [[norm, *(column(attack.probe(t), pair, norm) for pair in (BASE_PAIR, OMS_PAIR))] for norm in NORMS]


def ratios(attack: ResidualAttack, t: int, studies: StudiesSpec) -> Columns:
    """Timestep, then the L2 norms of the second and the first step; of searches that stay at one timestep."""
    probes = {at: attack.probe(at) for at in _timesteps(t, studies) if not attack.k}
    return [[at, *(column(probe, pair, 2) for pair in ((1, 2), (0, 1)))] for at, probe in probes.items()]


def steps(attack: ResidualAttack, t: int, studies: StudiesSpec) -> Columns:
    """n, then ||epsilon^n - epsilon^{n-1}||, of the long search."""
    if attack.k:
        return []
    trajectory = studies.trajectory(attack, t)
    return [[n, trajectory.column(n - 1, n)] for n in range(1, studies.steps + 1)]


def errors(attack: ResidualAttack, t: int, studies: StudiesSpec) -> Columns:
    """n, then ||epsilon^n - epsilon^N||, of the long search, epsilon^N its last iterate."""
    if attack.k:
        return []
    trajectory = studies.trajectory(attack, t)
    return [[n, trajectory.column(n, studies.steps)] for n in range(studies.steps)]


def _timesteps(t: int, studies: StudiesSpec) -> list[int]:
    """Those studied, and the attack's own."""
    return sorted({*studies.timesteps, t})


COLUMNS = {
    "auc_over_timesteps": over_timesteps,
    "gain_over_timesteps": over_timesteps,
    "iteration_pairs": over_pairs,
    "iterations": over_iterations,
    "p_norm": over_norms,
    "residuals": steps,
    "contraction": ratios,
    "fixed_point_error": errors,
}
