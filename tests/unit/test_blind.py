"""The blind baselines: statistics by hand, what they find and do not find, that nothing leaks, and near-duplicates."""

from __future__ import annotations

import io
import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import skew
from sklearn.datasets import load_digits

from diffmia.attacks.blind import BlindCNN, BlindStatistics
from diffmia.blind import STANDARD_ERROR_FACTOR, cross_validation, stage
from diffmia.blind.cnn import network
from diffmia.blind.cross_validation import fold_numbers, out_of_fold
from diffmia.blind.duplicates import difference_hash, near_duplicates
from diffmia.blind.duplicates_stage import find_duplicates
from diffmia.blind.spec import DuplicatesSpec
from diffmia.blind.stage import score_blindly
from diffmia.blind.statistics import VALUES, image_statistics, statistic_names
from diffmia.blind.table import logistic_regression
from diffmia.errors import DiffmiaError
from diffmia.evaluation.delong import auc_test
from diffmia.files.images import ChosenImages
from diffmia.scoring.reading import read_scores
from diffmia.splits import ClassBalancedSplit, GroupSplit, GroupsSplit, build_split

FOLDS = 5


@pytest.fixture(scope="module")
def digits():
    """The 1,797 digits as the benchmark has them, uint8 (N, 1, 8, 8)."""
    return np.rint(load_digits().images * (255 / 16)).astype(np.uint8)[:, None]


def halves(images, n, seed, brighter=0):
    """Random members and non-members, n of each, in random order; ink of non-members is some levels brighter."""
    rows = np.random.default_rng(seed).permutation(len(images))[: 2 * n]
    member = np.random.default_rng([seed, 1]).permutation(2 * n) < n
    chosen = images[rows].astype(int)
    chosen[~member] += brighter * (chosen[~member] > 0)
    return chosen.clip(0, 255).astype(np.uint8), member


def by_network(images, member, seed, epochs=4):
    return out_of_fold(network(images, epochs, 64, 3e-3, 1e-2, torch.device("cpu")), member, FOLDS, seed)


def by_statistics(images, member, seed, groups=None):
    return out_of_fold(logistic_regression(image_statistics(images)), member, FOLDS, seed, groups=groups)


# ---- statistics


