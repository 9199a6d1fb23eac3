"""Finds gates for a network and data of your own, in one call."""

# --8<-- [start:data]
import torch
from torch import nn

import gatesearch
from gatesearch.data import Dataset, Split

random = torch.Generator().manual_seed(0)


def draw(count: int) -> Split:
    """Return images [count, 1, 8, 8] that are bright at the top, bright at the bottom, or dark."""
    labels = torch.arange(count) % 3
    images = 0.3 * torch.randn(count, 1, 8, 8, generator=random)
    images[labels == 0, :, :4] += 1
    images[labels == 1, :, 4:] += 2
    return Split(images, labels, tuple(f"image {number}" for number in range(count)))


data = Dataset(
    name="halves",
    source="drawn by this tutorial",
    synthetic=True,
    classes=("top", "bottom", "dark"),
    positive=(True, True, False),  # the device wakes for the first two classes
    train=draw(150),
    validation=draw(90),
    test=draw(90),
)
# --8<-- [end:data]
# --8<-- [start:network]
torch.manual_seed(0)
network = nn.Sequential(
    nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()),
    nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(8, 3),
)
# --8<-- [end:network]
# --8<-- [start:run]
run = gatesearch.run(
    network,
    data,
    space={
        "gates": {"min": 0, "max": 1},
        "sites": ["0"],
        "kinds": {"gc": {"mode": ["channel"], "keep": [0.5, 1.0], "recall": [0.95]}},
    },
    stream={"period_s": 1.0, "shares": {"positive": 0.05, "dark": 0.95}},
    device="stm32u385",
    training={"epochs": 20, "batch_size": 10},
    search={"trials": 3, "epochs": 3},
    retrain={"epochs": 5},
    export={"formats": ["tflite"]},
    cost={"timing_seconds": 1},
    constraints={"max_accuracy_drop": 0.1, "min_gate_recall": None},
    verify={"gate_agreement": 0.9, "prediction_agreement": 0.9},  # 90 images are few
)
# --8<-- [end:run]
# --8<-- [start:use]
print(run.plan)
cascade = run.model.cascade(data.test.inputs)  # in PyTorch, window by window as on the device
bundle = gatesearch.Bundle(run.folder.path / "best/bundle")  # the int8 programs
print(bundle(data.test.inputs[0].numpy()))
# --8<-- [end:use]
