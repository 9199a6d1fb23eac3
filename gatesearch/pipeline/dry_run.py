"""The dry run: before the first training, exports the untrained network and a plan of each gate kind.

A converter, a core or a format may refuse a network or a gate. The dry run shows this within seconds, not after the
search. A gate that cannot be exported from this network is removed from the search space, with a warning. A network
that cannot be exported ends the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from gatesearch._lib import console
from gatesearch.compile import tflite
from gatesearch.errors import UserError
from gatesearch.export import dry_export
from gatesearch.export.exporters import exporter
from gatesearch.export.fault import describe_reason, find_operation, suggest_substitute
from gatesearch.export.firmware.dry_compile import find_obstacle
from gatesearch.gates import layer_gates
from gatesearch.graph.repeatable import check_repeatable
from gatesearch.model import GatedModel
from gatesearch.pipeline.dry_run_record import Refusal, read_record, write_record
from gatesearch.pipeline.problem import Problem
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.plan import GatePlan
from gatesearch.search.reduced_space import Variant, variants_of, without_variants
from gatesearch.search.slots import Gates, Slot
from gatesearch.search.space import Space

SAMPLES = 64  # training windows that set the int8 ranges
MAX_SITES = 6  # largest number of sites at which each variant is tried
MAX_COMPLETE_EXPORTS = 1  # variants of each gate kind that are exported to a bundle; each takes some seconds


def dry_run(problem: Problem, folder: RunFolder) -> Problem:
    """Return the problem without the gates that cannot be exported.

    The run folder records the refusals; a resumed run reads the record and exports nothing again.

    Raises:
        UserError: the network cannot be exported, no gate of the space can be exported, or no core runs a format of the
            recipe.
    """
    refusals = read_record(problem, folder)
    if refusals is None:
        _check_formats(problem)
        with torch.random.fork_rng(devices=[]):
            refusals = _try_all(problem)
        write_record(problem, folder, refusals)
    for refusal in refusals:
        console.warn(f"dry run: {refusal.describe()}")
    refused = {(label, refusal.variant) for refusal in refusals for label in refusal.slots}
    return replace(problem, space=_reduce(problem.space, refused, refusals)) if refused else problem


def _reduce(space: Space, refused: set[tuple[str, Variant]], refusals: Sequence[Refusal]) -> Space:
    reduced = without_variants(space, refused)
    if not reduced.slots or len(reduced.cut_slots) < reduced.min_gates:
        raise UserError(f"space: no plan is left; {refusals[0].describe()}")
    return reduced


def _check_formats(problem: Problem) -> None:
    """Refuse a format of the recipe that no core of the space runs, because no program would have that format."""
    cores = [problem.device.core(name) for name in problem.space.cores]
    for name in problem.recipe.export.formats:
        exporter(name)
        if name != "tflite" and not any(name in core.formats for core in cores):
            lists = "; ".join(f"{core.name}: {', '.join(core.formats)}" for core in cores)
            raise UserError(f"export.formats: no core of {problem.device.name} runs {name!r} ({lists})")


def _try_all(problem: Problem) -> list[Refusal]:
    variants = variants_of(problem.space)
    with console.progress(1 + len(variants), "dry run") as bar:
        check_repeatable(problem.backbone, problem.features.train.features[:2])
        cores = _try_ungated(problem)
        _try_firmware(problem, GatePlan((), cores[-1:]))
        bar.advance(note="ungated network")
        refusals: list[Refusal] = []
        variants_of_kind = Counter[str]()
        for variant, choices in variants.items():
            variants_of_kind[variant.kind] += 1
            complete_export = variants_of_kind[variant.kind] <= MAX_COMPLETE_EXPORTS
            refused = _try_variant(problem, variant, choices, cores, complete_export)
            refusals += refused
            gates = choices[0][1]
            if complete_export and not refused and layer_gates(GatePlan(gates)):
                _try_firmware(problem, GatePlan(gates, _cores_for(problem, gates, cores)))
            bar.advance(note=variant.name)
    return refusals


def _try_ungated(problem: Problem) -> tuple[str, ...]:
    """Return the cores for which the ungated network can be exported.

    Raises:
        UserError: no core runs the network.
    """
    samples = problem.features.train.features[:SAMPLES]
    model = dry_export.prepare_untrained(_model(problem, GatePlan((), problem.space.cores[-1:])), samples)
    try:
        errors = dry_export.try_cores(
            model,
            samples,
            problem.device,
            problem.space.cores,
            problem.recipe.export.formats,
            problem.frontend.output_range,
        )
    except OSError:
        raise
    except Exception as error:
        raise _refuse_network(model.stages[0], problem, error) from error
    cores = tuple(name for name in problem.space.cores if name not in errors)
    if not cores:
        raise _refuse_network(model.stages[0], problem, next(iter(errors.values())))
    for name, reason in errors.items():
        console.warn(f"dry run: the ungated network does not run on {name}: {describe_reason(reason)}")
    return cores


def _try_firmware(problem: Problem, plan: GatePlan) -> None:
    """Print a warning if firmware cannot run the untrained network with the gates of a plan."""
    if problem.features.validation.stream is None:
        return  # only runs on streams have firmware
    frontend = problem.frontend
    if len(frontend.input_shape) == 1 and frontend.frame_call() is None:  # sound, and no kernel computes its features
        if not plan.gates:
            console.warn(f"dry run: no firmware: no kernel computes the front end {frontend.name}")
        return
    samples = problem.features.train.features[:SAMPLES]
    model = dry_export.prepare_untrained(_model(problem, plan), samples)
    obstacle = find_obstacle(model, samples, problem.device, problem.frontend.output_range)
    if obstacle is not None:
        with_gates = "".join(f" with {gate.kind} at {gate.site}" for gate in plan.gates)
        console.warn(f"dry run: no firmware for the network{with_gates}: {obstacle}")


def _refuse_network(network: nn.Module, problem: Problem, error: Exception) -> UserError:
    if isinstance(error, UserError):
        return error
    samples = problem.features.train.features[:SAMPLES]
    operation = find_operation(network, samples, _convert, error)
    subject = "the network" if operation is None else operation
    return UserError(f"backbone: {subject} cannot be exported: {describe_reason(error)}{suggest_substitute(subject)}")


def _convert(module: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    """Convert a module to .tflite; a module with one input is also quantised to int8."""
    program = tflite.convert(module, inputs)
    if len(inputs) == 1:
        tflite.quantise(program, tflite.channel_last(inputs[0].numpy()))


def _try_variant(
    problem: Problem,
    variant: Variant,
    choices: Sequence[tuple[Slot, Gates]],
    cores: Sequence[str],
    complete_export: bool,
) -> list[Refusal]:
    """Return a refusal for each slot at which a variant of a gate cannot be exported.

    At most :data:`MAX_SITES` slots are tried. A variant that fails at all of them gets one refusal, for all its slots.

    Args:
        problem: the problem with backbone, device and features.
        variant: the gate kind and the parameters that need a program of their own.
        choices: the slots that the variant fits, each with the gates of the variant.
        cores: names of the cores that run the ungated network.
        complete_export: True tries one slot after another with a complete export until one succeeds, and the remaining
            slots with the passes alone. False tries all slots with the passes alone. The passes are the steps of an
            export that rewrite the model.
    """
    samples = problem.features.train.features[:SAMPLES]
    try_bundle = partial(
        dry_export.try_bundle,
        samples=samples,
        validation=problem.features.validation,
        device=problem.device,
        positive=problem.features.positive,
        classes=problem.data.classes,
        formats=(),  # only the formats that the cores need; the recipe's formats were tried with the ungated network
        input_range=problem.frontend.output_range,
    )
    try_passes = partial(dry_export.try_passes, samples=samples, device=problem.device)
    attempt = try_bundle if complete_export else try_passes
    refusals = []
    attempts = _spread(choices)
    for slot, gates in attempts:
        try:
            attempt(_model(problem, GatePlan(gates, _cores_for(problem, gates, cores))))
            attempt = try_passes
        except OSError:
            raise
        except Exception as error:
            refusals.append(Refusal(variant, (slot.label,), gates[0].site, describe_reason(error)))
    if len(refusals) == len(attempts):
        return [refusals[0]._replace(slots=tuple(slot.label for slot, _ in choices))]
    return refusals


def _spread(choices: Sequence[tuple[Slot, Gates]]) -> list[tuple[Slot, Gates]]:
    """Return at most :data:`MAX_SITES` choices: the first, the last and some between them."""
    last = len(choices) - 1
    count = min(len(choices), MAX_SITES)
    return [choices[round(i * last / max(1, count - 1))] for i in range(count)]


def _cores_for(problem: Problem, gates: Gates, cores: Sequence[str]) -> tuple[str, ...]:
    """Return cores for the stages of a plan; for layer gates, a core with kernels if there is one."""
    with_kernels = [name for name in cores if problem.device.core(name).runs_kernels]
    if layer_gates(GatePlan(gates)):
        return tuple(with_kernels or cores)[-1:]
    return (cores[0], cores[-1])


def _model(problem: Problem, plan: GatePlan) -> GatedModel:
    return GatedModel(problem.backbone, plan, problem.sites, problem.outputs, layers=problem.layers)
