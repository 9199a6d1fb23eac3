"""Device profiles: cores, the links between them, and constants that each say where they come from.

A profile is a YAML file. Every number that enters a latency or an energy is written as
``{value, unit, provenance, source}``; provenance is ``measured``, ``simulated``, ``modelled`` or ``assumed``,
and ``source`` is one honest sentence. Shipped profiles lie in ``hardware/devices``; packages can add theirs
through the entry-point group ``gatesearch.devices``, whose objects are paths of YAML files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from gatesearch.errors import UserError, nearest, unknown

SCHEMA_VERSION = 1
ENTRY_POINTS = "gatesearch.devices"

Provenance = Literal["measured", "simulated", "modelled", "assumed"]
Accelerator = Literal[
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
    "ethos-u85-128",
    "ethos-u85-256",
    "ethos-u85-512",
    "ethos-u85-1024",
    "ethos-u85-2048",
]


class _Strict(BaseModel):
    """Frozen, and a key that it does not know is an error that names the nearest one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise _complaint(f"{key}: unknown key {str(key)!r}", str(key), cls.model_fields)
        return data


def _complaint(text: str, written: str, choices: Any) -> PydanticCustomError:
    close = nearest(written, choices)
    hint = f"nearest: {close!r} (choices: {', '.join(choices)})" if close else f"choices: {', '.join(choices)}"
    return PydanticCustomError("gatesearch", "{text}", {"text": f"{text}; {hint}"})


class Constant(_Strict):
    """A number with its unit and its origin.

    >>> Constant(value=8.0, unit="mW", provenance="assumed", source="order of magnitude").value
    8.0
    """

    value: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    unit: str
    provenance: Provenance
    source: Annotated[str, Field(min_length=1)]


def _in(unit: str, positive: bool = False) -> AfterValidator:
    def check(constant: Constant) -> Constant:
        if constant.unit != unit:
            raise PydanticCustomError(
                "gatesearch", "{text}", {"text": f"unit: {constant.unit!r} does not fit; nearest: {unit!r}"}
            )
        if positive and constant.value == 0:
            raise PydanticCustomError("gatesearch", "{text}", {"text": "value: 0.0 does not fit; it must exceed 0"})
        return constant

    return AfterValidator(check)


class Instructions(_Strict):
    """Latency from counted instructions: what a simulator without a cycle model can tell.

    The result is no better than ``instructions_per_cycle``, which a profile has to assume.

    Args:
        table: of the core's kernels, shipped (:mod:`gatesearch.cost.sources.board`) or a JSON file beside the profile:
            calls are then priced by shape and by the shares left. None: one multiply-accumulate is like another.
        instructions_per_mac: for all without a table, and for layers whose kernel the table does not have.
        frontend_instructions_per_mac: of the front end's float arithmetic.
        clock_mhz, instructions_per_cycle: from instructions to time.
    """

    # Instruction counts are simulated; turning them into time rests on the assumed instructions per cycle.
    provenance: ClassVar[Provenance] = "simulated"

    model: Literal["instructions"]
    table: str | None = None
    instructions_per_mac: Annotated[Constant, _in("instructions/MAC", positive=True)]
    frontend_instructions_per_mac: Annotated[Constant, _in("instructions/MAC", positive=True)]
    clock_mhz: Annotated[Constant, _in("MHz", positive=True)]
    instructions_per_cycle: Annotated[Constant, _in("instructions/cycle", positive=True)]

    def latency_us(self, reading: float) -> float:
        """Return microseconds for int8 multiply-accumulates; with a table, for instructions."""
        each = 1.0 if self.table else self.instructions_per_mac.value
        return reading * each / self._instructions_per_us

    def unlisted(self, macs: float) -> float:
        """Return what multiply-accumulates take in the table's unit where the table has no kernel for them."""
        return macs * self.instructions_per_mac.value

    def frontend_us(self, macs: float) -> float:
        """Return microseconds for the front end's float multiply-accumulates."""
        return macs * self.frontend_instructions_per_mac.value / self._instructions_per_us

    @property
    def _instructions_per_us(self) -> float:
        return self.clock_mhz.value * self.instructions_per_cycle.value


class Vela(_Strict):
    """Latency from the cycle estimate of the Vela compiler for Arm Ethos-U: modelled, never measured."""

    provenance: ClassVar[Provenance] = "modelled"

    model: Literal["vela"]
    accelerator: Accelerator
    clock_mhz: Annotated[Constant, _in("MHz", positive=True)]
    system_config: str = "Ethos_U55_High_End_Embedded"
    memory_mode: str = "Shared_Sram"

    def latency_us(self, cycles: float) -> float:
        """Return microseconds for NPU cycles."""
        return cycles / self.clock_mhz.value

    def frontend_us(self, macs: float) -> None:
        """Return None: the NPU computes no float front end."""


