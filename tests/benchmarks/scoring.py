"""How fast a target is scored, beside the loop one would write: every attack alone, eager float32, a query at a time.

The workflow asks what NA, SecMI, PIA and PIAN (each with its OMS) share once; the other loop runs them one after the
other. Weights are random and images are noise, which change no time. On a card: `--device cuda --samples 4096
--arithmetic float32 tf32 float16+compile`. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from linear_cost import config_of
from residual_pass import SHAPES, cpu_model
from training import forward_flop, matrix_rate, seconds_of, settings_of

from diffmia.config.config import Config
from diffmia.denoisers.denoiser import Denoiser
from diffmia.files.images import open_images, to_unit_range
from diffmia.models.base import Arithmetic
from diffmia.passes.engine import ModelPass, run_pass
from diffmia.passes.inputs import Pixels
from diffmia.passes.residuals import answer, count_evaluations
from diffmia.passes.stage import in_arithmetic
from diffmia.passes.store import PieceStore
from diffmia.passes.table import Samples
from diffmia.planning.jobs import questions_of
from diffmia.running.device import device_name, use_device

ATTACKS = ["naive", "secmi", "pia", "pian"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--target", default="ddpm_cifar10", choices=SHAPES, help="network, by target id")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--arithmetic", nargs="+", default=["float32"], help="of ours, each as PRECISION[+compile]")
    parser.add_argument("--rounds", type=int, default=2, help="passes of each; the best counts")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    return parser.parse_args()


def plain_loop(model: Denoiser, config: Config, images: np.ndarray, batch: int, device: torch.device) -> Callable:
    """Scores as they are usually made."""
    target = next(iter(config.targets))
    each = [config.attack(attack, target).questions(config.timestep(attack, target)) for attack in ATTACKS]
    queries = [(questions[0], count_evaluations(questions)) for questions in each]

    def loop() -> None:
        with torch.no_grad():
            for start in range(0, len(images), batch):
                x0 = to_unit_range(images[start : start + batch]).to(device)
                for question, count in queries:
                    epsilon = x0
                    for _ in range(count):
                        epsilon = model.predict_noise(model.schedule.add_noise(x0, epsilon, question.t), question.t)
                    (x0 - epsilon).flatten(1).norm(dim=1).cpu()

    return loop


def workflow_loop(
    model: Denoiser, config: Config, path: Path, batch: int, arithmetic: str, device: torch.device
) -> Callable:
    """A residual pass, each time from nothing."""
    asked = in_arithmetic(model, Arithmetic(**settings_of(arithmetic)), device)
    images = open_images(path)
    n = len(images)
    samples = Samples(Pixels(images), np.arange(n), np.full(n, "member"), np.zeros(n, np.int64))
    questions = questions_of(config, "residuals", next(iter(config.targets)))

    def loop() -> None:
        with tempfile.TemporaryDirectory() as folder:
            model_pass = ModelPass(asked, questions, answer, 0, batch, device)
            run_pass(model_pass, samples, PieceStore(Path(folder), {}), Path(folder, "table.parquet"), {})

    return loop


def main() -> None:
    arguments = parse_arguments()
    device = use_device(arguments.device, int(arguments.device == "cuda"), arguments.threads)
    config, shape = config_of(ATTACKS, arguments.target), SHAPES[arguments.target]
    print(f"{platform.platform()}, {cpu_model()}, {os.cpu_count()} cores")
    print(f"{device_name(device)}, torch {torch.__version__}")
    torch.manual_seed(0)
    model = config.targets[arguments.target].build(shape).eval().requires_grad_(False)
    flop = forward_flop(model, shape, torch.device("cpu"))
    model = model.to(device)
    shared = count_evaluations(questions_of(config, "residuals", arguments.target))
    batch = min(config.targets[arguments.target].batch_size, arguments.samples)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.npy")
        np.save(path, np.random.default_rng(0).integers(0, 256, (arguments.samples, *shape), dtype=np.uint8))
        print(f"{'target':<14}{'batch':>7}  {'loop':<18}{'samples/s':>11}{'times':>7}{'GFLOP/s':>10}{'/ matrix':>10}")
        plain = best_of(plain_loop(model, config, open_images(path), batch, device), arguments.rounds, device)
        row = f"{arguments.target:<14}{batch:>7}  "
        print(f"{row}{'plain':<18}{arguments.samples / plain:>11.2f}{1:>7.2f}", flush=True)
        for way in arguments.arithmetic:
            loop = workflow_loop(model, config, path, batch, way, device)
            rate = arguments.samples / best_of(loop, arguments.rounds, device)
            of_model = rate * shared * flop / 1e9
            share = of_model / matrix_rate(device, settings_of(way)["precision"])
            times = rate * plain / arguments.samples
            print(f"{row}{way:<18}{rate:>11.2f}{times:>7.2f}{of_model:>10.0f}{share:>10.2f}", flush=True)


def best_of(loop: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Least seconds, after once to warm up."""
    return min([seconds_of(loop, device) for _ in range(1 + rounds)][1:])


if __name__ == "__main__":
    main()
