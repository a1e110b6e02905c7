"""The gate before faster arithmetic: it must rank samples as float32 does, under every attack that reads the pass."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import spearmanr

from diffmia.denoisers.denoiser import Denoiser
from diffmia.errors import DiffmiaError
from diffmia.models.base import EXACT
from diffmia.passes.engine import Answer, ModelPass
from diffmia.passes.inputs import Inputs
from diffmia.search.probes import merge

if TYPE_CHECKING:
    from diffmia.attacks.base import AttackSpec

log = logging.getLogger(__name__)

LEAST = 0.999  # Spearman's rho; a rank off here and there, which no AUC shows
PER_SIDE = 128  # members, and as many non-members


def rank_agreement(
    denoiser: Denoiser,
    fast: Denoiser,
    arithmetic: str,
    answer: Answer,
    attacks: Mapping[str, tuple[AttackSpec, int]],
    inputs: Inputs,
    ids: np.ndarray,
    batch_size: int,
    noise_seed: int,
    device: torch.device,
) -> float:
    """The lowest rank correlation that scores in faster arithmetic have with those in float32.

    Parameters
    ----------
    denoiser, fast : Denoiser
        In eval mode, on `device`; the model as it is, and in the arithmetic that is called `arithmetic`.
    answer : callable
        `answer` of `passes.residuals`.
    attacks : mapping
        Attacks that read residuals, by id with timestep: their scores are compared, and of those that learn the norms
        of what they learn from.
    inputs : Inputs
    ids : int64 array (n,)
        Samples on which both are asked, members and non-members.

    Raises
    ------
    DiffmiaError
        If a correlation is lower than `LEAST` or not defined, or there is no attack that could tell.
    """
    questions = merge([question for spec, t in attacks.values() for question in spec.questions(t)])
    passes = [ModelPass(model, questions, answer, noise_seed, batch_size, device) for model in (denoiser, fast)]
    agreements = rank_agreements(attacks, *(of_model.block(inputs, ids, questions) for of_model in passes))
    if not agreements:
        raise DiffmiaError(
            f"no attack reads the residuals of this target, so nothing tells whether {arithmetic} ranks samples as "
            f"{EXACT} does; leave arithmetic: {device.type} out of it"
        )
    for (attack, variant), rho in agreements.items():
        if not rho >= LEAST:
            raise DiffmiaError(
                f"in {arithmetic} attack '{attack}' ({variant}) ranks {len(ids)} samples unlike in {EXACT}: "
                f"Spearman's rho is {rho:.5f}, and {LEAST} is asked for; leave arithmetic: {device.type} out of "
                "this target, or name another"
            )
    lowest = min(agreements.values())
    log.info("%s ranks %d samples as float32 does: Spearman's rho %.6f at least", arithmetic, len(ids), lowest)
    return lowest


def rank_agreements(
    attacks: Mapping[str, tuple[AttackSpec, int]], exact: Mapping[str, np.ndarray], coarse: Mapping[str, np.ndarray]
) -> dict[tuple[str, str], float]:
    """Spearman's rho, by attack and variant, between what attacks make of two answers to all their questions.

    `exact` and `coarse` have the answers, by column, of a model and of the same in other arithmetic.
    """
    return {
        (attack, variant): float(spearmanr(one, other).statistic)
        for attack, (spec, t) in attacks.items()
        for (variant, one), (_, other) in zip(spec.ranking(exact, t), spec.ranking(coarse, t), strict=True)
    }
