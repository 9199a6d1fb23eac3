"""Describes manifest.json of a bundle: the stages with their programs and thresholds, and their order."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gatesearch.cli.documents.contract import Contract, DetectorEntry, StreamGates
from gatesearch.cli.documents.document import Document
from gatesearch.cli.documents.feature_steps import FittedFrontend
from gatesearch.cli.documents.plan import Gate, Plan


class Port(Document):
    """One input or output of a program."""

    name: str = Field(description="Name in the program's signature.")
    position: int = Field(ge=0, description="Position among the inputs or outputs of the program's graph.")


class Signature(Document):
    """The inputs and outputs of a program, in the order in which the manifest describes them."""

    inputs: list[Port] = Field(description="Inputs.")
    outputs: list[Port] = Field(description="Outputs.")


class Artifact(Document):
    """One file of the bundle."""

    core: str = Field(description="Core that runs the file.")
    stage: int = Field(ge=0, description="Index of the stage, from 0.")
    format: str = Field(description="File format, such as tflite, onnx, vela or kernel.")
    path: str = Field(description="Path of the file, relative to the bundle's folder.")
    bytes: int = Field(ge=0, description="Size of the file in bytes.")
    sha256: str = Field(description="SHA-256 of the file in hexadecimal digits.")
    source: str | None = Field(
        default=None, description="SHA-256 of the .tflite that a file of another format belongs to."
    )
    signature: Signature | None = Field(default=None, description="Inputs and outputs of a .tflite file.")


class Tensor(Document):
    """One input or output of a program."""

    shape: list[int] = Field(description="Shape with the batch of 1, channels last.")
    dtype: str = Field(description="Element type, such as int8 or float32.")
    scale: float = Field(description="Step of an integer tensor; 0 for a float tensor.")
    zero_point: int = Field(description="Integer that stands for 0.")


class KernelCall(Document):
    """One part of a gated layer's work."""

    bits: list[int] = Field(description="Magnitude bits of activations and of weights.")
    skips: list[str] = Field(description="Names of the work that the kernel may leave out.")
    size: float = Field(description="Share of the layer's multiplications in this part if nothing is skipped.")


class Kernel(Document):
    """The kernel by which a core skips work in a gated layer."""

    op: str = Field(description="Operation of the layer.")
    calls: list[KernelCall] = Field(description="Parts of the layer's work.")


class GatedLayer(Gate):
    """A gate that replaces a layer."""

    kernel: Kernel = Field(description="Kernel that skips what the gate leaves out.")
    runs: str = Field(description="Name of the kernel that runs the layer in this bundle, or reference.")


class Part(Document):
    """A stretch of a stage that one program or one kernel runs."""

    kernel: str | None = Field(description="Kernel that runs the part; null for a .tflite program.")
    site: str | None = Field(description="Layer site that the kernel computes; null for a program.")
    inputs: list[Any] = Field(description="Names of the tensors that go in.")
    outputs: list[Any] = Field(description="Names of the tensors that come out.")
    source: Any = Field(
        description="Index of the part that computes the active channels, which alone the kernel reads; null for all."
    )
    whole: Any = Field(description="Whether the kernel sets skipped channels to zero, because another part reads them.")
    reads: list[Any] = Field(description="Shape of the kernel's input, [1, h, w, c] or [1, T, F]; empty for a program.")
    program: Artifact = Field(description="File of the part.")
    arithmetic: str = Field(default="float32", description="Number format of the part: int8 or float32.")


class LogitWindow(Document):
    """The exported range of the model's logit; a value e of the program stands for center + (e - 3) half_width / 3."""

    center: float = Field(description="Model's logit in the middle of the range.")
    half_width: float = Field(description="Half the width of the range, in units of the model's logit.")


class Exit(Document):
    """The program that gives the output for a window that a gate stops."""

    program: Artifact = Field(description="File that verification runs.")
    artifacts: list[Artifact] = Field(description="All files of the exit.")
    input: Tensor = Field(description="Input of the program.")
    outputs: dict[str, Tensor] = Field(description="Outputs of the program by name.")


class CutGate(Gate):
    """The gate behind a stage."""

    theta: float = Field(description="Threshold on the model's logit; a larger logit passes.")
    theta_integer: float = Field(description="Threshold on the exported logit; a larger value passes.")
    answer: int = Field(description="Class that is the answer for a sample that the gate stops.")
    logit: LogitWindow = Field(description="Range in which the exported logit tells values apart.")
    exit: Exit | None = Field(description="Program that answers for a stopped sample; null for the constant class.")


class HopStage(Document):
    """Programs of a stage that runs by hops; the state follows the fresh frames as input, and the outputs as output."""

    step: Artifact = Field(description="Program of a hop: fresh frames and state to the stage's outputs and state.")
    catch_up: Artifact = Field(description="Program of a whole window: window to the stage's outputs and state.")
    axis: int = Field(gt=0, description="Time axis of the input, the batch counted, channels last.")
    window: int = Field(gt=0, description="Frames of a whole window.")
    fresh: int = Field(gt=0, description="Frames that a step takes.")
    input: Tensor = Field(description="Fresh frames.")
    state: list[Tensor] = Field(description="Tensors of the state; each has one scale as input and as output.")
    state_inputs: list[int] = Field(default_factory=list, description="Index of each tensor among the step's inputs.")
    state_outputs: list[int] = Field(
        default_factory=list, description="Index of each tensor among the outputs of both programs."
    )


