"""The command `diffmia`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import diffmia
from diffmia.errors import DiffmiaError


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; an error the user can put right is one sentence and exit status 1."""
    parser = argparse.ArgumentParser(prog="diffmia", description=diffmia.__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "run",
        usage="diffmia run [ARGUMENTS OF SNAKEMAKE]",
        help="run the workflow in this folder, going on where a killed run stopped",
        description="Run Snakemake in this folder under a lock of its own: a stale Snakemake lock is removed, and a "
        "job that outlived an earlier run is named. What follows `run` is given to Snakemake, "
        "with --cores all where it says nothing of cores, jobs or a platform's profile.",
        epilog="example: diffmia run --cores 8 --resources gpu=2",
    )
    reader = commands.add_parser(
        "status",
        help="show what runs in this folder, how far it is and where, and what failed",
        description="List the jobs that run in this folder, with their progress, the time that is left by it, and the "
        "card they hold, and those that failed or were killed, with the end of their logs; then how far the run is. "
        "It only reads, and works while a run is going and after it.",
    )
    reader.add_argument("--all", action="store_true", help="list the jobs that are done, too")
    fetch = commands.add_parser(
        "fetch",
        usage="diffmia fetch [-h] [ID ...] [--dry-run] [--configfile FILE [FILE ...]]",
        help="get the files of models that were trained elsewhere",
        description="Make the files of imported targets and captioners of this folder's config.yaml present and "
        "checked; the workflow does the same where it needs them. Variables of the Hugging Face client are heeded: "
        "HF_HOME, HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN.",
        epilog="example: diffmia fetch theirs --configfile mine.yaml theirs.yaml",
    )
    fetch.add_argument("ids", nargs="*", metavar="ID", help="ids of imported targets and captioners; default: all")
    _reads_config(fetch)
    fetch.add_argument("--dry-run", action="store_true", help="say what would be fetched, and ask no network")
    schema = "write the JSON schema of config.yaml beside the package's config models"
    commands.add_parser("schema", help=schema, description=f"{schema[0].upper()}{schema[1:]}, for editors.")
    data = commands.add_parser(
        "data",
        help="tell which datasets there are, and whether they are still what they were",
        description="Datasets of config.yaml in this folder, and their files in the download cache (DIFFMIA_CACHE).",
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = data.add_parser(
        "list",
        help="a row for each dataset: what it is, its size and licence, and whether it is there",
        description="State: absent; downloaded (into the cache); local (a file or folder of yours, or nothing to "
        "download); prepared (images and manifest below results/datasets).",
    )
    _reads_config(listing)
    verify = data.add_parser(
        "verify",
        usage="diffmia data verify [-h] [DATASET ...] [--configfile FILE [FILE ...]]",
        help="read what is there again and compare it with its checksums",
        description="Compares downloads with their published checksums, files with what was written down when they "
        "were first read, and prepared images with the hash in their manifest. A sentence on each problem, and exit "
        "status 1 if there is one.",
        epilog="example: diffmia data verify cifar10 lfw",
    )
    _reads_config(verify)
    verify.add_argument("ids", nargs="*", metavar="DATASET", help="ids of datasets (none: all that are there)")
    chosen, rest = parser.parse_known_args(arguments)
    if rest and chosen.command != "run":
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    logging.basicConfig(level=logging.INFO, format="diffmia: %(message)s")
    try:
        match chosen.command:
            case "run":
                from diffmia.commands.run import launch

                return launch(rest)
            case "status":
                from diffmia.commands.status import status

                print(status(chosen.all))
            case "fetch":
                from diffmia.commands.fetch import fetch_command
                from diffmia.config.config import read_config

                return fetch_command(read_config(chosen.configfile), chosen.ids, chosen.dry_run)
            case "schema":
                from diffmia.config.config import SCHEMA_PATH, json_schema

                SCHEMA_PATH.write_text(json_schema())
            case "data":
                from diffmia.commands import data as inventory
                from diffmia.config.config import read_config

                datasets = read_config(chosen.configfile).datasets
                if chosen.action == "list":
                    print(inventory.listing(datasets))
                    return 0
                problems = 0
                for finding in inventory.verify(datasets, chosen.ids):
                    print(finding.sentence, file=sys.stderr if finding.problem else sys.stdout, flush=True)
                    problems += finding.problem
                return 1 if problems else 0
    except DiffmiaError as error:
        print(f"diffmia: {error}", file=sys.stderr)
        return 1
    return 0


def _reads_config(parser: argparse.ArgumentParser) -> None:
    """Give a command the option that Snakemake has, so that it knows what a run with it knows."""
    parser.add_argument(
        "--configfile", nargs="+", type=Path, default=[], metavar="FILE", help="settings that go over config.yaml"
    )


if __name__ == "__main__":
    sys.exit(main())
