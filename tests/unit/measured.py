"""Made-up metrics of made-up targets, for tests of the tables that are made of them."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from diffmia.config.config import Config, load_config
from diffmia.evaluation.stage import COLUMNS
from diffmia.tables.table import Table, TableInputs

FLAGS = {
    **{"secmi": "anchor x0", "secmi_xt": "anchor xt", "gsa_concat": "loss detached", "gsa_full": "loss full"},
    **{"quantile": "anchor x0", "quantile_roc": "anchor x0", "qr_recalibrated": "anchor x0; recalibrated"},
}
LABELLED = ("secmi_nns", "gsa_concat", "gsa1", "gsa_full", "gsa_t99")
LEARNED = ("quantile", "qr_recalibrated", "gsa_shadow", *LABELLED)


def config(targets=("one",), attacks=("naive", "secmi", "secmi_xt"), seeds=(0,), nulls=0, **overrides) -> Config:
    target = {
        "family": "ddpm_unet",
        "split": "halves",
        "model": {"channels": [8, 16], "norm_groups": 4},
        "training": {"epochs": 1},
        "null_targets": nulls,
    }
    gsa = {"family": "gsa", "reading_of": "gsa_concat"}
    raw = {
        "run": {"targets": list(targets), "attacks": list(attacks), "seeds": list(seeds)},
        "datasets": {"digits": {"source": "digits", "captions": True}},
        "splits": {"halves": {"dataset": "digits", "method": "random", "members": 250, "auxiliary": 500}},
        "targets": {
            **{"one": target, "two": target, "cifar": {**target, "published_as": {"oms": "ddpm_cifar10"}}},
            "uvit": {**{key: target[key] for key in ("split", "training")}, "family": "uvit"},
            "sd": {**target, "published_as": {"oms": "sd15_laion_coco"}},
            "ldm": {
                **{"family": "diffusers_latent_diffusion", "split": "halves", "folder": "sd"},
                **{"condition": "caption", "published_as": {"pia": "sd15_laion5_coco_blip"}},
            },
        },
        "attacks": {
            "naive": {"family": "residual", "label": "NA", "start": "gaussian", "t": 100, "norm": 2},
            "secmi": {"family": "residual", "label": "SecMI", "start": "inverted", "t": 100, "k": 10, "norm": 2},
            "secmi_xt": {
                **{"family": "residual", "label": "SecMI (x_t & more)", "reading_of": "secmi", "start": "inverted"},
                **{"t": 100, "k": 10, "norm": 2, "anchor": "xt"},
            },
            "qr_recalibrated": {
                **{"family": "quantile", "label": "QR (recalibrated)", "reading_of": "quantile", "recalibrate": 0.4}
            },
            "quantile": {"family": "quantile", "label": "QR"},
            "secmi_nns": {"family": "secmi_nns", "label": "SecMI-NNs"},
            "gsa_concat": {"family": "gsa", "label": "GSA"},
            "gsa1": {**gsa, "label": "GSA1", "features": "mean_loss"},
            "gsa_full": {**gsa, "label": "GSA (both queries)", "oms": "full"},
            "gsa_t99": {**gsa, "label": "GSA (t = 99)", "timesteps": [99]},
            "gsa1_full": {**gsa, "label": "GSA1 (both queries)", "features": "mean_loss", "oms": "full"},
            "gsa_half": {**gsa, "label": "GSA (half)", "labelled_fraction": 0.5},
            "gsa_shadow": {"family": "gsa", "label": "GSA (shadow)", "learns_from": "shadow"},
            "pia": {"family": "residual", "label": "PIA", "start": "proximal", "t": 100, "norm": 4},
            "secmi_none": {
                **{"family": "residual", "label": "SecMI (no text)", "reading_of": "secmi", "start": "inverted"},
                **{"t": 100, "k": 10, "norm": 2, "condition": "none"},
            },
            "pia_late": {
                **{"family": "residual", "label": "PIA (late)", "reading_of": "pia", "start": "proximal", "t": 100},
                **{"norm": 4, "t_init": 1},
            },
            "pia_l5": {
                **{"family": "residual", "label": "PIA (l5)", "reading_of": "pia", "start": "proximal", "t": 100},
                **{"norm": 5},
            },
            "pia_l5_late": {
                **{"family": "residual", "label": "PIA (l5, late)", "reading_of": "pia_l5", "start": "proximal"},
                **{"t": 100, "norm": 5, "t_init": 1},
            },
            "pia_sde": {"family": "probability_flow", "label": "PIA (14)", "reading_of": "pia", "t": 100, "norm": 4},
            "blind": {"family": "blind_statistics", "label": "Blind"},
            "blind_cnn": {"family": "blind_cnn", "label": "Blind (CNN)"},
        },
    }
    return load_config(raw | overrides)


def rows(target, attack, metric, base, oms, seed=0, reliable=True) -> list[dict]:
    def row(variant, value):
        return {
            **dict.fromkeys(COLUMNS, np.nan),
            **{"target": target, "dataset": "digits", "split_hash": "f" * 64, "seed": seed, "attack": attack},
            **{"variant": variant, "metric": metric, "value": value, "std": 1.5},
            **{"ci_low": value - 2, "ci_high": value + 2, "reliable": reliable},
            **{"n_members": 205 if attack in LABELLED else 256, "n_non_members": 1029, "realised_fpr": 0.5},
            "flags": FLAGS.get(attack) if variant != "base" else None,
        }

    return [row("base", base), row("oms", oms), row("delta", oms - base)]


def inputs(config: Config, *groups: list[dict]) -> TableInputs:
    """Metrics that went through a file, as they do in a run."""
    frame = pd.DataFrame([row for group in groups for row in group], columns=COLUMNS)
    manifests = {("halves", seed): manifest(seed) for seed in config.run.seeds}
    return TableInputs(pd.read_csv(io.StringIO(frame.to_csv(index=False))), manifests, config)


def manifest(seed: int) -> dict:
    return {
        **{"dataset": "digits", "dataset_hash": "d" * 64, "shape": [1, 8, 9], "method": "random", "seed": seed + 77},
        "split_hash": "0123456789abcdef" * 4,
        "counts": {"member": 250, "non_member": 1547, "auxiliary": 0},
        "class_counts": {"member": {"a": 120, "b": 130}, "non_member": {"a": 1547}, "auxiliary": {}},
    }


def cells_of(table: Table) -> dict[str, list[str]]:
    """Cells by row name, for tables whose row names differ."""
    return {row[0]: row[1:] for row in table.cells.to_numpy().tolist()}


def names(table: Table) -> list[str]:
    """Names of the first row of each attack."""
    return table.cells.iloc[:: table.block, 0].tolist()


def every(attacks, metrics, target="one", **changes) -> list[list[dict]]:
    return [rows(target, attack, metric, 70.0, 80.0, **changes) for attack in attacks for metric in metrics]


def not_applicable(target, attack, seed=0) -> list[dict]:
    found = [row for row in rows(target, attack, "tpr_at_0.1_fpr", np.nan, np.nan, seed) if row["variant"] != "delta"]
    reason = "not_applicable: needs 1,000 auxiliary samples and has 500"
    for row in found:
        row |= {"reliable": False, "realised_fpr": np.nan, "flags": "; ".join(filter(None, [row["flags"], reason]))}
    return found