class Hops(Document):
    """How a bundle runs by hops."""

    window: int = Field(gt=0, description="Frames of the features in a whole window.")
    hop: int = Field(gt=0, description="Frames of the features from decision to decision.")
    phases: int = Field(
        gt=0, description="States that take turns from hop to hop; the step of a state covers this number of hops."
    )


class Stage(Document):
    """A stage: the part of the network between two cuts."""

    index: int = Field(ge=0, description="Index of the stage, from 0.")
    core: str = Field(description="Core that the stage runs on.")
    engine: str = Field(description="Engine of this host that stands in for the core in checks.")
    arithmetic: str = Field(description="Number format of the program: int8 or float32.")
    gated_layers: list[GatedLayer] = Field(description="Gates in the places of layers.")
    program: Artifact = Field(description="File that verification runs.")
    parts: list[Part] = Field(description="Parts of the stage, for a core that has kernels; empty for others.")
    parts_in_float: str = Field(
        default="", description="Why the parts are in float32; empty if they are in int8, or if there are none."
    )
    kernel_parts: list[Part] = Field(
        default_factory=list,
        description="Int8 parts for kernels of a stage that listens on a core whose engine runs no kernels.",
    )
    kernel_obstacle: str = Field(
        default="", description="Why such a stage has no int8 parts; empty if it has them or needs none."
    )
    artifacts: list[Artifact] = Field(description="All files of the stage.")
    input: Tensor = Field(description="Input of the program.")
    outputs: dict[str, Tensor] = Field(description="Outputs of the program by name.")
    logit_offset: float = Field(
        description="Number that is added to exported class logits to get those of the model; 0 for other outputs."
    )
    channels: list[int] | None = Field(description="Channels that leave the stage; null for all.")
    gate: CutGate | None = Field(description="Gate behind the stage; null for the last stage.")
    hops: HopStage | None = Field(
        default=None, description="Programs by hops; null for a stage that runs its program on each window."
    )


class Ungated(Document):
    """The program of the ungated backbone, which lies beside the bundle."""

    core: str = Field(description="Core that runs the ungated backbone.")
    arithmetic: str = Field(description="Number format of the program: int8 or float32.")


class MadeFrom(Document):
    """The weights and formats of the bundle; an export with other ones writes the bundle again."""

    weights: str = Field(description="SHA-256 of the model's weights and statistics, thresholds left out.")
    formats: list[str] = Field(description="Formats that the recipe asked for.")


class VectorFile(Document):
    """One file of test vectors."""

    path: str = Field(description="Path of the file, relative to the bundle's folder.")
    bytes: int = Field(ge=0, description="Size of the file in bytes.")
    sha256: str = Field(description="SHA-256 of the file in hexadecimal digits.")


class VectorArray(VectorFile):
    """A file of numbers, little-endian, the last axis fastest."""

    dtype: str = Field(description="Type of the numbers, such as int16.")
    shape: list[int] = Field(description="Shape of the array.")


class VectorRows(Document):
    """How the features of hops lie in their file, time first."""

    window: int = Field(gt=0, description="Rows of the window of one decision.")
    hop: int = Field(gt=0, description="Rows from one decision to the next.")


class Vectors(Document):
    """Test vectors: inputs, and what the bundle decides on them."""

    kind: Literal["windows", "hops"] = Field(description="Single windows, or the hops of a stretch of sound.")
    engines: list[Literal["litert", "reference"]] = Field(description="Kernels of LiteRT that ran each stage.")
    inputs: VectorArray = Field(description="Raw samples: a window each, or a stretch of sound.")
    features: VectorArray = Field(description="Inputs of the first stage: a window each, or rows that windows share.")
    rows: VectorRows | None = Field(description="Rows of hops; null for windows.")
    decisions: VectorFile = Field(description="JSON with a list of decisions, one for each window or hop.")


class Manifest(Document):
    """manifest.json of a bundle."""

    bundle: Literal[1] = Field(description="Version of the manifest's format.")
    digest: str = Field(description="Digest of the plan, twelve hexadecimal digits.")
    plan: Plan = Field(description="The plan that was built.")
    device: str = Field(description="Name of the device profile.")
    classes: list[str] = Field(description="Names of the classes.")
    positive: list[bool] = Field(description="Whether each class is a positive.")
    stages: list[Stage] = Field(description="Stages in the order in which data meets them.")
    hops: Hops | None = Field(default=None, description="How a stream runs by hops; null for whole windows.")
    detector: DetectorEntry | None = Field(default=None, description="Detector of a stream; for detection only.")
    stream_gates: StreamGates | None = Field(
        default=None, description="How gates decide over a stream; for detection only."
    )
    contract: Contract | None = Field(default=None, description="Rules of decisions; absent in bundles of version 0.1.")
    vectors: Vectors | None = Field(default=None, description="Test vectors; absent without a run.")
    recipe: str | None = Field(default=None, description="Name of the recipe; absent without a run.")
    synthetic_data: bool | None = Field(
        default=None, description="Whether the data were synthesised; absent without a run."
    )
    frontend: FittedFrontend | None = Field(default=None, description="The fitted front end; absent without a run.")
    ungated: Ungated | None = Field(default=None, description="The program of the ungated backbone.")
    made_from: MadeFrom | None = Field(default=None, description="Weights and formats; absent without a run.")
