"""The register of models that others published: where they are, under which licence, what they were trained on."""

from __future__ import annotations

import functools
from typing import Annotated

import yaml
from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints

from diffmia.published import PUBLISHED
from diffmia.spec import Sha256, Spec

REGISTER = PUBLISHED / "models.yaml"

Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class PublishedModel(Spec):
    """What is known of a published model; nothing here was guessed, and null means not known."""

    about: str = Field(description="What it is")
    page: str = Field(description="Where it is to be had")
    paper: str = Field(description="Where it is described")
    licence: str = Field(description="On which terms it is given")
    trained_on: str = Field(description="Samples it was trained on, in words")
    members_before: PositiveInt | None = Field(description="First sample it never saw, if it saw all before that")
    megabytes: PositiveFloat | None = Field(description="Size of its files with weights, in 10^6 bytes")
    revision: Revision | None = Field(description="Commit of the hub's repository")
    sha256: Sha256 | None = Field(description="Checksum of the file with its denoiser's weights")


@functools.cache
def published_models() -> dict[str, PublishedModel]:
    """Every model of the register, by its id."""
    entries = yaml.safe_load(REGISTER.read_text())
    return {id_: PublishedModel.model_validate(entry) for id_, entry in entries.items()}
