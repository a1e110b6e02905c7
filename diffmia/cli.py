"""The command `diffmia`."""

from __future__ import annotations

import argparse
import logging
import sys

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
        "job that outlived an earlier run is named. What follows `run` is given to Snakemake "
        "(nothing: --cores all).",
        epilog="example: diffmia run --cores 8 --resources gpu=2",
    )
    commands.add_parser("schema", help="write the JSON schema of config.yaml beside the package's config models")
    chosen, rest = parser.parse_known_args(arguments)
    if rest and chosen.command != "run":
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    logging.basicConfig(level=logging.INFO, format="diffmia: %(message)s")
    try:
        match chosen.command:
            case "run":
                from diffmia.launch import launch

                return launch(rest or ["--cores", "all"])
            case "schema":
                from diffmia.config import SCHEMA_PATH, json_schema

                SCHEMA_PATH.write_text(json_schema())
    except DiffmiaError as error:
        print(f"diffmia: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
