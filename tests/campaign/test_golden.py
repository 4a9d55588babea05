"""A seed is the same run on every machine: digests that another process has kept come out again."""

from __future__ import annotations

import golden
import pytest


def test_the_kept_digests_come_out_again() -> None:
    kept, code = golden.kept(), golden.of_code()
    again = "python tests/campaign/golden.py --write, with each version of Python"
    if kept["of_code"] != code:
        pytest.skip(f"the digests were kept for other code than this; {again}")
    if golden.PYTHON not in kept["digests"]:
        pytest.skip(f"no digests were kept for Python {golden.PYTHON}; {again}")
    assert golden.digests() == kept["digests"][golden.PYTHON]


def test_every_version_of_python_leaves_the_same_bytes() -> None:
    digests = golden.kept()["digests"]
    assert len(digests) > 1
    assert len({tuple(sorted(of_seeds.items())) for of_seeds in digests.values()}) == 1


def test_another_code_is_told_from_this() -> None:
    code = golden.of_code()
    assert code == golden.of_code()
    assert len(code["holdfast"]) == 32
