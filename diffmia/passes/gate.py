"""The gate before faster arithmetic: it must rank samples as float32 does, under every attack that reads the pass."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from diffmia.denoisers.denoiser import Denoiser
from diffmia.errors import DiffmiaError
from diffmia.models.base import EXACT
from diffmia.passes.engine import Answer, ModelPass
from diffmia.passes.inputs import Inputs
from diffmia.search.probes import merge

if TYPE_CHECKING:
    from diffmia.attacks.base import TableAttack

log = logging.getLogger(__name__)

LEAST = 0.999  # Spearman's rho; a rank off here and there, which no AUC shows
PER_SIDE = 128  # members, and as many non-members


def rank_agreement(
    denoiser: Denoiser,
    fast: Denoiser,
    arithmetic: str,
    answer: Answer,
    attacks: Mapping[str, tuple[TableAttack, int]],
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
        Attacks that only read residuals, by id with timestep.
    inputs : Inputs
    ids : int64 array (n,)
        Samples on which both are asked, members and non-members.

    Raises
    ------
    DiffmiaError
        If a score's correlation is lower than `LEAST`, or is not defined.
    """
    questions = merge([question for spec, t in attacks.values() for question in spec.questions(t)])
    passes = [ModelPass(model, questions, answer, noise_seed, batch_size, device) for model in (denoiser, fast)]
    tables = [pd.DataFrame(of_model.block(inputs, ids, questions)) for of_model in passes]
    lowest = 1.0
    for attack, (spec, t) in attacks.items():
        exact, coarse = (spec.score(table, t) for table in tables)
        for variant in spec.queries(t):
            rho = float(spearmanr(exact[variant], coarse[variant]).statistic)
            if not rho >= LEAST:
                raise DiffmiaError(
                    f"in {arithmetic} attack '{attack}' ({variant}) ranks {len(ids)} samples unlike in {EXACT}: "
                    f"Spearman's rho is {rho:.5f}, and {LEAST} is asked for; set precision: {EXACT} and compile: false "
                    "for this target"
                )
            lowest = min(lowest, rho)
    log.info("%s ranks %d samples as float32 does: Spearman's rho %.6f at least", arithmetic, len(ids), lowest)
    return lowest
