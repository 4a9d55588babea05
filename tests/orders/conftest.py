"""Makes the rigs, the mutants and the engine's world importable for the tests in here."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("mutants", "sim", "journal", "engine", "orders"):
    sys.path.insert(0, str(Path(__file__).parent.parent / folder))
