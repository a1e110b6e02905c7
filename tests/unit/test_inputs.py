"""What a target is asked about: pixels, or latents and what it is told; and passes that tell it."""

import json

import numpy as np
import pytest
import torch

from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import DiscreteSchedule
from diffmia.errors import DiffmiaError
from diffmia.models.schedule import ScheduleSpec
from diffmia.passes import gradients, jacobians, residuals
from diffmia.passes.engine import ModelPass
from diffmia.passes.inputs import Latents, Pixels
from diffmia.passes.store import PieceStore
from diffmia.search.noise import sample_noise
from diffmia.search.probes import GradientProbe, JacobianProbe, Probe, merge

CPU = torch.device("cpu")
N, SHAPE = 10, (4, 2, 2)
IDS = np.array([9, 0, 4, 3, 7])  # in no order, of all shards
CONDITIONS = ("none", "caption")


def write_texts(folder, condition, texts, row):
    np.save(folder / f"{condition}.npy", texts)
    np.save(folder / f"{condition}.index.npy", row)
    hashes = [f"{condition} {number}" for number in range(len(texts))]
    (folder / f"{condition}.meta.json").write_text(json.dumps({"text_hashes": hashes}))
    return folder / f"{condition}.npy"


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(N, *SHAPE)).astype(np.float32)
    texts = {"none": rng.normal(size=(1, 3, 5)), "caption": rng.normal(size=(4, 3, 5))}
    rows = {"none": np.zeros(N, np.int64), "caption": rng.integers(0, 4, N)}
    return latents, {name: texts[name].astype(np.float32) for name in texts}, rows


def latents_of(folder, arrays, shards):
    latents, texts, rows = arrays
    paths = []
    for number, part in enumerate(np.array_split(np.arange(N), shards)):
        paths.append(folder / f"{number}of{shards}.npy")
        np.save(paths[-1], latents[part])
    return Latents(paths, [write_texts(folder, name, texts[name], rows[name]) for name in texts])


@pytest.fixture
def inputs(tmp_path, arrays):
    return latents_of(tmp_path, arrays, 3)


@pytest.mark.parametrize("shards", [1, 3, 10])
def test_samples_are_found_in_whatever_shards(shards, tmp_path, arrays):
    latents, texts, rows = arrays
    batch = latents_of(tmp_path, arrays, shards).batch(IDS, CONDITIONS, CPU)
    np.testing.assert_array_equal(batch.x0, latents[IDS])
    assert batch.shape == SHAPE
    for condition in CONDITIONS:
        np.testing.assert_array_equal(batch.told[condition], texts[condition][rows[condition][IDS]])


def test_only_what_is_asked_is_read(inputs):
    assert list(inputs.batch(IDS, ["caption"], CPU).told) == ["caption"]


def test_texts_of_other_samples_are_refused(tmp_path, arrays):
    latents, texts, rows = arrays
    np.save(tmp_path / "0of1.npy", latents)
    path = write_texts(tmp_path, "caption", texts["caption"], rows["caption"][1:])
    with pytest.raises(DiffmiaError, match=r"caption\.npy has texts of 9 samples, and there are latents of 10"):
        Latents([tmp_path / "0of1.npy"], [path])


def test_pixels_are_told_nothing():
    images = np.array([[[[0, 255]]], [[[255, 0]]]], np.uint8)
    batch = Pixels(images).batch(np.array([1]), ["none"], CPU)
    assert batch.x0.tolist() == [[[[1, -1]]]]
    assert batch.told == {"none": None}
    with pytest.raises(DiffmiaError, match="under condition 'caption'"):
        Pixels(images).batch(np.array([1]), ["caption"], CPU)


class Told(Denoiser):
    """Answers `tanh(weight * x_t)` moved by the mean of what it is told, and notes what it is asked."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2, bias=False)
        torch.nn.init.eye_(self.linear.weight)
        self.schedule, self.asked = DiscreteSchedule.from_spec(ScheduleSpec()), []

    def predict_noise(self, x_t, t, condition=None):
        self.asked.append((int(torch.as_tensor(t).reshape(-1)[0]), len(x_t)))
        return torch.tanh(self.linear(x_t) + condition.mean((1, 2))[:, None, None, None])


STARTS = [
    {"start": "gaussian", "t": 350},
    {"start": "proximal", "t": 200},
    {"start": "proximal_normalised", "t": 200},
    *({"start": "inverted", "t": 20, "k": 10, "anchor": anchor} for anchor in ("x0", "x0hat", "xt")),
]


@pytest.mark.parametrize("search", STARTS, ids=lambda search: "-".join(map(str, search.values())))
def test_each_condition_is_asked_with_its_own_text(search, inputs):
    """Asked side by side, a search under one condition gives what it gives alone, and differs from the other's."""
    probes = [Probe(**search, condition=condition) for condition in CONDITIONS]
    together = residuals.answer(Told(), inputs.batch(IDS, CONDITIONS, CPU), probes, 5)
    for probe in probes:
        alone = residuals.answer(Told(), inputs.batch(IDS, [probe.condition], CPU), [probe], 5)
        assert set(alone) == set(probe.columns())
        for name, values in alone.items():
            np.testing.assert_array_equal(together[name], values)
    for none, caption in zip(*(probe.columns() for probe in probes), strict=True):
        assert not np.allclose(together[none], together[caption])