class LiteRT(_Strict):
    """Latency measured with LiteRT on this host, times the slowdown of the core that it stands in for."""

    provenance: ClassVar[Provenance] = "measured"

    model: Literal["litert"]
    slowdown: Annotated[Constant, _in("x", positive=True)]
    frontend_macs_per_us: Annotated[Constant, _in("MAC/us", positive=True)] | None = None

    def latency_us(self, measured_us: float) -> float:
        """Return microseconds on the core for microseconds measured here."""
        return measured_us * self.slowdown.value

    def frontend_us(self, macs: float) -> float | None:
        """Return microseconds for the front end's float multiply-accumulates; None without a figure."""
        return None if self.frontend_macs_per_us is None else macs / self.frontend_macs_per_us.value


class Throughput(_Strict):
    """Latency from multiply-accumulates at a rate that a data sheet or a paper gives: modelled, never measured."""

    provenance: ClassVar[Provenance] = "modelled"

    model: Literal["throughput"]
    macs_per_us: Annotated[Constant, _in("MAC/us", positive=True)]

    def latency_us(self, macs: float) -> float:
        """Return microseconds for int8 multiply-accumulates."""
        return macs / self.macs_per_us.value

    def frontend_us(self, macs: float) -> float:
        """Return microseconds for the front end's multiply-accumulates."""
        return macs / self.macs_per_us.value


class Measured(_Strict):
    """Latency by a table of kernels that were timed on the core itself, with a kit: see ``gatesearch measure kit=DIR``.

    Args:
        table: a JSON file beside the profile, as ``gatesearch measure import=FILE`` writes it.
        ticks_per_us: of the table's unit.
        macs_per_us: for layers whose kernel the table does not have.
        frontend_macs_per_us: of the front end's float arithmetic.
    """

    provenance: ClassVar[Provenance] = "measured"

    model: Literal["measured"]
    table: str
    ticks_per_us: Annotated[Constant, _in("ticks/us", positive=True)]
    macs_per_us: Annotated[Constant, _in("MAC/us", positive=True)]
    frontend_macs_per_us: Annotated[Constant, _in("MAC/us", positive=True)]

    def latency_us(self, ticks: float) -> float:
        """Return microseconds for ticks of the board's clock."""
        return ticks / self.ticks_per_us.value

    def unlisted(self, macs: float) -> float:
        """Return the ticks of multiply-accumulates for which the table has no kernel."""
        return macs / self.macs_per_us.value * self.ticks_per_us.value

    def frontend_us(self, macs: float) -> float:
        """Return microseconds for the front end's float multiply-accumulates."""
        return macs / self.frontend_macs_per_us.value


Timing = Annotated[Instructions | Vela | LiteRT | Throughput | Measured, Field(discriminator="model")]


class Memory(_Strict):
    """What a stage may occupy on a core, in KiB: weights and program in flash, activations in SRAM."""

    flash_kib: Annotated[float, Field(gt=0)]
    sram_kib: Annotated[float, Field(gt=0)]


class Kernels(_Strict):
    """What a core's kernels make of a gated layer.

    Args:
        bits: ``"whole"`` where a multiplication takes whole bytes, so that 4 bits cost what 8 do and 16 twice as much;
            ``"serial"`` where it takes time in proportion to the bits of both factors.
        skips: what need not be computed, by the names that :class:`gatesearch.gates.Call` uses, such as
            ``"channel-block-16"``. Anything else is computed in full.
        native: whether the core runs the kernels of :mod:`gatesearch.kernels` in stages in float, so that they
            can be measured on this host and put into bundles for it; ``skips`` then speaks of what has none.
    """

    native: bool = False
    bits: Literal["whole", "serial"] = "whole"
    skips: tuple[str, ...] = ()
    provenance: Provenance = "assumed"
    source: Annotated[str, Field(min_length=1)] = "no gate kernels: a gated layer is computed in full, call by call"

    def cost(self, bits: tuple[int, int], left: Iterable[tuple[str, float]] = ()) -> float:
        """Return what a call costs, the dense layer in int8 being 1.

        Args:
            bits: of an activation and of a weight.
            left: what can be skipped, and the share that is left of it.

        >>> Kernels().cost((4, 8), [("channel", 0.5)]), Kernels(bits="serial", skips=("channel",)).cost(
        ...     (4, 8), [("channel", 0.5)])
        (1.0, 0.25)
        """
        share = math.prod((part for pattern, part in left if pattern in self.skips), start=1.0)
        return share * _MULTIPLICATION[self.bits](*bits)


