"""Pydantic's validation errors, in the words of someone who edits `config.yaml`."""

from __future__ import annotations

import difflib
import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError

from diffmia.spec import Spec


def explain(error: ValidationError, root: type[Spec]) -> str:
    """One line for each fault: where it is, what is wrong, what is accepted, and the nearest accepted name."""
    return "\n".join(f"config: {_line(fault, root)}" for fault in error.errors())


def _line(fault: dict[str, Any], root: type[Spec]) -> str:
    keys, parent = _resolve(fault["loc"], root)
    where = ".".join(keys) or "the top level"
    match fault["type"]:
        case "extra_forbidden":
            section = ".".join(keys[:-1]) or "the top level"
            accepted = list(parent.model_fields) if parent is not None else []
            return f"unknown key '{keys[-1]}' in {section}{_nearest(keys[-1], accepted)}"
        case "missing":
            return f"key '{keys[-1]}' is missing in {'.'.join(keys[:-1]) or 'the top level'}"
        case "union_tag_invalid":
            key, accepted = fault["ctx"]["discriminator"].strip("'"), fault["ctx"]["expected_tags"]
            accepted = [tag.strip("' ") for tag in accepted.split(",")]
            return f"{where}.{key} is '{fault['ctx']['tag']}'{_nearest(fault['ctx']['tag'], accepted)}"
        case "union_tag_not_found":
            return f"key {fault['ctx']['discriminator']} is missing in {where}"
        case "literal_error":
            accepted = [value.strip("' ") for value in fault["ctx"]["expected"].replace(" or ", ",").split(",")]
            return f"{where} is {fault['input']!r}{_nearest(str(fault['input']), accepted)}"
        case "string_pattern_mismatch":
            return f"{where}: ids are lower-case letters, digits and underscores, starting with a letter or digit"
        case _:
            return f"{where} is {fault['input']!r}: {fault['msg'].removeprefix('Value error, ')}"


def _nearest(word: str, accepted: list[str]) -> str:
    near = difflib.get_close_matches(word, accepted, n=1)
    return (f"; did you mean '{near[0]}'?" if near else ".") + f" Accepted: {', '.join(accepted)}"


def _resolve(loc: tuple[str | int, ...], root: type[Spec]) -> tuple[list[str], type[Spec] | None]:
    """The keys a user would write for `loc`, without pydantic's union tags, and the model that holds the last one."""
    keys: list[str] = []
    current, parent = root, None
    for part in loc:
        if part == "[key]":
            continue
        kinds = _union_members(current)
        if kinds:  # this part is the tag that chose a kind, no key
            current = next((kind for kind in kinds if part in _tags(kind)), None)
            continue
        keys.append(str(part))
        if isinstance(current, type) and issubclass(current, Spec):
            parent = current
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
            if field is not None and field.discriminator:
                current = Annotated[current, field]
        elif get_origin(current) is dict:
            current = get_args(current)[1]
        else:
            current = None
    return keys, parent


def _union_members(annotation: Any) -> list[type[Spec]]:
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
        if any(getattr(extra, "discriminator", None) for extra in metadata) and isinstance(annotation, type):
            return [annotation]  # a union of one kind
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ()
    specs = [member for member in members if isinstance(member, type) and issubclass(member, Spec)]
    return specs if len(specs) == len(members) else []


def _tags(kind: type[Spec]) -> list[str]:
    """Values of the literal fields of a kind, one of which tells it from its siblings."""
    return [value for field in kind.model_fields.values() for value in get_args(field.annotation)]
