"""Records golden figures (the references of tests) anew: the prices, or the figures of one golden run.

The argument is ``prices`` or the name of a run: ``python tests/golden/update_golden.py prices``. Run the program only
if figures change on purpose. The commit says which figures changed, and why.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout, which contains the package tests

from tests.golden import golden_prices, golden_runs


def main(name: str) -> None:
    """Record the prices, or the golden run of this name."""
    if name == "prices":
        golden_prices.write()
        return
    if name not in golden_runs.SETTINGS:
        sys.exit(f"update_golden: unknown record {name!r}; choices: prices, {', '.join(golden_runs.SETTINGS)}")
    with tempfile.TemporaryDirectory() as folder:
        golden_runs.write(name, Path(folder))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/golden/update_golden.py prices|" + "|".join(golden_runs.SETTINGS))
    main(sys.argv[1])