_MULTIPLICATION: Mapping[str, Callable[[int, int], float]] = {
    "whole": lambda a, w: float(math.ceil(a / 8) * math.ceil(w / 8)),
    "serial": lambda a, w: a * w / 64,
}


class Core(_Strict):
    """A processor that can run stages.

    ``engine`` is the host engine that stands in for it in checks (see
    :class:`gatesearch.runtime.program.Program`), ``formats`` the artifact formats it runs, the preferred one
    first.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
    description: str = ""
    timing: Timing
    active_mw: Annotated[Constant, _in("mW")]
    idle_mw: Annotated[Constant, _in("mW")]
    wake_us: Annotated[Constant, _in("us")]
    wake_uj: Annotated[Constant, _in("uJ")]
    weights_nj_per_byte: Annotated[Constant, _in("nJ/byte")]
    memory: Memory
    kernels: Kernels = Kernels()
    formats: Annotated[tuple[str, ...], Field(min_length=1)]
    engine: Literal["litert", "reference", "tflm"] = "litert"

    @property
    def runs_kernels(self) -> bool:
        """Whether gated layers run by native kernels here, between stretches that LiteRT runs."""
        return self.kernels.native and self.engine == "litert" and self.timing.model == "litert"

    @property
    def runs_float(self) -> bool:
        """Whether the core runs float programs as well, and not int8 alone: those that take ONNX do."""
        return "onnx" in self.formats

    def compute_uj(self, latency_us: float) -> float:
        """Return microjoules for being active during ``latency_us``: time x active power."""
        return latency_us * self.active_mw.value * 1e-3

    def weights_uj(self, size: float) -> float:
        """Return microjoules for fetching ``size`` bytes of weights once."""
        return size * self.weights_nj_per_byte.value * 1e-3


class Link(_Strict):
    """A way for a tensor from one core to a later one."""

    source: str
    target: str
    nj_per_byte: Annotated[Constant, _in("nJ/byte")]
    mb_per_s: Annotated[Constant, _in("MB/s", positive=True)]

    def transfer_us(self, size: float) -> float:
        """Return microseconds for ``size`` bytes."""
        return size / self.mb_per_s.value

    def transfer_uj(self, size: float) -> float:
        """Return microjoules for ``size`` bytes."""
        return size * self.nj_per_byte.value * 1e-3


class Sense(_Strict):
    """The sensor, which is always on, and the core that computes the front end from its samples."""

    core: str
    sensor_mw: Annotated[Constant, _in("mW")]

    def window_uj(self, period_s: float) -> float:
        """Return the sensor's microjoules for one window of ``period_s`` seconds."""
        return self.sensor_mw.value * period_s * 1e3


class Device(_Strict):
    """Cores in order of rising cost, the links between them and the sensor."""

    schema_version: Literal[1]
    name: str
    description: str = ""
    cores: Annotated[tuple[Core, ...], Field(min_length=1)]
    links: tuple[Link, ...] = ()
    sense: Sense

    @model_validator(mode="after")
    def _names_fit(self) -> Device:
        known = [core.name for core in self.cores]
        twice = next((name for name in known if known.count(name) > 1), None)
        if twice:
            raise _complaint(f"cores: the name {twice!r} is given twice", twice, known)
        used = [
            (f"links.{i}.{end}", getattr(link, end))
            for i, link in enumerate(self.links)
            for end in ("source", "target")
        ]
        for where, name in [*used, ("sense.core", self.sense.core)]:
            if name not in known:
                raise _complaint(f"{where}: unknown core {name!r}", name, known)
        able = [core.name for core in self.cores if core.timing.frontend_us(1.0) is not None]
        if self.sense.core not in able:
            text = f"sense.core: {self.sense.core!r} has no figure for the front end"
            raise _complaint(text, self.sense.core, able or ["give a core frontend_macs_per_us"])
        return self

    @property
    def core_names(self) -> tuple[str, ...]:
        """The names of the cores, cheapest first."""
        return tuple(core.name for core in self.cores)

    def core(self, name: str) -> Core:
        """Return the core of that name.

        Raises:
            UserError: the device has no such core.
        """
        for core in self.cores:
            if core.name == name:
                return core
        raise unknown(f"device {self.name}", "core", name, self.core_names)

    def link(self, source: str, target: str) -> Link | None:
        """Return the link between two cores, or None where no tensor can go from one to the other."""
        return next((link for link in self.links if (link.source, link.target) == (source, target)), None)


