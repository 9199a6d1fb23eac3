"""Describes summary.json of a finished run: the figures of the best plan and of the ungated backbone."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gatesearch.cli.documents.document import Document
from gatesearch.cli.documents.manifest import Artifact
from gatesearch.cli.documents.plan import Plan


class Data(Document):
    """The data set."""

    name: str = Field(description="Name of the data set.")
    source: str = Field(description="Where the recordings come from, as a sentence.")
    synthetic: bool = Field(description="Whether the data were synthesised.")
    train: int = Field(ge=0, description="Clips of the training split.")
    validation: int = Field(ge=0, description="Clips of the validation split.")
    test: int = Field(ge=0, description="Clips of the test split.")
    positive_share: float = Field(ge=0, le=1, description="Share of positives in the test split.")
    test_by_kind: dict[str, int] = Field(description="Clips of the test split for positives and each negative.")


class Baseline(Document):
    """The ungated backbone, retrained in the same way as the best plan."""

    accuracy: float | None = Field(description="Accuracy on the test split; null where nothing is labelled.")
    quality: float | None = Field(default=None, description="Reconstruction fidelity; absent for classification.")
    macs: float = Field(description="Multiply-accumulates (MACs) a window.")
    params: float = Field(description="Number of parameters.")
    latency_us: float = Field(description="Expected latency a window in microseconds (us).")
    energy_uj: float = Field(description="Expected energy a window in microjoules (uJ), all of the device.")
    core: str = Field(description="Core that runs the ungated backbone.")


class Composed(Document):
    """Composed plans that were trained after the search, and the agreement of both orders."""

    plans: int = Field(ge=1, description="Composed plans that were trained.")
    tau_quality: float | None = Field(description="Kendall's tau of quality; null where all values are equal.")
    tau_energy: float | None = Field(description="Kendall's tau of energy; null where all values are equal.")


class Extension(Document):
    """More trials for a run that had begun, by ``gatesearch run resume=RUN search.trials=N``."""

    earlier: int = Field(gt=0, description="Plans that the recipe wanted to train before.")
    trials: int = Field(gt=0, description="Plans that it wants to train since.")


class Search(Document):
    """Counts and times of the search."""

    trials: int = Field(ge=0, description="Plans that were proposed.")
    unique_plans: int = Field(ge=0, description="Different plans among them.")
    evaluated: int = Field(ge=0, description="Trials that were trained to their end, or composed.")
    pruned: int = Field(ge=0, description="Trials that were stopped early.")
    priced_out: int = Field(ge=0, description="Trials whose price alone breaks a constraint.")
    failed: int = Field(default=0, ge=0, description="Trials that failed with an error; each has a line in warnings.")
    epochs: int | float = Field(ge=0, description="Epochs of all trials together.")
    seconds: float = Field(default=0.0, ge=0, description="Wall time of the search in seconds (s).")
    hypervolume: float = Field(
        description="Hypervolume of the front; its reference point is quality 0 at the ungated backbone's cost."
    )
    engine: str = Field(description="How plans were tried; runs of version 0.1 may say supernet.")
    engine_asked: str | None = Field(default=None, description="Engine that the recipe asks for, before version 0.2.")
    engine_why: str | None = Field(default=None, description="Why the search used another engine, before version 0.2.")
    composed: Composed | None = Field(default=None, description="Composed plans; absent where all plans are trained.")
    extensions: list[Extension] = Field(default=[], description="Extensions of the search, in order.")
    tau: float | None = Field(default=None, description="Kendall's tau of a supernet's ranking, before version 0.2.")


class PrevalenceRow(Document):
    """The best plan priced at one share of positives."""

    prevalence: float = Field(gt=0, le=1, description="Share of positives in the stream.")
    reach: float = Field(ge=0, le=1, description="Share of windows that reach the last stage.")
    expected_macs: float = Field(description="Expected multiply-accumulates (MACs) a window.")
    expected_energy_uj: float = Field(description="Expected energy a window in microjoules (uJ).")
    gain_end_to_end: float = Field(description="Energy of the ungated backbone over that of the plan.")
    bound: float | None = Field(description="Gain that no gate can exceed; null for no bound.")
    gain_idealised: float | None = Field(description="Gain if work that is not done cost nothing; null for no bound.")


class LayerMacs(Document):
    """Work in gated layers."""

    dense: float = Field(description="Multiply-accumulates (MACs) a window without the gates.")
    left: float = Field(description="Multiply-accumulates (MACs) a window that the gates leave.")


class Best(Document):
    """The best plan on the test split."""

    digest: str = Field(description="Digest of the plan, twelve hexadecimal digits.")
    plan: Plan = Field(description="The plan.")
    accuracy: float | None = Field(description="Share of right answers; null where nothing is labelled.")
    accuracy_all_classes: float | None = Field(description="Share of clips that get their own class.")
    precision: float | None = Field(description="Share of reported clips that have the reported class.")
    recall: float | None = Field(description="Share of positives that are reported with their own class.")
    quality: float | None = Field(default=None, description="Reconstruction fidelity; absent for classification.")
    error: float | None = Field(default=None, description="Reconstruction error; absent for classification.")
    snr_db: float | None = Field(
        default=None, description="Signal-to-noise ratio of the output in decibels (dB); absent for classification."
    )
    detected: float | None = Field(
        default=None, description="Share of the test stream's events that are detected; for detection only."
    )
    miss_rate: float | None = Field(default=None, description="1 - detected; for detection only.")
    fa_per_hour: float | None = Field(
        default=None, description="False accepts an hour of the test stream; for detection only."
    )
    latency_p50_ms: float | None = Field(
        default=None,
        description="Median time from the end of an event to its detection in milliseconds (ms); for detection only.",
    )
    latency_p95_ms: float | None = Field(
        default=None,
        description="95th percentile of the time from the end of an event to its detection in milliseconds (ms); for "
        "detection only.",
    )
    early_stop_rate: float | None = Field(description="Share of all negatives of the test split that gates stop.")
    early_stop_by_kind: dict[str, float | None] = Field(
        description="For each negative class, the share that gates stop; null for a class without test samples."
    )
    first_gate_stop_by_kind: dict[str, float | None] = Field(
        description="For each negative class, the share that the first gate stops; null for a class without test "
        "samples."
    )
    gate_recall: float | None = Field(description="Share of positives that pass all gates.")
    open_shares: list[float] | None = Field(
        default=None,
        description="Share of the test stream's hops at which the front end runs, then each stage; for detection only.",
    )
    openings_per_hour: list[float] | None = Field(
        default=None,
        description="Openings of the front end, then of each stage, in an hour of the test stream; for detection only.",
    )
    stop_shares_by_background: dict[str, dict[str, float]] | None = Field(
        default=None,
        description="For each background of the test stream, the share of its hops that each gate stops; for detection "
        "only.",
    )
    misses_by_gate: dict[str, int] | None = Field(
        default=None,
        description="Missed events of the test stream of which each gate stops all windows; for detection only.",
    )
    misses_by_network: int | None = Field(
        default=None, description="Missed events with a window that passes all gates; for detection only."
    )
    early_stop_rate_stream: float | None = Field(description="Share of the stream's negatives that gates stop.")
    early_stop_rate_stream_at_least: float | None = Field(
        description="Lower confidence limit of early_stop_rate_stream."
    )
    activation_sparsity: float = Field(description="Mean share of zeros that the gates leave behind them.")
    expected_macs: float = Field(description="Expected multiply-accumulates (MACs) a window.")
    expected_macs_with_frontend: float = Field(description="Expected MACs a window, front end included.")
    macs_saving: float | None = Field(description="MACs of the backbone over expected MACs.")
    layer_gates: list[dict[str, Any]] = Field(description="Figures of each gate in the place of a layer.")
    layer_macs: LayerMacs = Field(description="Work in gated layers.")
    expected_latency_us: float = Field(description="Expected latency a window in microseconds (us).")
    expected_energy_uj: float = Field(description="Expected energy a window in microjoules (uJ), all of the device.")
    utilisation: dict[str, dict[str, float]] = Field(
        default={},
        description="Share of the period for which each core is busy: `mean` over the stream, and `worst` when every "
        "window takes the longest path.",
    )
    gain_end_to_end: float = Field(description="Energy of the ungated backbone over that of the plan.")
    gain_paper_style: float | None = Field(description="Gain if work that is not done cost nothing.")
    gain_paper_style_at_least: float | None = Field(description="Lower confidence limit of gain_paper_style.")
    prevalence: list[PrevalenceRow] = Field(description="The plan priced at other shares of positives.")
    light_share: float | None = Field(default=None, description="Share of windows that take the light path.")
    light_share_by_class: dict[str, float] | None = Field(
        default=None, description="Share of the windows of each class that take the light path."
    )
    quality_all_heavy: float | None = Field(default=None, description="Quality if all windows take the heavy path.")
    quality_all_light: float | None = Field(default=None, description="Quality if all windows take the light path.")
    quality_random: float | None = Field(default=None, description="Quality if windows are routed at random.")
    light_macs: float | None = Field(default=None, description="MACs of the light path.")
    heavy_macs: float | None = Field(default=None, description="MACs of the heavy path.")
    shared_macs: float | None = Field(default=None, description="MACs that both paths share.")
    heavy_over_light_macs: float | None = Field(default=None, description="heavy_macs over light_macs.")
    light_params: float | None = Field(default=None, description="Parameters of the light path.")
    heavy_params: float | None = Field(default=None, description="Parameters of the heavy path.")
    heavy_over_light_params: float | None = Field(default=None, description="heavy_params over light_params.")
    light_latency_us: float | None = Field(default=None, description="Latency of the light path in microseconds (us).")
    heavy_latency_us: float | None = Field(default=None, description="Latency of the heavy path in microseconds (us).")
    resident_params: float | None = Field(default=None, description="Parameters that stay in memory, all paths.")


class Parity(Document):
    """How closely the bundle agrees with the model, on test windows."""

    max_abs_error: float = Field(description="Largest absolute difference of a logit or output.")
    gate_agreement: float = Field(ge=0, le=1, description="Share of windows that leave at the same gate.")
    prediction_agreement: float = Field(ge=0, le=1, description="Share of windows with the same class.")
    samples: int = Field(ge=0, description="Test windows that were compared.")
    output_snr_db: float | None = Field(
        default=None, description="Output's energy over the bundle's error in decibels (dB); for reconstruction only."
    )


class Export(Document):
    """The exported bundle."""

    bundle: str = Field(description="Folder of the bundle, relative to the run folder.")
    artifacts: list[Artifact] = Field(description="Files of the bundle.")
    parity: Parity = Field(description="How closely the bundle agrees with the model.")


class Streaming(Document):
    """Mean times per window on the machine of the run, which runs the windows one by one, without the front end."""

    gated_us: float = Field(description="Mean time of the gated bundle in microseconds (us).")
    ungated_us: float = Field(description="Mean time of the ungated program in microseconds (us).")
    windows: int = Field(ge=0, description="Windows of the stream.")
    invoke_us: float = Field(description="Ungated program without copies, in microseconds (us).")
    always_us: float = Field(description="First stage alone, which runs for every window, in microseconds (us).")
    later_us: list[float] = Field(description="Each later stage's program without copies, in microseconds (us).")
    reach: list[float] = Field(description="Share of windows that reach each later stage.")
    kernels: bool = Field(description="Whether the first stage ran by kernels.")
    ratio: float = Field(description="ungated_us over gated_us.")


class Listening(Document):
    """CPU time of listening to the test stream on the machine of the run, by one thread, in seconds per hour of sound.

    All measurements use the same C kernels and LiteRT, and their times include the front end.
    """

    windows_s: float = Field(description="Ungated network on the whole window at each hop, in seconds (s) per hour.")
    hops_s: float = Field(description="Ungated network hop by hop, in seconds (s) per hour.")
    gated_s: float = Field(description="Best plan hop by hop, in seconds (s) per hour.")
    hop_s: float = Field(description="Length of a hop in seconds (s).")
    sound_s: float = Field(description="Length of the measured sound in seconds (s).")
    short_hop_windows_s: float = Field(
        description="Whole windows at a hop of 20 ms, in seconds (s) per hour, derived from windows_s."
    )
    windows_ratio: float = Field(description="short_hop_windows_s over gated_s.")
    hops_ratio: float = Field(description="hops_s over gated_s.")


class Image(Document):
    """An image for one core that holds nothing but the firmware."""

    core: str = Field(description="The core, as compilers name it.")
    flash: dict[str, int] = Field(description="Bytes of flash by part.")
    ram: dict[str, int] = Field(description="Bytes of RAM by part, without stack.")
    stack: int | None = Field(description="Bytes of stack that the golden vectors use; null without an emulator.")


class Firmware(Document):
    """The firmware of the best plan, in C99."""

    folder: str = Field(description="Folder of the firmware, relative to the run folder.")
    flash: dict[str, int] = Field(description="Bytes of constants by part, without code.")
    ram: dict[str, int] = Field(description="Bytes of working memory by part, without stack.")
    hops: int = Field(ge=0, description="Number of hops in the golden vectors, which the check plays.")
    detections: int = Field(ge=0, description="Number of detections in the golden vectors.")
    images: list[Image] = Field(default=[], description="The linked image for each core that could be measured.")
    shortages: list[str] = Field(default=[], description="A line for each memory of its core that is too small.")
    check: str | None = Field(description="Line that the check printed on the machine of the run; null if it failed.")
    problem: str | None = Field(default=None, description="Why the check failed; null if it passed or could not run.")


class Group(Document):
    """Misses or false accepts in one kind of background, or in one band of the events' level over the background."""

    count: int = Field(ge=0, description="Misses or false accepts.")
    rate: float | None = Field(
        description="Share of the events of the group that are missed, or false accepts an hour of this background."
    )


