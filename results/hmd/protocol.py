"""The settings of all trainings of the ``hmd`` benchmark: a short protocol, for one CPU core, and a full one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt


class Protocol(BaseModel):
    """The training settings of every compared network; the command line can change each of them.

    Args:
        start: initial weights of compressed layers. ``scratch``: random weights, as in the papers. ``trained``: a fit
            to the trained dense network, as in a gatesearch run.
        kws_epochs, har_epochs: passes over the training split, for keywords and for human activities.
        lm_steps: training steps of the language model.
        batch_size: windows in a batch.
        rate: peak learning rate of AdamW; the rate rises for a tenth of the steps and falls along half a cosine.
        weight_decay, label_smoothing, dropout: the same in all trainings; the language model has no label smoothing.
        width: factor by which the number of units of every recurrent layer is multiplied.
        characters: length of the language model's text; None: the whole text; validation and test get a tenth each.
        clips_per_class, windows_per_subject: size of the synthetic data sets, which replace missing recordings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Literal["scratch", "trained"]
    kws_epochs: PositiveInt
    har_epochs: PositiveInt
    lm_steps: PositiveInt
    batch_size: PositiveInt
    rate: PositiveFloat
    weight_decay: NonNegativeFloat
    label_smoothing: float = Field(ge=0, lt=1)
    dropout: float = Field(ge=0, lt=1)
    width: PositiveFloat
    characters: PositiveInt | None
    clips_per_class: PositiveInt
    windows_per_subject: PositiveInt


SHORT = Protocol(
    start="scratch",
    kws_epochs=18,
    har_epochs=8,
    lm_steps=320,
    batch_size=64,
    rate=0.005,
    weight_decay=0.01,
    label_smoothing=0.05,
    dropout=0.1,
    width=1.0,
    characters=None,
    clips_per_class=200,
    windows_per_subject=130,
)
FULL = SHORT.model_copy(update={"kws_epochs": 80, "har_epochs": 40, "lm_steps": 4000})
# Data sets of recordings, each with the word that replaces the user's own path in published commands.
DATA_SETS: Mapping[str, str] = {"speech": "SPEECH_COMMANDS", "har": "har_windows.npz"}
PROTOCOLS: Mapping[str, Protocol] = {"short": SHORT, "full": FULL}
