"""The campaign catches deliberate breakages; and the harness that says so can not be fooled."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from mutant_hunt import SEEDS, Result, check_the_control, hunt, hunt_all, main
from mutant_patches import (
    Edit,
    Mutant,
    PatchError,
    copy_of_package,
    for_the_campaign,
    load,
    patched,
    patched_files,
)

MUTANTS = for_the_campaign()
IN_SUITE = [name for name, mutant in MUTANTS.items() if mutant.in_suite]
FIND = "    return counted >= needed\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_package(tmp_path_factory.mktemp("mutants") / "base")


def mutant(find: str, replace: str, *more: Edit, file: str = "evidence.py") -> Mutant:
    edits = (Edit(file, find, replace), *more)
    return Mutant(says="", breaks=frozenset({"orders"}), edits=edits)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (mutant("    return counted >= wanted\n", ""), "stands 0 times in evidence.py"),
        (mutant("        case ", ""), r"stands \d+ times in evidence.py"),
        (mutant("", "# more\n"), "stands 0 times"),
        (mutant(FIND, FIND), "changes nothing"),
        (mutant(FIND, "    return (\n"), "would be no Python"),
        (mutant(FIND, "", file="evidences.py"), "there is no file evidences.py"),
        (mutant(FIND, "", Edit("evidence.py", FIND, "")), "stands 0 times"),
    ],
)
def test_a_patch_that_does_not_fit_is_named(base: Path, wrong: Mutant, why: str) -> None:
    with pytest.raises(PatchError, match=f"^the_patch: .*{why}"):
        patched_files("the_patch", wrong, base=base)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[a\n", "a.toml: "),
        ('[a]\nsays = ""\nbreaks = ["order"]\nedits = []', r"a: breaks = \['order'\]: give some"),
        ('[a]\nsays = ""\nbreaks = []\nedits = []', r"a: breaks = \[\]: give some of books"),
        ('[a]\nsays = ""\nbreak = ["gate"]\nedits = []', "a: .*unknown field `break`"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(PatchError, match=why):
        load(tmp_path)


def test_a_copy_with_a_patch_leaves_the_others_as_they_were(base: Path, tmp_path: Path) -> None:
    file = Path("holdfast/evidence.py")
    before = (base / file).read_text()
    copy = patched("one", mutant(FIND, "    return True\n"), base=base, to=tmp_path / "copy")
    assert (base / file).read_text() == before
    assert (copy / file).read_text() == before.replace(FIND, "    return True\n")


def test_without_a_patch_every_promise_is_kept(base: Path) -> None:
    check_the_control(base, seeds=2)


def test_a_patch_that_crashes_is_no_catch(base: Path) -> None:
    """It unpacks one value too many, in what the engine takes for a fault: that it never gets
    HEALTHY again looks like a broken promise.
    """
    wrong = Mutant(
        says="",
        breaks=frozenset({"liveness", "crash"}),
        edits=(
            Edit(
                "effects.py",
                "            settled = await core.reconciler.settle(core.runner.waiting)\n",
                "            settled, _ = (await core.reconciler.settle(core.runner.waiting),)\n",
            ),
        ),
    )
    result = hunt("unpacks", wrong, base=base, seeds=1)
    assert result.ending == "crashed"
    assert "ValueError" in result.what
    assert "effects.py" in result.what


def test_a_mistake_that_breaks_nothing_survives(base: Path) -> None:
    harmless = mutant(FIND, "    return counted >= needed  # as before\n")
    result = hunt("harmless", harmless, base=base, seeds=1)
    assert (result.ending, result.seeds) == ("survived", 1)


@pytest.mark.parametrize("name", IN_SUITE)
def test_a_breakage_is_caught(base: Path, name: str) -> None:
    result = hunt(name, MUTANTS[name], base=base)
    assert result.ending == "caught", result


def test_the_suite_has_one_for_every_promise() -> None:
    names = [*IN_SUITE, "unknown_outcome_sent_again"]
    broken = frozenset().union(*(MUTANTS[name].breaks for name in names))
    assert broken == frozenset().union(*(mutant.breaks for mutant in MUTANTS.values()))


def test_what_was_caught_is_told_and_can_be_seen_again(base: Path, tmp_path: Path) -> None:
    """By the command, of a world that is shrunk to the faults that it takes."""
    name = "unknown_outcome_sent_again"
    copy = patched(name, MUTANTS[name], base=base, to=tmp_path / "copy")
    seed = hunt(name, MUTANTS[name], base=base).seed

    def run(*arguments: str) -> tuple[int, str]:
        child = subprocess.run(
            [sys.executable, "-m", "holdfast", "campaign", *arguments],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
        )
        return child.returncode, child.stdout

    assert seed is not None, "it was not caught"
    code, told = run("--first-seed", str(seed), "--seeds", "1", "--jobs", "1")
    assert code == 1
    assert f"seed {seed} breaks orders: " in told
    see = next(line for line in told.splitlines() if "see it:" in line)
    code, seen = run(*shlex.split(see.partition("holdfast campaign ")[2]))
    assert code == 1
    assert "broken: orders" in seen


def test_the_list_is_for_people_and_for_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    caught = Result("a", "caught", 1.0, 3, 17, "gate", "seen")
    free = Result("b", "survived", 2.0, 400)
    names = ["gate_opened_when_the_links_are_back", "unknown_outcome_sent_again"]

    def found(*results: Result) -> tuple[int, str]:
        monkeypatch.setattr("mutant_hunt.hunt_all", lambda *_, **__: list(results))
        ran = CliRunner().invoke(main, [*names, *options])
        return ran.exit_code, ran.stdout

    options: list[str] = []
    code, told = found(caught, free)
    assert code == 1
    assert "SURVIVED" in told
    assert "1 of 2 mutants caught" in told
    assert found(caught)[0] == 0
    options = ["--json"]
    assert json.loads(found(caught)[1]) == [caught._asdict()]


def test_a_name_that_no_patch_has_is_refused() -> None:
    ran = CliRunner().invoke(main, ["gate_opened"])
    assert ran.exit_code == 1
    assert "no patch is named gate_opened; there are: " in ran.output


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_breakage_is_caught() -> None:
    results = hunt_all(MUTANTS, jobs=2, seeds=SEEDS, on_result=lambda result: None)
    assert [result for result in results if result.ending != "caught"] == []
