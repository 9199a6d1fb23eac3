"""Searches for gates in an Optuna study of your own: GateSampler proposes plans, your code trains them."""

# --8<-- [start:problem]
import optuna
import torch
from torch import nn

from gatesearch import GatedModel, GatePlan, GateSampler
from gatesearch.graph.sites import cut_sites
from gatesearch.search import build_space

TRIALS, STEPS = 8, 30
SHARES = {"positive": 0.1, "other": 0.9}  # of the windows that the device meets in use
random = torch.Generator().manual_seed(0)


def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images [count, 1, 12, 12] and labels [count]; a third of the images has a bright half: label 1 or 2."""
    images = 0.3 * torch.randn(count, 1, 12, 12, generator=random)
    labels = torch.randint(0, 9, (count,), generator=random).clamp(min=6) - 6
    images[labels == 1, :, :6] += 1
    images[labels == 2, :, 6:] += 1
    return images, labels


train, test = draw(240), draw(240)
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
# --8<-- [end:problem]
# --8<-- [start:space]
sites = cut_sites(network, train[0][:1])
space = build_space(
    sites,
    cores=("mcu", "npu"),
    kinds={"gc": {"mode": ["channel"], "keep": [0.5, 1.0], "recall": [0.95, 0.99]}},
    max_gates=2,
)
print(f"{len(space)} plans over the sites {', '.join(site.name for site in sites)}")
# --8<-- [end:space]


# --8<-- [start:costs]
ENERGY_UJ_PER_MAC = {"mcu": 2e-4, "npu": 5e-5}  # figures of your device; the first core listens all the time
LATENCY_US_PER_MAC = {"mcu": 2e-2, "npu": 1e-3}


def stage_costs(plan: GatePlan) -> list[tuple[float, float]]:
    """Return latency and energy: first of what always runs, then of each stage of a plan."""
    whole = max(site.macs_before + site.macs_after for site in sites)
    ends = [*(next(site for site in sites if site.name == gate.site).macs_before for gate in plan.gates), whole]
    stages = zip([0, *ends], ends, plan.cores, strict=False)
    return [
        (0.0, 0.0),
        *(
            ((end - begin) * LATENCY_US_PER_MAC[core], (end - begin) * ENERGY_UJ_PER_MAC[core])
            for begin, end, core in stages
        ),
    ]


# --8<-- [end:costs]
# --8<-- [start:objective]
def objective(trial: optuna.Trial) -> tuple[float, float, float]:
    """Train a plan, and return its accuracy, latency and energy."""
    plan = space.propose(trial)
    model = GatedModel(network, plan, sites, outputs=3)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    images, labels = train
    for _ in range(STEPS):
        output = model(images)
        loss = nn.functional.cross_entropy(output.logits, labels)
        for gate in output.gates:  # a gate learns to tell windows with an event from all others
            loss = loss + nn.functional.binary_cross_entropy_with_logits(gate.logit, (labels > 0).float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        for gate, outcome in zip(model.cut_gates, model(images).gates, strict=True):
            gate.calibrate(outcome.logit, labels > 0)  # to the plan's recall
    images, labels = test
    cascade = model.cascade(images)
    answers = cascade.logits.nan_to_num(0.0).argmax(1)  # a window that a gate stops gets class 0
    # GateSampler learns from the share of each kind of window that reaches each stage.
    kinds = {"positive": labels > 0, "other": labels == 0}
    reach = {
        kind: [float((cascade.exit[chosen] >= stage).float().mean()) for stage in range(len(plan.cores))]
        for kind, chosen in kinds.items()
    }
    trial.set_user_attr("passed", reach)
    always, *stages = stage_costs(plan)
    shares = [sum(SHARES[kind] * reach[kind][stage] for kind in SHARES) for stage in range(len(stages))]
    latency, energy = (
        always[k] + sum(share * stage[k] for share, stage in zip(shares, stages, strict=True)) for k in range(2)
    )
    return float((answers == labels).float().mean()), latency, energy


# --8<-- [end:objective]
# --8<-- [start:study]
optuna.logging.set_verbosity(optuna.logging.WARNING)
sampler = GateSampler(space, stage_costs, shares=SHARES, seed=0)
study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
study.optimize(objective, n_trials=TRIALS)
for trial in sorted(study.best_trials, key=lambda trial: trial.values[2]):
    accuracy, latency, energy = trial.values
    print(f"{100 * accuracy:.0f} %  {latency:8.1f} us  {energy:6.2f} uJ  {space.read(trial.params)}")
# --8<-- [end:study]