def _plugged() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}


def _shipped() -> dict[str, Path]:
    folder = Path(str(resources.files("gatesearch.devices") / "profiles"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def names() -> tuple[str, ...]:
    """Return the names of the profiles that :func:`load` finds without a path.

    >>> "three_core" in names()
    True
    """
    return tuple(dict.fromkeys([*_shipped(), *_plugged()]))


def load(name_or_path: str | Path) -> Device:
    """Read a device profile.

    Args:
        name_or_path: a shipped or plugged-in name, or a path that ends in ``.yaml`` or ``.yml``.

    Raises:
        UserError: no such profile, or one that breaks the schema; one line with file, key, value and nearest
            choice.

    >>> load("three_core").core_names
    ('mcu', 'npu', 'app')
    """
    path = _find(name_or_path)
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(written, dict):
        raise UserError(f"{path}: a device profile is a mapping, found {type(written).__name__}")
    try:
        device = Device.model_validate(_beside(path.parent, written))
    except ValidationError as error:
        raise UserError(f"{path}: {_one_line(error.errors()[0], written)}") from error
    return device


def _beside(folder: Path, written: Mapping[str, Any]) -> dict[str, Any]:
    """Let paths of tables start from the profile's folder, wherever the profile is used."""
    cores = written.get("cores")
    found: list[Any] = []
    for core in cores if isinstance(cores, list) else []:
        timing = core.get("timing") if isinstance(core, Mapping) else None
        table = timing.get("table") if isinstance(timing, Mapping) else None
        if isinstance(table, str) and table.endswith(".json"):
            core = {**core, "timing": {**timing, "table": str(folder.resolve() / table)}}  # type: ignore[dict-item]
        found.append(core)
    return {**written, **({"cores": found} if found else {})}


def constants(device: Device) -> list[tuple[str, Constant]]:
    """Return every constant of a device with its path, for the report.

    >>> constants(load("three_core"))[0][0]
    'cores.mcu.timing.instructions_per_mac'
    """
    return list(_walk("", device))


def _walk(path: str, node: object) -> Iterator[tuple[str, Constant]]:
    if isinstance(node, Constant):
        yield path, node
    elif isinstance(node, BaseModel):
        for name in type(node).model_fields:
            yield from _walk(f"{path}.{name}".lstrip("."), getattr(node, name))
    elif isinstance(node, tuple):
        for index, item in enumerate(node):
            yield from _walk(f"{path}.{label(item, index)}", item)


def label(item: object, index: int) -> str:
    """Name a list's item as a reader would: a core by its name, a link by its ends."""
    get: Callable[[str], Any] = item.get if isinstance(item, Mapping) else lambda key: getattr(item, key, None)
    if get("name"):
        return str(get("name"))
    return f"{get('source')}-{get('target')}" if get("source") else str(index)


def _find(name_or_path: str | Path) -> Path:
    if Path(name_or_path).suffix in {".yaml", ".yml"}:
        path = Path(name_or_path)
        if not path.is_file():
            raise UserError(f"device: no file {str(path)!r}; shipped: {', '.join(names())}")
        return path
    name = str(name_or_path)
    if name in _shipped():
        return _shipped()[name]
    if name in _plugged():
        return Path(_plugged()[name].load())
    raise unknown("device", "device", name, names())


def _one_line(error: ErrorDetails, written: Any) -> str:
    """Say one validation error as ``key: what was written; nearest: ...``."""
    parts, node = [], written
    for part in error["loc"]:
        # A union adds its tag to the location, which is no key of the file.
        if isinstance(node, Mapping) and part not in node and part == node.get("model"):
            continue
        node = node[part] if _has(node, part) else None
        parts.append(label(node, part) if isinstance(part, int) else str(part))
    where = ".".join(parts)
    context = error.get("ctx", {})
    if error["type"] == "gatesearch":
        return f"{where}.{error['msg']}".lstrip(".")
    if error["type"] == "missing":
        return f"{where}: this key is missing"
    found = re.findall(r"'([^']+)'", str(context.get("expected", context.get("expected_tags", ""))))
    if "tag" in context:
        where, node = f"{where}.model", context["tag"]
    hint = f"; nearest: {nearest(str(node), found) or found[0]!r} (choices: {', '.join(found)})" if found else ""
    return f"{where}: {node!r}: {error['msg']}{hint}"


def _has(node: Any, part: int | str) -> bool:
    if isinstance(node, Mapping):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and part < len(node)
