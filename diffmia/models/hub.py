"""Models on the Hugging Face hub, by its own client, with its cache (HF_HOME), offline mode and tokens."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import StringConstraints

from diffmia.errors import DiffmiaError
from diffmia.files.receipts import SourceFile
from diffmia.models.published import published_models
from diffmia.running.progress import MIB, BytesProgress

log = logging.getLogger(__name__)

LARGE = 16 * MIB  # bytes of a file, below which nothing is said of its transfer: there are many
Repository = Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]


@dataclass(frozen=True)
class HubFiles:
    """Files of a kind of model, by their paths below its folder or in its repository."""

    kind: str  # what a repository should have that lacks one of them, in words
    required: tuple[str | tuple[str, ...], ...]  # of several names the first that is there
    optional: tuple[str, ...] = ()  # which some models have, and then need
    flat: bool = False  # in repositories older than pipelines' sub-folders they lie beside each other

    @property
    def alternatives(self) -> tuple[tuple[str, ...], ...]:
        """Names of each required file."""
        return tuple((names,) if isinstance(names, str) else names for names in self.required)

    @property
    def configs(self) -> tuple[str, ...]:
        """Those of the required that are JSON."""
        return tuple(names[0] for names in self.alternatives if names[0].endswith(".json"))

    def there(self, name: str, flat: bool) -> str:
        """Where a repository has a file."""
        return PurePosixPath(name).name if flat else name


def fetch_from_hub(repo: str, revision: str, files: HubFiles) -> list[SourceFile]:
    """Make the files of a model at a commit present in the hub's cache; their names are those in `files`.

    A large file is compared with the checksum the hub has of it.

    Raises
    ------
    DiffmiaError
        If the hub cannot be reached or lacks a required file, or the weights are not those that it says.
    """
    from huggingface_hub import errors

    try:
        flat = _is_flat(repo, revision, files)
        required = [_first_of(repo, revision, files, names, flat) for names in files.alternatives]
        others = [_fetch(repo, revision, files.there(name, flat), name) for name in files.optional]
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise DiffmiaError(_unreachable(repo, revision, files)) from error
    return [*required, *filter(None, others)]


def cached_in_hub(repo: str, revision: str, files: HubFiles) -> Path | None:
    """Folder of the hub's cache with all files of a model at a commit, or None; no network is asked."""
    for flat in (False, True)[: 1 + files.flat]:
        found = [
            next((path for name in names if (path := _in_cache(repo, revision, files.there(name, flat)))), None)
            for names in files.alternatives
        ]
        known = all(_cached(repo, revision, files.there(name, flat)) is not None for name in files.optional)
        if known and all(found):
            return Path(str(found[0]).removesuffix(files.there(files.alternatives[0][0], flat)))
    return None


def hub_cache() -> Path:
    """Folder of the hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _is_flat(repo: str, revision: str, files: HubFiles) -> bool:
    first = files.alternatives[0][0]
    if not files.flat:
        return False
    if cached := cached_in_hub(repo, revision, files):
        return not (cached / first).exists()
    return _download(repo, revision, first) is None


def _first_of(repo: str, revision: str, files: HubFiles, names: Sequence[str], flat: bool) -> SourceFile:
    """The first of the names that is in the cache, or else in the repository."""
    there = {name: files.there(name, flat) for name in names}
    cached = [name for name in names if _in_cache(repo, revision, there[name])]
    for name in cached or names:
        if (file := _fetch(repo, revision, there[name], name)) is not None:
            return file
    lacking = there[names[-1]]
    why = "; only safetensors are read, as a pickle could run code" if lacking.endswith(".safetensors") else ""
    raise DiffmiaError(
        f"{repo} has no {lacking} at revision {revision}{why}; name a repository and a revision that have {files.kind}"
    )


def _fetch(repo: str, revision: str, there: str, name: str) -> SourceFile | None:
    from huggingface_hub import hf_hub_url

    path = _download(repo, revision, there)
    if path is None:
        return None
    file = SourceFile.of(path, name, hf_hub_url(repo, there, revision=revision))
    blob = path.resolve()  # the cache names a large file by the SHA-256 that the hub has of it
    if re.fullmatch("[0-9a-f]{64}", blob.name) and blob.name != file.sha256:
        blob.unlink()
        raise DiffmiaError(
            f"{there} of {repo} came with SHA-256 {file.sha256} and not {blob.name}, as the hub says; run again"
        )
    return file


def _cached(repo: str, revision: str, name: str) -> Path | bool | None:
    """The file in the cache; False if the hub said that there is none at this commit, None if it was not asked."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, name, revision=revision)
    return Path(found) if isinstance(found, str) else None if found is None else False


