"""Targets that are made from another one: null targets, trained on other samples, and checkpoints of its training."""

from __future__ import annotations

from diffmia.errors import DiffmiaError
from diffmia.models.base import TargetSpec, TrainedTarget

NULL = "__null"  # between a target's id and the number of a null target
EPOCH = "__epoch"  # between a target's id and the epoch of a checkpoint


def null_ids(id_: str, spec: TargetSpec) -> list[str]:
    """Ids of the targets like one that are trained on half of the auxiliary samples in place of the members."""
    return [f"{id_}{NULL}{i or ''}" for i in range(spec.null_targets)]


def checkpoint_ids(id_: str, spec: TargetSpec) -> dict[int, str]:
    """Ids of a target after fewer epochs of its training, by epoch, ascending; not that of the target itself."""
    if not isinstance(spec, TrainedTarget):
        return {}
    return {epoch: f"{id_}{EPOCH}{epoch}" for epoch in spec.training.checkpoint_epochs if epoch < spec.training.epochs}


def with_relatives(targets: dict[str, TargetSpec]) -> dict[str, TargetSpec]:
    """The same targets by id, and all that are made from them.

    Raises
    ------
    DiffmiaError
        If a target has the name of another one's relative, or says itself whose relative it is.
    """
    together = dict(targets)
    for id_, spec in targets.items():
        if spec.relative_of is not None or spec.at_epoch is not None:
            raise DiffmiaError(
                f"config: targets.{id_}.{'at_epoch' if spec.relative_of is None else 'relative_of'} is set by the "
                f"workflow; list the epoch in training.checkpoint_epochs of a target, and name <target>{EPOCH}<epoch>"
            )
        for other, relative in _relatives(id_, spec).items():
            if other in together:
                what = "a null target" if NULL in other else "a checkpoint"
                raise DiffmiaError(f"config: targets.{other} is the name of {what} of '{id_}'; choose another")
            together[other] = relative
    return together


def _relatives(id_: str, spec: TargetSpec) -> dict[str, TargetSpec]:
    shared = {"relative_of": id_, "published_as": {}, "studies": None}
    made = {}
    for half, null in enumerate(null_ids(id_, spec)):
        without_checkpoints = spec.training.model_copy(update={"checkpoint_epochs": ()})
        made[null] = spec.model_copy(update={**shared, "auxiliary_half": half, "training": without_checkpoints})
    for epoch, checkpoint in checkpoint_ids(id_, spec).items():
        made[checkpoint] = spec.model_copy(update={**shared, "at_epoch": epoch, "null_targets": 0})
    return made
