"""Figures: one file each, drawn from files of earlier stages alone."""

from typing import Literal, NamedTuple


class Entry(NamedTuple):
    """How a figure is made: the function that draws it (imported when it is needed), and which files it reads.

    `scores`: the score files of the attacks it shows; `losses`: the training's loss curves; `metrics`: metrics.csv and
    cost.csv of the run; `residuals`: columns of the target's residual tables, those that `figures/columns.py` names.
    """

    function: str
    reads: Literal["scores", "losses", "metrics", "residuals"]


# by the name in `run.figures`, which is also that of the files it makes
FIGURES = {
    "roc": Entry("diffmia.figures.roc:draw_roc", "scores"),
    "roc_log": Entry("diffmia.figures.roc:draw_roc_log", "scores"),
    "score_distribution": Entry("diffmia.figures.score_distribution:draw", "scores"),
    "training_loss": Entry("diffmia.figures.training_loss:draw", "losses"),
    "cost": Entry("diffmia.figures.cost:draw", "metrics"),
    "auc_over_timesteps": Entry("diffmia.figures.timesteps:draw_auc", "residuals"),
    "gain_over_timesteps": Entry("diffmia.figures.timesteps:draw_gain", "residuals"),
    "iteration_pairs": Entry("diffmia.figures.iteration_pairs:draw_pairs", "residuals"),
    "iterations": Entry("diffmia.figures.iteration_pairs:draw_iterations", "residuals"),
    "p_norm": Entry("diffmia.figures.p_norm:draw", "residuals"),
    "residuals": Entry("diffmia.figures.convergence:draw_residuals", "residuals"),
    "contraction": Entry("diffmia.figures.contraction:draw", "residuals"),
    "fixed_point_error": Entry("diffmia.figures.convergence:draw_errors", "residuals"),
}
