"""Diffusers pipelines on the Hugging Face hub, by its own client, with its cache (HF_HOME), offline mode and tokens."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from diffmia.errors import DiffmiaError
from diffmia.receipts import SourceFile

PIPELINE = (
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "scheduler/scheduler_config.json",
)
FLAT = tuple(PurePosixPath(name).name for name in PIPELINE)  # in repositories older than pipelines' sub-folders


def fetch_pipeline(repo: str, revision: str) -> list[SourceFile]:
    """Make the files of a pipeline at a commit present in the hub's cache; their names are those in PIPELINE.

    A large file is compared with the checksum the hub has of it.

    Raises
    ------
    DiffmiaError
        If the hub cannot be reached or lacks the files, or the weights are not those that it says.
    """
    layout = _layout(repo, revision)
    return [_fetch(repo, revision, there, name) for there, name in zip(layout, PIPELINE, strict=True)]


def cached_pipeline(repo: str, revision: str) -> Path | None:
    """Folder of the hub's cache with all files of a pipeline at a commit, or None; no network is asked."""
    from huggingface_hub import try_to_load_from_cache

    for layout in (PIPELINE, FLAT):
        found = [try_to_load_from_cache(repo, name, revision=revision) for name in layout]
        if all(isinstance(path, str) for path in found):
            return Path(found[0].removesuffix(layout[0]))
    return None


def hub_cache() -> Path:
    """Folder of the hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _layout(repo: str, revision: str) -> tuple[str, ...]:
    if cached := cached_pipeline(repo, revision):
        return PIPELINE if (cached / PIPELINE[0]).exists() else FLAT
    return FLAT if _download(repo, revision, PIPELINE[0]) is None else PIPELINE


def _fetch(repo: str, revision: str, there: str, name: str) -> SourceFile:
    from huggingface_hub import hf_hub_url

    path = _download(repo, revision, there)
    if path is None:
        why = "; only safetensors are read, as a pickle could run code" if there.endswith(".safetensors") else ""
        raise DiffmiaError(
            f"{repo} has no {there} at revision {revision}{why}; name a repository and a revision that have a DDPM "
            "pipeline with it"
        )
    file = SourceFile.of(path, name, hf_hub_url(repo, there, revision=revision))
    blob = path.resolve()  # the cache names a large file by the SHA-256 that the hub has of it
    if re.fullmatch("[0-9a-f]{64}", blob.name) and blob.name != file.sha256:
        blob.unlink()
        raise DiffmiaError(
            f"{there} of {repo} came with SHA-256 {file.sha256} and not {blob.name}, as the hub says; run again"
        )
    return file


def _download(repo: str, revision: str, name: str) -> Path | None:
    """The file in the cache, downloaded if it is not there yet; None if there is none at this commit."""
    from huggingface_hub import errors, hf_hub_download

    try:
        return Path(hf_hub_download(repo, name, revision=revision))
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:  # the first is a kind of the next
        raise DiffmiaError(_unreachable(repo, revision, name)) from error
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


def _unreachable(repo: str, revision: str, name: str) -> str:
    from huggingface_hub import constants, hf_hub_url

    why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
    return (
        f"{why}, and {name} of {repo} at revision {revision} is not in the cache {constants.HF_HUB_CACHE}: "
        f"{hf_hub_url(repo, name, revision=revision)} would have been downloaded; run `diffmia fetch` where there is a "
        "network, and set HF_HOME to where it was kept"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
