"""How fast targets are trained, beside the loop one would write for it: eager float32, one epsilon loss, Adam, an EMA.

Both train the same network on the same noise images, turn about, in one process; the best of some rounds counts.
Weights are random: that does not change the time. Run it on an idle machine; the defaults take about three minutes on
two cores. On a card: `--device cuda --target ddpm_cifar10 --images 1280 --arithmetic float32 tf32 bfloat16+compile`;
memory is then what an epoch takes beyond weights and optimisers, and without what CUDA graphs hold for good.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import yaml
from residual_pass import ROOT, SHAPES, cpu_model
from torch.nn.functional import mse_loss
from torch.utils.flop_counter import FlopCounterMode

from diffmia.config.config import load_config
from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.precision import tf32
from diffmia.files.images import to_unit_range
from diffmia.models.base import TrainingSpec
from diffmia.running.device import device_name, use_device
from diffmia.training.data import PixelSet, TrainingData
from diffmia.training.trainer import Trainer


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--target", nargs="*", default=["ddpm_digits", "ddpm_cifar10"], help="networks, by target id")
    parser.add_argument("--images", type=int, nargs="*", default=[1024, 16], help="images an epoch, for each target")
    parser.add_argument("--batch", type=int, help="images a step, in place of the target's own (or all, if fewer)")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each loop; the best counts")
    parser.add_argument(
        "--arithmetic", nargs="+", default=["float32"], help="of the workflow's loop, each as PRECISION[+compile]"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    return parser.parse_args()


def plain_loop(model: Denoiser, spec: TrainingSpec, images: np.ndarray, device: torch.device) -> Callable[[], None]:
    """An epoch as it is usually written."""
    model = model.to(device).train()
    average = copy.deepcopy(model)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=spec.learning_rate)
    alpha_bar = model.schedule.alpha_bar(torch.arange(len(model.schedule))).float().to(device)

    def epoch() -> None:
        for batch in torch.randperm(len(images)).split(spec.batch_size):
            x0 = to_unit_range(images[batch.numpy()]).to(device)
            t = torch.randint(0, len(alpha_bar), (len(x0),), device=device)
            epsilon, level = torch.randn_like(x0), alpha_bar[t].view(-1, 1, 1, 1)
            loss = mse_loss(model.predict_noise(level.sqrt() * x0 + (1 - level).sqrt() * epsilon, t), epsilon)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, spec.gradient_clip)
            optimizer.step()
            with torch.no_grad():
                for kept, parameter in zip(average.parameters(), parameters, strict=True):
                    kept.mul_(spec.ema_decay).add_(parameter, alpha=1 - spec.ema_decay)

    return epoch


def seconds_of(epoch: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    epoch()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def forward_flop(model: Denoiser, shape: tuple[int, int, int], device: torch.device) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.predict_noise(torch.zeros(1, *shape, device=device), 0)
    return counter.get_total_flops()


def matrix_rate(device: torch.device, precision: str) -> float:
    """GFLOP/s of a large matrix product in the precision, on the device."""
    size = 8192 if device.type == "cuda" else 3072
    with tf32(precision):
        dtype = getattr(torch, precision.replace("tf32", "float32"))
        a, b = torch.randn(2, size, size, device=device, dtype=dtype)
        return 2 * size**3 / min(seconds_of(lambda: a @ b, device) for _ in range(6)) / 1e9


def settings_of(arithmetic: str) -> dict[str, Any]:
    """`precision` and `compile` of PRECISION[+compile]."""
    precision, _, compiled = arithmetic.partition("+")
    return {"precision": precision, "compile": compiled == "compile"}


def main() -> None:
    arguments = parse_arguments()
    device = use_device(arguments.device, int(arguments.device == "cuda"), arguments.threads)
    config = load_config(yaml.safe_load((ROOT / "config.yaml").read_text()))
    print(f"{platform.platform()}, {cpu_model()}, {os.cpu_count()} cores")
    print(f"{device_name(device)}, torch {torch.__version__}")
    ways = {way: settings_of(way) for way in arguments.arithmetic}
    rates = {of["precision"]: matrix_rate(device, of["precision"]) for of in ways.values()}
    print("matrix product, GFLOP/s: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()) + "\n")
    header = f"{'target':<14}{'parameters':>12}{'batch':>7}  {'loop':<18}{'images/s':>10}{'times':>7}"
    print(f"{header}{'GFLOP/s':>9}{'/ matrix':>10}{'MiB':>8}")
    for target, count in zip(arguments.target, arguments.images, strict=True):
        spec, shape = config.targets[target], SHAPES[target]
        batch = min(arguments.batch or spec.training.batch_size, count)
        settings = spec.training.model_copy(update={"batch_size": batch, "checkpoint_epochs": ()})
        images = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
        torch.manual_seed(0)
        model = spec.build(shape)
        size = sum(p.numel() for p in model.parameters()) / 1e6
        flop = 3 * forward_flop(model, shape, torch.device("cpu"))  # backward: twice forward
        loops = {"plain": plain_loop(model, settings, images, device)}
        for way, of in ways.items():
            loops[way] = workflow_loop(spec.build(shape), settings.model_copy(update=of), images, device)
        best, memory = measure(loops, arguments.rounds, device)
        for loop, seconds in best.items():
            rate = count / seconds
            row = f"{target:<14}{size:>10.2f} M{batch:>7}  {loop:<18}{rate:>10.1f}{best['plain'] / seconds:>7.2f}"
            share = rate * flop / 1e9 / rates[ways[loop]["precision"]] if loop in ways else float("nan")
            print(f"{row}{rate * flop / 1e9:>9.0f}{share:>10.2f}{memory[loop]:>8.0f}", flush=True)


def measure(
    loops: dict[str, Callable[[], object]], rounds: int, device: torch.device
) -> tuple[dict[str, float], dict[str, float]]:
    """Of each loop the least seconds of an epoch, and the most memory of the device, MiB; the first epoch warms up."""
    seconds, memory = {loop: [] for loop in loops}, dict.fromkeys(loops, float("nan"))
    for round_ in range(rounds + 1):
        for loop, epoch in loops.items():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            took = seconds_of(epoch, device)
            seconds[loop] += [took] if round_ else []
            if device.type == "cuda":
                memory[loop] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return {loop: min(of) for loop, of in seconds.items()}, memory


def workflow_loop(
    model: Denoiser, settings: TrainingSpec, images: np.ndarray, device: torch.device
) -> Callable[[], None]:
    """An epoch of ours."""
    data = TrainingData(PixelSet(images, settings.horizontal_flip), PixelSet(images[:0]))
    trainer = Trainer(model, settings, data, 0, device)

    def epoch() -> None:
        with tf32(settings.precision):
            trainer.train_epoch()

    return epoch


if __name__ == "__main__":
    main()
