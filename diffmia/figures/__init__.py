"""Figures: one file each, drawn from files of earlier stages alone."""

from typing import Literal, NamedTuple


class Entry(NamedTuple):
    """How a figure is made: the function that draws it (imported when it is needed), and which files it reads.

    `scores`: the score files of the attacks it shows; `mixed_scores`: the same, of a target whose split has non-members
    of two groups or more; `losses`: the training's loss curves; `metrics`: metrics.csv and
    cost.csv of the run; `residuals`: columns of the target's residual tables, those that `figures/columns.py` names;
    `jacobians`: the target's tables of Jacobians' norms; `epochs`: residual tables of the target's checkpoints;
    `variants`: those of the targets that its studies compare it with.
    `category` is where it stands in the report, and `title` what is written above it, before the target.
    """

    function: str
    reads: Literal["scores", "mixed_scores", "losses", "metrics", "residuals", "jacobians", "epochs", "variants"]
    category: str
    title: str

    @property
    def reads_scores(self) -> bool:
        """Whether it is drawn from score files."""
        return self.reads in ("scores", "mixed_scores")


# by the name in `run.figures`, which is also that of the files it makes
FIGURES = {
    "roc": Entry("diffmia.figures.roc:draw_roc", "scores", "ROC", "ROC curves"),
    "roc_log": Entry("diffmia.figures.roc:draw_roc_log", "scores", "ROC", "ROC curves, log axes"),
    "score_distribution": Entry(
        "diffmia.figures.score_distribution:draw", "scores", "ROC", "Scores, and whose verdict OMS changes"
    ),
    "mixing": Entry(
        "diffmia.figures.mixing:draw", "mixed_scores", "Trust", "Attacks over the share of shifted samples"
    ),
    "training_loss": Entry("diffmia.figures.training_loss:draw", "losses", "Training", "Training loss"),
    "cost": Entry("diffmia.figures.cost:draw", "metrics", "Cost", "Detection over cost"),
    "auc_over_epochs": Entry("diffmia.figures.epochs:draw", "epochs", "Ablations", "Attacks over training"),
    "auc_over_variants": Entry(
        "diffmia.figures.variants:draw", "variants", "Ablations", "Attacks on variants of the target"
    ),
    "auc_over_timesteps": Entry(
        "diffmia.figures.timesteps:draw_auc", "residuals", "Ablations", "Attacks over the timestep"
    ),
    "gain_over_timesteps": Entry(
        "diffmia.figures.timesteps:draw_gain", "residuals", "Ablations", "Gain of one more step over the timestep"
    ),
    "iteration_pairs": Entry(
        "diffmia.figures.iteration_pairs:draw_pairs", "residuals", "Ablations", "Residuals of pairs of iterates"
    ),
    "iterations": Entry(
        "diffmia.figures.iteration_pairs:draw_iterations", "residuals", "Ablations", "Other iterations, same queries"
    ),
    "p_norm": Entry("diffmia.figures.p_norm:draw", "residuals", "Ablations", "Attacks over the norm"),
    "jacobian_norm": Entry("diffmia.figures.jacobian_norm:draw", "jacobians", "Convergence", "Norm of the Jacobian"),
    "residuals": Entry(
        "diffmia.figures.convergence:draw_residuals", "residuals", "Convergence", "Steps of the noise search"
    ),
    "contraction": Entry(
        "diffmia.figures.contraction:draw", "residuals", "Convergence", "Contraction of the second step"
    ),
    "fixed_point_error": Entry(
        "diffmia.figures.convergence:draw_errors", "residuals", "Convergence", "Distance from the last iterate"
    ),
}
