"""Writes the programs of stages as C: tables of operators that refer to constant arrays and to places in memory."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_float, c_int32

import numpy as np

from gatesearch.export.firmware.arrays import ConstantArrays, structure
from gatesearch.export.firmware.compiled_program import spread_runs
from gatesearch.export.firmware.layer_source import LayerSource
from gatesearch.export.firmware.memory_plan import Relocation, align, place_groups
from gatesearch.export.firmware.program_image import ProgramImage, walk_pointers
from gatesearch.kernels.arrays import Array
from gatesearch.runtime.byte_operators import LAYER_OPERATORS
from gatesearch.runtime.stage_memory import find_runs
from gatesearch.runtime.stage_operators import CONV, MOVE, COperator

ARENA, SCRATCH = "gs_arena", "gs_scratch"
"""C names of the memory of all tensors, and of the memory that one operator uses while it runs."""


class ProgramSource:
    """The C text of all programs of a plan, which share one arena.

    The arena is the memory of all tensors. Its first part holds the values that last only while a program runs. All
    programs share this part, because they run one after the other. Behind it, states and other values that last from
    hop to hop each have their own place.

    Args:
        images: the programs.
        arrays: receives the constant arrays.

    Attributes:
        arena_bytes: size of the arena.
        scratch_bytes: memory that the operators need while they run.
        steps, blocks: largest numbers of steps, and of blocks of 16 output channels, of a convolution. A step
            multiplies 16 input channels at one tap. An instruction set may need further scratch memory for each step
            and block.
        fills: the ranges of the arena with constant values: first place and values of each.
        winner_bytes: memory for the winners of gated layers.
        layers: the C operators of layers that the programs use: ``gated`` and ``recurrence``.
        text: the definitions of all tables of operators.
    """

    def __init__(self, images: Sequence[ProgramImage], arrays: ConstantArrays) -> None:
        self._arrays = arrays
        split = [image.split_groups() for image in images]
        plans = [place_groups(temporary) for temporary, _ in split]
        self.arena_bytes = align(max((size for _, size in plans), default=0))
        self.scratch_bytes = max((image.scratch_bytes for image in images), default=0)
        self.steps = max((image.steps for image in images), default=0)
        self.blocks = max((image.blocks for image in images), default=0)
        self.fills: list[tuple[int, Array]] = []
        self._relocations: list[Relocation] = []
        for image, (temporary, lasting), (places, _) in zip(images, split, plans, strict=True):
            lasting_places = []
            for group in lasting:
                lasting_places.append(self.arena_bytes)
                self.arena_bytes += align(group.size)
            groups, new = [*temporary, *lasting], [*places, *lasting_places]
            order = sorted(range(len(groups)), key=lambda i: groups[i].first)
            relocation = Relocation.build([groups[i] for i in order], [new[i] for i in order])
            self._relocations.append(relocation)
            for first, length in image.fills:
                if any(group.first <= first < group.first + group.size for group in lasting):
                    place = int(relocation.move(np.array([first]))[0])
                    self.fills.append((place, image.values((first, length))))
                # No operator reads the other fills: convolutions pad by themselves.
        self._layers = LayerSource(arrays)
        self.layers = sorted({placed.layer.operator for image in images for placed in image.layers.values()})
        tables = [self._operators(k, image) for k, image in enumerate(images)]
        self.text = "\n".join([*self._layers.lines, *tables])
        self.winner_bytes = self._layers.winner_bytes
        self._images = images

    def _operators(self, k: int, image: ProgramImage) -> str:
        pointers = {index: self._layers.define(image, placed) for index, placed in sorted(image.layers.items())}
        rows = ",\n".join(
            "    " + self._operator(image, self._relocations[k], each, pointers.get(index))
            for index, each in enumerate(image.operators)
        )
        return f"static const gs_op operators_{k}[{max(1, len(image.operators))}] = {{\n{rows or '    {0}'}}};"

    def _operator(self, image: ProgramImage, relocation: Relocation, operator: COperator, layer: str | None) -> str:
        """Return the C initialiser of an operator; ``layer`` is the address of the layer that it runs."""
        fields: dict[str, object] = {
            name: np.float32(value) if kind is c_float else int(value)
            for name, kind, *_ in operator._fields_
            if kind in (c_int32, c_float) and (value := getattr(operator, name))
        }
        fields["shape"] = structure({name: int(getattr(operator.shape, name)) for name, _ in operator.shape._fields_})
        for name, address in walk_pointers(operator):
            place = image.find_place(address)
            if name == "scratch":
                fields[name] = SCRATCH
            elif name in LAYER_OPERATORS:
                fields[name] = layer
            elif name == "x" and operator.index:  # its index holds places of the whole arena
                fields[name] = ARENA
            elif place is not None:
                fields[name] = f"{ARENA} + {int(relocation.move(np.array([place]))[0])}"
            elif name == "index":
                index = self._index(operator, image.index(operator), relocation)
                fields["count"] = len(index) if operator.kind == MOVE else operator.count
                fields[name] = self._arrays.add(index)
            elif name == "weights" and operator.kind == CONV:
                fields[name] = self._arrays.add_packed(image.array(address))
            else:
                fields[name] = self._arrays.add(image.array(address))
        return structure(fields)

    def _index(self, operator: COperator, index: Array, relocation: Relocation) -> Array:
        if operator.kind == MOVE:
            return find_runs(relocation.move(spread_runs(index)))
        return relocation.move(index)

    def describe(self, k: int, stage: int = 0) -> str:
        """Return the C initialiser of a program's ``gs_hops``.

        Args:
            k: index of the program.
            stage: the stage to which it belongs. The macro ``GS_OWN_STAGES`` leaves operators of later stages out, and
                the compiler then drops their weights.
        """
        image, relocation = self._images[k], self._relocations[k]
        outputs, states = (find_runs(relocation.move(places)) for places in (image.outputs, image.next_state))
        place = relocation.move(np.array([image.input[0], image.state[0] if image.state[1] else 0]))
        fields: dict[str, object] = {
            "ops": f"GS_OWN({stage}, operators_{k})" if stage else f"operators_{k}",
            "n_ops": f"GS_OWN({stage}, {len(image.operators)})" if stage else len(image.operators),
            "size": image.input[1],
            "n_out": len(image.outputs),
            "n_state": image.state[1],
            "n_out_runs": len(outputs),
            "n_state_runs": len(states),
            "out_runs": self._arrays.add(outputs),
            "memory": ARENA,
            "input": f"{ARENA} + {place[0]}",
        }
        if image.state[1]:
            fields["state_runs"] = self._arrays.add(states)
            fields["state"], fields["next_state"] = f"{ARENA} + {place[1]}", SCRATCH
        return structure(fields)
