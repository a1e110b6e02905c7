"""The 10 % protocol: what a draw is, which threshold it picks, and who is judged by it."""

from __future__ import annotations

import numpy as np
import pytest

from diffmia.errors import DiffmiaError
from diffmia.evaluation.thresholds import (
    Draws,
    attack_success_rate,
    best_threshold,
    draw_thresholds,
    majority_vote,
)

MEMBER = np.random.default_rng(0).permutation(np.repeat([True, False], [60, 140]))


def scores(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(MEMBER)) + 1.5 * ~MEMBER


def test_draws_are_stratified_and_differ():
    drawn = ~draw_thresholds(scores(1), MEMBER, seed=3, fraction=0.1, repeats=10).held_out
    assert drawn.shape == (10, 200)
    np.testing.assert_array_equal((drawn & MEMBER).sum(axis=1), 6)
    np.testing.assert_array_equal((drawn & ~MEMBER).sum(axis=1), 14)
    assert len({row.tobytes() for row in drawn}) == 10


def test_draws_depend_on_seed_and_labels_alone():
    one, other = draw_thresholds(scores(1), MEMBER, seed=3), draw_thresholds(scores(2), MEMBER, seed=3)
    np.testing.assert_array_equal(one.held_out, other.held_out)
    assert (one.thresholds != other.thresholds).all()
    assert (one.held_out != draw_thresholds(scores(1), MEMBER, seed=4).held_out).any()


def test_threshold_comes_from_the_drawn_samples_only():
    draws = draw_thresholds(scores(1), MEMBER, seed=3)
    for threshold, held_out in zip(*draws, strict=True):
        assert threshold == best_threshold(scores(1)[~held_out & MEMBER], scores(1)[~held_out & ~MEMBER])
    tampered = np.where(draws.held_out[0], 99.0, scores(1))
    assert draw_thresholds(tampered, MEMBER, seed=3).thresholds[0] == draws.thresholds[0]


@pytest.mark.parametrize("seed", range(20))
def test_threshold_maximises_balanced_accuracy_with_fewest_accused(seed):
    rng = np.random.default_rng(seed)
    members, non_members = rng.integers(0, 8, 9).astype(float), rng.integers(2, 10, 14).astype(float)

    def accuracy_and_spared(t: float) -> tuple[float, float]:
        accuracy = (np.mean(members <= t) + np.mean(non_members > t)) / 2
        return round(accuracy, 12), np.mean(np.append(members, non_members) > t)

    best = max(map(accuracy_and_spared, [-np.inf, *np.arange(-0.5, 11)]))
    assert accuracy_and_spared(best_threshold(members, non_members)) == best


def test_threshold_is_midway_and_ties_go_to_the_smallest():
    assert best_threshold(np.array([1.0, 2.0]), np.array([4.0, 5.0])) == 3.0
    assert best_threshold(np.array([1.0, 3.0]), np.array([2.0, 4.0])) == 1.5  # as good as 3.5
    # 1/3 - 0 and 2/3 - 1/3 are equal accuracies whose floats are not
    assert best_threshold(np.array([1.0, 3.0, 9.0]), np.array([2.0, 8.0, 10.0])) == 1.5
    assert best_threshold(np.array([5.0, 6.0]), np.array([1.0, 2.0])) == -np.inf
    assert best_threshold(np.ones(3), np.ones(3)) == -np.inf


def test_threshold_between_neighbouring_floats_accepts_the_lower_only():
    for low in (1.0, np.nextafter(1.0, 2.0)):
        high = np.nextafter(low, 2.0)
        assert low <= best_threshold(np.array([low]), np.array([high])) < high


def test_success_rate_by_hand():
    draws = Draws(np.array([1.5, 3.5]), np.array([[1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 0]], dtype=bool))
    member = np.array([1, 1, 1, 0, 0, 0], dtype=bool)
    asr = attack_success_rate(np.array([1.0, 2.0, 3.0, 1.0, 4.0, 5.0]), member, draws)
    # draw 0 judges members {1, 2} and non-members {1, 4, 5}; draw 1 members {1, 2, 3}, non-members {1, 4}
    np.testing.assert_allclose(asr.per_draw, [(1 / 2 + 2 / 3) / 2, (1 + 1 / 2) / 2])
    assert asr.mean == pytest.approx(asr.per_draw.mean())
    assert asr.std == pytest.approx(abs(asr.per_draw[0] - asr.per_draw[1]) / np.sqrt(2))
    assert asr.realised_fpr == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_drawn_samples_are_not_judged():
    draws = draw_thresholds(scores(1), MEMBER, seed=3)
    for r, held_out in enumerate(draws.held_out):
        tampered = np.where(held_out, scores(1), -99.0)
        per_draw = attack_success_rate(tampered, MEMBER, draws).per_draw
        assert per_draw[r] == attack_success_rate(scores(1), MEMBER, draws).per_draw[r]


def test_success_rate_is_high_only_in_the_right_direction():
    values = scores(1)
    assert attack_success_rate(values, MEMBER, draw_thresholds(values, MEMBER, seed=0)).mean > 0.7
    assert attack_success_rate(-values, MEMBER, draw_thresholds(-values, MEMBER, seed=0)).mean < 0.55


def test_majority_vote_counts_only_draws_without_the_sample():
    draws = Draws(
        thresholds=np.array([1.0, 2.0, 9.0]),
        held_out=np.array([[1, 1, 1, 0, 1], [1, 1, 0, 0, 1], [1, 0, 1, 0, 1]], dtype=bool),
    )
    #                          yes x3, yes x2, no + yes, in every draw, no no yes
    np.testing.assert_array_equal(majority_vote(np.array([1.0, 0.5, 5.0, 0.0, 3.0]), draws), [1, 1, 0, 0, -1])


def test_a_class_too_small_to_judge_is_refused():
    member = np.array([True, False, False, False])
    with pytest.raises(DiffmiaError, match="1 of 1 samples of a class"):
        draw_thresholds(np.arange(4.0), member, seed=0)


def test_a_tenth_is_rounded_to_the_nearest():
    member = np.arange(1285) < 256
    drawn = ~draw_thresholds(np.random.default_rng(0).normal(size=1285), member, seed=3).held_out
    assert set(drawn[:, member].sum(axis=1)) == {26}
    assert set(drawn[:, ~member].sum(axis=1)) == {103}