def test_a_search_by_hand(inputs, arrays):
    latents, texts, rows = arrays
    (name, *_) = (probe := Probe(start="gaussian", t=350, n=1, condition="caption")).columns()
    assert name == "gaussian.t350.caption:0-1:l1"
    alpha_bar = float(np.prod(1 - np.linspace(1e-4, 0.02, 1000)[:351]))
    epsilon = sample_noise(5, IDS, SHAPE)
    told = texts["caption"][rows["caption"][IDS]].mean((1, 2))[:, None, None, None]
    answer = np.tanh(alpha_bar**0.5 * latents[IDS] + (1 - alpha_bar) ** 0.5 * epsilon + told)
    expected = np.abs(epsilon - answer).sum((1, 2, 3))
    found = residuals.answer(Told(), inputs.batch(IDS, ["caption"], CPU), [probe], 5)[name]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_conditions_share_no_question_of_the_model_but_are_counted(inputs):
    searches = [Probe(**search, condition=condition) for search in STARTS[:3] for condition in CONDITIONS]
    model = Told()
    residuals.answer(model, inputs.batch(IDS, CONDITIONS, CPU), searches, 5)
    assert len(model.asked) == residuals.count_evaluations(searches) == 2 * (2 + 1 + 2 + 2)


def test_gradients_and_jacobians_are_told(inputs):
    probes = [
        GradientProbe(loss=loss, timesteps=(0, 500), condition=c) for loss in ("base", "full") for c in CONDITIONS
    ]
    together = gradients.answer(Told(), inputs.batch(IDS, CONDITIONS, CPU), probes, 5)
    for probe in probes:
        alone = gradients.answer(Told(), inputs.batch(IDS, [probe.condition], CPU), [probe], 5)
        for name in probe.columns():
            np.testing.assert_allclose(together[name], alone[name], rtol=1e-6)
    for loss in ("base", "full"):
        pair = [GradientProbe(loss=loss, timesteps=(0, 500), condition=c).mean_column for c in CONDITIONS]
        assert not np.allclose(*(together[name] for name in pair))
    assert gradients.count_evaluations(probes) == 2 * gradients.count_evaluations(probes[::2])
    norms = [JacobianProbe(of=Probe(start="gaussian", t=50, condition=c)) for c in CONDITIONS]
    found = jacobians.answer(Told(), inputs.batch(IDS, CONDITIONS, CPU), norms, 5)
    assert not np.allclose(*(found[probe.column(0)] for probe in norms))


def test_batch_size_changes_no_number(inputs):
    probes = merge([Probe(**search, condition="caption") for search in STARTS])
    whole, parts = (ModelPass(Told(), probes, residuals.answer, 5, size, CPU) for size in (5, 2))
    whole, parts = (of.block(inputs, IDS, probes) for of in (whole, parts))
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-5)


def test_an_edited_text_costs_the_questions_under_its_condition_about_its_block(tmp_path, arrays):
    inputs, (_, _, rows) = latents_of(tmp_path, arrays, 1), arrays
    none, caption = Probe(start="gaussian", t=1), Probe(start="gaussian", t=1, condition="caption")
    blocks = np.arange(5), np.arange(5, 10)

    def pieces():
        store = PieceStore(tmp_path, {}, latents_of(tmp_path, arrays, 1).texts)
        return {
            (probe.name, i): store.path(probe, block) for probe in (none, caption) for i, block in enumerate(blocks)
        }

    before = pieces()
    assert len(set(before.values())) == 4
    assert pieces() == before
    rows["caption"][7] = (rows["caption"][7] + 1) % 4  # another text of one sample
    after = pieces()
    assert {key for key in before if before[key] != after[key]} == {(caption.name, 1)}
    assert inputs.texts("none", blocks[0]) == inputs.texts("none", blocks[1])
    assert Pixels(np.zeros((1, 1, 2, 2), np.uint8)).texts("none", np.array([0])) is None


def test_each_row_of_a_gradient_pass_is_told_the_text_of_its_own_sample(inputs):
    """A sample alone has no other's text, whatever the order of (sample, timestep)."""
    probe = GradientProbe(loss="detached", timesteps=(0, 500), condition="caption")
    together = gradients.answer(Told(), inputs.batch(IDS, ["caption"], CPU), [probe], 5)
    for row in range(len(IDS)):
        alone = gradients.answer(Told(), inputs.batch(IDS[[row]], ["caption"], CPU), [probe], 5)
        for name in probe.columns():
            np.testing.assert_allclose(together[name][row], alone[name][0], rtol=1e-5)
