"""Whether the cost of a residual pass grows as its samples do, and its memory does not: 1,000 to 16,000 32x32 images.

The network is that of the smoke target, which has less than a million parameters; weights are random and images are
noise, which change no time. Each pass is one in a process of its own. Exit status 1 if samples/s differ by more than
10 % or memory grows by as much. Run it on an idle machine; the defaults take some minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import torch
import yaml
from residual_pass import ROOT, SMALL, cpu_model, peak_memory, run

from diffmia.config.config import Config, load_config
from diffmia.running.device import use_device

SHAPE = (3, 32, 32)
ALLOWED = 0.1  # of samples/s and of memory


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[1000, 4000, 16000], help="samples of each pass")
    parser.add_argument("--attacks", nargs="+", default=["naive", "pia"], help="whose questions are asked")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--pass-of", type=int, help=argparse.SUPPRESS)  # one pass, in a process of its own
    return parser.parse_args()


def config_of(attacks: list[str], of_target: str = SMALL) -> Config:
    """The shipped config with no more than these attacks, on one target, and no studies."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["attacks"] = {attack: config["attacks"][attack] for attack in attacks}
    left_out = "timesteps", "attacks", "studies"
    target = {key: value for key, value in config["targets"][of_target].items() if key not in left_out}
    return load_config(config | {"targets": {of_target: target}, "run": {"targets": [of_target], "attacks": attacks}})


def in_fresh_process(n: int, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--pass-of", str(n), "--threads", str(arguments.threads)]
    command += ["--attacks", *arguments.attacks]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def main() -> int:
    arguments = parse_arguments()
    use_device("cpu", 0, arguments.threads)
    if arguments.pass_of:
        took = run(config_of(arguments.attacks), SMALL, arguments.pass_of, SHAPE)
        print(json.dumps(took | {"memory": peak_memory()}))
        return 0
    print(f"{cpu_model()}, torch {torch.__version__}, {arguments.threads} threads")
    print(f"{'samples':>9}{'queries':>9}{'parameters':>12}{'seconds':>9}{'samples/s':>11}{'MiB':>7}")
    rates, memories = [], []
    for n in arguments.samples:
        took = in_fresh_process(n, arguments)
        rates.append(n / took["seconds"])
        memories.append(took["memory"])
        row = f"{n:>9}{took['queries']:>9}{took['parameters'] / 1e6:>10.2f} M{took['seconds']:>9.1f}"
        print(f"{row}{rates[-1]:>11.1f}{memories[-1]:>7.0f}", flush=True)
    slower, larger = max(rates) / min(rates) - 1, max(memories) / memories[0] - 1
    print(f"samples/s differ by {slower:.1%}, memory grows by {larger:.1%}; at most {ALLOWED:.0%} is allowed")
    return int(max(slower, larger) > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())
