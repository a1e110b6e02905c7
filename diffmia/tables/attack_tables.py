"""Tables of attacks with and without one more step: OMS Tables 1 to 4 and 6, and what its open readings change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffmia.tables.grid import attack_grid
from diffmia.tables.table import Table, TableInputs

if TYPE_CHECKING:
    from diffmia.attacks.base import AttackSpec
    from diffmia.config.config import Config


def table1(inputs: TableInputs) -> Table:
    """ASR and AUC on DDPMs, and their average over the targets (OMS Table 1)."""
    config = inputs.config
    title = "ASR and AUC of each attack on DDPMs, without and with one more step (OMS)"
    targets = _of_kind(config, "ddpm")
    return attack_grid(inputs, "table1", title, _untaught(config), ["asr", "auc"], targets, average=True)


def table2(inputs: TableInputs) -> Table:
    """TPR at 1 % and at 0.1 % FPR on DDPMs, with the relative gain (OMS Table 2)."""
    config = inputs.config
    title = "TPR at low FPR of each attack on DDPMs, without and with one more step (OMS)"
    metrics = ["tpr_at_1_fpr", "tpr_at_0.1_fpr"]
    return attack_grid(inputs, "table2", title, _untaught(config), metrics, _of_kind(config, "ddpm"), relative=True)


def table3(inputs: TableInputs) -> Table:
    """ASR, AUC and TPR at 1 % and 0.1 % FPR on text-to-image models (OMS Table 3), at other timesteps too."""
    config = inputs.config
    title = "ASR, AUC and TPR at low FPR of each attack on text-to-image models, without and with one more step (OMS)"
    metrics, targets = ["asr", "auc", "tpr_at_1_fpr", "tpr_at_0.1_fpr"], _of_kind(config, "ldm")
    remarks = [
        "The paper does not say at which timesteps it asks these models; here those of its DDPMs serve, an inference."
    ]
    attacks = [id_ for of in _untaught(config) for id_ in (of, *_at_other_timesteps(config, of))]
    return attack_grid(inputs, "table3", title, attacks, metrics, targets, remarks=remarks if targets else [])


def table4(inputs: TableInputs) -> Table:
    """ASR, AUC and TPR at 1 % FPR on U-ViTs (OMS Table 4)."""
    config = inputs.config
    title = "ASR, AUC and TPR at low FPR of each attack on U-ViTs, without and with one more step (OMS)"
    targets, metrics = _of_kind(config, "uvit"), ["asr", "auc", "tpr_at_1_fpr"]
    remarks = ["PIA with one more step is not in the paper's table."] if "pia" in config.run.attacks else []
    return attack_grid(inputs, "table4", title, _untaught(config), metrics, targets, remarks=remarks)


def first_query(inputs: TableInputs) -> Table:
    """What hangs on the first query about the sample itself in continuous time, and PIA's own form there."""
    config, specs = inputs.config, inputs.config.attacks
    readings = [
        id_ for id_ in config.run.attacks if specs[id_].reading_of and (_late(specs[id_]) or _of_the_flow(specs[id_]))
    ]
    bases = dict.fromkeys(specs[id_].reading_of for id_ in readings)
    attacks = [id_ for id_ in config.run.attacks if id_ in bases or id_ in readings]
    attacks.sort(key=lambda id_: (list(bases).index(id_ if id_ in bases else specs[id_].reading_of), id_ not in bases))
    title = "Attacks whose first query is about the sample itself, in continuous time, and other readings of them"
    targets = [id_ for id_ in config.run.targets if config.targets[id_].schedule.kind == "vp_sde"]
    return attack_grid(inputs, "first_query", title, attacks, ["auc", "asr", "tpr_at_1_fpr"], targets)


def table6(inputs: TableInputs) -> Table:
    """Attacks that are told who is a member of some model; of GSA each kind of features (OMS Table 6)."""
    title = "Attacks that learn from members of the target or of shadow targets, without and with one more step (OMS)"
    metrics = ["asr", "auc", "tpr_at_1_fpr", "tpr_at_0.1_fpr"]
    return attack_grid(inputs, "table6", title, _told_of_members(inputs.config), metrics)


def secmi_anchor(inputs: TableInputs) -> Table:
    """SecMI and its other readings side by side: how much hangs on what the paper leaves open."""
    specs = inputs.config.attacks
    attacks = [
        id_
        for id_ in inputs.config.run.attacks
        if id_ == "secmi" or (specs[id_].reading_of == "secmi" and not _late(specs[id_]))
    ]
    title = "SecMI and its other readings, without and with one more step (OMS)"
    return attack_grid(inputs, "secmi_anchor", title, attacks, ["auc", "asr", "tpr_at_1_fpr"])


def gsa_loss(inputs: TableInputs) -> Table:
    """GSA and its readings of the loss after one more step, which the paper leaves open."""
    config = inputs.config
    attacks = [id_ for id_ in config.run.attacks if id_ == "gsa_concat" or _is_loss_of_gsa(config, id_)]
    title = "GSA and other readings of its loss after one more step, without and with that step (OMS)"
    return attack_grid(inputs, "gsa_loss", title, attacks, ["auc", "asr", "tpr_at_1_fpr"])


def _late(spec: AttackSpec) -> bool:
    return bool(getattr(spec, "t_init", 0))


def _of_the_flow(spec: AttackSpec) -> bool:
    return spec.family == "probability_flow"


def _of_kind(config: Config, kind: str) -> list[str]:
    """The run's targets of a kind of model."""
    return [id_ for id_ in config.run.targets if config.targets[id_].kind == kind]


def _untaught(config: Config) -> list[str]:
    """The run's attacks, but other readings of one, that see no more than noise predictions and learn from nothing.

    The paper's main tables have these; beside them, attacks that are told more would be compared with them unfairly.
    """
    specs = {id_: config.attacks[id_] for id_ in config.run.attacks if _is_main(config, id_)}
    return [id_ for id_, spec in specs.items() if (spec.access, spec.supervision) == ("grey", "none")]


def _is_main(config: Config, attack: str) -> bool:
    """Whether main tables have an attack: on one of the run's targets, or more, it stands for itself."""
    return any(config.is_main(attack, target) for target in config.run.targets)


def _at_other_timesteps(config: Config, attack: str) -> list[str]:
    """The run's readings of an attack that differ from it in the timestep alone."""
    shown_apart = {"label", "reading_of", "targets", "t"}
    same = config.attacks[attack].model_dump(exclude=shown_apart)
    readings = [id_ for id_ in config.run.attacks if config.attacks[id_].reading_of == attack]
    return [id_ for id_ in readings if config.attacks[id_].model_dump(exclude=shown_apart) == same]


def _told_of_members(config: Config) -> list[str]:
    """The run's attacks that learn from members of a model, without readings of one but of its features."""
    learners = [
        id_ for id_ in config.run.attacks if getattr(config.attacks[id_], "learns_from", None) in ("labelled", "shadow")
    ]
    return [
        id_ for id_ in learners if _is_main(config, id_) or _read_differently(config, id_, "features", but_not="oms")
    ]


def _is_loss_of_gsa(config: Config, attack: str) -> bool:
    is_gsa = config.attacks[attack].reading_of == "gsa_concat"
    return is_gsa and _read_differently(config, attack, "oms", but_not="features")


def _read_differently(config: Config, attack: str, setting: str, but_not: str) -> bool:
    """Whether an attack differs in one setting, and not in another, from the attack it is another reading of."""
    spec = config.attacks[attack]
    of = config.attacks[spec.reading_of]
    differing = {key for key, value in spec if value != getattr(of, key, None)}
    return setting in differing and but_not not in differing
