"""Compiles the separately timed modules (*components*) of a backbone to .tflite, in int8 and float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from gatesearch._lib.tool_output import ToolError
from gatesearch.compile.batch_convert import BatchConverter
from gatesearch.compile.number_format import FLOAT, PLAIN, arithmetic
from gatesearch.compile.tflite import channel_last, quantise
from gatesearch.cost.blocks import EMPTY, Component, ComponentKey, Components
from gatesearch.cost.component_identity import identity
from gatesearch.devices.profile import Core, Device
from gatesearch.graph.footprint import Footprint, program_footprint
from gatesearch.runtime.program import Program

MAX_BATCH_COMPONENTS = 32  # largest number of components in one conversion; progress is shown after each conversion

# A step is the module that computes one hop of a stream. It joins its state with the new frames, and stores the last
# frames as its next state. So each value is copied twice, with about two instructions for each copy. The operator table
# instead counts a sum for each value, which takes about 25 instructions. This factor corrects the count.
SUMS_PER_JOINED_VALUE = 1 / 6


@dataclass(frozen=True)
class Programs:
    """The components of a backbone, with their counts and their programs.

    Args:
        components: the components by key.
        counts: multiply-accumulates, values and bytes of each component.
        models: .tflite models by number format (``"int8"``, ``"float32"``) and component, for the components whose
            model some core needs.
    """

    components: Components
    counts: Mapping[ComponentKey, Footprint]
    models: Mapping[str, Mapping[ComponentKey, bytes]]

    def number_format(self, key: ComponentKey, core: Core) -> str:
        """Return the number format in which a core runs a component."""
        return arithmetic(self.components[key].need, core)

    def models_for(self, core: Core) -> dict[ComponentKey, bytes]:
        """Return the model of each component in the number format of a core, for the components that have a model."""
        return {key: self.models[self.number_format(key, core)][key] for key in self.models["float32"]}

    def runnable(self, core: Core) -> dict[ComponentKey, bytes]:
        """Return the models of :meth:`models_for` that the core can run."""
        return {
            key: model
            for key, model in self.models_for(core).items()
            if _runs(model, self.number_format(key, core), core)
        }


def compile_components(
    components: Components, device: Device, converter: BatchConverter, on_step: Callable[[], None] | None = None
) -> Programs:
    """Count the work of each component, and convert the components for which a core's timing or engine needs a program.

    Args:
        components: the components of a backbone.
        device: the device whose cores decide which components are converted.
        converter: a function that makes float .tflite models of modules, given an example of the input of each.
        on_step: a function that is called after each component.
    """
    all_compile = any(core.timing.model in ("vela", "litert") for core in device.cores)
    # A corner is a component with fewer channels on both sides. On this host its time is derived from other timings,
    # but Vela compiles it.
    compiles_corners = any(core.timing.model == "vela" for core in device.cores)
    # Only a program shows whether TensorFlow Lite Micro lacks one of its operators.
    micro = any(core.stand_in == "tflm" for core in device.cores)
    advance = on_step or (lambda: None)
    counts: dict[ComponentKey, Footprint] = {}
    keys_by_identity: dict[str, list[ComponentKey]] = {}
    for key, component in components.items():
        counts[key] = component_footprint(component)
        may_compile = compiles_corners or 1.0 in (key.inputs, key.outputs) or key == EMPTY
        if may_compile and (all_compile or (micro and component.need != PLAIN)):
            keys_by_identity.setdefault(repr(identity(component)), []).append(key)
        else:
            advance()
    models: dict[str, dict[ComponentKey, bytes]] = {"int8": {}, "float32": {}}
    distinct = list(keys_by_identity.values())
    for start in range(0, len(distinct), MAX_BATCH_COMPONENTS):
        batch = distinct[start : start + MAX_BATCH_COMPONENTS]
        first = [components[keys[0]] for keys in batch]
        in_float = converter([component.module for component in first], [component.example[:1] for component in first])
        for keys, component, model in zip(batch, first, in_float, strict=True):
            models["float32"] |= dict.fromkeys(keys, model)
            if component.need != FLOAT:
                in_int8 = quantise(model, channel_last(component.example.numpy()))
                models["int8"] |= dict.fromkeys(keys, in_int8)
            for _ in keys:
                advance()
    return Programs(components, counts, models)


def component_footprint(component: Component) -> Footprint:
    """Return the work and memory of a component; its state does not count as weights, and joining counts as copying."""
    counts = program_footprint(component.module, component.example[:1], in_float=component.need == FLOAT)
    return counts._replace(
        values=counts.values - (1 - SUMS_PER_JOINED_VALUE) * component.joined,
        weight_bytes=counts.weight_bytes - component.state,
    )


def in_both_formats(in_float: bytes, example: Tensor) -> dict[str, bytes]:
    """Return a float program in both number formats; samples [n, *shape] of its input calibrate the int8 program."""
    return {"float32": in_float, "int8": quantise(in_float, channel_last(example.numpy()))}


def _runs(model: bytes, number_format: str, core: Core) -> bool:
    """Return whether a core runs a program: TensorFlow Lite Micro lacks some operators; Vela compiles int8 only."""
    if core.timing.model == "vela":
        return number_format == "int8"
    if core.stand_in != "tflm":
        return True
    try:
        Program(model, core.stand_in)
    except ToolError:
        return False
    return True
