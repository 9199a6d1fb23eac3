"""Tests of training windows that each epoch draws from a stream: whole events in turn, hard negatives more often."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatesearch.data.scenes.window_labels import PARTIAL
from gatesearch.frontends import build
from gatesearch.graph.sites import cut_sites
from gatesearch.model import GatedModel
from gatesearch.plan import GatePlan
from gatesearch.training import GateSettings, Schedule, fit, prepare
from gatesearch.training.hard_negatives import find_hard_negatives
from gatesearch.training.stream_windows import StreamWindows
from tests.training.test_detection import HOP_S, RATE, WINDOW_S, Energy, data, loud_scene


def log_mel():
    return build(
        "log_mel", sample_rate=RATE, seconds=WINDOW_S, window_ms=100, stride_ms=50, fft=16, mel_bins=4, high_hz=50.0
    )


@pytest.fixture(scope="module")
def features():
    dataset = data(windows=100)
    return prepare(dataset, log_mel().fit(dataset.train.inputs), augment=None, renditions=1, seed=0)


def test_a_window_of_the_stream_has_the_features_and_the_label_of_its_samples(features):
    windows, front, dataset = features.windows, log_mel(), data(windows=100)
    front.fit(dataset.train.inputs)
    samples, stride = torch.from_numpy(dataset.streams["train"].samples), round(0.05 * RATE)
    events = dataset.streams["train"].events
    for index in range(0, len(windows.labels), 37):
        start = index * stride
        alone = front(samples[None, start : start + round(WINDOW_S * RATE)])
        torch.testing.assert_close(windows.features[index], alone[0], atol=1e-5, rtol=1e-5)
        begin, end = start / RATE, start / RATE + WINDOW_S
        holds_event = any(begin - 1e-9 <= event.start_s and event.end_s <= end + 1e-9 for event in events)
        overlaps_event = any(begin < event.end_s and event.start_s < end for event in events)
        assert int(windows.labels[index]) == (0 if holds_event else PARTIAL if overlaps_event else 1)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    count=st.integers(1, 200),
    share=st.floats(0, 1),
    hard_share=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_events_take_turns_and_shares_are_kept(sizes, count, share, hard_share, seed):
    torch.manual_seed(seed)
    events = torch.cat([torch.full((size,), number) for number, size in enumerate(sizes)] + [torch.full((20,), -1)])
    events = events[torch.randperm(len(events))]
    labels = (events < 0).long()
    labels[(events < 0).nonzero()[0]] = PARTIAL
    hard = (labels == 1).nonzero().flatten()[:3]
    windows = StreamWindows(events[:, None].float(), labels, events, count, share, hard=hard, hard_share=hard_share)
    drawn = windows.draw()
    positives = round(share * count)
    assert len(drawn) == count
    assert PARTIAL not in labels[drawn]
    turns = torch.bincount(events[drawn][events[drawn] >= 0], minlength=len(sizes))
    assert turns.sum() == positives
    assert turns.max() - turns.min() <= 1
    assert torch.isin(drawn, hard).sum() >= min(8 * len(hard), round(hard_share * (count - positives)))


def test_each_epoch_draws_other_windows_and_the_seed_says_which(features):
    torch.manual_seed(0)
    first, second = features.windows.draw(), features.windows.draw()
    torch.manual_seed(0)
    assert not torch.equal(first, second)
    assert torch.equal(first, features.windows.draw())


def test_data_without_a_training_stream_train_on_their_samples():
    dataset = data(windows=40)
    streams = {name: dataset.streams[name] for name in ("validation", "test")}
    changed = type(dataset)(
        **{name: getattr(dataset, name) for name in dataset.__dataclass_fields__} | {"streams": streams}
    )
    assert prepare(changed, log_mel().fit(dataset.train.inputs), augment=None, renditions=1, seed=0).windows is None


def test_without_shared_frames_the_samples_of_the_data_set_are_trained():
    dataset = data(windows=40)
    front = build("wave").fit(dataset.train.inputs)
    assert prepare(dataset, front, augment=None, renditions=1, seed=0).windows is None


def test_windows_are_drawn_only_for_a_training_without_augmentation():
    dataset = data(windows=40)
    front = log_mel().fit(dataset.train.inputs)
    augmented = prepare(dataset, front, augment=torch.nn.Identity(), renditions=2, seed=0)
    assert augmented.windows is None and augmented.bank.shape[1] == 2
    assert prepare(dataset, front, augment=None, renditions=1, seed=0, trains=False).windows is None
    assert prepare(dataset, front, augment=None, renditions=1, seed=0).windows is not None


class Loudness(Energy):
    """The network of the detection tests, for log-mel features: loud windows are events."""

    def forward(self, x):
        return self.head(self.square(x.flatten(2)).mean((1, 2))[:, None])


def gated(features):
    network = Loudness()
    return GatedModel(network, GatePlan(), cut_sites(network, features.train.features[:1]), (2,))


def test_hard_negatives_are_the_negatives_with_the_highest_posterior_of_an_event(features):
    model, windows = gated(features).eval(), features.windows
    hard = find_hard_negatives(model, windows, features.positive)
    candidates = windows.negatives[:: round(HOP_S / 0.05)]
    with torch.no_grad():
        posterior = model(windows.features[candidates]).logits.softmax(1)[:, 0]
    examined = min(len(candidates), 4 * windows.count)
    assert len(hard) == round(0.01 * examined)
    assert torch.isin(hard, candidates).all()
    # Random candidates were examined and their hardest hundredth returned, so few of all candidates may be harder.
    threshold = posterior[torch.isin(candidates, hard)].min()
    assert (posterior > threshold).float().mean() < 0.1


def test_a_training_looks_for_hard_negatives_only_if_the_schedule_has_a_share_for_them(features):
    fit(gated(features), features, Schedule(epochs=4, batch_size=20), GateSettings(), seed=1)
    assert len(features.windows.hard) == 0


def test_a_short_training_draws_the_hard_negatives_of_the_baseline(features):
    windows = features.windows
    windows.baseline_hard = windows.negatives[:2]
    fit(gated(features), features, Schedule(epochs=1, batch_size=20, hard_negatives=0.5), GateSettings(), seed=1)
    assert windows.hard.tolist() == windows.negatives[:2].tolist()
    negatives = [index for index in windows.draw().tolist() if windows.events[index] < 0]
    share = sum(index in windows.hard for index in negatives) / len(negatives)
    assert share >= min(0.5, 8 * 2 / len(negatives)) - 0.02


def test_a_resumed_training_finds_the_same_hard_negatives_halfway(features, tmp_path):
    def train(epochs_first: int | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        model, settings_ = gated(features), GateSettings()
        schedule = Schedule(epochs=6, batch_size=20, hard_negatives=0.5)
        count = 0

        class Stop(Exception):
            pass

        def on_epoch() -> None:
            nonlocal count
            count += 1
            if count == epochs_first:
                raise Stop

        folder = tmp_path / str(epochs_first)
        for _ in range(2):
            try:
                fit(model, features, schedule, settings_, seed=1, checkpoints=folder, on_epoch=on_epoch)
                break
            except Stop:
                model = gated(features)
        return model.state_dict()

    whole, resumed = train(None), train(5)
    for name, weights in whole.items():
        assert torch.equal(weights, resumed[name]), name


def test_a_scene_of_another_rate_is_refused():
    slow = loud_scene("slow", 0)
    changed = type(slow)(**{**{name: getattr(slow, name) for name in slow.__dataclass_fields__}, "rate": RATE // 2})
    with pytest.raises(Exception, match="Hz"):
        data(validation=changed)