class Part(Document):
    """One part of a chain on the test stream."""

    name: str = Field(description="Front end, level gate, stage and its number, or idle and sensor.")
    core: str = Field(description="The core that runs it.")
    runs: Literal["steady", "demand"] = Field(description="At every hop, or while the gate before it is open.")
    open_share: float = Field(ge=0, le=1, description="Share of the hops at which it runs.")
    openings_per_hour: float = Field(ge=0, description="Openings an hour; at each one the part reads a whole window.")
    power_mw: float = Field(description="Mean power of the part in milliwatts (mW).")


class UncertainConstant(Document):
    """The effect of one constant's range on the mean power."""

    constant: str = Field(description="Path of the constant in the device profile.")
    mean_power_mw: list[float] = Field(description="Smallest and largest mean power over the constant's range.")


class StreamFigures(Document):
    """One model with its detector on the test stream."""

    battery_days: float | None = Field(
        default=None, description="Days for which the recipe's battery lasts; null without a battery."
    )
    battery_days_interval: list[float | None] | None = Field(
        default=None, description="battery_days at the ends of mean_power_interval_mw, the shorter life first."
    )
    fa_per_hour: float = Field(ge=0, description="False accepts an hour.")
    fa_per_hour_interval: list[float] = Field(description="Exact 95 % Poisson interval of fa_per_hour.")
    miss_rate: float = Field(ge=0, le=1, description="Share of events without a detection.")
    miss_interval: list[float] = Field(description="Exact 95 % binomial interval of miss_rate.")
    gate_misses: int | None = Field(description="Misses for which the gates passed no window that holds the event.")
    network_misses: int | None = Field(description="Misses for which the gates passed a window that holds the event.")
    validation: dict[str, float] = Field(
        description="fa_per_hour and miss_rate on the validation stream, which set the threshold."
    )
    latency_p50_ms: float | None = Field(
        description="Median time from an event's end to its detection, in milliseconds (ms)."
    )
    latency_p95_ms: float | None = Field(
        description="95th percentile of the time from an event's end to its detection, in milliseconds (ms)."
    )
    mean_power_mw: float = Field(ge=0, description="Mean power over the stream in milliwatts (mW), all of the device.")
    mean_power_interval_mw: list[float] = Field(
        default_factory=list,
        description="Interval of mean_power_mw: each constant of the device moves alone over its range, and the "
        "deviations add in quadrature.",
    )
    power_by_term_mw: dict[str, float] = Field(
        default_factory=dict,
        description="Mean power by term: sense (the sensor), idle (listening floor and sleep), frontend, compute, "
        "weights, link and wake.",
    )
    clocks: dict[str, str] = Field(
        default_factory=dict, description="Clock point of each core that has several, by the core's name."
    )
    uncertain_constants: list[UncertainConstant] = Field(
        default_factory=list, description="The constants whose ranges move the mean power most."
    )
    macs_per_hop: float = Field(ge=0, description="Expected multiply-accumulates of the network and its gates a hop.")
    perfect_gates: dict[str, float] = Field(
        description=(
            "mean_power_mw and macs_per_hop if each gate were open exactly where a window holds an event: a bound."
        )
    )
    reach: list[float] = Field(description="Share of the hops that reach each stage.")
    plan: dict[str, Any] = Field(description="Gates, and the core of each stage.")
    latencies_ms: list[float] = Field(description="From each detected event's end to its detection, milliseconds (ms).")
    parts: list[Part] = Field(description="Parts of the chain, in order.")
    signal_gate: dict[str, Any] | None = Field(
        description="Statistic, threshold, smoothing and hold of the gate before the front end; null for none."
    )
    stop_by_background: dict[str, float] = Field(
        description="By background, the share of the hops without an event at which the last stage does not run."
    )
    misses_by_background: dict[str, Group] = Field(description="Misses by kind of background.")
    misses_by_snr: dict[str, Group] = Field(description="Misses by level of the event over its background.")
    fa_per_hour_by_background: dict[str, Group] = Field(description="False accepts by kind of background.")
    detector: dict[str, Any] = Field(description="Smoothing, hits, threshold and refractory time.")


