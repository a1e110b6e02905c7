"""Figures: one file each, drawn from files of earlier stages alone."""

from typing import Literal, NamedTuple


class Entry(NamedTuple):
    """How a figure is made: the function that draws it (imported when it is needed), and which files it reads.

    `scores`: the score files of the attacks it shows; `losses`: the training's loss curves; `metrics`: metrics.csv and
    cost.csv of the run; `residuals`: columns of the target's residual tables, those that `figures/columns.py` names;
    `jacobians`: the target's tables of Jacobians' norms; `epochs`: residual tables of the target's checkpoints;
    `variants`: those of the targets that its studies compare it with.
    `category` is where it stands in the report.
    """

    function: str
    reads: Literal["scores", "losses", "metrics", "residuals", "jacobians", "epochs", "variants"]
    category: str


# by the name in `run.figures`, which is also that of the files it makes
FIGURES = {
    "roc": Entry("diffmia.figures.roc:draw_roc", "scores", "ROC"),
    "roc_log": Entry("diffmia.figures.roc:draw_roc_log", "scores", "ROC"),
    "score_distribution": Entry("diffmia.figures.score_distribution:draw", "scores", "ROC"),
    "training_loss": Entry("diffmia.figures.training_loss:draw", "losses", "Training"),
    "cost": Entry("diffmia.figures.cost:draw", "metrics", "Cost"),
    "auc_over_epochs": Entry("diffmia.figures.epochs:draw", "epochs", "Ablations"),
    "auc_over_variants": Entry("diffmia.figures.variants:draw", "variants", "Ablations"),
    "auc_over_timesteps": Entry("diffmia.figures.timesteps:draw_auc", "residuals", "Ablations"),
    "gain_over_timesteps": Entry("diffmia.figures.timesteps:draw_gain", "residuals", "Ablations"),
    "iteration_pairs": Entry("diffmia.figures.iteration_pairs:draw_pairs", "residuals", "Ablations"),
    "iterations": Entry("diffmia.figures.iteration_pairs:draw_iterations", "residuals", "Ablations"),
    "p_norm": Entry("diffmia.figures.p_norm:draw", "residuals", "Ablations"),
    "jacobian_norm": Entry("diffmia.figures.jacobian_norm:draw", "jacobians", "Convergence"),
    "residuals": Entry("diffmia.figures.convergence:draw_residuals", "residuals", "Convergence"),
    "contraction": Entry("diffmia.figures.contraction:draw", "residuals", "Convergence"),
    "fixed_point_error": Entry("diffmia.figures.convergence:draw_errors", "residuals", "Convergence"),
}
