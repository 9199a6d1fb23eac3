"""What a run works out, each step on what the steps before it left.

Every step leaves its result in the run folder, whole or not at all, and takes it from there where it is: a run that was
cut off goes on where it stopped.
"""

from __future__ import annotations

import io
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch._lib import console
from gatesearch.batch_study import outcome
from gatesearch.cost.factory import tools_in_one_line
from gatesearch.cost.model import CostModel
from gatesearch.data import Dataset
from gatesearch.export import verify as verification
from gatesearch.model import GatedModel
from gatesearch.pipeline import export_step, front_times, pricing, strategies
from gatesearch.pipeline.problem import Setting
from gatesearch.pipeline.run_dir import RunFolder
from gatesearch.plan import GatePlan, PlacedGate
from gatesearch.recipe import Recipe
from gatesearch.report import record
from gatesearch.runtime import streaming
from gatesearch.runtime.bundle import Bundle, load_manifest
from gatesearch.search.engine import SearchResult, Trial
from gatesearch.search.evaluation import Evaluated, Objectives
from gatesearch.search.pruner import Halving
from gatesearch.search.sampler.gate_sampler import PASSED
from gatesearch.search.supernet.network import Supernet
from gatesearch.search.supernet.train import SupernetTask
from gatesearch.training import Figures, GateSettings, History, Schedule, calibrate, fit, saliency
from gatesearch.training.fit import CHECKPOINT_EVERY
from gatesearch.training.task import GatedTask

STREAM_WINDOWS = 300
TRIALS = "logs/trials"