def named(images):
    return dict(zip(statistic_names(images.shape[1]), image_statistics(images).T, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_those_of_closed_forms(channels):
    images = np.random.default_rng(0).integers(0, 256, (4, channels, 5, 7), dtype=np.uint8)
    found, x = named(images), images.astype(float)
    names = ("grey",) if channels == 1 else ("red", "green", "blue")
    for channel, name in enumerate(names):
        pixels = x[:, channel].reshape(4, -1)
        np.testing.assert_allclose(found[f"{name}_mean"], pixels.mean(axis=1))
        np.testing.assert_allclose(found[f"{name}_std"], pixels.std(axis=1))
        np.testing.assert_array_equal(found[f"{name}_min"], pixels.min(axis=1))
        np.testing.assert_array_equal(found[f"{name}_max"], pixels.max(axis=1))
        np.testing.assert_allclose(found[f"{name}_skewness"], skew(pixels, axis=1))
        np.testing.assert_allclose(found[f"{name}_q50"], np.median(pixels, axis=1))
        np.testing.assert_allclose(found[f"{name}_q05"], np.quantile(pixels, 0.05, axis=1))
    for (a, first), (b, second) in itertools.combinations(enumerate(names), 2):
        expected = [np.corrcoef(image[a].ravel(), image[b].ravel())[0, 1] for image in x]
        np.testing.assert_allclose(found[f"{first}_{second}_correlation"], expected)
    np.testing.assert_allclose(found["horizontal_gradient"], np.abs(np.diff(x, axis=3)).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(found["vertical_gradient"], np.abs(np.diff(x, axis=2)).mean(axis=(1, 2, 3)))


def test_the_laplacian_of_a_point_and_of_noise():
    point = np.zeros((1, 1, 5, 5), dtype=np.uint8)
    point[0, 0, 2, 2] = 10
    found = named(point)
    assert found["laplacian_rms"] == pytest.approx(np.sqrt((40**2 + 4 * 10**2) / 25))  # -40, and 10 four times
    variance = 10**2 / 25 - (10 / 25) ** 2
    assert found["laplacian_share"] == pytest.approx((40**2 + 4 * 10**2) / 25 / 20 / variance)
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    assert named(noise)["laplacian_share"] == pytest.approx(1, abs=0.05)
    stripes = np.tile(np.array([[0, 50], [0, 50]], dtype=np.uint8), (1, 1, 4, 4))
    found = named(stripes)
    assert (found["horizontal_gradient"], found["vertical_gradient"]) == (50, 0)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_the_size_as_png_is_pillows(channels, mode):
    image = np.random.default_rng(0).integers(0, 256, (1, channels, 9, 6), dtype=np.uint8)
    pixels = image[0].transpose(1, 2, 0).tobytes()
    file = io.BytesIO()
    Image.frombytes(mode, (6, 9), pixels).save(file, format="PNG", optimize=False)
    assert named(image)["png_bytes_per_pixel"] == len(file.getvalue()) / (9 * 6)


@pytest.mark.parametrize("size", [(1, 8, 8), (3, 8, 8), (3, 1, 1)], ids=str)
@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_flat_image_has_finite_statistics(size, value):
    found = image_statistics(np.full((2, *size), value, dtype=np.uint8))
    assert np.isfinite(found).all()
    assert found.shape == (2, len(statistic_names(size[0])))


def test_statistics_do_not_depend_on_other_images():
    """Of several blocks: the last image of 512x512 is in another than the first."""
    images = np.random.default_rng(0).integers(0, 256, (VALUES // (3 * 512 * 512) + 1, 3, 512, 512), dtype=np.uint8)
    np.testing.assert_array_equal(image_statistics(images)[-2:], image_statistics(images[-2:]))


def test_chosen_images_are_indexed_like_their_copy():
    images = np.random.default_rng(0).integers(0, 256, (9, 1, 4, 4), dtype=np.uint8)
    ids = [7, 0, 3, 8]
    chosen, copy = ChosenImages(images, ids), images[ids]
    assert (len(chosen), chosen.shape, chosen.dtype) == (4, copy.shape, copy.dtype)
    for rows in (slice(1, 3), np.array([3, 0]), 2):
        np.testing.assert_array_equal(chosen[rows], copy[rows])
    np.testing.assert_array_equal(list(chosen), copy)
    np.testing.assert_array_equal(image_statistics(chosen), image_statistics(copy))
    pd.testing.assert_frame_equal(near_duplicates(chosen, chosen, 64), near_duplicates(copy, copy, 64))


def test_images_that_are_not_known_are_refused():
    with pytest.raises(DiffmiaError, match="images have 4 channels"):
        image_statistics(np.zeros((2, 4, 8, 8), dtype=np.uint8))
    with pytest.raises(TypeError, match="images are float64"):
        image_statistics(np.zeros((2, 1, 8, 8)))


# ---- cross-validation


def test_every_sample_is_judged_once_and_by_a_model_that_did_not_see_it():
    member = np.arange(103) % 3 == 0
    judged_by = []

    def fit_predict(train, labels, judged, generator):
        assert not set(train) & set(judged)
        assert len(train) + len(judged) == len(member)
        np.testing.assert_array_equal(labels, member[train])
        assert 6 <= member[judged].sum() <= 8  # of 35 members, in 5 folds
        judged_by.extend(judged)
        return generator.normal(size=len(judged))

    scores = out_of_fold(fit_predict, member, FOLDS, seed=0)
    assert sorted(judged_by) == list(range(103))
    assert np.isfinite(scores).all()
    assert len(set(scores)) == 103


@pytest.mark.parametrize("baseline", [by_statistics, by_network])
def test_the_label_of_a_sample_has_no_part_in_the_scores_of_its_fold(baseline, digits, monkeypatch):
    images, member = halves(digits, 60, seed=0)
    fold_of = fold_numbers(member, FOLDS, seed=0)
    monkeypatch.setattr(cross_validation, "fold_numbers", lambda *_: fold_of)  # the same folds for both
    flipped = member.copy()
    flipped[np.flatnonzero(fold_of == 2)[:3]] ^= True
    scores, others = (baseline(images, labels, seed=0) for labels in (member, flipped))
    np.testing.assert_array_equal(scores[fold_of == 2], others[fold_of == 2])
    assert (scores[fold_of != 2] != others[fold_of != 2]).mean() > 0.9


def test_folds_of_different_scale_are_made_comparable():
    member = np.arange(200) % 2 == 0
    signal = np.random.default_rng(0).normal(size=200) - member

    def fit_predict(train, labels, judged, generator):
        return 10 * generator.normal() + generator.uniform(0.01, 100) * signal[judged]

    scores = out_of_fold(fit_predict, member, FOLDS, seed=0)
    fold_of = fold_numbers(member, FOLDS, seed=0)
    for fold in range(FOLDS):
        of_fold = fold_of == fold
        assert scores[of_fold].mean() == pytest.approx(0, abs=1e-12)
        assert scores[of_fold].std() == pytest.approx(1)
        np.testing.assert_array_equal(np.argsort(scores[of_fold]), np.argsort(signal[of_fold]))
    assert not out_of_fold(lambda train, labels, judged, _: np.full(len(judged), 3.0), member, FOLDS, seed=0).any()


def test_pooled_scores_of_noise_are_not_biased():
    member = np.arange(80) % 2 == 0

    def deltas(features, seed):
        folds = []

        def fit_predict(train, labels, judged, _):
            x = features[train]
            scores = features[judged] @ (x[~labels].mean(axis=0) - x[labels].mean(axis=0))
            of_fold = member[judged]
            folds.append(auc_test(scores[of_fold], scores[~of_fold]).delta)
            return scores

        scores = out_of_fold(fit_predict, member, FOLDS, seed)
        return auc_test(scores[member], scores[~member]).delta - np.mean(folds)

    found = [deltas(np.random.default_rng([7, seed]).normal(size=(80, 3)), seed) for seed in range(300)]
    assert abs(np.mean(found)) < 0.003  # as they are, a point below


@pytest.mark.parametrize("n_members", [0, 3, 37, 40])
def test_folds_without_both_classes_are_refused(n_members):
    with pytest.raises(DiffmiaError, match=f"5 folds of {n_members} members and {40 - n_members} non-members"):
        by_statistics(np.zeros((40, 1, 8, 8), dtype=np.uint8), np.arange(40) < n_members, 0)


def test_one_fold_is_refused():
    with pytest.raises(DiffmiaError, match="needs two folds or more"):
        fold_numbers(np.arange(40) < 20, 1, seed=0)


# ---- what the baselines find


@pytest.mark.parametrize(("baseline", "brighter"), [(by_statistics, 12), (by_network, 30)])
def test_a_shift_of_brightness_is_found(baseline, brighter, digits):
    images, member = halves(digits, 200, 0, brighter)
    scores = baseline(images, member, seed=0)
    found = auc_test(scores[member], scores[~member])
    assert found.delta > 0.2
    assert found.delta > 5 * STANDARD_ERROR_FACTOR * found.standard_error


@pytest.mark.parametrize(("baseline", "n", "repetitions"), [(by_statistics, 256, 20), (by_network, 100, 6)])
def test_without_a_shift_they_are_at_chance(baseline, n, repetitions, digits):
    found = []
    for seed in range(repetitions):
        images, member = halves(digits, n, seed)
        scores = baseline(images, member, seed)
        found.append(auc_test(scores[member], scores[~member]))
    standard_error = STANDARD_ERROR_FACTOR * np.mean([of.standard_error for of in found]) / np.sqrt(repetitions)
    assert abs(np.mean([of.delta for of in found])) < 1.96 * standard_error


@pytest.mark.parametrize("baseline", [by_statistics, by_network])
def test_a_seed_decides_the_scores(baseline, digits):
    images, member = halves(digits, 40, seed=0)
    scores = baseline(images, member, seed=3)
    torch.manual_seed(99)
    np.random.default_rng(99).normal()
    np.testing.assert_array_equal(scores, baseline(images, member, seed=3))
    assert not np.array_equal(scores, baseline(images, member, seed=4))
    assert scores.dtype == np.float64
    assert len(set(scores)) == len(scores)


# ---- near-duplicates


@pytest.fixture(scope="module")
def smooth():
    """Random images with structure, uint8 (60, 3, 32, 32): 9x9 colours, enlarged."""
    colours = np.random.default_rng(0).integers(20, 236, (60, 9, 9, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(of).resize((32, 32), Image.Resampling.BICUBIC)) for of in colours]
    return np.stack(large).transpose(0, 3, 1, 2).copy()


@pytest.fixture(scope="module")
def planted(smooth):
    """30 members; 30 others, but non-member 4 is member 2 and non-member 9 is member 5 with a little noise."""
    members, non_members = smooth[:30], smooth[30:].copy()
    non_members[4] = members[2]
    noise = np.random.default_rng(1).integers(-3, 4, members[5].shape)
    non_members[9] = (members[5] + noise).clip(0, 255)
    return members, non_members


def test_planted_copies_are_found_and_no_others(planted):
    members, non_members = planted
    found = near_duplicates(members, non_members, distance=8)
    assert found[["member", "non_member", "exact"]].to_numpy().tolist() == [[2, 4, True], [5, 9, False]]
    assert found.loc[0, ["hamming", "rms"]].tolist() == [0, 0]
    assert found.loc[1, "rms"] == pytest.approx(2, abs=0.1)  # of -3 .. 3
    assert near_duplicates(members, non_members, distance=8, max_rms=1)["non_member"].tolist() == [4]


@pytest.mark.parametrize(("distance", "max_rms"), [(0, np.inf), (20, np.inf), (26, 80.0), (64, np.inf)])
def test_pairs_are_those_of_brute_force_in_any_chunks(planted, distance, max_rms, monkeypatch):
    members, non_members = planted
    hashes = [[int(of) for of in difference_hash(images)] for images in planted]
    expected = []
    for i, j in itertools.product(range(30), range(30)):
        hamming = (hashes[0][i] ^ hashes[1][j]).bit_count()
        rms = np.sqrt(np.mean((members[i].astype(float) - non_members[j]) ** 2))
        if hamming <= distance and rms <= max_rms:
            expected.append([i, j, hamming, np.array_equal(members[i], non_members[j]), rms])
    found = near_duplicates(members, non_members, distance, max_rms)
    np.testing.assert_allclose(found.to_numpy(float), np.array(expected, dtype=float), rtol=1e-12)
    monkeypatch.setattr("diffmia.blind.duplicates.PIXELS", 10_000)  # three pairs
    for size in (1, 30, 100, 899):
        assert found.equals(near_duplicates(members, non_members, distance, max_rms, pairs_at_a_time=size))


def test_the_hash_is_the_sign_of_differences_from_left_to_right():
    row = np.array([0, 30, 20, 40, 40, 50, 10, 20, 30], dtype=np.uint8)
    image = np.broadcast_to(row, (1, 1, 8, 9))
    assert difference_hash(image).tolist() == [int.from_bytes([0b10101011] * 8, "big")]
    enlarged = image.repeat(4, axis=2).repeat(3, axis=3)
    assert difference_hash(np.concatenate([enlarged] * 3, axis=1)).tolist() == difference_hash(image).tolist()
    image = np.zeros((1, 1, 8, 9), dtype=np.uint8)
    image[0, 0, 7, 8] = 1
    assert difference_hash(image).tolist() == [1]  # the last bit


def test_of_a_smaller_image_only_its_own_differences_are_hashed(digits):
    ramp = np.broadcast_to(np.arange(8, dtype=np.uint8), (1, 1, 8, 8))
    assert int(difference_hash(ramp)[0]).bit_count() == 7 * 8
    found = near_duplicates(digits[:900], digits[900:], distance=0)
    assert len(found) > 0  # digits that are merely alike
    assert not found["exact"].any()
    assert found["rms"].min() > 10
    assert len(near_duplicates(digits[:900], digits[900:], distance=0, max_rms=10)) == 0


def test_images_of_different_shapes_are_not_compared():
    with pytest.raises(ValueError, match="shapes must agree"):
        near_duplicates(np.zeros((1, 1, 8, 8), dtype=np.uint8), np.zeros((1, 1, 9, 9), dtype=np.uint8), 0)


class TestClassBalancedSplits:
    """The number of members of each class is fixed, so what one fold has more of the others have less of."""

    CLASSES = np.repeat(np.arange(10), 40)

    def auc(self, seed, classes):
        """Of a classifier that knows nothing but how often each class was a member in the other folds."""
        generator = np.random.default_rng(seed)
        member = np.zeros(400, dtype=bool)
        for class_ in range(10):
            member[generator.choice(np.flatnonzero(class_ == self.CLASSES), 10, replace=False)] = True

        def frequencies(train, labels, judged, _):
            rates = np.array([labels[self.CLASSES[train] == class_].mean() for class_ in range(10)])
            return -rates[self.CLASSES[judged]]

        scores = out_of_fold(frequencies, member, FOLDS, seed, classes)
        return 50 + 100 * auc_test(scores[member], scores[~member]).delta

    def test_folds_that_share_out_the_classes_leave_nothing_to_be_wrong_about(self):
        without = np.mean([self.auc(seed, None) for seed in range(20)])
        within = np.mean([self.auc(seed, self.CLASSES) for seed in range(20)])
        assert without < 47
        assert abs(within - 50) < 1

    def test_each_fold_has_its_share_of_the_members_of_a_class(self):
        member = np.tile(np.arange(40) < 10, 10)
        fold_of = fold_numbers(member, FOLDS, 0, self.CLASSES)
        for class_ in range(10):
            counts = np.bincount(fold_of[member & (class_ == self.CLASSES)], minlength=FOLDS)
            assert counts.tolist() == [2] * FOLDS

    def test_classes_too_small_to_share_out_are_taken_together(self):
        member, singles = np.arange(40) < 20, np.arange(40)
        assert np.bincount(fold_numbers(member, FOLDS, 0, singles)[member]).tolist() == [4] * FOLDS


class TestFoldsOfGroups:
    """All of a group (a person, a source) is in one fold, where the split drew whole groups."""

    GROUPS = np.repeat(np.arange(100), 4)

    def sides(self, seed):
        """Half of the groups are members, with all their samples."""
        return (np.random.default_rng([seed, 1]).permutation(100) < 50)[self.GROUPS]

    @pytest.mark.parametrize("groups", [None, np.full(24, np.nan), np.full(24, None)], ids=["none", "nan", "None"])
    def test_without_groups_folds_are_what_they_always_were(self, groups):
        rows, classes = np.arange(24), np.repeat([0, 1, 2], [10, 11, 3])
        for found, expected in (
            (fold_numbers(rows % 3 == 0, 4, 5, None, groups), "032210100023103213312321"),
            (fold_numbers(rows % 2 == 0, 3, 5, rows // 6, groups), "100122001221100221001221"),
        ):
            assert "".join(map(str, found)) == expected
        with pytest.warns(UserWarning, match="least populated class"):  # the third class is too small to spread
            found = fold_numbers(rows % 2 == 0, 3, 5, classes, groups)
        assert "".join(map(str, found)) == "010212102011011222200120"

    @pytest.mark.parametrize("seed", range(3))
    def test_no_group_is_cut_and_members_are_spread_as_evenly_as_groups_allow(self, seed):
        generator = np.random.default_rng(seed)
        sizes = np.concatenate([[200, 31], generator.integers(1, 9, 60), [200, 31], generator.integers(1, 9, 60)])
        rows = generator.permutation(sizes.sum())
        groups, member = np.repeat(np.arange(124), sizes)[rows], np.repeat(np.arange(124) < 62, sizes)[rows]
        fold_of = fold_numbers(member, FOLDS, seed, groups=np.char.add("person ", groups.astype(str)))
        assert all(len(set(fold_of[groups == group])) == 1 for group in range(124))
        for side in (member, ~member):
            counts = np.sort(np.bincount(fold_of[side], minlength=FOLDS))
            assert counts[-1] == 200  # the large group on its own
            assert counts[-2] - counts[0] <= 1

    def test_samples_without_a_group_are_on_their_own(self):
        member = np.tile([True, False], 40)
        groups = np.where(np.arange(80) < 20, np.where(member, "a", "b"), None)
        fold_of = fold_numbers(member, 4, 0, groups=groups)
        for side, group in ((member, "a"), (~member, "b")):
            counts = np.bincount(fold_of[side], minlength=4)
            assert counts.tolist() == [10] * 4
            assert len(set(fold_of[groups == group])) == 1

    def test_the_seed_draws_them_and_names_do_not(self):
        member = self.sides(0)
        folds = [fold_numbers(member, FOLDS, seed, groups=self.GROUPS) for seed in (0, 0, 1)]
        np.testing.assert_array_equal(folds[0], folds[1])
        assert 0.1 < (folds[0] == folds[2]).mean() < 0.4  # a fifth by chance
        np.testing.assert_array_equal(folds[0], fold_numbers(member, FOLDS, 0, groups=-self.GROUPS.astype(float)))

    def test_too_few_groups_of_a_side_are_refused(self):
        groups = np.concatenate([np.arange(20) // 5, np.arange(20) // 2 + 10])
        for member, counts in ((np.arange(40) < 20, (4, 10)), (np.arange(40) >= 20, (10, 4))):
            expected = f"^5 folds of {counts[0]} groups of members and {counts[1]} groups of non-members; .*whole group"
            with pytest.raises(DiffmiaError, match=expected):
                by_statistics(np.zeros((40, 1, 8, 8), dtype=np.uint8), member, 0, groups)
            assert set(fold_numbers(member, 4, 0, groups=groups)[:20]) == {0, 1, 2, 3}

    def test_groups_that_the_split_cut_are_refused(self):
        with pytest.raises(ValueError, match="both members and non-members"):
            fold_numbers(np.arange(40) % 2 == 0, FOLDS, 0, groups=np.arange(40) // 4)

    def test_who_a_sample_is_of_does_not_tell_its_side(self):
        """Each group is a random template and noise, and nothing else tells the sides apart."""

        def auc(seed, groups):
            generator, member = np.random.default_rng(seed), self.sides(seed)
            x = generator.normal(size=(100, 20))[self.GROUPS] + 0.3 * generator.normal(size=(400, 20))

            def nearest(train, labels, judged, _):
                distances = np.linalg.norm(x[judged, None] - x[train], axis=2)
                return distances[:, labels].min(axis=1) - distances[:, ~labels].min(axis=1)

            scores = out_of_fold(nearest, member, FOLDS, seed, groups=groups)
            return 50 + 100 * auc_test(scores[member], scores[~member]).delta

        assert np.mean([auc(seed, None) for seed in range(3)]) > 95
        assert abs(np.mean([auc(seed, self.GROUPS) for seed in range(12)]) - 50) < 4

    def test_classes_are_not_spread_over_them(self):
        """No draw of groups fixes a class's number of members, so folds with equal shares would repeat its chance."""
        classes = self.GROUPS % 5

        def auc(seed):
            member = self.sides(seed)

            def frequencies(train, labels, judged, _):
                return -np.array([labels[classes[train] == class_].mean() for class_ in range(5)])[classes[judged]]

            scores = out_of_fold(frequencies, member, FOLDS, seed, classes, self.GROUPS)
            return 50 + 100 * auc_test(scores[member], scores[~member]).delta

        assert np.mean([auc(seed) for seed in range(30)]) < 54  # 59 if they were spread


class TestFoldsOfTheStage:
    """What a fold must not cut is what the split drew."""

    PEOPLE = np.repeat(np.arange(40), 9)  # each with a folder of images: it is both the class and the group

    @pytest.fixture
    def split(self, tmp_path):
        """Draws a split; returns the paths that the stage is called with. The split may say it is by another method."""
        generator = np.random.default_rng(0)
        templates = generator.integers(60, 196, (40, 3, 6, 6))
        images = templates[self.PEOPLE] + generator.integers(-3, 4, (360, 3, 6, 6))
        names = np.char.add("p", self.PEOPLE.astype(str))
        table = {"sample_id": range(360), "label": self.PEOPLE, "label_name": names, "group": names}
        files = [tmp_path / name for name in ("images.npy", "samples.parquet", "split.json", "scores.parquet")]
        np.save(files[0], images.astype(np.uint8))
        pd.DataFrame(table).to_parquet(files[1])
        (tmp_path / "dataset.json").write_text(json.dumps({"dataset_hash": "d" * 64, "shape": [3, 6, 6]}))

        def draw(kind, method, seed, says=None):
            spec = kind(dataset="d", method=method, members=180)
            build_split(spec, seed, files[1], tmp_path / "dataset.json", files[2])
            files[2].write_text(json.dumps(json.loads(files[2].read_text()) | {"method": says or method}))
            return files

        return draw

    def auc(self, files, seed):
        facts = score_blindly(
            BlindStatistics(family="blind_statistics", label="S"), "blind", seed, *files, torch.device("cpu")
        )
        scores = read_scores(files[-1], facts["split_hash"])["blind"]
        member = scores["member"].to_numpy(bool)
        return 50 + 100 * auc_test(scores["base"][member], scores["base"][~member]).delta, facts["folds_of"]

    def test_people_who_were_drawn_whole_are_judged_by_others(self, split):
        found = [self.auc(split(GroupSplit, "by_group", seed), seed) for seed in range(10)]
        assert {folds_of for _, folds_of in found} == {"groups"}
        assert abs(np.mean([auc for auc, _ in found]) - 50) < 8
        auc, folds_of = self.auc(split(GroupSplit, "by_group", 0, says="file"), 0)
        assert folds_of == "samples"
        assert auc > 90

    def test_groups_that_stand_for_a_side_are_cut(self, tmp_path):
        """Of groups that a person put on a side the difference is the very shift, and folds are of samples."""
        generator = np.random.default_rng(0)
        images = generator.integers(0, 100, (160, 1, 6, 6))
        group = np.repeat(["of the model", "dark", "bright"], [80, 40, 40])
        images[group == "bright"] += 100
        files = [tmp_path / name for name in ("images.npy", "samples.parquet", "split.json", "scores.parquet")]
        np.save(files[0], images.astype(np.uint8))
        table = {"sample_id": range(160), "label": 0, "label_name": "", "group": group}
        pd.DataFrame(table).to_parquet(files[1])
        (tmp_path / "dataset.json").write_text(json.dumps({"dataset_hash": "d" * 64, "shape": [1, 6, 6]}))
        sides = {"member_groups": ["of the model"], "non_member_groups": ["dark", "bright"]}
        spec = GroupsSplit(dataset="d", method="groups", members=80, **sides)
        build_split(spec, 0, files[1], tmp_path / "dataset.json", files[2])
        auc, folds_of = self.auc(files, 0)
        assert folds_of == "samples"
        assert auc == pytest.approx(75, abs=12)  # bright ones are told, dark ones are not

    @pytest.mark.parametrize(
        "spec",
        [
            BlindStatistics(family="blind_statistics", label="S", folds=3),
            BlindCNN(family="blind_cnn", label="C", folds=3, epochs=1),
        ],
        ids=lambda spec: spec.family,
    )
    def test_folds_of_a_baseline_are_those_of_the_split(self, spec, split, monkeypatch):
        drawn = []

        def remembered(*args):
            drawn.append(fold_numbers(*args))
            return drawn[-1]

        monkeypatch.setattr(cross_validation, "fold_numbers", remembered)
        for kind, method in ((GroupSplit, "by_group"), (ClassBalancedSplit, "class_balanced")):
            score_blindly(spec, "blind", 0, *split(kind, method, 0), torch.device("cpu"))
        whole, cut = drawn
        assert {len(set(whole[person == self.PEOPLE])) for person in range(40)} == {1}
        assert {len(set(cut[person == self.PEOPLE])) for person in range(40)} == {3}  # a member of each in every fold


class TestStages:
    """From images and a split to score files and pairs, as the workflow calls them."""

    @pytest.fixture
    def split(self, tmp_path):
        images = np.random.default_rng(0).integers(0, 200, (60, 1, 9, 9), dtype=np.uint8)
        images[41] = images[3]
        images[42] = images[5] + (np.arange(81).reshape(1, 9, 9) % 2).astype(np.uint8)
        np.save(tmp_path / "images.npy", images)
        pd.DataFrame({"sample_id": range(60), "label": np.arange(60) % 3}).to_parquet(tmp_path / "samples.parquet")
        roles = {"member": list(range(20)), "non_member": list(range(30, 60)), "auxiliary": list(range(20, 30))}
        hashes = {"split_hash": "s" * 64, "dataset_hash": "d" * 64}
        manifest = {"dataset": "d", "method": "random", "seed": 1, **hashes, **roles}
        (tmp_path / "split.json").write_text(json.dumps(manifest))
        return tmp_path

    @pytest.mark.parametrize(
        "spec",
        [
            BlindStatistics(family="blind_statistics", label="S", folds=4),
            BlindCNN(family="blind_cnn", label="C", folds=2, epochs=1),
        ],
        ids=lambda spec: spec.family,
    )
    def test_every_judged_sample_has_a_score_and_no_other(self, spec, split):
        files = [split / name for name in ("images.npy", "samples.parquet", "split.json", "scores.parquet")]
        facts = score_blindly(spec, "blind", 7, *files, torch.device("cpu"))
        scores = read_scores(files[-1], "s" * 64)["blind"]
        assert scores["sample_id"].tolist() == [*range(20), *range(30, 60)]
        assert scores["member"].tolist() == [True] * 20 + [False] * 30
        assert scores["oms"].isna().all()
        ids, member = scores["sample_id"].to_numpy(), scores["member"].to_numpy(bool)
        learner = spec.learner(np.load(files[0])[ids], None, torch.device("cpu"))
        again = out_of_fold(learner, member, spec.folds, 7)
        np.testing.assert_allclose(scores["base"], again, rtol=1e-5)
        assert facts["seconds_learning"]["base"] > 0

    @pytest.mark.parametrize("method", ["class_balanced", "random", "groups", "boundary", "file"])
    def test_classes_are_spread_where_the_split_fixed_how_many_there_are(self, method, split, monkeypatch):
        files = [split / name for name in ("images.npy", "samples.parquet", "split.json", "scores.parquet")]
        files[2].write_text(json.dumps(json.loads(files[2].read_text()) | {"method": method}))
        given = []
        monkeypatch.setattr(
            stage, "out_of_fold", lambda learner, member, *others: given.append(others[2]) or np.zeros(len(member))
        )
        score_blindly(BlindStatistics(family="blind_statistics", label="S"), "blind", 7, *files, None)
        assert (given[0] is not None) == (method == "class_balanced")

    def test_pairs_are_of_sample_ids(self, split):
        spec = DuplicatesSpec(bits=2, rms=2)
        found = find_duplicates(spec, split / "images.npy", split / "split.json", split / "pairs.csv")
        pairs = pd.read_csv(split / "pairs.csv")
        assert pairs[["member", "non_member", "exact"]].to_numpy().tolist() == [[3, 41, True], [5, 42, False]]
        assert (found["pairs"], found["exact"]) == (2, 1)
