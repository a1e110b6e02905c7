"""How coarser arithmetic ranks a target's samples, attack by attack: what the gate before a pass looks at.

It reads what a run has left in `results/` below the current folder: images, split and weights of the target. Speeds are
of the same few samples.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from residual_pass import ROOT
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config
from training import settings_of

from diffmia.config.config import Config, load_config
from diffmia.files.images import open_images
from diffmia.models.base import EXACT, Arithmetic
from diffmia.passes.engine import ModelPass
from diffmia.passes.gate import PER_SIDE, rank_agreements
from diffmia.passes.inputs import Pixels
from diffmia.passes.residuals import answer
from diffmia.passes.stage import first_of_each_side, in_arithmetic
from diffmia.planning.seeds import child_seed
from diffmia.running.device import device_name, use_device
from diffmia.search.probes import merge
from diffmia.splits import roles_of
from diffmia.targets import load_target


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("target", help="id of a target that is asked about pixels")
    parser.add_argument("--seed", type=int, default=0, help="run seed of the target")
    parser.add_argument("--configfile", type=Path, nargs="*", default=[], help="what the run laid over config.yaml")
    parser.add_argument(
        "--arithmetic", nargs="+", default=["tf32", "bfloat16", "float16"], help="each as PRECISION[+compile]"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    return parser.parse_args()


def config_of(files: list[Path]) -> Config:
    """The shipped config with what files lay over it, as Snakemake lays it."""
    raw = load_configfile(ROOT / "config.yaml")
    for file in files:
        update_config(raw, load_configfile(file))
    return load_config(raw)


def main() -> None:
    arguments = parse_arguments()
    config = config_of(arguments.configfile)
    spec, seed = config.targets[arguments.target], arguments.seed
    device = use_device(arguments.device, int(torch.cuda.is_available()), arguments.threads)
    split = json.loads(Path(f"results/splits/{spec.split}/seed{seed}.json").read_text())
    ids = np.concatenate(list(first_of_each_side(roles_of(split, spec.auxiliary_half), PER_SIDE).values()))
    images = Pixels(open_images(Path(f"results/datasets/{split['dataset']}/images.npy")))
    folder = Path(f"results/targets/{config.trained_as(arguments.target)}/seed{seed}")
    attacks = config.residual_attacks(arguments.target)
    print(f"{device_name(device)}, torch {torch.__version__}, {len(ids)} samples of {arguments.target}, seed {seed}")
    questions = merge([question for of, t in attacks.values() for question in of.questions(t)])

    def answers(way: str) -> tuple[dict[str, np.ndarray], float]:
        """The model's in an arithmetic, and the seconds they took; kernels are made before."""
        model, _ = load_target(spec, folder, split, device)
        asked = in_arithmetic(model, Arithmetic(**settings_of(way)), device)
        of_pass = ModelPass(asked, questions, answer, child_seed(seed, "noise"), spec.batch_size, device)
        of_pass.block(images, ids, questions[:1])
        start = time.perf_counter()
        return of_pass.block(images, ids, questions), time.perf_counter() - start

    exact, seconds = answers(EXACT)
    columns = {}
    for way in arguments.arithmetic:
        coarse, took = answers(way)
        columns[way] = rank_agreements(attacks, exact, coarse)
        lowest = min(columns[way].values())
        print(f"{way}: lowest rho {lowest:.6f}, {seconds / took:.2f} times as fast as {EXACT}", flush=True)
    print(pd.DataFrame(columns).rename_axis(["attack", "variant"]).to_string(float_format="{:.6f}".format))


if __name__ == "__main__":
    main()
