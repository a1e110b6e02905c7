"""The networks of the attacks that learn: what they recover, how a bag votes, and that a seed decides them."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import norm
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

from diffmia.attacks.learners import difference, fitting, quantiles
from diffmia.attacks.learners.batches import even_batches
from diffmia.attacks.learners.difference import DifferenceClassifier, fit_difference_classifier, stratified_part
from diffmia.attacks.learners.fitting import settle_batch_norm
from diffmia.attacks.learners.quantiles import (
    QuantileModel,
    fit_quantiles,
    lower_median,
    ordered_heads,
    pinball_loss,
)
from diffmia.attacks.learners.resnet import ResidualBlock, ResNet
from diffmia.errors import DiffmiaError

CPU = torch.device("cpu")
LEVELS = (0.5, 0.2, 0.05, 0.01)


# ---- the network


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 32, 32), (3, 128, 128), (1, 9, 13)], ids=str)
def test_a_network_takes_images_of_any_size(size):
    assert ResNet(size[0], 5, widths=(2, 3, 4, 5))(torch.zeros(2, *size)).shape == (2, 5)


def test_the_default_is_resnet_18():
    network = ResNet(3, 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_173_962  # of the CIFAR form, in public
    assert sum(isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) for module in network.modules()) == 17
    small = ResNet(3, 1, widths=(2, 3, 4, 5)).blocks(torch.zeros(1, 2, 32, 32))
    assert small.shape == (1, 5, 4, 4)  # halved by each stage but the first


@pytest.mark.parametrize(("channels", "stride"), [(4, 1), (6, 1), (6, 2)])
def test_a_block_adds_to_its_shortcut(channels, stride):
    block, x = ResidualBlock(4, channels, stride).eval(), torch.randn(2, 4, 8, 8)
    nn.init.zeros_(block.second[1].weight)  # F(x) = 0
    torch.testing.assert_close(block(x), block.shortcut(x).relu())
    if (channels, stride) == (4, 1):
        torch.testing.assert_close(block(x), x.relu())


def test_batches_are_as_even_as_can_be():
    sizes = [[len(batch) for batch in even_batches(np.arange(n), 8)] for n in (1, 8, 9, 17, 24)]
    assert sizes == [[1], [8], [5, 4], [6, 6, 5], [8, 8, 8]]
    np.testing.assert_array_equal(np.concatenate(list(even_batches(np.arange(17), 8))), np.arange(17))


def test_settled_statistics_are_those_of_the_rows():
    network, x = ResNet(1, 1, widths=(3,), blocks_per_stage=1), 2 + torch.randn(40, 1, 8, 8)
    network(100 * x)  # what it saw before is forgotten
    settle_batch_norm(network, lambda rows: x[rows], np.arange(10, 40))
    features = network.stem[0](x[10:])
    torch.testing.assert_close(network.stem[1].running_mean, features.mean((0, 2, 3)))
    torch.testing.assert_close(network.stem[1].running_var, features.var((0, 2, 3)))


# ---- quantiles


def two_halves(n: int, rng: np.random.Generator) -> np.ndarray:
    """Images uint8 (n, 1, 8, 8) whose halves are of any brightness, with noise in every pixel."""
    halves = rng.uniform(60, 195, (n, 1, 1, 2)).repeat(4, axis=3)
    return (halves + rng.uniform(-60, 60, (n, 1, 8, 8))).astype(np.uint8)


def location_and_scale(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The law of a log error given its image: normal, its mean by the brightness, its spread by the right half's."""
    bright = images / 255
    return -1 + 2 * bright.mean(axis=(1, 2, 3)), 0.1 + 0.4 * bright[..., 4:].mean(axis=(1, 2, 3))