class Curve(Document):
    """A DET curve on the test stream: one point for each threshold of the detector."""

    fa_per_hour: list[float] = Field(description="False accepts an hour.")
    miss_rate: list[float] = Field(description="Share of events without a detection.")


class Stream(Document):
    """The test stream of a run with goal detection."""

    hours: float = Field(gt=0, description="Length of the test stream in hours.")
    events: int = Field(ge=0, description="Events in the test stream.")
    hop_ms: float = Field(gt=0, description="Time from decision to decision in milliseconds (ms).")
    battery: dict[str, float] | None = Field(
        default=None,
        description="Capacity (mah), voltage (volts) and efficiency of the recipe's battery; null for none.",
    )
    operating_point: dict[str, float] = Field(
        description="Most false accepts an hour that the recipe allows, and the largest miss rate on validation."
    )
    doubt: str | None = Field(
        description="Why the stream is too short for this fa_per_hour; null if it is long enough."
    )
    picked: StreamFigures = Field(description="The best plan.")
    rivals: dict[str, StreamFigures] = Field(
        description="Other methods, each with thresholds of its own: ungated_hops, ungated_windows, level_gate, "
        "hand_placed, smaller_ungated."
    )
    missing_rivals: dict[str, str] = Field(description="By name, why a rival of the recipe is missing.")
    strongest_rival: str | None = Field(
        description="The rival with the least mean power of those that keep the miss rate; null without rivals."
    )
    power_gain: float | None = Field(
        description="Mean power of the strongest rival over that of the best plan; null without rivals."
    )
    curves: dict[str, Curve] = Field(description="DET curves of the best plan (picked) and of each rival.")
    timeline: dict[str, Any] = Field(description="Level, open stretches, events, detections and power over the stream.")


