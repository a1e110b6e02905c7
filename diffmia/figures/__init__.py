"""Figures: one file each, drawn from files of earlier stages alone."""

from typing import Literal, NamedTuple


class Entry(NamedTuple):
    """How a figure is made: the function that draws it (imported when it is needed), and which files it reads.

    `scores`: the score files of the attacks it shows; `losses`: the training's loss curves; `metrics`: metrics.csv and
    cost.csv of the run.
    """

    function: str
    reads: Literal["scores", "losses", "metrics"]


# by the name in `run.figures`, which is also that of the files it makes
FIGURES = {
    "roc": Entry("diffmia.figures.roc:draw_roc", "scores"),
    "roc_log": Entry("diffmia.figures.roc:draw_roc_log", "scores"),
    "score_distribution": Entry("diffmia.figures.score_distribution:draw", "scores"),
    "training_loss": Entry("diffmia.figures.training_loss:draw", "losses"),
    "cost": Entry("diffmia.figures.cost:draw", "metrics"),
}
