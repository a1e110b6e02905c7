"""How fast the norms of each row's gradients are, beside other ways to them and a backward pass that gives only sums.

A row is a sample at one of ten timesteps. Each way is measured in a process of its own: the best of some repeats after
one to warm up, and the most memory that it took beyond what the process had with its model loaded. Weights are random
and images are noise: neither changes the time. Run it on an idle machine; the defaults take two to three minutes on
two cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from residual_pass import ROOT, SHAPES, cpu_model, peak_memory
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from diffmia.config.config import load_config
from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.precision import layout
from diffmia.gradients.norms import gradient_norms
from diffmia.models.base import EXACT
from diffmia.running.device import device_name, use_device

TIMESTEPS = tuple(range(0, 1000, 100))


class Loss(nn.Module):
    """The training loss of each row, as a module: what `functional_call` takes."""

    def __init__(self, denoiser: Denoiser):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        x_t = self.denoiser.schedule.add_noise(x0, epsilon, t)
        return (epsilon - self.denoiser.predict_noise(x_t, t)).square().flatten(1).mean(1)


def one_row_at_a_time(model: Loss, batch: tuple[Tensor, ...]) -> None:
    model.requires_grad_(True)
    for row in zip(*(tensor.split(1) for tensor in batch), strict=True):
        gradients = torch.autograd.grad(model(*row).sum(), list(model.parameters()))
        torch.stack([gradient.norm() for gradient in gradients])


def vmap_of_grad(model: Loss, batch: tuple[Tensor, ...]) -> None:
    def loss(parameters: dict[str, Tensor], *row: Tensor) -> Tensor:
        return functional_call(model, parameters, tuple(tensor[None] for tensor in row)).sum()

    warnings.filterwarnings("ignore", "There is a performance drop")  # attention is looped over on CPUs
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    gradients = vmap(grad(loss), in_dims=(None, 0, 0, 0))(parameters, *batch)
    torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients.values()], dim=1)


def norms_of_gradients(model: Loss, batch: tuple[Tensor, ...]) -> None:
    gradient_norms(model, lambda rows: model(*(x[rows] for x in batch))[None], len(batch[0]), len(TIMESTEPS))


def sum_of_gradients(model: Loss, batch: tuple[Tensor, ...]) -> None:
    model.requires_grad_(True)
    torch.autograd.grad(model(*batch).sum(), list(model.parameters()))


WAYS = {
    "one row at a time": one_row_at_a_time,
    "vmap(grad)": vmap_of_grad,
    "gradient_norms": norms_of_gradients,
    "forward and backward": sum_of_gradients,
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--digits", type=int, default=64, help="samples of ddpm_digits in a batch; 0 leaves it out")
    parser.add_argument("--cifar10", type=int, default=1, help="samples of ddpm_cifar10 in a batch; 0 leaves it out")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what is measured")
    parser.add_argument("--no-vmap-cifar10", action="store_true", help="leave out the slowest: vmap on ddpm_cifar10")
    parser.add_argument("--loop", type=int, default=20, help="rows in a batch that is taken one at a time")
    parser.add_argument("--repeats", type=int, default=5, help="times each way is measured, the best of which counts")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="where; auto: a GPU if any")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--config", type=Path, default=ROOT / "config.yaml", help="where targets are from")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)  # target, samples, way; in a process of its own
    return parser.parse_args()


def measure(arguments: argparse.Namespace, device: torch.device) -> dict[str, float]:
    """Rows, milliseconds of each and MiB of one way."""
    target, samples, way = arguments.measure
    spec = load_config(yaml.safe_load(arguments.config.read_text())).targets[target]
    torch.manual_seed(0)
    model = Loss(spec.build(SHAPES[target])).eval().requires_grad_(False)
    model.to(device, memory_format=layout(device, EXACT))  # as in the passes
    rows = int(samples) * len(TIMESTEPS)
    x0, epsilon = torch.rand(2, rows, *SHAPES[target], device=device) * 2 - 1
    t = torch.tensor(TIMESTEPS, device=device).repeat(int(samples))
    if way == "one row at a time":
        rows = min(rows, arguments.loop)
    batch = x0[:rows], epsilon[:rows], t[:rows]
    before = memory(device)
    seconds = [seconds_of(lambda: WAYS[way](model, batch), device) for _ in range(1 + arguments.repeats)]
    return {"rows": rows, "milliseconds": 1e3 * min(seconds[1:]) / rows, "memory": memory(device) - before}


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def memory(device: torch.device) -> float:
    """The most there was so far, of the device's memory if it has its own, in MiB."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else peak_memory()


def in_fresh_process(target: str, samples: int, way: str, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", target, str(samples), way]
    for option in ("loop", "repeats", "device", "threads", "config"):
        command += [f"--{option}", str(getattr(arguments, option))]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> None:
    arguments = parse_arguments()
    if arguments.measure:
        device = use_device(arguments.device, int(torch.cuda.is_available()), arguments.threads)
        print(json.dumps(measure(arguments, device) | {"device": device_name(device)}))
        return
    print(f"{platform.platform()}, {cpu_model()}, torch {torch.__version__}, float32\n")
    print(f"{'target':<14}{'rows':>6}  {'way':<22}{'ms/row':>9}{'speed-up':>10}{'MiB':>8}  device")
    for target, samples in (("ddpm_digits", arguments.digits), ("ddpm_cifar10", arguments.cifar10)):
        loop = float("nan")
        for way in arguments.ways if samples else []:
            if arguments.no_vmap_cifar10 and (target, way) == ("ddpm_cifar10", "vmap(grad)"):
                continue
            took = in_fresh_process(target, samples, way, arguments)
            if way == "one row at a time":
                loop = took["milliseconds"]
            row = f"{target:<14}{took['rows']:>6}  {way:<22}{took['milliseconds']:>9.2f}"
            print(f"{row}{loop / took['milliseconds']:>9.1f}x{took['memory']:>8.0f}  {took['device']}", flush=True)


if __name__ == "__main__":
    main()
