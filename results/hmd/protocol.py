"""How the rows are trained: a short protocol for one core of a CPU, and a full one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt


class Protocol(BaseModel):
    """One way to train every row; all of it can be changed on the command line.

    Args:
        start: ``scratch`` lets every row start from chance, as the papers do; ``trained`` lets compressed layers start
            from the dense row's weights, as a run of gatesearch does.
        kws_epochs, har_epochs: passes over the training split.
        lm_steps: steps of the language model.
        batch_size: windows a step.
        rate: peak of AdamW's rate, which rises for a tenth of the steps and falls along half a cosine.
        weight_decay, label_smoothing, dropout: of all trainings; the language model is not smoothed.
        width: multiplies the units of every recurrent layer.
        characters: of the text, None for all of it; a tenth each is for validation and test.
        clips_per_class, windows_per_subject: size of the synthetic sets, where no recordings are given.
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
# Recordings, and what stands for the user's own paths to them.
DATA_SETS: Mapping[str, str] = {"speech": "SPEECH_COMMANDS", "har": "har_windows.npz"}
PROTOCOLS: Mapping[str, Protocol] = {"short": SHORT, "full": FULL}
