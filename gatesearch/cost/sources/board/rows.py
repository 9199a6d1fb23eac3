"""Writes a kit's C header, rows.h: the kernel calls that the kit times, and the functions that run them.

A kit is a folder of C sources that times kernels on a board. A row of the header is one call.
"""

from __future__ import annotations

from collections.abc import Sequence

from gatesearch.gates import KernelCall
from gatesearch.kernels import counted_kernels
from gatesearch.kernels.base import CountedKernel

FORMAT = 1  # version of the lines that the runner prints
THOUSANDTHS = 1000  # shares and times are whole thousandths in C


def rows_header(kit: str, calls: Sequence[KernelCall]) -> str:
    """Return the header: the kit's name, the C files of the kernels, and a row for each call.

    The functions choose a kernel by a ``switch``. A table of function pointers would change the instruction counts in
    the shipped tables.
    """
    numbers = {kernel.name: number for number, kernel in enumerate(counted_kernels().values(), 1)}
    lines = [
        "/* What is to be timed; manifest.json says the same in words. */",
        f'#define GS_KIT_NAME "{kit}"',
        f"#define GS_KIT_FORMAT {FORMAT}",
        "enum {",
        *(f"  {_constant(name)} = {number}," for name, number in numbers.items()),
        "};",
        *_includes(),
        *_switch("prepare", "prepare"),
        *_switch("make", "run"),
        "static const gs_row rows[] = {",
        *(f"    {_row(call, numbers.get(call.kernel, 0))}," for call in calls),
        "};",
    ]
    return "\n".join(lines) + "\n"


def _includes() -> list[str]:
    """Return the lines that include each kernel's C file; GS_KIT selects the functions for kits in that file."""
    files = (
        f"{'outside' if kernel.is_outside else 'kernels'}/{kernel.source.name}" for kernel in _by_runner().values()
    )
    return ["#define GS_KIT", *(f'#include "{file}"' for file in dict.fromkeys(files)), "#undef GS_KIT"]


def _by_runner() -> dict[str, CountedKernel]:
    kernels = sorted(counted_kernels().values(), key=lambda kernel: kernel.case)
    return {kernel.runner: kernel for kernel in kernels}


def _constant(name: str) -> str:
    return f"GS_KERNEL_{name.upper()}"


def _switch(function: str, prefix: str) -> list[str]:
    lines = [f"static void {function}(gs_call *k) {{", "  switch (k->row->kernel) {"]
    for runner in _by_runner():
        names = [kernel.name for kernel in counted_kernels().values() if kernel.runner == runner]
        labels = " ".join(f"case {_constant(name)}:" for name in names)
        lines.append(f"    {labels} {prefix}_{runner}(k); break;")
    return [*lines, "    default: break;", "  }", "}"]


def _row(call: KernelCall, number: int) -> str:
    kernel = counted_kernels().get(call.kernel)
    if kernel is None:
        return f"{{{number}, {_braced(call.shape)}, {_braced(())}, {_braced(())}}}"
    variant = [int(dict(call.variant)[name]) for name in kernel.variants]
    shares = [round(THOUSANDTHS * dict(call.remaining)[name]) for name in kernel.shares]
    return f"{{{number}, {_braced(kernel.row_shape(call))}, {_braced(variant)}, {_braced(shares)}}}"


def _braced(values: Sequence[int]) -> str:
    return "{" + (", ".join(map(str, values)) or "0") + "}"
