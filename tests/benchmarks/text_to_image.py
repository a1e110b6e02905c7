"""How fast a text-to-image target's stages are, and that an attack more costs no run of its encoders.

The stages are the workflow's own, on a pipeline with random weights that is so small that a call takes milliseconds:
the rates are of what is around the models, not of Stable Diffusion. Calls of the autoencoder, the text encoder and the
U-Net are counted where they are made. Run it on an idle machine; the defaults take about half a minute on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from diffusers import UNet2DConditionModel
from torch.nn.modules.module import register_module_forward_pre_hook

from diffmia.config.config import Config, load_config
from diffmia.encoding.embeddings import embed_captions
from diffmia.encoding.latents import encode_latents
from diffmia.models.networks.latent import ImageEncoder, TextEncoder
from diffmia.passes.inputs import Latents
from diffmia.passes.stage import run_shard
from diffmia.planning.jobs import pass_job
from diffmia.targets import describe
from tests.benchmarks.residual_pass import ROOT, cpu_model
from tests.unit.tiny_pipeline import tiny_pipeline

CPU = torch.device("cpu")
TARGET = "tiny"
ATTACKS = ("naive", "secmi", "pia", "pian")
ANOTHER = {"reading_of": "naive", "label": "NA (t = 600)", "t": 600}  # two queries of its own, at a new timestep
COUNTED = {ImageEncoder: "images encoded", TextEncoder: "texts embedded", UNet2DConditionModel: "latents asked"}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--samples", type=int, default=256, help="images, each with a caption of its own")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    return parser.parse_args()


def config_with(**attacks: dict) -> Config:
    """The shipped config with the tiny target, the paper's attacks and these."""
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())
    target = {"family": "diffusers_latent_diffusion", "split": "captioned_digits", "folder": "elsewhere"}
    defined = {id_: shipped["attacks"][id_] for id_ in ATTACKS} | attacks
    run = shipped["run"] | {"targets": [TARGET], "attacks": list(defined), "seeds": [0]}
    return load_config(shipped | {"run": run, "targets": {TARGET: target}, "attacks": defined})


class Stages:
    """The stages of a target on files of the current folder, and how often each of its models was called by each."""

    def __init__(self, samples: int):
        self.samples, self.config = samples, config_with()
        split = {"split_hash": "s", "dataset_hash": "d", "shape": [1, 16, 16], "auxiliary": []}
        split |= {"member": list(range(samples // 2)), "non_member": list(range(samples // 2, samples))}
        Path("split.json").write_text(json.dumps(split))
        images = np.random.default_rng(0).integers(0, 256, (samples, 1, 16, 16), dtype=np.uint8)
        np.save("images.npy", images)
        captions = [f"a handwritten {number}" for number in range(samples)]
        pd.DataFrame({"sample_id": range(samples), "label": 0, "caption": captions}).to_parquet("samples.parquet")
        tiny_pipeline().save_pretrained("target")
        describe(Path("target"), split, {})

    @property
    def spec(self):
        return self.config.targets[TARGET]

    def encode(self) -> None:
        encode_latents(self.spec, (0, 1), Path("target"), Path("images.npy"), Path("split.json"), Path("0of1.npy"), CPU)

    def embed(self) -> None:
        files = Path("target"), Path("samples.parquet"), None, Path("split.json")
        facts = embed_captions(self.spec, "caption", *files, Path("caption.npy"), Path("caption.index.npy"), CPU)
        Path("caption.meta.json").write_text(json.dumps(facts))

    def ask(self) -> None:
        """What the job `ask_target` does: of what was asked before, nothing is asked again."""
        run_shard(
            *("residuals", self.spec, pass_job(self.config, "ask_target", "residuals", TARGET, 0), (0, 1)),
            target=Path("target"),
            inputs=Latents([Path("0of1.npy")], [Path("caption.npy")]),
            samples=Path("samples.parquet"),
            split=Path("split.json"),
            out=Path("residuals.parquet"),
            device=CPU,
            attacks=self.config.table_attacks(TARGET),
        )

    def ask_one_more(self) -> None:
        naive = yaml.safe_load((ROOT / "config.yaml").read_text())["attacks"]["naive"]
        self.config = config_with(another=naive | ANOTHER)
        self.ask()


def counted(stage: Callable[[], None]) -> tuple[Counter, float]:
    """How many things each model was called about by a stage, and its seconds."""
    calls: Counter = Counter()

    def count(module: torch.nn.Module, inputs: tuple) -> None:
        if (what := COUNTED.get(type(module))) is not None:
            calls[what] += len(inputs[0])

    hook, start = register_module_forward_pre_hook(count), time.perf_counter()
    try:
        stage()
    finally:
        hook.remove()
    return calls, time.perf_counter() - start


def main() -> int:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    print(f"{platform.platform()}, {cpu_model()}, {os.cpu_count()} cores")
    print(f"torch {torch.__version__}, {arguments.threads} threads, float32\n")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        stages = Stages(arguments.samples)
        named = {
            "encode_latents": stages.encode,
            "embed_captions": stages.embed,
            "ask_target": stages.ask,
            "one attack more": stages.ask_one_more,
        }
        header = "".join(f"{what:>16}" for what in COUNTED.values())
        print(f"{'stage':<17}{header}{'seconds':>9}{'a second':>10}")
        for name, stage in named.items():
            calls, seconds = counted(stage)
            cells = "".join(f"{calls[what]:>16,}" for what in COUNTED.values())
            print(f"{name:<17}{cells}{seconds:>9.2f}{calls.total() / seconds:>10.0f}", flush=True)
        os.chdir(ROOT)
    own = 2 * arguments.samples
    if calls != {"latents asked": own}:
        print(f"one attack more must ask about {own:,} latents, and run no encoder", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
