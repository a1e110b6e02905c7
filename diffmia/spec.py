"""Base of every typed piece of `config.yaml`, and the registry that finds its kinds.

A new dataset, model or attack is one new file in its package: a subclass of that package's base class whose
`source` or `family` literal is the name used in the config. Nothing else has to be edited.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Annotated, Any, TypeVar, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Base = TypeVar("Base", bound="Spec")
Value = TypeVar("Value")


def _distinct(values: tuple) -> tuple:
    if twice := sorted({str(one) for one in values if values.count(one) > 1}):
        raise ValueError(f"{', '.join(twice)} is there more than once")
    return values


def _ascending(values: tuple) -> tuple:
    if list(values) != sorted(set(values)):
        raise ValueError(f"{list(values)} is not ascending, each once")
    return values


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Distinct = Annotated[tuple[Value, ...], AfterValidator(_distinct)]
Ascending = Annotated[tuple[Value, ...], AfterValidator(_ascending)]


class Spec(BaseModel):
    """Immutable settings that refuse unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def kinds(package: ModuleType, base: type[Base]) -> tuple[type[Base], ...]:
    """Every concrete subclass of `base` that is defined in a module of `package`, in module order."""
    found = []
    for module_info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__:
                found.append(value)
    return tuple(found)


def union_of(package: ModuleType, base: type[Base], discriminator: str) -> Any:
    """The pydantic type "one of the kinds of `base`", told apart by the field `discriminator`."""
    members = [kind for kind in kinds(package, base) if discriminator in kind.model_fields]
    return Annotated[Union[tuple(members)], Field(discriminator=discriminator)]  # noqa: UP007
