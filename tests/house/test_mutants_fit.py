"""Every deliberate breakage has its place in the code: whoever moves the one moves the other.

It stands here and not with the hunt (`tests/mutants`), since any change of the engine may be the
one that a patch loses its place by.
"""

from __future__ import annotations

from pathlib import Path

from mutant_patches import copy_of_package, load, patched_files


def test_every_patch_fits(tmp_path: Path) -> None:
    mutants, base = load(), copy_of_package(tmp_path / "base")
    assert len(mutants) >= 30
    for name, mutant in mutants.items():
        patched_files(name, mutant, base=base)
