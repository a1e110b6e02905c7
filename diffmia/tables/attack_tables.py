"""Tables of attacks with and without one more step: OMS Tables 1, 2 and 6, and what its open readings change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffmia.tables.grid import attack_grid
from diffmia.tables.table import Table, TableInputs

if TYPE_CHECKING:
    from diffmia.config import Config


def table1(inputs: TableInputs) -> Table:
    """ASR and AUC, and their average over the targets (OMS Table 1)."""
    title = "ASR and AUC of each attack, without and with one more step (OMS)"
    return attack_grid(inputs, "table1", title, _untaught(inputs.config), ["asr", "auc"], average=True)


def table2(inputs: TableInputs) -> Table:
    """TPR at 1 % and at 0.1 % FPR, with the relative gain (OMS Table 2)."""
    title = "TPR at low FPR of each attack, without and with one more step (OMS)"
    metrics = ["tpr_at_1_fpr", "tpr_at_0.1_fpr"]
    return attack_grid(inputs, "table2", title, _untaught(inputs.config), metrics, relative=True)


def table6(inputs: TableInputs) -> Table:
    """Attacks that are told who is a member of some model; of GSA each kind of features (OMS Table 6)."""
    title = "Attacks that learn from members of the target or of shadow targets, without and with one more step (OMS)"
    metrics = ["asr", "auc", "tpr_at_1_fpr", "tpr_at_0.1_fpr"]
    return attack_grid(inputs, "table6", title, _told_of_members(inputs.config), metrics)


def secmi_anchor(inputs: TableInputs) -> Table:
    """SecMI and its other readings side by side: how much hangs on what the paper leaves open."""
    specs = inputs.config.attacks
    attacks = [id_ for id_ in inputs.config.run.attacks if id_ == "secmi" or specs[id_].reading_of == "secmi"]
    title = "SecMI and its other readings, without and with one more step (OMS)"
    return attack_grid(inputs, "secmi_anchor", title, attacks, ["auc", "asr", "tpr_at_1_fpr"])


def gsa_loss(inputs: TableInputs) -> Table:
    """GSA and its readings of the loss after one more step, which the paper leaves open."""
    config = inputs.config
    attacks = [id_ for id_ in config.run.attacks if id_ == "gsa_concat" or _is_loss_of_gsa(config, id_)]
    title = "GSA and other readings of its loss after one more step, without and with that step (OMS)"
    return attack_grid(inputs, "gsa_loss", title, attacks, ["auc", "asr", "tpr_at_1_fpr"])


def _untaught(config: Config) -> list[str]:
    """The run's attacks that see no more than noise predictions, learn from nothing, and are no other reading of one.

    The paper's main tables have these; beside them, attacks that are told more would be compared with them unfairly.
    """
    specs = {id_: config.attacks[id_] for id_ in config.run.attacks}
    return [
        id_
        for id_, spec in specs.items()
        if spec.reading_of is None and (spec.access, spec.supervision) == ("grey", "none")
    ]


def _told_of_members(config: Config) -> list[str]:
    """The run's attacks that learn from members of a model, without readings of one but of its features."""
    learners = [
        id_ for id_ in config.run.attacks if getattr(config.attacks[id_], "learns_from", None) in ("labelled", "shadow")
    ]
    return [
        id_
        for id_ in learners
        if config.attacks[id_].reading_of is None or _read_differently(config, id_, "features", but_not="oms")
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
