"""Arguments of Snakemake that it would misunderstand without a word, or answer with a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from diffmia.config.files import read_yaml
from diffmia.errors import DiffmiaError

PRESETS = "profiles/*/overrides.yaml"


def check_preset(arguments: Sequence[str], project: Path = Path()) -> None:
    """Refuse a preset that is neither here nor in the folder of the project: Snakemake would run the default.

    Raises
    ------
    DiffmiaError
        Naming the nearest, and all.
    """
    for given in values_of(arguments, "--workflow-profile"):
        if given != "none" and not any((base / given).is_dir() for base in (Path(), project)):
            presets = sorted(str(path.parent.relative_to(project)) for path in project.glob(PRESETS))
            near = difflib.get_close_matches(given, presets, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise DiffmiaError(f"there is no preset '{given}'{hint} Presets: {', '.join(presets) or 'none here'}")


def check_config_files(arguments: Sequence[str]) -> None:
    """Refuse config files that cannot be read.

    Raises
    ------
    DiffmiaError
        Naming the file, and where in it the fault is.
    """
    for given in values_of(arguments, "--configfile", "--configfiles"):
        read_yaml(Path(given))


def values_of(arguments: Sequence[str], *options: str) -> list[str]:
    """All values that follow any of the options, as `--option a b` or as `--option=a`."""
    found, taking = [], False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("-"):
            taking = argument in options
            found += [value] if equals and name in options else []
        elif taking:
            found.append(argument)
    return found
