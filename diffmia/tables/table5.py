"""Quantile regression by its own decisions, and by the ROC of its score (OMS Table 5)."""

from __future__ import annotations

import pandas as pd

from diffmia.evaluation.rows import ROC
from diffmia.tables.grid import attack_grid
from diffmia.tables.measured import VARIANTS
from diffmia.tables.table import Table, TableInputs

_TITLE = "TPR and FPR of quantile regression, without and with one more step (OMS)"
_REMARK = (
    "FPR (5 %) and so on: realised. Beside a decision it is that of the decision; beside a ROC that of the point whose "
    "TPR it follows, which was chosen on the samples that are judged, so it has no interval."
)
_METRICS = [f"{rate}_at_{percent}_fpr" for percent in ("5", "1", "0.1") for rate in ("tpr", "fpr")]


def fill(inputs: TableInputs) -> Table:
    """The attacks of the family, the other readings last, and after all of them their ROCs."""
    config = inputs.config
    family = [id_ for id_ in config.run.attacks if config.attacks[id_].family == "quantile"]
    family.sort(key=lambda id_: config.attacks[id_].reading_of is not None)
    labels = {id_: config.attacks[id_].label for id_ in family}
    names = {id_: f"{label} (t-error)" for id_, label in labels.items()}
    names |= {id_ + ROC: f"{label}, ROC (t-error)" for id_, label in labels.items()}
    rocs = inputs.metrics[inputs.metrics["attack"].isin([id_ + ROC for id_ in family])]
    metrics = pd.concat([inputs.metrics, _realised(rocs)], ignore_index=True)
    inputs = TableInputs(metrics, inputs.manifests, config)
    return attack_grid(inputs, "table5", _TITLE, names, _METRICS, remarks=[_REMARK])


def _realised(rows: pd.DataFrame) -> pd.DataFrame:
    """The realised FPRs of rows of TPRs, and their Δ, as rows of metrics of their own without an interval."""
    tprs = rows[rows["metric"].str.startswith("tpr")]
    if tprs.empty:
        return tprs
    keys = ["target", "seed", "attack", "metric"]
    fprs = tprs.pivot(index=keys, columns="variant", values="realised_fpr").reindex(columns=list(VARIANTS))
    fprs["delta"] = fprs["oms"] - fprs["base"]
    fprs = fprs.melt(ignore_index=False, var_name="variant").dropna().reset_index()
    rest = tprs.drop(columns=["value", "std", "ci_low", "ci_high", "p_value", "realised_fpr"])
    found = fprs.merge(rest, on=[*keys, "variant"])
    return found.assign(metric=found["metric"].str.replace("tpr", "fpr"))
