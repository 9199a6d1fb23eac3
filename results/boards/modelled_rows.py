"""Builds the rows of modelled figures for the ``boards`` benchmark."""

from __future__ import annotations

from collections.abc import Mapping

from gatesearch.report.rows import Row


def modelled_rows(title: str, figures: Mapping[str, tuple[float, str]], *, protocol: str, command: str) -> list[Row]:
    """Return a row for each modelled figure; such figures have no seeds and no targets.

    Args:
        title: first part of the rows' names.
        figures: value and unit by name.
        protocol: data and procedure.
        command: command that repeats the benchmark.

    >>> modelled_rows("part", {"time": (2.0, "ms")}, protocol="toy", command="none")[0].name
    'part: time'
    """
    return [
        Row.summarise(
            f"{title}: {name}",
            {0: value},
            unit,
            target=None,
            provenance="modelled",
            protocol=protocol,
            command=command,
        )
        for name, (value, unit) in figures.items()
    ]
