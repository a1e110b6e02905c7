"""A sample's Gaussian noise: its own, whoever asks, and standard normal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from diffmia.denoisers.denoiser import Denoiser
from diffmia.denoisers.schedules import DiscreteSchedule
from diffmia.models.schedule import ScheduleSpec
from diffmia.passes.engine import ModelPass
from diffmia.passes.inputs import Pixels
from diffmia.passes.residuals import answer
from diffmia.search.noise import sample_noise
from diffmia.search.probes import Probe

SHAPE = (3, 8, 8)


def test_noise_belongs_to_the_sample_and_not_to_the_batch():
    ids = np.array([4, 0, 7, 2**40])
    together = sample_noise(1, ids, SHAPE)
    assert together.shape == (4, *SHAPE)
    assert together.dtype == np.float32
    for order in ([0], [2, 1], [3, 2, 1, 0], [1, 1, 0]):
        np.testing.assert_array_equal(sample_noise(1, ids[order], SHAPE), together[order])


@pytest.mark.parametrize("other", [{"seed": 2}, {"sample_ids": [6]}, {"draw": 1}, {"seed": 5, "sample_ids": [1]}])
def test_seed_sample_and_draw_each_change_all_of_it(other):
    one = {"seed": 1, "sample_ids": [5], "draw": 0, "shape": SHAPE}
    a, b = sample_noise(**one).ravel(), sample_noise(**(one | other)).ravel()
    assert not np.isin(a, b).any()  # not shifted or shuffled either


@pytest.mark.parametrize(
    "streams", [[(i, 0) for i in range(400)], [(3, draw) for draw in range(400)]], ids=["samples", "draws"]
)
def test_noise_is_standard_normal_and_independent(streams):
    noise = np.stack([sample_noise(9, [i], SHAPE, draw).ravel() for i, draw in streams]).astype(float)
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    n = noise.size
    assert noise.mean() == pytest.approx(0, abs=4 / np.sqrt(n))
    assert noise.var() == pytest.approx(1, abs=4 * np.sqrt(2 / n))
    assert (noise**4).mean() == pytest.approx(3, abs=4 * np.sqrt(96 / n))
    between = np.corrcoef(noise)[np.triu_indices(400, 1)]
    assert between.std() == pytest.approx(1 / np.sqrt(noise.shape[1]), rel=0.02)
    assert np.abs(between).max() < 6 / np.sqrt(noise.shape[1])


class Silent(Denoiser):
    """Predicts no noise at all, so that ||epsilon^0 - epsilon^1|| is ||epsilon^0||."""

    schedule = DiscreteSchedule.from_spec(ScheduleSpec())

    def predict_noise(self, x_t, t, condition=None):
        return torch.zeros_like(x_t)


def test_probes_at_all_timesteps_start_from_the_same_noise():
    images, ids = np.zeros((20, 1, 4, 4), np.uint8), np.array([3, 11, 12])
    probes = [Probe(start="gaussian", t=50, n=1), Probe(start="gaussian", t=350, n=1)]
    columns = ModelPass(Silent(), probes, answer, 17, 2, torch.device("cpu")).block(Pixels(images), ids, probes)
    noise = sample_noise(17, ids, (1, 4, 4)).reshape(3, -1).astype(float)
    for p in (1, 2, 3, 4, 5, 6):
        for t in (50, 350):
            expected = np.linalg.norm(noise, ord=p, axis=1)
            np.testing.assert_allclose(columns[f"gaussian.t{t}:0-1:l{p}"], expected, rtol=1e-12)