class Hops(Document):
    """How the network of a run with goal detection runs by hops."""

    by: Literal["hops"] = Field(description="The recipe's stream.by.")
    hop_frames: int = Field(gt=0, description="Frames of the features from decision to decision.")
    phases: int = Field(gt=0, description="States that take turns, where strides in time do not divide the hop.")
    changes: list[str] = Field(description="Each layer that was rewritten, with its frames before and after.")


class Answer(Document):
    """Energy, gain and best plan of the run if some constants have other values."""

    energy_uj: float = Field(description="Expected energy of the plan in microjoules (uJ).")
    ungated_uj: float = Field(description="Expected energy of the ungated backbone in microjoules (uJ).")
    gain: float = Field(description="Energy of the ungated backbone over that of the plan.")
    picked: str | None = Field(description="Digest of the best plan with these constants; null if there is none.")


class MovedAnswer(Answer):
    """Energy, gain and best plan if one constant, or a group of them, is multiplied by a factor."""

    factor: float = Field(gt=0, description="Factor on the constant.")


class MovedConstant(Document):
    """The change of gain and best plan if a constant, or a group of constants, is multiplied by factors."""

    name: str = Field(description="Name of the constant or of the group.")
    constants: list[str] = Field(description="Paths of the constants in the device profile.")
    value: float | None = Field(description="Value in the profile; null for a group.")
    unit: str | None = Field(description="Unit of the value; null for a group.")
    swing: float = Field(description="Largest gain over smallest gain.")
    other_plan: bool | None = Field(description="Whether another plan would be the best; null if no plan is picked.")
    answers: list[MovedAnswer] = Field(description="Result for each factor.")


