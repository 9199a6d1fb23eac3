"""Trains gates in a LightningModule of your own: GatedModel is a module like any other."""

# --8<-- [start:data]
import logging

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from gatesearch import GatedModel, GatePlan
from gatesearch.graph.sites import cut_sites
from gatesearch.plan import PlacedGate

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
random = torch.Generator().manual_seed(0)


def draw(count: int) -> tuple[Tensor, Tensor]:
    """Return images [count, 1, 12, 12] and labels [count]; two of nine images have a bright half: label 1 or 2."""
    images = 0.3 * torch.randn(count, 1, 12, 12, generator=random)
    labels = torch.randint(0, 9, (count,), generator=random).clamp(min=6) - 6
    images[labels == 1, :, :6] += 1
    images[labels == 2, :, 6:] += 1
    return images, labels


train, validation, test = draw(600), draw(300), draw(300)
# --8<-- [end:data]
# --8<-- [start:model]
torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 8, 3),
    nn.ReLU(),
    nn.Conv2d(8, 16, 3),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(16, 3),
)
sites = cut_sites(network, train[0][:1])
plan = GatePlan((PlacedGate.of("gc", "1", mode="channel", keep=0.5, recall=0.95),), ("mcu", "npu"))
model = GatedModel(network, plan, sites, outputs=3)
# --8<-- [end:model]


# --8<-- [start:module]
class Gated(pl.LightningModule):
    """Trains the network and its gates together."""

    def __init__(self, model: GatedModel) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Add to the loss of the network that of each gate, which tells windows with an event from all others."""
        images, labels = batch
        output = self.model(images)
        loss = nn.functional.cross_entropy(output.logits, labels)
        for gate in output.gates:
            loss = loss + nn.functional.binary_cross_entropy_with_logits(gate.logit, (labels > 0).float())
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Train all weights alike."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


trainer = pl.Trainer(
    max_epochs=6,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Gated(model), DataLoader(TensorDataset(*train), batch_size=50, shuffle=True))
# --8<-- [end:module]
# --8<-- [start:calibrate]
model.eval()
images, labels = validation
with torch.no_grad():
    for gate, output in zip(model.cut_gates, model(images).gates, strict=True):
        gate.calibrate(output.logit, labels > 0)  # sets the threshold that passes 95 % of the events
# --8<-- [end:calibrate]
# --8<-- [start:cascade]
images, labels = test
cascade = model.cascade(images)  # as on the device: a stopped window does not reach the second stage
stopped = cascade.exit == 0
print(f"the gate stops {100 * stopped[labels == 0].float().mean():.0f} % of windows without an event")
print(f"and {100 * stopped[labels > 0].float().mean():.0f} % of windows with one")
answers = cascade.logits.nan_to_num(0.0).argmax(1)  # a stopped window gets class 0
print(f"accuracy of the cascade: {100 * (answers == labels).float().mean():.0f} %")
# --8<-- [end:cascade]
