"""The tasks of the ``hmd`` benchmark: keywords, human activities, and a language model of characters.

A task has labelled sequences and a recurrent network for them.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatesearch.backbones.recurrent import CELLS, RecurrentNet
from gatesearch.data import Dataset, load_dataset
from gatesearch.frontends import build
from results.hmd.protocol import Protocol

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 0  # the splits are the same for every seed of a training
# As in "Hello Edge" (Zhang et al. 2017), the input of recurrent networks has frames of 40 ms without overlap, which are
# 25 frames a second.
MFCC = {"coefficients": 10, "window_ms": 40.0, "stride_ms": 40.0, "fft": 1024}
AVERAGE = 4  # each step of the input is the mean over this number of recorded time steps (activities)
WINDOW = 64  # characters in a window of the language model
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
NEGATIVES = {"_silence_": ["_silence_", "_background_noise_"], "_unknown_": ["*"]}


@dataclass(frozen=True)
class Task:
    """The data and the network of one task.

    Args:
        name: key of :data:`results.hmd.rows.TASKS`.
        splits: inputs [N, ...] and labels [N] of each split; for the language model, inputs and labels are the same
            characters [N].
        build: a function that returns the untrained network for a number of recurrent units and a dropout.
        hidden: number of recurrent units of the network with dense matrices, before the protocol's factor ``width``.
        source: the origin of the data, for the page.
        synthetic: whether the data are generated; False for recordings and text.
    """

    name: str
    splits: Mapping[str, tuple[Tensor, Tensor]]
    build: Callable[[int, float], nn.Module]
    hidden: int
    source: str
    synthetic: bool

    @property
    def is_language(self) -> bool:
        """Whether the network predicts the next character at every step."""
        return self.name == "lm"

    @property
    def example(self) -> Tensor:
        """One input, with a batch dimension."""
        inputs = self.splits["train"][0]
        return inputs[None, :WINDOW] if self.is_language else inputs[:1]


class CharacterModel(nn.Module):
    """An LSTM language model, from characters [N, T] to logits [N, T, vocabulary] of the next characters.

    The state is zero before the first character.

    Args:
        vocabulary: number of different characters.
        hidden: units of the LSTM.
        embedding: size of the vector of a character.
        dropout: share of values that are dropped before the linear layer.
    """

    def __init__(self, vocabulary: int, hidden: int, embedding: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.rnn = nn.ModuleList([CELLS["lstm"](embedding, hidden, batch_first=True)])
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, vocabulary)

    def forward(self, characters: Tensor) -> Tensor:
        """Return the logits of the next characters, [N, T, vocabulary]."""
        hidden, _ = self.rnn[0](self.embedding(characters))
        logits: Tensor = self.classifier(self.dropout(hidden))
        return logits


def load(name: str, protocol: Protocol, roots: Mapping[str, str | None]) -> Task:
    """Load a task.

    Args:
        name: key of :data:`results.hmd.rows.TASKS`.
        protocol: sizes of the synthetic data sets and length of the text.
        roots: folder of the recordings of ``speech`` and ``har``; None means synthetic data.
    """
    return LOADERS[name](name, protocol, roots)


def _load_keywords(name: str, protocol: Protocol, roots: Mapping[str, str | None]) -> Task:
    data = load_dataset(
        "speech",
        root=roots.get("speech"),
        positives=list(WORDS),
        negatives=NEGATIVES,
        seed=SPLIT_SEED,
        clips_per_class=protocol.clips_per_class,
    )
    cell = name.removeprefix("kws_")
    return _build_task(name, data, "mfcc", MFCC, {"cell": cell}, {"lstm": 118, "gru": 154}[cell])


def _load_activities(name: str, protocol: Protocol, roots: Mapping[str, str | None]) -> Task:
    data = load_dataset("har", root=roots.get("har"), seed=SPLIT_SEED, windows_per_subject=protocol.windows_per_subject)
    return _build_task(name, data, "sequence", {"average": AVERAGE}, {"cell": "lstm", "bidirectional": True}, 64)


def _build_task(
    name: str, data: Dataset, frontend: str, settings: Mapping[str, Any], net: Mapping[str, Any], hidden: int
) -> Task:
    """Return the task of a data set: the features of every split, and the network for them.

    Args:
        name: name of the task.
        data: the data set.
        frontend: name of the front end.
        settings: settings of the front end.
        net: arguments of :class:`RecurrentNet`.
        hidden: number of recurrent units of the network with dense matrices.
    """
    compute_features = build(frontend, **settings).fit(data.train.inputs)
    splits = {}
    for split in SPLITS:
        part = getattr(data, split)
        splits[split] = (torch.cat([compute_features(chunk) for chunk in part.inputs.split(256)]), part.labels)
    shape = tuple(splits["train"][0].shape[1:])

    def build_network(units: int, dropout: float) -> nn.Module:
        return RecurrentNet(num_classes=len(data.classes), input_shape=shape, hidden=units, dropout=dropout, **net)

    return Task(name, splits, build_network, hidden, data.source, data.synthetic)


def _load_text(name: str, protocol: Protocol, roots: Mapping[str, str | None]) -> Task:
    from pydoc_data.topics import topics

    text = "\n".join(topics[key] for key in sorted(topics))[: protocol.characters]
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    alphabet = sorted(set(text))
    stream = torch.tensor([alphabet.index(c) for c in text])
    tenth = len(stream) // 10  # length of the validation split, and of the test split
    parts = stream.split([len(stream) - 2 * tenth, tenth, tenth])
    return Task(
        name,
        {split: (part, part) for split, part in zip(SPLITS, parts, strict=True)},
        lambda units, dropout: CharacterModel(len(alphabet), units, dropout=dropout),
        200,
        f"the topics of Python's own help (pydoc_data.topics of {platform.python_version()}, sha256 {digest}): "
        f"{len(text):,} characters, {len(alphabet)} different ones, the last two tenths for validation and test",
        synthetic=False,
    )


LOADERS: Mapping[str, Callable[[str, Protocol, Mapping[str, str | None]], Task]] = {
    "kws_lstm": _load_keywords,
    "kws_gru": _load_keywords,
    "har_bilstm": _load_activities,
    "lm": _load_text,
}
