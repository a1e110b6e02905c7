"""A digest of the code that decides a result: it moves with what the code does, not with how it is written down."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from pathlib import Path
from typing import Any

PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def code_digest(*modules: str, script: str | None = None) -> str:
    """Hash of `modules`, of every module of this package that they import, at any depth, and of a rule's `script`.

    Comments, formatting and docstrings are not part of it, nor is what the files' times say; a changed statement is.
    What the script imports is not followed: it unpacks a job, and knows of much that does not decide the result.
    """
    combined = hashlib.sha256()
    for name in sorted(imported(*modules) | ({f"scripts.{script}"} if script else set())):
        combined.update(f"{name}:{_module(name)[1]}\n".encode())
    return combined.hexdigest()[:16]


def imported(*modules: str) -> set[str]:
    """Names of `modules` and of all modules of this package that they import, including inside functions."""
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(_module(name)[0])
    return seen


def _path(name: str) -> Path | None:
    base = PACKAGE_ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@functools.cache
def _module(name: str) -> tuple[tuple[str, ...], str]:
    """What a module imports of this package at run time, and the digest of its own statements."""
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(f"no module {name} below {PACKAGE_ROOT}")
    tree = ast.parse(path.read_bytes())
    here = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node in ast.walk(_Bare().visit(tree)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), here)
            found += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    package = name.split(".")[0]
    inside = tuple(module for module in found if module.split(".")[0] == package and _path(module))
    return inside, hashlib.sha256(_text(tree).encode()).hexdigest()


def _text(node: Any) -> str:
    """`ast.dump` without empty fields, which differ between versions of Python."""
    if isinstance(node, ast.AST):
        fields = [f"{name}={_text(value)}" for name, value in ast.iter_fields(node) if value not in (None, [])]
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_text, node))}]"
    return repr(node)


class _Bare(ast.NodeTransformer):
    """Takes out what has no effect when the code runs: docstrings and imports for type checkers."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        node = self.generic_visit(node)
        return node.orelse if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node
