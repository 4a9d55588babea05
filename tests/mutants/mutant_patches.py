"""Deliberate breakages of the engine, as patches: read from `patches/`, put into a copy.

The campaign hunts them in a process of their own (`mutant_hunt`), the stories of an order in
theirs (`mutant_in_place`, `tests/orders/test_story_mutants.py`): each patch says whose it is.

A patch names its files and, for each, the exact text to find and what stands there instead. The
text must be there exactly once. So when the code moves on, a patch that has lost its place is an
error that names it, and never a breakage that breaks nothing.
"""

from __future__ import annotations

import ast
import os
import shutil
import tomllib
from pathlib import Path
from typing import Final

import msgspec

import holdfast

FOLDER: Final = Path(__file__).with_name("patches")
PROMISES: Final = frozenset(
    {
        "gate", "events", "orders", "policy", "books", "liveness", "recovery", "lease",
        "dead man", "exits", "silence",
    }
)  # fmt: skip
"""Of `campaign.world.Breach`, in the campaign. That the engine ended by itself is none: it may be
the patch."""

OF_STORIES: Final = frozenset({"gate", "orders", "books", "liveness", "exits", "silence", "truth"})
"""Those that stories tell of."""


class PatchError(Exception):
    """A patch does not fit; the text names it and says why."""


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    :ivar file: within the package, such as `journal/memory.py`.
    :ivar find: whole lines.
    """

    file: str
    find: str
    replace: str


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    :ivar says: the mistake, in words.
    :ivar breaks: the promises of which it must break one in the campaign; none: it is not for it.
    :ivar first_seed: where the campaign begins. A world that catches it is near, for the code as
        it was when the patch was written; it may be any other.
    :ivar in_suite: whether the test suite hunts it; `make mutants` hunts them all.
    :ivar stories: the promises of which the stories must see one broken; none: it is not for them.
    :ivar first_story: as `first_seed`, of the stories.
    """

    says: str
    edits: tuple[Edit, ...]
    breaks: frozenset[str] = frozenset()
    first_seed: int = 0
    in_suite: bool = False
    stories: frozenset[str] = frozenset()
    first_story: int = 0


def load(folder: Path = FOLDER) -> dict[str, Mutant]:
    """All patches by name, in the order of files and lines.

    :raises PatchError: a file is none, or two patches have one name.
    """
    found: dict[str, Mutant] = {}
    for path in sorted(folder.glob("*.toml")):
        try:
            named = tomllib.loads(path.read_text())
        except tomllib.TOMLDecodeError as error:
            raise PatchError(f"{path.name}: {error}") from None
        for name, value in named.items():
            if name in found:
                raise PatchError(f"{path.name}: there is another patch named {name}")
            try:
                found[name] = mutant = msgspec.convert(value, Mutant)
            except msgspec.ValidationError as error:
                raise PatchError(f"{path.name}: {name}: {error}") from None
            for field, known in (("breaks", PROMISES), ("stories", OF_STORIES)):
                unknown = sorted(getattr(mutant, field) - known)
                if unknown or not mutant.breaks | mutant.stories:
                    raise PatchError(
                        f"{path.name}: {name}: {field} = {unknown or '[]'}: give some of "
                        f"{', '.join(sorted(known))}"
                    )
    return found


def for_the_campaign(folder: Path = FOLDER) -> dict[str, Mutant]:
    """Of `load`, those that it hunts."""
    return {name: mutant for name, mutant in load(folder).items() if mutant.breaks}


def for_the_stories(folder: Path = FOLDER) -> dict[str, Mutant]:
    """Of `load`, those that they hunt."""
    return {name: mutant for name, mutant in load(folder).items() if mutant.stories}


def copy_of_package(to: Path) -> Path:
    """A copy of `holdfast`, as it is installed; returns the folder to import it from."""
    shutil.copytree(Path(holdfast.__file__).parent, to / "holdfast")
    return to


def patched_files(name: str, mutant: Mutant, *, base: Path) -> dict[Path, str]:
    """What the files that the patch is for would hold, by their place in the copy.

    :param base: as of `copy_of_package`.
    :raises PatchError: it does not match exactly once, changes nothing, or is no Python.
    """
    changed: dict[Path, str] = {}
    for edit in mutant.edits:
        path = Path("holdfast") / edit.file
        if path not in changed:
            try:
                changed[path] = (base / path).read_text()
            except FileNotFoundError:
                raise PatchError(f"{name}: there is no file {edit.file}") from None
        times = changed[path].count(edit.find) if edit.find else 0
        if times != 1:
            raise PatchError(
                f"{name}: what it looks for stands {times} times in {edit.file}, not once:\n"
                f"{edit.find}"
            )
        if edit.find == edit.replace:
            raise PatchError(f"{name}: it changes nothing in {edit.file}")
        changed[path] = changed[path].replace(edit.find, edit.replace)
    for path, text in changed.items():
        try:
            ast.parse(text)
        except SyntaxError as error:
            raise PatchError(f"{name}: {path} would be no Python: {error}") from None
    return changed


def patched(name: str, mutant: Mutant, *, base: Path, to: Path) -> Path:
    """A copy of the copy, with the patch in it; returns the folder to import it from.

    :param base: as of `copy_of_package`. It is left as it is, and shares all files but those
        that the patch is for.
    :raises PatchError: as of `patched_files`.
    """
    changed = patched_files(name, mutant, base=base)
    shutil.copytree(base, to, copy_function=os.link)
    for path, text in changed.items():
        # What was compiled of the file before may look as if it were of this one.
        for stale in (to / path).parent.glob(f"__pycache__/{path.stem}.*"):
            stale.unlink()
        (to / path).unlink()  # the same file as in the base until now
        (to / path).write_text(text)
    return to
