"""Which samples one more step judges rightly where the attack was wrong, and the other way round (OMS Appendix F)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from diffmia.evaluation.spec import EvaluationSpec
from diffmia.evaluation.thresholds import Draws, draw_thresholds, majority_vote


def threshold_draws(scores: pd.DataFrame, variant: str, spec: EvaluationSpec, seed: int) -> Draws:
    """The thresholds that give the ASR of `variant` in the tables; `seed` is the evaluation stage's."""
    member = scores["member"].to_numpy(dtype=bool)
    return draw_thresholds(scores[variant].to_numpy(), member, seed, spec.threshold_fraction, spec.threshold_repeats)


def corrections(scores: pd.DataFrame, spec: EvaluationSpec, seed: int) -> pd.DataFrame:
    """What one more step changes for each sample.

    A sample is judged by the thresholds of those draws that did not contain it, by majority; undecided is wrong.

    Parameters
    ----------
    scores : DataFrame
        Judged samples in the order of their ids: sample_id, member, base, oms.
    spec : EvaluationSpec
    seed : int
        The evaluation stage's.

    Returns
    -------
    DataFrame
        sample_id, member, corrected (wrong without OMS, right with it) and newly_wrong (the reverse).
    """
    truth = np.where(scores["member"], 1, -1)
    right = {
        variant: majority_vote(scores[variant].to_numpy(), threshold_draws(scores, variant, spec, seed)) == truth
        for variant in ("base", "oms")
    }
    return scores[["sample_id", "member"]].assign(
        corrected=~right["base"] & right["oms"], newly_wrong=right["base"] & ~right["oms"]
    )