class Run:
    """One run: each attribute is a step's result, taken from the folder or worked out and put there.

    Args:
        recipe: resolved.
        folder: where results go.
        given: the network and the data, where they are not those that the recipe names.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, given: tuple[nn.Module, Dataset] | None = None) -> None:
        self.recipe, self.folder = outcome.resolved(recipe), folder
        self._given = given
        self._figures: dict[tuple[tuple[PlacedGate, ...], int | None], Figures] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what :meth:`evaluate` needs, for a worker that has neither the data nor the run folder."""
        kept = ("recipe", "saliency", "cost", "standard")
        return {
            **{name: getattr(self, name) for name in kept},
            "folder": RunFolder(self.folder.path.absolute()),  # a worker is elsewhere
            "setting": replace(self.setting, data=None),  # type: ignore[arg-type] # features are what is trained on
            "baseline": self.baseline.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = state.pop("baseline")
        self.__dict__.update(state)
        self._given, self._figures = None, {}
        model = self._untrained()
        model.load_state_dict(weights)
        self.__dict__["baseline"] = model.eval()

    @cached_property
    def setting(self) -> Setting:
        """Data, backbone, sites, device, space."""
        network, data = self._given or (None, None)
        return Setting.of(self.recipe, backbone=network, dataset=data)

    @cached_property
    def baseline(self) -> GatedModel:
        """The ungated backbone, trained: where every trial starts."""
        model = self._untrained()
        self._trained("baseline", model, self.setting.schedule())
        return model

    @cached_property
    def backbone(self) -> nn.Module:
        """The trained backbone, on its own."""
        return self.baseline.stages[0]

    @cached_property
    def saliency(self) -> dict[str, Tensor]:
        """Importance of each channel at each site."""
        s = self.setting
        split = s.features.train
        return saliency(self.backbone, s.space.sites, split.features, split.labels, errors=s.goal.errors)

    @cached_property
    def cost(self) -> CostModel:
        """What plans cost on the recipe's device."""
        return pricing.cost_model(self.setting, self.backbone, self.folder)

    @cached_property
    def supernet(self) -> Supernet:
        """A network with a gate at every site, trained for all plans at once."""
        s, chosen = self.setting, self.recipe.search
        torch.manual_seed(self.recipe.seed)
        net = Supernet(self.backbone, s.space, s.outputs, self.saliency)
        schedule = s.schedule(self.recipe.training.updated(chosen).updated(chosen.supernet))
        steps = partial(SupernetTask, space=s.space, plans=chosen.supernet.plans, seed=self.recipe.seed)
        self._trained("supernet", net, schedule, task=steps)
        return net

    @cached_property
    def result(self) -> SearchResult:
        """The search, ended."""
        started = time.monotonic()
        assert self.cost
        self.folder.write_json(record.BEGUN, record.begun(self))
        result = strategies.search(self)
        shutil.rmtree(self.folder / TRIALS, ignore_errors=True)  # of trainings that were given up
        self._add_seconds("search", time.monotonic() - started)
        record.write_trials(self.folder, result)
        return result

    @property
    def engine(self) -> dict[str, Any]:
        """Which engine searched, and why."""
        assert self.result
        found: dict[str, Any] = self.folder.read_json(record.ENGINE)
        return found

    @cached_property
    def standard(self) -> float:
        """Quality of the baseline on validation, by which trials are measured."""
        return self._quality(self.baseline, "validation").value

    @cached_property
    def halving(self) -> Halving | None:
        """Which trials go on after which epochs; None where all do."""
        chosen = self.recipe.search.halving
        return (
            None if chosen is None else Halving(chosen.first, chosen.reduction, self.recipe.search.epochs, chosen.tau)
        )

    def evaluate(self, plan: GatePlan, until: int | None = None) -> Evaluated:
        """Try a plan: train it briefly from the baseline, set its thresholds, price what its gates let through.

        Args:
            plan: to try.
            until: epoch after which to stop for now; None to the end.
        """
        key = plan.gates, until  # cores cost, and change nothing else
        if key not in self._figures:
            self._figures[key] = self._trial(plan, until)
        return self.judged(plan, self._figures[key])

    def judged(self, plan: GatePlan, quality: Figures) -> Evaluated:
        """Price a plan of which the quality is known, and say what it breaks."""
        price = self.cost.price(plan, quality.passed, observed=quality.layers)
        return Evaluated(
            Objectives(quality.value, price.expected_latency_us, price.energy.total_uj),
            self._quality_violations(quality, self.standard),
            {
                PASSED: {kind: list(row) for kind, row in quality.passed.items()},
                "layers": {site: dict(row) for site, row in quality.layers.items()},
            },
        )

    def _trial(self, plan: GatePlan, until: int | None) -> Figures:
        """Train a plan for as long as a trial lasts, or up to an epoch; what it is worth on validation."""
        s, model = self.setting, self.built(plan)
        epochs, seed = s.schedule(self.recipe.search), seed_of(self.recipe.seed, plan)
        # A training long enough for checkpoints, or judged on its way, goes on from the last, in whichever process or
        # node that shares the run folder.
        long = self.halving is not None or epochs.epochs > CHECKPOINT_EVERY
        kept = self.folder / TRIALS / GatePlan(plan.gates).digest if long else None
        fit(
            model,
            s.features,
            epochs,
            s.gates,
            seed=seed,
            goal=s.goal,
            augment=s.augment,
            pieces=kept,
            until=until,
        )
        if kept is not None and until is None:
            shutil.rmtree(kept, ignore_errors=True)  # another worker may have trained these gates for other cores
        calibrate(model, s.features.validation, s.features.positive)
        return self._quality(model, "validation")

    @cached_property
    def front_times(self) -> dict[str, dict[str, float]]:
        """Of plans on the front that run on this host alone, by digest: microseconds measured and predicted."""
        kept: dict[str, dict[str, float]] | None = self.folder.read_json(front_times.TIMES)
        if kept is None:
            kept = front_times.times(self)
            if kept:
                self.folder.write_json(front_times.TIMES, kept)
                record.write_trials(self.folder, self.result, kept)
        return kept

    @cached_property
    def chosen(self) -> tuple[Trial, GatedModel]:
        """The plan that the recipe's rule prefers and that keeps the constraints once it is retrained.

        A short training can flatter a plan. So the retrained model has to keep on validation what the recipe asks for,
        against the ungated backbone retrained alike; else the next plan has its turn.
        """
        standard = self._quality(self.reference, "validation").value
        tried: list[tuple[float, int, Trial, GatedModel]] = []
        for trial in self._by_preference(self.result)[: self.recipe.pick.attempts]:
            model = self.retrain(f"gated-{trial.plan.digest}", trial.plan)
            violations = self._quality_violations(self._quality(model, "validation"), standard)
            broken = {name: value for name, value in violations.items() if value > 0}
            tried.append((max(broken.values(), default=0.0), len(tried), trial, model))
            if not broken:
                break
            told = ", ".join(f"{name} by {value:.3f}" for name, value in broken.items())
            console.say(f"retrained, {trial.plan.digest} misses {told} on validation")
        _, _, trial, model = min(tried, key=lambda one: one[:2])
        self.folder.write("best/model.ckpt", _state_bytes(model))
        return trial, model

    def picked_by(self, cost: CostModel) -> GatePlan | None:
        """Return the plan that the recipe's rule would pick at other prices, by the short trainings of the search.

        Plans that were retrained and turned down stay so. None where no plan keeps the latency, and in a run folder
        whose trials have not kept how many windows pass.
        """
        turned_down = {path.stem for path in self.folder.path.glob("logs/gated-*.ckpt")}
        turned_down -= {f"gated-{self.picked.plan.digest}"}
        trials = []
        for trial in self.result.complete:
            if not trial.seen or not trial.objectives or f"gated-{trial.plan.digest}" in turned_down:
                continue
            if self._too_late(cost, trial.plan) > 0:
                continue
            price = cost.price(trial.plan, trial.seen["passed"], observed=trial.seen["layers"])
            anew = Objectives(trial.objectives.accuracy, price.expected_latency_us, price.energy.total_uj)
            trials.append(replace(trial, objectives=anew))
        found = SearchResult(tuple(trials))
        return self._by_preference(found)[0].plan if found.front else None

    def _by_preference(self, result: SearchResult) -> list[Trial]:
        return result.ranked(self.recipe.pick.objective, self.recipe.pick.tolerance)

    @property
    def picked(self) -> Trial:
        """The trial whose plan was chosen."""
        return self.chosen[0]

    @property
    def model(self) -> GatedModel:
        """The chosen plan, retrained and calibrated."""
        return self.chosen[1]

    @cached_property
    def reference(self) -> GatedModel:
        """The ungated backbone, retrained the same way: the rival of every claim."""
        return self.retrain("ungated", self.cost.ungated()[0])

    def retrain(self, name: str, plan: GatePlan, gates: GateSettings | None = None) -> GatedModel:
        """Train a plan from the baseline's weights by the recipe's ``retrain`` and set its thresholds.

        Args:
            name: of its checkpoint and curves under logs/.
            plan: what to build.
            gates: how its gates are trained; None as the recipe says.
        """
        s = self.setting
        model = self.built(plan)
        self._trained(name, model, s.schedule(self.recipe.retrain), gates)
        calibrate(model, s.features.validation, s.features.positive)
        return model

    @cached_property
    def calibration(self) -> Tensor:
        """Training features [n, *shape], drawn by the seed, that set the ranges of what is exported."""
        train = self.setting.features.train
        generator = torch.Generator().manual_seed(self.recipe.seed)
        order = torch.randperm(len(train.labels), generator=generator)[: self.recipe.export.calibration_samples]
        return train.features[order]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The bundle, written."""
        path = self.folder / "best" / "bundle"
        if not (path / "manifest.json").exists():
            console.say("export: lowering, quantising, compiling for each core")
            with tools_in_one_line():
                export_step.write(self, path)
        manifest = load_manifest(path)
        for k, stage in enumerate(manifest["stages"][:-1]):
            # The thresholds that hold are those of the artifacts; a resumed run has the trained ones still.
            self.model.gate(k).theta.fill_(stage["gate"]["theta"])
            self.model.answers[k] = stage["gate"]["answer"]
        return manifest

    @cached_property
    def parity(self) -> verification.Parity:
        """The bundle against the model, over the whole test split."""
        assert self.manifest
        loaded = Bundle(self.folder / "best" / "bundle")
        features = self.setting.features.test.features
        with console.progress(len(features), "verify") as bar:
            parity = verification.verify(loaded, self.model, features, bar.advance)
        return parity

    @cached_property
    def streaming(self) -> streaming.Streaming:
        """The bundle against the ungated .tflite on one stream, on this host."""
        s = self.setting
        windows = streaming.stream(
            s.features.test, s.data.kind_names, self.recipe.stream.shares, STREAM_WINDOWS, self.recipe.seed
        )
        cores = {core.name: "litert" for core in s.device.cores}
        return streaming.measure(
            Bundle(self.folder / "best" / "bundle", cores),
            (self.folder / "best" / "ungated.tflite").read_bytes(),
            windows,
        )

    def quality(self, model: GatedModel) -> Figures:
        """Return the figures of a model on the test split."""
        return self._quality(model, "test")

    def histories(self) -> dict[str, History]:
        """Return the learning curves that are there so far."""
        names = {"baseline": "baseline", "ungated": "ungated", "gated": f"gated-{self.picked.plan.digest}"}
        found = {shown: self.folder.read_json(f"logs/{name}.json") for shown, name in names.items()}
        return {name: History(**curve) for name, curve in found.items() if curve is not None}

    def seconds(self) -> dict[str, float]:
        """Return the time that steps took, over all sessions of the run."""
        return dict(self.folder.read_json("logs/seconds.json") or {})

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the time of a block to the run's account."""
        started = time.monotonic()
        try:
            yield
        finally:
            self._add_seconds(name, time.monotonic() - started)

    def _add_seconds(self, name: str, seconds: float) -> None:
        account = self.seconds()
        account[name] = account.get(name, 0.0) + seconds
        self.folder.write_json("logs/seconds.json", account)

    def built(self, plan: GatePlan) -> GatedModel:
        """Put a plan's gates into the trained backbone; where they start depends on the seed and the plan alone."""
        s = self.setting
        torch.manual_seed(seed_of(self.recipe.seed, plan))
        return GatedModel(self.backbone, plan, s.sites, s.outputs, self.saliency, s.layers)

    def _untrained(self) -> GatedModel:
        s = self.setting
        return _channels_last(GatedModel(s.backbone, GatePlan(), s.sites, s.outputs))

    def _trained(
        self,
        name: str,
        model: GatedModel,
        schedule: Schedule,
        gates: GateSettings | None = None,
        task: Callable[..., GatedTask] = GatedTask,
    ) -> None:
        """Train a model, or load it where it was trained before."""
        # As training leaves it, so that a resumed run computes bit for bit what an unbroken one does.
        _channels_last(model)
        path = self.folder / ("baseline.ckpt" if name == "baseline" else f"logs/{name}.ckpt")
        if path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
            model.eval()
            return
        s = self.setting
        with console.progress(schedule.epochs, f"train {name.partition('-')[0]}") as bar:
            history = fit(
                model,
                s.features,
                schedule,
                gates or s.gates,
                seed=seed_of(self.recipe.seed, model.plan),
                goal=s.goal,
                augment=s.augment,
                log_dir=self.folder / "logs" / name,
                on_epoch=bar.advance,
                task=task,
            )
        self.folder.write_json(f"logs/{name}.json", asdict(history))
        self.folder.write(str(path.relative_to(self.folder.path)), _state_bytes(model))

    def _quality(self, model: GatedModel, split: str) -> Figures:
        s = self.setting
        return s.goal.assess(model, getattr(s.features, split))

    def price_violations(self, plan: GatePlan) -> dict[str, float]:
        """Return by how much a plan breaks each constraint that cost alone decides."""
        violations = dict(self.cost.violations(plan))
        if self.recipe.constraints.latency_ms is not None:
            violations["latency_ms"] = self._too_late(self.cost, plan)
        return violations

    def affordable(self, plan: GatePlan) -> bool:
        """Say whether a plan keeps each constraint that cost alone decides."""
        return all(over <= 0 for over in self.price_violations(plan).values())

    def _too_late(self, cost: CostModel, plan: GatePlan) -> float:
        """Return by how many milliseconds a plan's longest path exceeds the limit; below zero where it does not."""
        limit = self.recipe.constraints.latency_ms
        return -math.inf if limit is None else cost.bound(plan).longest_latency_us / 1e3 - limit

    def _quality_violations(self, quality: Figures, standard: float) -> dict[str, float]:
        broken = self.setting.goal.limits
        return {
            key.partition("_")[2].removesuffix("_drop").replace("_", " "): broken[key](quality, standard, limit)
            for key, limit in self.recipe.constraints.quality.items()
            if limit is not None
        }


def seed_of(seed: int, plan: GatePlan) -> int:
    """Return the seed of the trainings of a plan's gates, whatever its cores, in a run of a seed."""
    return (seed * 1_000_003 + int(GatePlan(plan.gates).digest[:7], 16)) % 2**31


def _channels_last(model: GatedModel) -> GatedModel:
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _state_bytes(model: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.getvalue()
