"""Digests of some worlds, kept per version of Python: journal, venue's log and bus, to the byte.

    python tests/campaign/golden.py            prints this interpreter's
    python tests/campaign/golden.py --write    keeps them

A digest is another one with every change of the code that it is a digest of. So the file says of
which code its digests are, and they are compared with nothing else: what is kept shows that another
machine, another process or another Python repeats a run, not that nobody has changed the engine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import holdfast
from holdfast.campaign import run_seed

KEPT: Final = Path(__file__).with_name("golden.json")
SEEDS: Final = (3, 16, 23, 92, 175)
PYTHON: Final = f"{sys.version_info[0]}.{sys.version_info[1]}"


def digests() -> dict[str, str]:
    """Of each seed, in this process."""
    return {str(seed): run_seed(seed).digest for seed in SEEDS}


def of_code() -> dict[str, str]:
    """What the digests are digests of: the package's code, and what orders its tasks."""
    package = Path(holdfast.__file__).parent
    code = hashlib.blake2b(digest_size=16)
    for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package)):
        code.update(f"{path.relative_to(package)}\n".encode())
        code.update(path.read_bytes())
    return {"holdfast": code.hexdigest(), "anyio": metadata.version("anyio")}


def kept() -> dict[str, Any]:
    """Of which code, and per Python version the digests."""
    found: dict[str, Any] = json.loads(KEPT.read_text())
    return found


def write() -> None:
    """Keep this interpreter's digests; those of other code are dropped."""
    before = kept() if KEPT.exists() else {}
    same = before.get("of_code") == of_code()
    others = before["digests"] if same else {}
    found = {"of_code": of_code(), "digests": {**others, PYTHON: digests()}}
    KEPT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="keep them")
    if parser.parse_args().write:
        write()
    else:
        sys.stdout.write(json.dumps(digests(), indent=1) + "\n")


if __name__ == "__main__":
    main()