def draw_errors(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mean, spread = location_and_scale(images)
    return np.exp(mean + spread * rng.normal(size=len(images)))


SMALL = {"batch_size": 32, "learning_rate": 1e-2, "weight_decay": 0.01, "seed": 3, "device": CPU, "widths": (4,)}
IMAGES = two_halves(128, np.random.default_rng(1))
ERRORS = draw_errors(IMAGES, np.random.default_rng(2))


def fit_small(images=IMAGES, errors=ERRORS, levels=LEVELS, **changes) -> QuantileModel:
    return fit_quantiles(images, errors, levels, **(SMALL | {"epochs": 2, "bag": 1} | changes))


@pytest.fixture(scope="module")
def regressor() -> QuantileModel:
    """Fitted to a law that is known."""
    rng = np.random.default_rng(0)
    images = two_halves(4000, rng)
    settings = SMALL | {"epochs": 20, "batch_size": 64, "learning_rate": 5e-3, "bag": 1, "widths": (8,)}
    return fit_quantiles(images, draw_errors(images, rng), LEVELS, **settings)


def test_conditional_quantiles_are_recovered(regressor):
    """Within 0.07 to 0.1 (root mean square), where the images' own quantiles have deviations of 0.21 to 0.15."""
    images = two_halves(2000, np.random.default_rng(9))
    mean, spread = (column[:, None] for column in location_and_scale(images))
    truth = mean + spread * norm.ppf(LEVELS)
    predicted = regressor.predict(images)
    assert predicted.dtype == np.float64
    assert (np.sqrt(np.mean((predicted - truth) ** 2, axis=0)) < (0.07, 0.07, 0.08, 0.1)).all()
    np.testing.assert_allclose(truth.std(axis=0), (0.21, 0.18, 0.16, 0.15), atol=0.01)
    accused = norm.cdf((predicted - mean) / spread).mean(axis=0)
    np.testing.assert_allclose(accused, LEVELS, atol=0.03)
    assert accused[-1] < 0.025


@pytest.mark.parametrize("kind", ["like", "noise", "black", "white"])
def test_quantiles_never_cross(kind, regressor):
    rng = np.random.default_rng(4)
    images = {
        "like": two_halves(500, rng),
        "noise": rng.integers(0, 256, (500, 1, 8, 8), dtype=np.uint8),
        "black": np.zeros((1, 1, 8, 8), np.uint8),
        "white": np.full((1, 1, 8, 8), 255, np.uint8),
    }
    assert (np.diff(regressor.predict(images[kind]), axis=1) <= 0).all()


def test_heads_are_ordered_whatever_the_network_says():
    raw = 30 * torch.randn(1000, 5, generator=torch.Generator().manual_seed(0))
    heads = ordered_heads(raw)
    assert (heads.diff(dim=1) <= 0).all()
    assert torch.equal(heads[:, 0], raw[:, 0])
    assert (heads.diff(dim=1) < -1).any()


def test_pinball_loss_by_hand():
    targets, heads = torch.tensor([1.0, -2.0]), torch.tensor([[0.0, -1.0], [0.0, -1.0]])
    # above its quantile a target costs alpha times the distance, below it 1 - alpha times
    expected = ((0.2 * 1 + 0.1 * 2) + (0.8 * 2 + 0.9 * 1)) / 2
    assert pinball_loss(targets, heads, (0.2, 0.1)).item() == pytest.approx(expected)


@pytest.mark.parametrize("bag", [1, 2, 3, 4, 5, 6, 7])
def test_the_lower_median_is_a_majority_vote(bag):
    rng = np.random.default_rng(bag)
    heads = rng.integers(0, 6, (bag, 300, 3)) * 1.0  # with ties
    values = rng.integers(-1, 8, (300, 3)) * 0.75
    ayes = sum((values < regressor_heads).astype(int) for regressor_heads in heads)
    np.testing.assert_array_equal(values < lower_median(heads), ayes > bag / 2)
    assert 0 < (ayes > bag / 2).mean() < 1


@pytest.mark.parametrize("bag", [3, 4])
def test_a_bag_votes_and_its_regressors_are_resampled(bag, monkeypatch):
    rows, original = [], quantiles.train_epoch
    monkeypatch.setattr(quantiles, "train_epoch", lambda *them: (rows.append(them[1]), original(*them))[1])
    model = fit_small(bag=bag, epochs=1)
    assert [len(of_one) for of_one in rows] == [128] * bag
    assert all(60 < len(set(of_one)) < 105 for of_one in rows)  # 81 are expected: 1 - 1/e of them
    assert len({of_one.tobytes() for of_one in rows}) == bag

    single = [
        QuantileModel(nn.ModuleList([network]), model.levels, model.mean, model.std) for network in model.networks
    ]
    ayes = sum((np.log(ERRORS)[:, None] < one.predict(IMAGES)).astype(int) for one in single)
    np.testing.assert_array_equal(np.log(ERRORS)[:, None] < model.predict(IMAGES), ayes > bag / 2)
    assert len({one.predict(IMAGES).tobytes() for one in single}) == bag
    assert (np.diff(model.predict(IMAGES), axis=1) <= 0).all()


def test_one_regressor_takes_every_row_once_an_epoch(monkeypatch):
    seen, original = [], quantiles.pinball_loss
    monkeypatch.setattr(quantiles, "pinball_loss", lambda y, *rest: (seen.append(y), original(y, *rest))[1])
    fit_small(epochs=2)
    logs = np.log(ERRORS)
    standardised = np.sort((logs - logs.mean()) / logs.std())
    first, second = torch.cat(seen).split(128)
    for epoch in (first, second):
        np.testing.assert_allclose(np.sort(epoch.numpy()), standardised, rtol=1e-5, atol=1e-6)
    assert not torch.equal(first, second)  # in another order


def test_scaled_errors_have_scaled_quantiles():
    shift = fit_small(errors=7.3 * ERRORS).predict(IMAGES) - fit_small().predict(IMAGES)
    np.testing.assert_allclose(shift, np.log(7.3), atol=1e-3)


def test_a_fit_that_learns_nothing_says_the_marginal_quantiles():
    predicted = fit_small(learning_rate=0.0).predict(IMAGES)
    np.testing.assert_allclose(predicted, np.tile(np.quantile(np.log(ERRORS), LEVELS), (128, 1)), rtol=1e-5)


@pytest.mark.parametrize("error", [1.0, 5.0])
def test_equal_errors_have_a_quantile(error):
    np.testing.assert_allclose(fit_small(errors=np.full(128, error)).predict(IMAGES), np.log(error), atol=0.1)


def test_the_learning_rate_falls_along_a_cosine(monkeypatch):
    rates, original = [], quantiles.train_epoch

    def note(network, rows, loss_of, optimizer, *rest):
        assert optimizer.param_groups[0]["weight_decay"] == 0.01
        rates.append(optimizer.param_groups[0]["lr"])
        return original(network, rows, loss_of, optimizer, *rest)

    monkeypatch.setattr(quantiles, "train_epoch", note)
    fit_small(epochs=4, bag=2)
    assert rates == pytest.approx([0.01 * (1 + np.cos(np.pi * epoch / 4)) / 2 for epoch in range(4)] * 2)


@pytest.mark.parametrize("bad", [[0.0], [-1.0, np.nan], [np.inf, np.nan, 0.0]])
def test_errors_without_a_logarithm_are_counted(bad):
    errors = ERRORS.copy()
    errors[: len(bad)] = bad
    with pytest.raises(DiffmiaError, match=f"^{len(bad)} of 128 errors are not finite and above zero"):
        fit_small(errors=errors)


@pytest.mark.parametrize("levels", [(0.01, 0.05), (0.1, 0.1), (1.0, 0.5), (0.5, 0.0)])
def test_levels_out_of_order_are_refused(levels):
    with pytest.raises(ValueError, match="strictly descending"):
        fit_small(levels=levels)


# ---- difference maps


def planted_maps(n: int, rng: np.random.Generator, effect: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Maps float32 (n, 1, 8, 8), of members smaller in the middle; and who is a member."""
    member = rng.permutation(np.arange(n) % 2 == 0)
    maps = np.abs(rng.normal(size=(n, 1, 8, 8))) * np.exp(0.3 * rng.normal(size=(n, 1, 1, 1)))
    maps[member, :, 2:6, 2:6] *= np.exp(-effect)
    return maps.astype(np.float32), member


SGD = {"learning_rate": 1e-2, "momentum": 0.9, "weight_decay": 5e-4, "validation_fraction": 0.25, "batch_size": 16}
PAPER = {"epochs": 15, **SGD, "seed": 3, "device": CPU, "widths": (8, 16), "blocks_per_stage": 1}
MAPS, MEMBER = planted_maps(102, np.random.default_rng(5))


def fit_classifier(maps=MAPS, member=MEMBER, **changes) -> DifferenceClassifier:
    return fit_difference_classifier(maps, member, **(PAPER | changes))


class Listener:
    """Stands in for the progress of a fit."""

    def __init__(self):
        self.done, self.losses = [], []

    def update(self, done: int, detail: str = "") -> None:
        self.done.append(done)
        self.losses.append(float(detail.split()[-1]))


def test_a_planted_difference_is_learned_and_members_score_low():
    maps, member = planted_maps(1300, np.random.default_rng(6))
    scores = fit_classifier().predict([maps])
    assert scores.dtype == np.float64
    assert ((scores > 0) & (scores < 1)).all()
    assert roc_auc_score(~member, scores) > 0.85
    assert roc_auc_score(~member, (maps**2).sum(axis=(1, 2, 3))) < 0.7  # the norm is no substitute


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_without_meaning_teach_nothing(seed):
    rng = np.random.default_rng(seed)
    maps, member = planted_maps(1300, rng, effect=0.0)
    model = fit_classifier(*planted_maps(102, rng, effect=0.0), seed=seed)
    assert abs(roc_auc_score(~member, model.predict([maps])) - 0.5) < 4 / np.sqrt(6 * 1300)  # four standard errors


def test_the_epoch_of_the_lowest_validation_loss_is_kept(monkeypatch):
    fitted, original = [], difference.train_epoch
    monkeypatch.setattr(difference, "train_epoch", lambda *them: (fitted.append(them[1]), original(*them))[1])
    listener = Listener()
    maps, member = planted_maps(60, np.random.default_rng(7), effect=0.0)  # learned by heart, soon to its harm
    model = fit_classifier(maps, member, epochs=30, widths=(16, 32), progress=listener)
    assert listener.done == list(range(1, 31))
    assert model.epoch == 1 + int(np.argmin(listener.losses))
    assert model.epoch < 30
    held_out = np.setdiff1d(np.arange(60), fitted[0])
    assert (len(held_out), member[held_out].sum()) == (16, 8)  # a quarter of 30 is 7.5, rounded to even
    validation_loss = log_loss(~member[held_out], model.predict([maps[held_out]]))
    assert validation_loss == pytest.approx(min(listener.losses), abs=1e-4)
    np.testing.assert_allclose(model.mean, maps[fitted[0]].mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(model.std, maps[fitted[0]].std(axis=(0, 2, 3)), rtol=1e-5)
    features = model.network.stem[0](torch.from_numpy((maps[fitted[0]] - model.mean) / model.std).float())
    torch.testing.assert_close(model.network.stem[1].running_mean, features.mean((0, 2, 3)))  # settled by them too


@pytest.mark.parametrize(("fraction", "members", "others"), [(0.2, 8, 12), (0.001, 1, 1), (0.999, 39, 59)])
def test_a_stratified_part_has_its_share_of_each_class(fraction, members, others):
    member = np.arange(100) % 5 < 2
    part = stratified_part(member, fraction, np.random.default_rng(0))
    assert (part[member].sum(), part[~member].sum()) == (members, others)
    assert (part != stratified_part(member, fraction, np.random.default_rng(1))).any()


def test_the_unit_of_the_maps_does_not_matter():
    np.testing.assert_allclose(
        fit_classifier(1e-4 * MAPS, epochs=2).predict([1e-4 * MAPS]),
        fit_classifier(epochs=2).predict([MAPS]),
        atol=1e-4,
    )


def test_sure_answers_do_not_tie():
    model = fit_classifier(epochs=1)
    before = model.predict([MAPS])
    with torch.no_grad():
        model.network.head.bias += 25  # a float32 sigmoid is 1 from 17 on
    after = model.predict([MAPS])
    assert after.max() < 1
    np.testing.assert_array_equal(np.argsort(after), np.argsort(before))


@pytest.mark.parametrize(("members", "others"), [(102, 0), (0, 102), (1, 101)])
def test_one_class_is_refused(members, others):
    with pytest.raises(DiffmiaError, match=f"was given {members} members and {others} non-members$"):
        fit_classifier(member=np.arange(102) < members)


def test_maps_that_come_in_batches_are_scored_as_if_they_were_one(monkeypatch):
    model = fit_classifier(epochs=1)
    monkeypatch.setattr(fitting, "BATCH", 20)
    batches = [MAPS[rows] for rows in even_batches(np.arange(len(MAPS)), 20)]
    assert len(batches) == 6
    np.testing.assert_array_equal(model.predict(iter(batches)), model.predict([MAPS]))


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 40, 40)])
def test_statistics_of_the_channels_are_numpys(shape):
    maps = np.exp(np.random.default_rng(8).normal(size=(30, *shape))).astype(np.float32)
    rows = np.arange(0, 30, 2)
    mean, std = difference._channel_statistics(maps, rows)
    np.testing.assert_array_equal(mean, maps[rows].mean(axis=(0, 2, 3), dtype=np.float64))
    np.testing.assert_array_equal(std, maps[rows].std(axis=(0, 2, 3), dtype=np.float64))


def test_a_fit_does_not_copy_the_maps():
    maps = np.random.default_rng(9).normal(size=(3000, 1, 32, 32)).astype(np.float32)
    fit_classifier(epochs=1)  # the first fit of a process imports much
    tracemalloc.start()
    fit_classifier(maps, np.arange(3000) % 2 == 0, epochs=1, batch_size=300, widths=(1,))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < maps.nbytes / 2  # NumPy's share: batches of at most 512


def test_a_channel_that_is_always_equal_is_no_obstacle():
    maps = np.concatenate([MAPS, np.zeros_like(MAPS)], axis=1)
    assert np.isfinite(fit_classifier(maps, epochs=1).predict([maps])).all()


# ---- both


def fit_quantiles_once(seed: int = 3, **changes) -> np.ndarray:
    return fit_small(bag=2, seed=seed, **changes).predict(IMAGES)


def fit_classifier_once(seed: int = 3, **changes) -> np.ndarray:
    return fit_classifier(seed=seed, **({"epochs": 2} | changes)).predict([MAPS])


both = pytest.mark.parametrize("fit", [fit_quantiles_once, fit_classifier_once], ids=["quantiles", "difference"])


@both
def test_a_fit_is_decided_by_its_seed_and_disturbs_no_generator(fit):
    torch.manual_seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = fit()
    after = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])
    torch.manual_seed(2)
    np.testing.assert_array_equal(fit(), first)
    assert (fit(seed=4) != first).any()


@both
def test_a_loss_that_is_not_finite_ends_a_fit(fit):
    with pytest.raises(DiffmiaError, match="lower its learning_rate"), np.errstate(all="ignore"):
        fit(learning_rate=1e30, epochs=3)


def test_progress_counts_the_epochs_of_all_regressors():
    listener = Listener()
    fit_small(bag=3, epochs=2, progress=listener)
    assert listener.done == [1, 2, 3, 4, 5, 6]


def quantiles_of():
    return fit_small(bag=2).predict


def differences_of():
    model = fit_classifier(epochs=2)
    return lambda maps: model.predict([maps])


MODELS = {"quantiles": (quantiles_of, IMAGES), "difference": (differences_of, MAPS)}


@pytest.mark.parametrize("name", MODELS)
def test_a_prediction_depends_on_its_row_alone(name):
    fit, rows = MODELS[name]
    predict = fit()
    together = predict(rows)
    predict(rows[::-1] // 2)  # what else is asked leaves no trace
    np.testing.assert_array_equal(predict(rows), together)
    np.testing.assert_allclose(np.concatenate([predict(row[None]) for row in rows[:20]]), together[:20], atol=1e-6)
    many = np.concatenate([rows] * 9)  # more than one batch
    np.testing.assert_allclose(predict(many), np.concatenate([together] * 9), atol=1e-6)


def test_saved_quantiles_predict_alike(tmp_path):
    model = fit_small(bag=3)
    model.save(tmp_path / "model")
    facts = json.loads((tmp_path / "model" / "quantiles.json").read_text())
    networks = nn.ModuleList(ResNet(**facts["architecture"]) for _ in range(facts["bag"]))
    networks.load_state_dict(load_file(tmp_path / "model" / "quantiles.safetensors"))
    reloaded = QuantileModel(networks, tuple(facts["levels"]), facts["mean"], facts["std"])
    np.testing.assert_array_equal(reloaded.predict(IMAGES), model.predict(IMAGES))
    assert reloaded.levels == LEVELS


def test_a_saved_classifier_predicts_alike(tmp_path):
    model = fit_classifier(epochs=2)
    model.save(tmp_path / "model")
    facts = json.loads((tmp_path / "model" / "difference.json").read_text())
    network = ResNet(**facts["architecture"])
    network.load_state_dict(load_file(tmp_path / "model" / "difference.safetensors"))
    reloaded = DifferenceClassifier(network, np.array(facts["mean"]), np.array(facts["std"]), facts["epoch"])
    np.testing.assert_array_equal(reloaded.predict([MAPS]), model.predict([MAPS]))
