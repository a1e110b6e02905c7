"""Files of settings: `config.yaml`, and those that are given on the command line."""

from __future__ import annotations

from pathlib import Path

import yaml

from diffmia.errors import DiffmiaError


def read_yaml(path: Path) -> dict:
    """The mapping in a YAML file, empty if the file is.

    Raises
    ------
    DiffmiaError
        If there is no such file, or it holds no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DiffmiaError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DiffmiaError(f"{path} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        raise DiffmiaError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict | None):
        raise DiffmiaError(f"{path} holds no mapping of keys to values, but {content!r:.40}")
    return content or {}
