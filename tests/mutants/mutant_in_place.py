"""Puts a patch into the running process, for stories, which are played by the thousand in it.

To import a copy of the package for each patch takes longer than most are hunted for. So the code
of the functions that a patch changes takes the place of the code that they have, and goes again.
What else a patch may change (a constant, a class, a decorator) was used when the package was
imported: a patch that does is for a copy only, and an error here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

from mutant_patches import Mutant, PatchError, patched_files

import holdfast

INSTALLED: Final = Path(holdfast.__file__).parent.parent
_Def = ast.FunctionDef | ast.AsyncFunctionDef


@contextmanager
def in_place(name: str, mutant: Mutant) -> Iterator[None]:
    """Inside, the package has the mistake.

    :raises PatchError: as of `patched_files`; or it changes more than what functions do.
    """
    changed: list[tuple[FunctionType, CodeType]] = []
    for path, text in patched_files(name, mutant, base=INSTALLED).items():
        before, after = (INSTALLED / path).read_text(), text
        code = compile(after, str(INSTALLED / path), "exec", dont_inherit=True)
        module = import_module(".".join(path.with_suffix("").parts))
        changed += [
            (_of_name(module, function), _code_of(code, function))
            for function in _changed(name, before, after)
        ]
    were = [function.__code__ for function, _ in changed]
    try:
        for function, code in changed:
            function.__code__ = code
        yield
    finally:
        for (function, _), was in zip(changed, were, strict=True):
            function.__code__ = was


def _changed(name: str, before: str, after: str) -> list[str]:
    """Functions and methods, by name."""
    (old, old_rest), (new, new_rest) = _taken_apart(before), _taken_apart(after)
    changed = [function for function, body in new.items() if body != old.get(function)]
    if old_rest != new_rest or not changed:
        raise PatchError(f"{name}: it changes more than functions do, and needs a copy")
    return changed


def _taken_apart(text: str) -> tuple[dict[str, str], str]:
    """What stands in each function, and what stands around them."""
    bodies: dict[str, str] = {}
    tree = ast.parse(text)

    def take(node: Any, prefix: str) -> None:
        for inner in node.body:
            if isinstance(inner, ast.ClassDef):
                take(inner, f"{prefix}{inner.name}.")
            elif isinstance(inner, _Def):
                found = "".join(map(ast.dump, inner.body))
                key = f"{prefix}{inner.name}"
                bodies[key] = bodies.get(key, "") + found
                inner.body = []

    take(tree, "")
    return bodies, ast.dump(tree)


def _of_name(module: Any, name: str) -> FunctionType:
    found = module
    for part in name.split("."):
        found = vars(found)[part]
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "__func__", found)
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    assert isinstance(found, FunctionType), name
    return found


def _code_of(code: CodeType, name: str) -> CodeType:
    for part in name.split("."):
        (code,) = (
            const
            for const in code.co_consts
            if isinstance(const, CodeType) and const.co_name == part
        )
    return code
