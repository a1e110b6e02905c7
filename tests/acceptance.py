"""What the default run must show, read from its metrics: `python tests/acceptance.py results/metrics.csv`.

PIA finds members of the digits target (AUC of 90 at least), one more step raises the AUC of NA, of PIA and of GSA, with
a paired confidence interval above 0, and no attack finds any on the null controls, which saw none (a target trained on
other samples, and both targets before training): the family-wise intervals of all their AUCs contain 50. SecMI's level
and gain are not asked for: it is rough in t on a network this small.
"""

from __future__ import annotations

import sys

import pandas as pd

from diffmia.tables.null_control import family_wise

TARGET, CONTROLS = "ddpm_digits", ("ddpm_digits__null", "ddpm_digits__epoch0", "uvit_digits__epoch0")
CONFIDENCE = 0.95


def main(path: str) -> int:
    """Print each requirement with its number; returns 1 if one is not met."""
    metrics = pd.read_csv(path)
    auc = metrics[(metrics["target"] == TARGET) & (metrics["metric"] == "auc")]
    rows = auc.set_index(["attack", "variant"])
    requirements = {"PIA's AUC is at least 90": (rows.loc[("pia", "base"), "value"], 90)}
    for attack in ("naive", "pia", "gsa_concat"):
        requirements[f"the interval of {attack}'s gain by OMS is above 0"] = (rows.loc[(attack, "delta"), "ci_low"], 0)
    for what, (value, bound) in requirements.items():
        print(f"{'ok  ' if value > bound else 'FAIL'} {what}: {value:.2f}")
    failed = any(value <= bound for value, bound in requirements.values())
    aucs = family_wise(metrics, CONTROLS, CONFIDENCE)
    for control in CONTROLS:
        of_it = aucs[aucs["target"] == control]
        found = of_it[~of_it["contains_chance"]]
        met = len(of_it) > 0 and found.empty
        print(f"{'ok  ' if met else 'FAIL'} {len(of_it)} AUCs on {control} may be chance: all but {len(found)}")
        for row in found.itertuples():
            print(f"     {row.attack} {row.variant}: {row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]")
        failed |= not met
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
