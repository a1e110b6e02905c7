"""How fast the residual pass is beside what the machine can do, and whether its memory grows with the samples.

Weights are random and images are noise: neither changes the time. Run it on an idle machine; the defaults take
about two minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from diffmia.config.config import Config, load_config
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
from diffmia.running.device import use_device

ROOT = Path(__file__).resolve().parents[2]
SHAPES = {"ddpm_digits": (1, 8, 8), "ddpm_digits_smoke": (1, 8, 8), "ddpm_cifar10": (3, 32, 32)}
SMALL = "ddpm_digits_smoke"  # whose memory is measured
CPU = torch.device("cpu")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--digits", type=int, default=1024, help="samples of ddpm_digits; 0 leaves it out")
    parser.add_argument("--cifar10", type=int, default=16, help="samples of ddpm_cifar10; 0 leaves it out")
    parser.add_argument("--memory", type=int, nargs="*", default=[1000, 10000], help="samples of the passes weighed")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--config", type=Path, default=ROOT / "config.yaml", help="where targets and attacks are from")
    parser.add_argument("--weigh", type=int, help=argparse.SUPPRESS)  # one pass, in a process of its own
    return parser.parse_args()


def run(config: Config, target: str, n: int, shape: tuple[int, int, int] | None = None) -> dict[str, float]:
    """A pass over `n` samples with all attacks defined for `target`; returns what it took."""
    spec, probes = config.targets[target], questions_of(config, "residuals", target)
    shape = shape or SHAPES[target]
    torch.manual_seed(0)
    model = in_arithmetic(spec.build(shape).eval().requires_grad_(False), Arithmetic(), CPU)
    batch_size = min(spec.batch_size, n)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.npy")
        np.save(path, np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8))
        images = open_images(path)
        samples = Samples(Pixels(images), np.arange(n), np.full(n, "member"), np.zeros(n, np.int64))
        flop = count_flop(model, images[:batch_size])  # which warms the model up, too
        model_pass = ModelPass(model, probes, answer, 0, batch_size, CPU)
        start = time.perf_counter()
        run_pass(model_pass, samples, PieceStore(Path(folder, "store"), {}), Path(folder, "table.parquet"), {})
        seconds = time.perf_counter() - start
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "queries": count_evaluations(probes),
        "seconds": seconds,
        "inside": model_pass.denoiser.seconds / seconds,
        "flop": flop / batch_size * model_pass.denoiser.queries,
    }


def count_flop(model: Denoiser, images: np.ndarray) -> int:
    """Floating point operations of one query about a batch."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.predict_noise(to_unit_range(images), 0)
    return counter.get_total_flops()


def sgemm(size: int = 3072) -> float:
    """GFLOP/s of a large product of float32 matrices."""
    a, b = torch.rand(2, size, size)
    return 2 * size**3 / best_time(lambda: a @ b) / 1e9


def convolution(channels: int = 256, width: int = 32, batch: int = 8) -> float:
    """GFLOP/s of a large 3x3 convolution, which may beat sgemm: another library's kernels."""
    images = torch.rand(batch, channels, width, width).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last)
    seconds = best_time(lambda: torch.conv2d(images, weight, padding=1))
    return 2 * 9 * channels**2 * width**2 * batch / seconds / 1e9


def best_time(work: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_memory() -> float:
    """Largest resident memory this process has had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux getrusage has the parent's peak in it
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def weigh(n: int, arguments: argparse.Namespace) -> float:
    """Peak memory of a pass over `n` samples, in a fresh process."""
    command = [sys.executable, __file__, "--weigh", str(n), "--threads", str(arguments.threads)]
    command += ["--config", str(arguments.config)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    arguments = parse_arguments()
    use_device("cpu", 0, arguments.threads)
    config = load_config(yaml.safe_load(arguments.config.read_text()))
    if arguments.weigh:
        run(config, SMALL, arguments.weigh)
        print(peak_memory())
        return
    print(f"{platform.platform()}, {cpu_model()}, {os.cpu_count()} cores")
    print(f"torch {torch.__version__}, {arguments.threads} threads, float32")
    matrices, convolutions = sgemm(), convolution()
    print(f"sgemm {matrices:.0f} GFLOP/s, convolution {convolutions:.0f} GFLOP/s\n")
    header = f"{'target':<14}{'parameters':>12}{'queries':>9}{'samples':>9}{'seconds':>9}{'samples/s':>11}"
    print(f"{header}{'in model':>10}{'GFLOP/s':>9}{'/ sgemm':>9}{'/ conv.':>9}")
    for target, n in (("ddpm_digits", arguments.digits), ("ddpm_cifar10", arguments.cifar10)):
        if n:
            took = run(config, target, n)
            rate = took["flop"] / took["seconds"] / 1e9
            row = f"{target:<14}{took['parameters'] / 1e6:>10.2f} M{took['queries']:>9}{n:>9}{took['seconds']:>9.1f}"
            row += f"{n / took['seconds']:>11.2f}{took['inside']:>10.1%}"
            print(f"{row}{rate:>9.1f}{rate / matrices:>9.2f}{rate / convolutions:>9.2f}", flush=True)
    if arguments.memory:
        print(f"\npeak memory of a pass over {SMALL}, each in a fresh process")
        print(f"{'samples':>9}{'MiB':>9}")
        for n in arguments.memory:
            print(f"{n:>9}{weigh(n, arguments):>9.0f}", flush=True)


if __name__ == "__main__":
    main()
