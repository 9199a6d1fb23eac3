"""Valid data sets, ways to damage them, and the error or warning that each damage has to give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from gatesearch.data import Dataset, Split

SPLITS = ("train", "validation", "test")
KINDS = ("float sound", "int16 sound", "images")
SOUND = KINDS[:2]
CLASSES, POSITIVE = ("yes", "no", "hum"), (True, True, False)
COUNT, SAMPLES = 12, 40
Raw = dict[str, Any]  # the arguments of a Dataset, each split as a dict of inputs, labels and names
Change = Callable[[Any], Any]


class Damage(NamedTuple):
    """A way to damage a data set.

    Args:
        apply: function that damages the arguments in place.
        message: pattern of the error or warning that has to follow.
        kinds: kinds of data that can be damaged in this way.
    """

    apply: Callable[[Raw], None]
    message: str
    kinds: tuple[str, ...] = KINDS


def raw_dataset(seed: int = 0, kind: str = "float sound") -> Raw:
    """Return the arguments of a valid data set of random numbers."""
    generator = np.random.default_rng(seed)
    raw: Raw = {"name": "toy", "source": "made here", "synthetic": True, "classes": CLASSES, "positive": POSITIVE}
    for name in SPLITS:
        names = tuple(f"{name}/{index}.wav" for index in range(COUNT))
        raw[name] = {"inputs": _inputs(generator, kind), "labels": torch.arange(COUNT) % 3, "names": names}
    return raw | {"sample_rate": None if kind == "images" else 16000}


def build(raw: Mapping[str, Any]) -> Dataset:
    return Dataset(**{**raw, **{name: Split(**raw[name]) for name in SPLITS}})


def _inputs(generator: np.random.Generator, kind: str) -> torch.Tensor:
    if kind == "images":
        return torch.tensor(generator.integers(0, 256, (COUNT, 3, 6, 6)), dtype=torch.uint8)
    waves = torch.tensor(generator.uniform(-0.6, 0.6, (COUNT, SAMPLES)))
    return (waves * 32768).to(torch.int16) if kind == "int16 sound" else waves.float()


def one(split: str, key: str, change: Change) -> Callable[[Raw], None]:
    """Return a function that changes one array of one split."""

    def apply(raw: Raw) -> None:
        raw[split][key] = change(raw[split][key])

    return apply


def each(key: str, change: Change) -> Callable[[Raw], None]:
    """Return a function that changes one array in every split."""

    def apply(raw: Raw) -> None:
        for split in SPLITS:
            raw[split][key] = change(raw[split][key])

    return apply


def assign(**values: Any) -> Callable[[Raw], None]:
    return lambda raw: raw.update(values)


def put(split: str, index: int, value: float) -> Callable[[Raw], None]:
    """Return a function that converts all splits to float and replaces the last value of one sample."""

    def apply(raw: Raw) -> None:
        for name in SPLITS:
            inputs = raw[name]["inputs"]
            scale = 1.0 if inputs.is_floating_point() else torch.iinfo(inputs.dtype).max
            raw[name]["inputs"] = inputs.float() / scale
        raw[split]["inputs"][index, ..., -1] = value

    return apply


def copy_split(source: str, target: str) -> Callable[[Raw], None]:
    return lambda raw: raw[target].update(raw[source])


def leak(raw: Raw) -> None:
    raw["test"]["inputs"] = torch.cat([raw["train"]["inputs"][:2], raw["test"]["inputs"][2:]])


def empty(raw: Raw) -> None:
    raw["validation"] = {key: values[:0] for key, values in raw["validation"].items()}


def single(raw: Raw) -> None:
    raw["train"] = {key: values[:1] for key, values in raw["train"].items()}


def other_unit(raw: Raw) -> None:
    each("inputs", lambda x: x.float())(raw)
    one("test", "inputs", lambda x: x / 255)(raw)


def other_type(inputs: torch.Tensor) -> torch.Tensor:
    return inputs.to(torch.int16) if inputs.is_floating_point() else inputs.float()


ALL_NEGATIVE: Change = lambda labels: torch.full_like(labels, 2)  # noqa: E731

REFUSED: dict[str, Damage] = {
    "nan": Damage(put("train", 3, float("nan")), r"train split, sample 3 \('train/3.wav'\) holds nan at \["),
    "nan in the test": Damage(put("test", 7, float("nan")), "test split, sample 7 .* holds nan"),
    "infinity": Damage(put("validation", 0, float("-inf")), "validation split, sample 0 .* holds -inf"),
    "beyond float32": Damage(each("inputs", lambda x: x.double() * 1e300), "holds -?inf"),
    "one huge value": Damage(put("train", 2, 1e29), "train split, sample 2 .* reaches 1e.29"),
    "int16 in float": Damage(each("inputs", lambda x: x.float() * 32768), "reaches .*, as sound in int16", SOUND[:1]),
    "int16 in int32": Damage(each("inputs", lambda x: x.int()), "int32 but reach .* wanted: int16", SOUND[1:]),
    "uint8 in int32": Damage(each("inputs", lambda x: x.int()), "int32 but reach .* wanted: uint8", KINDS[2:]),
    "int64": Damage(each("inputs", lambda x: x.long()), "inputs are int64; wanted: (uint8|int16)"),
    "sound in uint8": Damage(each("inputs", lambda x: (x / 256 + 128).to(torch.uint8)), "128 is silence", SOUND[1:]),
    "bool inputs": Damage(each("inputs", lambda x: x > 0), "inputs are bool"),
    "complex inputs": Damage(each("inputs", lambda x: x.float() + 1j), "inputs are complex64"),
    "a list of arrays": Damage(each("inputs", list), r"inputs are a list; wanted: torch.stack\(inputs\)"),
    "ragged arrays": Damage(each("inputs", lambda _: np.array([[1], [1, 2]], object)), "array of object"),
    "text": Damage(each("inputs", lambda _: np.array([["a"]] * COUNT)), "numpy array of <U1"),
    "a masked array": Damage(one("train", "inputs", lambda x: np.ma.masked_array(x.numpy())), "has no mask"),
    "a sparse tensor": Damage(one("train", "inputs", lambda x: x.float().to_sparse()), "wanted: a dense one"),
    "no feature": Damage(each("inputs", lambda x: x.flatten(1)[:, 0]), r"inputs are \[12\]"),
    "features of no length": Damage(each("inputs", lambda x: x[..., :0]), r"inputs are \[12, .*0\]"),
    "another type": Damage(one("test", "inputs", other_type), "splits differ in type: the test split is"),
    "another shape": Damage(one("test", "inputs", lambda x: x[..., 1:]), "splits differ in shape: .* test split"),
    "another unit": Damage(other_unit, "wanted: all splits in one unit", (KINDS[0], KINDS[2])),
    "one-hot labels": Damage(each("labels", lambda y: torch.eye(3)[y]), r"wanted: labels.argmax\(1\)"),
    "float labels": Damage(each("labels", lambda y: y.float()), "labels are float32; wanted: class indices"),
    "labels of nan": Damage(one("test", "labels", lambda y: y * float("nan")), "labels are float32"),
    "bool labels": Damage(one("train", "labels", lambda y: y > 0), "labels are bool"),
    "labels in a column": Damage(each("labels", lambda y: y[:, None]), r"wanted: \[N\], such as labels\[:, 0\]"),
    "names as labels": Damage(each("labels", lambda y: [CLASSES[i] for i in y.tolist()]), "wanted: class indices"),
    "labels from 1": Damage(each("labels", lambda y: y + 1), r"sample 2 \(.*\): label 3 lies outside the 3 classes"),
    "a label of -1": Damage(one("test", "labels", lambda y: y - 1), "test split, sample 0 .*label -1 lies outside"),
    "a label too few": Damage(one("train", "labels", lambda y: y[:-1]), "12 inputs, 11 labels, 12 names"),
    "a name too few": Damage(one("test", "names", lambda names: names[1:]), "12 inputs, 12 labels, 11 names"),
    "numbers as names": Damage(one("test", "names", lambda _: range(COUNT)), r"names\[0\] is 0; wanted: text"),
    "one string of names": Damage(one("test", "names", lambda _: "abcdefghijkl"), "names are 'abcdefghijkl'"),
    "no names": Damage(one("test", "names", lambda _: None), "names are None"),
    "one sample to learn from": Damage(single, "the train split has 1 sample"),
    "an empty split": Damage(empty, "the validation split is empty"),
    "no positive to learn": Damage(one("train", "labels", ALL_NEGATIVE), "the train split has no positive"),
    "no positive to calibrate": Damage(one("validation", "labels", ALL_NEGATIVE), "validation split has no positive"),
    "no positive to test": Damage(one("test", "labels", ALL_NEGATIVE), "the test split has no positive"),
    "one label": Damage(each("labels", lambda y: y * 0), "validation split has no sample of class 'hum'"),
    "no positive class": Damage(assign(positive=(False,) * 3), "no class is a positive"),
    "a kind without samples": Damage(assign(classes=(*CLASSES, "rain"), positive=(*POSITIVE, False)), "class 'rain'"),
    "a class named twice": Damage(assign(classes=("yes", "yes", "hum")), "'yes' is named more than once"),
    "one name in two forms": Damage(assign(classes=("é", "e\u0301", "hum")), "is named more than once"),
    "a name and a space": Damage(assign(classes=("yes", "yes ", "hum")), "is named more than once"),
    "a negative named positive": Damage(assign(classes=("yes", "no", "positive")), "negative class 'positive' has"),
    "a class without a name": Damage(assign(classes=("yes", "", "hum")), "'' names a class"),
    "a number as a class": Damage(assign(classes=(0, 1, 2)), "0 names a class; wanted: text"),
    "one string of classes": Damage(assign(classes="abc"), "classes are 'abc'"),
    "no classes": Damage(assign(classes=(), positive=()), r"classes are \(\)"),
    "numbers as flags": Damage(assign(positive=(0, 1, 0)), "positive holds 0; wanted: True or False"),
    "a flag too few": Damage(assign(positive=(True, False)), "3 classes but 2 positive flags"),
    "the training split as the test": Damage(copy_split("train", "test"), "every sample of the train split is in the"),
    "a validation split out of training": Damage(copy_split("train", "validation"), "every sample of the train split"),
    "no sample rate": Damage(assign(sample_rate=0), "sample_rate is 0"),
    "a sample rate in text": Damage(assign(sample_rate="16k"), "sample_rate is '16k'"),
    "a sample rate of nan": Damage(assign(sample_rate=float("nan")), "sample_rate is nan"),
    "short noise": Damage(assign(noise=torch.zeros(2, 3)), "shorter than a clip"),
    "flat noise": Damage(assign(noise=torch.zeros(40)), "noise are|shorter than a clip"),
    "noise of nan": Damage(assign(noise=torch.full((2, SAMPLES), float("nan"))), "noise is not finite"),
    "no name": Damage(assign(name=None), "name is None; wanted: text"),
}

DOUBTED: dict[str, Damage] = {
    "silence": Damage(
        one("train", "inputs", lambda x: torch.cat([0 * x[:3], x[3:]])),
        r"1 of 4 samples of 'yes' in the train split is constant, first: sample 0 \('train/0.wav'\)",
    ),
    "a leak": Damage(
        leak, r"2 samples of the test split are in the train split, too, first: 'train/0.wav' \(train 0\)"
    ),
    "a repeated sample": Damage(
        one("train", "inputs", lambda x: torch.cat([x[:9], x[:3]])), "3 samples of the train split repeat another"
    ),
    "two labels of one sample": Damage(
        one("train", "inputs", lambda x: torch.cat([x[1:2], x[1:]])), "equal samples have two labels: 'train/0.wav'"
    ),
    "a repeated name": Damage(
        one("test", "names", lambda names: ("a.wav",) * 2 + names[2:]), "1 names of the test split are given more"
    ),
    "a class that nobody learns": Damage(
        one("train", "labels", lambda y: torch.where(y == 1, 0, y)), "the train split has no sample of 'no'"
    ),
    "clipped sound": Damage(
        each("inputs", lambda x: (x.int() * 4).clamp(-32768, 32767).short()), "clipped at full scale", SOUND[1:]
    ),
    "sound beyond full scale": Damage(each("inputs", lambda x: x * 3), "beyond full scale", SOUND[:1]),
    "bits as bytes": Damage(each("inputs", lambda x: x % 2), "uint8 but reach 1 of 255", KINDS[2:]),
    "channels last": Damage(each("inputs", lambda x: x.permute(0, 2, 3, 1)), "look like .height, width", KINDS[2:]),
    "noise without sound": Damage(assign(noise=torch.zeros(1, SAMPLES)), "there is no sample_rate", KINDS[2:]),
}
