"""How long a plan of thousands of jobs takes to build: `snakemake -n` of a grid of targets, seeds and attacks.

The grid is of copies of the smoke target, each with a null target and every attack of the shipped config: 37 jobs for
each of them at the first seed, 32 at every further one. Nothing of it is run. The defaults make 10,112 jobs.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "rules", "scripts", "envs", "profiles", "diffmia")
COPIED = "ddpm_digits_smoke"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--targets", type=int, default=100, help="copies of the smoke target")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each")
    parser.add_argument("--profile", type=Path, help="where to write a profile of the run (cProfile)")
    return parser.parse_args()


def grid(targets: int, seeds: int) -> dict:
    """The shipped config with a run of `targets` copies of the smoke target, each with `seeds` seeds."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    copies = {f"copy{number}": config["targets"][COPIED] for number in range(targets)}
    run = config["run"] | {"name": "grid", "targets": list(copies), "seeds": list(range(seeds))}
    return config | {"run": run, "targets": config["targets"] | copies}


def plan(targets: int, seeds: int, profile: Path | None = None) -> tuple[int, float, float]:
    """Number of jobs of a grid, and the seconds it takes to plan them, by the clock and of a core; with the start."""
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            Path(folder, part).symlink_to(ROOT / part)
        text = yaml.safe_dump(grid(targets, seeds), sort_keys=False)
        Path(folder, "config.yaml").write_text(text)
        python = [sys.executable, *(["-m", "cProfile", "-o", str(profile.resolve())] if profile else [])]
        start = time.monotonic()
        done = subprocess.run(
            [*python, "-m", "snakemake", "--dry-run", "--quiet", "rules", "--cores", "2"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    jobs = re.findall(r"^total +(\d+)$", done.stdout, re.MULTILINE)
    if done.returncode or not jobs:
        raise SystemExit(f"snakemake ended with status {done.returncode}:\n{done.stdout[-3000:]}")
    return int(jobs[-1]), seconds, used.ru_utime + used.ru_stime


def main() -> None:
    arguments = parse_arguments()
    jobs, seconds, of_a_core = plan(arguments.targets, arguments.seeds, arguments.profile)
    of = f"{jobs:,} jobs of {arguments.targets} targets and {arguments.seeds} seeds"
    print(f"{of} planned in {seconds:.1f} s, {of_a_core:.1f} s of a core")


if __name__ == "__main__":
    main()
