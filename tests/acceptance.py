"""What the default run must show, read from its metrics: `python tests/acceptance.py results/metrics.csv`.

PIA finds members of the digits target (AUC of 90 at least), and one more step raises the AUC of NA and of PIA, with a
paired confidence interval above 0. SecMI's level and gain are not asked for: it is rough in t on a network this small.
"""

from __future__ import annotations

import sys

import pandas as pd


def main(path: str) -> int:
    """Print each requirement with its number; returns 1 if one is not met."""
    metrics = pd.read_csv(path)
    auc = metrics[(metrics["target"] == "ddpm_digits") & (metrics["metric"] == "auc")]
    rows = auc.set_index(["attack", "variant"])
    requirements = {"PIA's AUC is at least 90": (rows.loc[("pia", "base"), "value"], 90)}
    for attack in ("naive", "pia"):
        requirements[f"the interval of {attack}'s gain by OMS is above 0"] = (rows.loc[(attack, "delta"), "ci_low"], 0)
    for what, (value, bound) in requirements.items():
        print(f"{'ok  ' if value > bound else 'FAIL'} {what}: {value:.2f}")
    return int(any(value <= bound for value, bound in requirements.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
