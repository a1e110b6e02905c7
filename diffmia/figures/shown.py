"""What of a run each figure shows: its attacks, and the targets whose residuals it reads."""

from __future__ import annotations

from collections.abc import Hashable

from diffmia.config.config import Config
from diffmia.figures import FIGURES
from diffmia.figures.attacks import ShownAttack, StudiedAttack
from diffmia.figures.columns import COLUMNS, base_and_oms
from diffmia.models.base import TrainedTarget
from diffmia.splits import GroupsSplit


def is_drawn(config: Config, figure: str, target: str) -> bool:
    """Whether `target` has something to show in `figure`.

    Loss curves of a target trained here; searches of one with studies; norms of Jacobians, which cost a pass of their
    own, where the studies have samples for them; epochs if there are some between the first and the last; mixtures of
    non-members where its split takes them from two groups or more.
    """
    spec = config.targets[target]
    match FIGURES[figure].reads:
        case "losses":
            return isinstance(spec, TrainedTarget) and spec.at_epoch is None
        case "mixed_scores":
            return len(mixed_groups(config, target)) > 1
        case "residuals":
            return spec.studies is not None
        case "jacobians":
            return spec.studies is not None and spec.studies.jacobian_samples > 0
        case "epochs":
            return len(config.checkpoints(target)) > 2
        case "variants":
            return bool(compared_targets(config, figure, target))
    return True


def mixed_groups(config: Config, target: str) -> tuple[str, ...]:
    """The groups that the split of a target takes non-members from, in its order; none if it does not name them."""
    split = config.split_of(target)
    return split.non_member_groups if isinstance(split, GroupsSplit) else ()


def shown_attacks(config: Config, target: str) -> dict[str, ShownAttack]:
    """The run's attacks on `target` that figures show, by id: all but other readings of one (`Config.is_main`)."""
    specs = {id_: config.attacks[id_] for of, id_ in config.pairs if of == target and config.is_main(id_, target)}
    return {id_: ShownAttack(spec.label, spec.access, spec.supervision) for id_, spec in specs.items()}


def shown_searches(config: Config, figure: str, target: str) -> dict[str, StudiedAttack]:
    """The run's attacks on `target` whose noise searches `figure` shows, by id, with the columns it reads."""
    specs, studies = config.studied_attacks(target), config.targets[target].studies
    compared = compared_targets(config, figure, target)
    done = set(specs).intersection(*(config.studied_attacks(of) for of in compared.values()))
    shown = {}
    for id_ in [attack for of, attack in config.pairs if of == target and attack in done]:
        spec, t = specs[id_], config.timestep(id_, target)
        if compared:
            columns = [[thing, *base_and_oms(spec, config.timestep(id_, of))] for thing, of in compared.items()]
        else:
            columns = COLUMNS[figure](spec, t, studies) if studies is not None and figure in COLUMNS else []
        if columns:
            shown[id_] = StudiedAttack(spec.label, spec.start, t, spec.norm, columns)
    return shown


def compared_targets(config: Config, figure: str, target: str) -> dict[Hashable, str]:
    """Ids of the targets whose residuals `figure` of `target` shows side by side, by what each stands for.

    An epoch of its training, or a quantity and its value; nothing of a figure that shows but the one target.
    """
    reads, studies = FIGURES[figure].reads, config.targets[target].studies
    if reads == "epochs":
        return config.checkpoints(target)
    if reads == "variants" and studies is not None:
        return {(name, value): id_ for name, of in studies.variants.items() for value, id_ in of.items()}
    return {}