class Sensitivity(Document):
    """The change of the energy gain if assumed constants have other values."""

    factors: list[float] = Field(description="Factors by which constants are multiplied.")
    nominal: Answer = Field(description="Result with the constants of the profile.")
    gain_low: float = Field(description="Smallest gain of all results.")
    gain_high: float = Field(description="Largest gain of all results.")
    together: list[Answer] = Field(
        description="Results with all constants changed at once, in the worst and in the best direction."
    )
    constants: list[MovedConstant] = Field(description="Constants, one at a time, largest swing first.")
    groups: list[MovedConstant] = Field(description="Groups of constants.")
    zero: list[str] = Field(description="Constants that are 0, which no factor changes.")


class Pick(Document):
    """The choice of a plan by ``gatesearch pick``."""

    run: str = Field(description="Folder of the run whose search tried the plan.")
    choice: str = Field(description="The words that chose the plan.")
    on_front: bool = Field(description="Whether the plan is on the front of the search.")


class Summary(Document):
    """summary.json of a finished run."""

    version: Literal[1] = Field(default=1, description="Version of the format.")
    recipe: str = Field(description="Name of the recipe.")
    seed: int = Field(ge=0, description="Seed of the run.")
    seconds: float = Field(default=0.0, ge=0, description="Wall time of the run in seconds (s).")
    pick: Pick | None = Field(
        default=None, description="How a user chose the plan after the search; null where the recipe's rule picked it."
    )
    data: Data = Field(description="The data set.")
    goal: Literal["classification", "detection", "reconstruction"] = Field(description="What the network is for.")
    baseline: Baseline = Field(description="The ungated backbone, retrained in the same way as the best plan.")
    search: Search = Field(description="Counts and times of the search.")
    best: Best = Field(description="The best plan on the test split.")
    export: Export = Field(description="The exported bundle.")
    listening: Listening | None = Field(
        default=None, description="CPU time of listening; null without a stream of sound that runs hop by hop."
    )
    firmware: Firmware | None = Field(
        default=None, description="The firmware; null without a stream of sound, or where a part has no kernel in C."
    )
    streaming: Streaming = Field(description="Mean times per window on the machine of the run.")
    stream: Stream | None = Field(default=None, description="The test stream; for detection only.")
    hops: Hops | None = Field(default=None, description="How the network runs by hops; null where it runs windows.")
    sensitivity: Sensitivity = Field(description="Change of the gain if assumed constants have other values.")
    warnings: list[str] = Field([], description="Each fallback and doubt that the run printed, once.")
