"""Pydantic's validation errors, in the words of someone who edits `config.yaml`."""

from __future__ import annotations

import difflib
import re
import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError

from diffmia.spec import Spec

TOP = "the top level"
SYNONYMS = {"gpu": "cuda"}  # words of other programs for accepted ones
NEEDED = {  # by pydantic's name of the fault
    "int_type": "a whole number is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "float_parsing": "a number is needed",
    "bool_type": "true or false is needed",
    "bool_parsing": "true or false is needed",
    "too_short": "at least one entry is needed",
    "tuple_type": "a list is needed",
    "dict_type": "a mapping is needed",
    "model_type": "a mapping is needed",
    "model_attributes_type": "a mapping is needed",
}


def explain(error: ValidationError, root: type[Spec]) -> str:
    """One line for each fault: where it is, what is wrong, what is accepted, and the nearest accepted name."""
    faults = error.errors()
    # a list that is empty only because none of its entries is right
    faults = [f for f in faults if f["type"] != "too_short" or not any(_within(other, f) for other in faults)]
    together: dict[str, list[dict[str, Any]]] = {}  # an integer or 'rest': a fault for each, of one value
    for fault in faults:
        together.setdefault(".".join(_resolve(fault["loc"], root)[0]), []).append(fault)
    lines = [
        _line(several[0], root) if len(several) == 1 else f"{where} is {several[0]['input']!r}: {_either(several)}"
        for where, several in together.items()
    ]
    return "\n".join(f"config: {line}" for line in lines)


def _within(fault: dict[str, Any], outer: dict[str, Any]) -> bool:
    return fault is not outer and fault["loc"][: len(outer["loc"])] == outer["loc"]


def _either(faults: list[dict[str, Any]]) -> str:
    return "; or: ".join(NEEDED.get(fault["type"], fault["msg"]) for fault in faults)


def _line(fault: dict[str, Any], root: type[Spec]) -> str:
    keys, parent = _resolve(fault["loc"], root)
    where = ".".join(keys) or TOP
    section = f"in {'.'.join(keys[:-1])}" if keys[:-1] else f"at {TOP}"
    context, value = fault.get("ctx", {}), fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            accepted = list(parent.model_fields) if parent is not None else []
            return f"unknown key '{keys[-1]}' {section}{_nearest(keys[-1], accepted)}"
        case "missing":
            return f"key '{keys[-1]}' is missing {section}"
        case "union_tag_invalid":
            tag, accepted = context["tag"], _listed(context["expected_tags"])
            return f"{where}.{_listed(context['discriminator'])[0]} is '{tag}'{_nearest(tag, accepted)}"
        case "union_tag_not_found":
            return f"key {context['discriminator']} is missing in {where}"
        case "literal_error":
            return f"{where} is {value!r}{_nearest(str(value), _listed(context['expected']))}"
        case "string_pattern_mismatch" if "[key]" in fault["loc"] or keys[-1:] == ["name"]:
            return f"{where}: ids are lower-case letters, digits and underscores, starting with a letter or digit"
        case "value_error":  # two keys contradict each other: the sentence names them
            return f"{where}: {context['error']}"
        case "string_pattern_mismatch" if digits := re.fullmatch(r"\^\[0-9a-f\]\{(\d+)\}\$", context["pattern"]):
            return f"{where} is {value!r}: {digits[1]} hexadecimal digits are needed, in lower case"
        case "greater_than" | "greater_than_equal":
            least = "above" if fault["type"] == "greater_than" else "no less than"
            return f"{where} is {value!r}: it must be {least} {next(iter(context.values())):g}"
        case kind:
            return f"{where} is {value!r}: {NEEDED.get(kind, fault['msg'])}"


def _listed(text: str) -> list[str]:
    """The values in pydantic's "'a', 'b' or 'c'"."""
    return [value.strip("' ") for value in text.replace(" or ", ",").split(",")]


def _nearest(word: str, accepted: list[str]) -> str:
    lower = {name.lower(): name for name in accepted}
    meant = SYNONYMS.get(word.lower(), word.lower())
    near = [lower[name] for name in difflib.get_close_matches(meant, lower, n=1) if lower[name] != word]
    return (f"; did you mean '{near[0]}'?" if near else ".") + f" Accepted: {', '.join(accepted)}"


def _resolve(loc: tuple[str | int, ...], root: type[Spec]) -> tuple[list[str], type[Spec] | None]:
    """The keys a user would write for `loc`, and the model that holds the last one.

    Places in a list are left out, and so are pydantic's names of the members of a union.
    """
    keys: list[str] = []
    current, parent = root, None
    for part in loc:
        if part == "[key]" or isinstance(part, int):
            continue
        if kinds := _union_members(current):  # this part is the tag that chose a kind, no key
            current = next((kind for kind in kinds if part in _tags(kind)), None)
        elif isinstance(current, type) and issubclass(current, Spec):
            keys.append(part)
            parent, field = current, current.model_fields.get(part)
            current = field.annotation if field else None
        elif get_origin(current) is dict:
            keys.append(str(part))
            current = get_args(current)[1]
    return keys, parent


def _union_members(annotation: Any) -> list[type[Spec]]:
    """The models a union tells apart by a tag, none if it is no such union."""
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