def _in_cache(repo: str, revision: str, name: str) -> Path | None:
    found = _cached(repo, revision, name)
    return found if isinstance(found, Path) else None


def _download(repo: str, revision: str, name: str) -> Path | None:
    """The file in the cache, downloaded if it is not there yet; None if there is none at this commit."""
    from huggingface_hub import errors, hf_hub_download

    if _cached(repo, revision, name) is False:  # which the client would ask for again
        return None
    try:
        return Path(hf_hub_download(repo, name, revision=revision, tqdm_class=_bar_of(f"{name} of {repo}")))
    except errors.LocalEntryNotFoundError:  # no network; a kind of the next, which says that the hub has none
        raise
    except errors.EntryNotFoundError:
        return None
    except errors.GatedRepoError as error:
        raise DiffmiaError(
            f"{repo} is given only to those who accepted its terms; accept them at https://huggingface.co/{repo} and "
            "set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise DiffmiaError(
            f"there is no repository {repo} on the hub, or it is private; correct `repo:`, or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise DiffmiaError(f"{repo} has no commit {revision}; correct `revision:`") from error
    except errors.HfHubHTTPError as error:
        raise DiffmiaError(f"the hub did not send {name} of {repo}: {_first_line(error)}; run again") from error


def _unreachable(repo: str, revision: str, files: HubFiles) -> str:
    """What is not here, how much that is and what to do, in a sentence."""
    from huggingface_hub import constants

    why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
    return (
        f"{why}, and {repo} at revision {revision} is not whole in the cache {constants.HF_HUB_CACHE}: "
        f"{_lacking(repo, revision, files)} would have been downloaded from "
        f"{constants.ENDPOINT}/{repo}/tree/{revision}; run `diffmia fetch` where there is a network and set HF_HOME to "
        "where it was kept, or name a folder that has the files, with `folder:` in place of `repo:`"
    )


def _lacking(repo: str, revision: str, files: HubFiles) -> str:
    """Which files of a model are not in the cache, and how large the whole of it is."""
    layouts = (False, True)[: 1 + files.flat]

    def found(name: str) -> list[Path | bool | None]:
        return [_cached(repo, revision, files.there(name, flat)) for flat in layouts]

    required = [names[0] for names in files.alternatives if not any(any(found(name)) for name in names)]
    optional = [name for name in files.optional if all(one is None for one in found(name))]
    known = published_models().get(repo)
    size = f"{known.megabytes:g} MB" if known and known.revision == revision and known.megabytes else "not known"
    said = f"{len(required)} of its {len(files.alternatives)} files ({', '.join(required)}; size of all: {size})"
    return f"{said} and up to {len(optional)} that only some models have" if optional else said


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _bar_of(what: str) -> type:
    """What the client of the Hugging Face hub makes in place of its progress bar, which without a terminal is none."""

    class Bar:
        def __init__(self, *_: Any, total: int | None = None, initial: int = 0, **__: Any):
            self.done = initial
            self.progress = BytesProgress(log, what, total, initial) if total and total >= LARGE else None

        def update(self, count: int = 1) -> None:
            self.done += count
            if self.progress:
                self.progress.update(self.done)

        def ignore(self, *_: Any, **__: Any) -> None:
            pass

        # the first tells the client not to make a second bar for what comes over the network, which may be less
        update_transfer = set_postfix_str = set_transfer_postfix_str = close = __exit__ = ignore

        def __enter__(self) -> Bar:
            return self

    return Bar
