"""The command ``doctor``: says what this machine lacks, and what each missing piece costs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gatesearch.cli.arguments import AsJson
from gatesearch.errors import UserError

if TYPE_CHECKING:
    from gatesearch.cli.machine import Finding

WIDTH_CHARACTERS = 80
RUNS = Path("runs")


def doctor(as_json: AsJson = False) -> None:
    """Check whether this machine can do a run.

    A table says what is installed, how many cores and how much room there is, what each missing piece costs, and which
    command installs it. The exit status is 0 unless something is missing that every run needs.
    """
    import platformdirs

    from gatesearch._lib import console
    from gatesearch.cli import machine

    findings = list(machine.list_findings(RUNS, Path(platformdirs.user_cache_dir("gatesearch"))))
    faults = [finding for finding in findings if finding.needed and finding.state == "missing"]
    if as_json:
        console.print_json({"ready": not faults, "findings": [asdict(finding) for finding in findings]})
    else:
        rows = [(finding.name, finding.state, _describe(finding)) for finding in findings]
        console.table("this machine", ("part", "state", "what there is"), rows, WIDTH_CHARACTERS)
    if faults:
        raise UserError(f"doctor: no run can begin: {'; '.join(_say_fault(fault) for fault in faults)}")
    if not as_json:
        console.say("a run can begin: gatesearch run recipe=kws_clips.yaml")


def _describe(finding: Finding) -> str:
    cost = finding.cost and f"costs: {finding.cost}"
    return "; ".join(part for part in (finding.value, cost, finding.remedy) if part)


def _say_fault(finding: Finding) -> str:
    return f"{finding.name} {finding.value}{finding.remedy and f' ({finding.remedy})'}"
