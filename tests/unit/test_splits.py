"""Splits: who is a member, and the hash that says so."""

import errno
import hashlib
import io
import json
import pickle
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.datasets import load_digits

from diffmia.errors import DiffmiaError
from diffmia.splits import (
    ROLES,
    BoundarySplit,
    ClassBalancedSplit,
    FileSplit,
    GroupSplit,
    GroupsSplit,
    RandomSplit,
    build_split,
    roles_of,
)

# 12 samples in three classes of 4, and in groups of 1, 2, 3, 3 and 3
SMALL = pd.DataFrame(
    {"sample_id": range(12), "label": [0, 1, 2] * 4, "label_name": ["a", "b", "c"] * 4, "group": list("abbcccdddeee")}
)


@pytest.fixture(scope="module")
def digits():
    labels = load_digits().target
    return pd.DataFrame({"sample_id": range(len(labels)), "label": labels, "label_name": labels.astype(str)})


def spec(kind, method, **settings):
    return kind(method=method, dataset="data", **settings)


def balanced(**settings):
    return spec(ClassBalancedSplit, "class_balanced", **settings)


def from_file(path, **settings):
    return spec(FileSplit, "file", path=str(path), **settings)


def together(drawn):
    return sorted(np.concatenate(list(drawn.values())).tolist())


def as_lists(drawn):
    return {role: ids.tolist() for role, ids in drawn.items()}


def complaint(split, samples=SMALL):
    with pytest.raises(DiffmiaError) as caught:
        split.draw(samples, 0)
    return str(caught.value)


class TestClassBalanced:
    def test_the_digits(self, digits):
        drawn = balanced(members=256, auxiliary=512).draw(digits, 0)
        per_class = {role: set(np.bincount(digits["label"][ids])) for role, ids in drawn.items()}
        assert {role: len(ids) for role, ids in drawn.items()} == {"member": 256, "auxiliary": 512, "non_member": 1029}
        assert per_class["member"] == {25, 26}
        assert per_class["auxiliary"] == {51, 52}
        assert together(drawn) == list(range(1797))

    def test_numbered_non_members_are_balanced_too(self, digits):
        drawn = balanced(members=100, non_members=1000).draw(digits, 0)
        assert set(np.bincount(digits["label"][drawn["non_member"]])) == {100}
        assert len(set(together(drawn))) == 1100

    def test_which_classes_give_one_more_is_drawn(self, digits):
        counts = [np.bincount(digits["label"][balanced(members=256).draw(digits, seed)["member"]]) for seed in range(5)]
        assert len({tuple(count) for count in counts}) > 1

    def test_a_class_too_small(self):
        samples = SMALL.assign(label=[0] * 10 + [1] * 2)
        assert complaint(balanced(members=6), samples) == (
            "dataset 'data': class 1 has 2 samples left and a balanced draw of 6 member samples needs 3 of it; "
            "ask for fewer or use method: random"
        )


class TestRandom:
    def test_sizes(self):
        drawn = spec(RandomSplit, "random", members=3, auxiliary=4, non_members=2).draw(SMALL, 0)
        assert {role: len(ids) for role, ids in drawn.items()} == {"member": 3, "auxiliary": 4, "non_member": 2}
        assert len(set(together(drawn))) == 9

    def test_rest_is_all_that_is_left(self):
        assert together(spec(RandomSplit, "random", members=3, auxiliary=4).draw(SMALL, 0)) == list(range(12))

    def test_too_few_samples(self):
        assert complaint(spec(RandomSplit, "random", members=9, auxiliary=2, non_members=3)) == (
            "dataset 'data' has 12 samples, and the split asks for 9 members, 2 auxiliary and 3 non-members "
            "(14 in all); ask for fewer"
        )
        assert complaint(spec(RandomSplit, "random", members=10, auxiliary=2)) == (
            "dataset 'data' has 12 samples, and the split asks for 10 members, 2 auxiliary and at least 1 non-members "
            "(13 in all); ask for fewer"
        )


def by_group(**settings):
    return spec(GroupSplit, "by_group", **settings)


class TestBoundary:
    def test_members_come_before_it_and_all_others_after(self):
        drawn = spec(BoundarySplit, "boundary", boundary=7, members=5, auxiliary=2).draw(SMALL, 0)
        assert len(drawn["member"]) == 5
        assert max(drawn["member"]) < 7
        assert sorted([*drawn["auxiliary"], *drawn["non_member"]]) == [7, 8, 9, 10, 11]
        assert len(drawn["auxiliary"]) == 2

    @pytest.mark.parametrize(
        ("sizes", "sentence"),
        [
            ({"boundary": 4, "members": 5}, "has 4 samples before the boundary 4, and the split asks for 5"),
            (
                {"boundary": 10, "members": 5, "auxiliary": 2},
                "has 2 samples after the boundary 10, and the split asks for 3",
            ),
        ],
    )
    def test_too_few_on_a_side(self, sizes, sentence):
        assert sentence in complaint(spec(BoundarySplit, "boundary", **sizes))


class TestByGroup:
    @pytest.mark.parametrize("seed", range(10))
    def test_a_group_is_on_one_side(self, seed):
        drawn = by_group(members=5, auxiliary=3).draw(SMALL, seed)
        groups = [set(SMALL["group"][ids]) for ids in drawn.values()]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 5
        assert together(drawn) == list(range(12))
        assert 3 <= len(drawn["member"]) <= 5
        assert len(drawn["auxiliary"]) <= 3

    def test_samples_without_a_group(self):
        assert complaint(by_group(members=5), SMALL.assign(group=None)) == (
            "dataset 'data' has samples without a group; method: by_group needs one each"
        )

    @pytest.mark.parametrize("sizes", [{"members": 2}, {"members": 3, "auxiliary": 2}], ids=["member", "auxiliary"])
    def test_a_role_that_no_group_fits_is_refused(self, sizes):
        wholes = SMALL.assign(group=list("aaabbbcccddd"))
        assert "group" in complaint(by_group(**sizes), wholes)


def from_groups(member_groups, non_member_groups, **sizes):
    groups = {"member_groups": member_groups, "non_member_groups": non_member_groups}
    return spec(GroupsSplit, "groups", **groups, **sizes)


class TestFromGroups:
    """Members from some groups, all others from others."""

    # three groups of 40, and 5 samples of none, in no order
    MIXED = pd.DataFrame({"sample_id": range(125), "label": 0}).assign(
        group=np.random.default_rng(0).permutation(["a"] * 40 + ["b"] * 40 + ["c"] * 40 + [None] * 5)
    )

    def counts(self, drawn):
        return {role: self.MIXED["group"][ids].value_counts().to_dict() for role, ids in drawn.items()}

    @pytest.mark.parametrize("seed", range(3))
    def test_each_side_has_its_groups_and_equally_many_of_each(self, seed):
        drawn = from_groups(["b"], ["a", "c"], members=30, auxiliary=20, non_members=31).draw(self.MIXED, seed)
        counts = self.counts(drawn)
        assert counts["member"] == {"b": 30}
        assert counts["auxiliary"] == {"a": 10, "c": 10}
        assert sorted(counts["non_member"].values()) == [15, 16]
        assert len(set(together(drawn))) == 81
        members = self.counts(from_groups(["a", "c"], ["b"], members=30, non_members=5).draw(self.MIXED, seed))[
            "member"
        ]
        assert members == {"a": 15, "c": 15}

    def test_which_group_gives_one_more_is_drawn(self):
        split = from_groups(["b"], ["a", "c"], members=30, non_members=31)
        assert {self.counts(split.draw(self.MIXED, seed))["non_member"]["a"] for seed in range(9)} == {15, 16}

    def test_rest_is_what_is_left_of_the_groups(self):
        drawn = from_groups(["b"], ["a", "c"], members=30, auxiliary=21).draw(self.MIXED, 0)
        assert len(drawn["non_member"]) == 59
        assert not set(self.MIXED["sample_id"][self.MIXED["group"].isna()]) & set(together(drawn))

    def test_too_few_in_a_group(self):
        assert complaint(from_groups(["b"], ["a", "c"], members=30, auxiliary=60, non_members=30), self.MIXED) == (
            "dataset 'data': group a has 10 samples left and a balanced draw of 30 non_member samples needs 15 of it; "
            "ask for fewer"
        )
        assert "group b has 40 samples left and a balanced draw of 41 member samples needs 41" in complaint(
            from_groups(["b"], ["a"], members=41), self.MIXED
        )

    def test_groups_that_are_not_there(self):
        assert complaint(from_groups(["b"], ["d"], members=3), self.MIXED) == (
            "dataset 'data' has no group 'd'; it has a, b, c"
        )
        assert complaint(from_groups(["b"], ["d"], members=3), self.MIXED.assign(group=None)) == (
            "dataset 'data' has no group 'b'; its samples have none"
        )

    @pytest.mark.parametrize(("members", "others"), [(["a"], ["b", "a"]), (["a", "a"], ["b"])])
    def test_a_group_is_on_one_side_and_named_once(self, members, others):
        with pytest.raises(ValidationError, match="group a is named more than once in member_groups and non_member_"):
            from_groups(members, others, members=3)

    def test_a_side_needs_a_group(self):
        with pytest.raises(ValidationError, match="at least 1 item"):
            from_groups(["a"], [], members=3)


def test_how_class_balanced_splits_are_drawn_has_not_changed(digits):
    drawn = balanced(members=256, auxiliary=512).draw(digits, 0)
    hashes = {role: hashlib.sha256(ids.astype("<i8").tobytes()).hexdigest()[:12] for role, ids in drawn.items()}
    assert hashes == {"member": "8facbd63b511", "auxiliary": "fbed8e135141", "non_member": "861be0f88adc"}


@pytest.mark.parametrize(
    "split",
    [
        balanced(members=6, auxiliary=3),
        from_groups(["d", "a"], ["b", "c", "e"], members=2, auxiliary=3),
        spec(RandomSplit, "random", members=6, auxiliary=3),
        by_group(members=6, auxiliary=3),
        spec(BoundarySplit, "boundary", boundary=9, members=6, auxiliary=1),
    ],
    ids=lambda split: split.method,
)
def test_the_seed_decides_the_draw(split):
    first, again, other = (as_lists(split.draw(SMALL, seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


SECMI = {"mia_train_idxs": [4, 1], "mia_eval_idxs": [0, 7]}


def savez(path, **arrays):
    np.savez(path, **{key: np.array(values) for key, values in arrays.items()})
    return path


class TestFromFile:
    def test_without_a_key_of_theirs_there_are_no_auxiliary_samples(self):
        assert from_file("split.npz").auxiliary_size() == 0
        assert from_file("split.npz", auxiliary_key="aux").auxiliary_size() is None

    def test_secmi_keys(self, tmp_path):
        path = savez(tmp_path / "split.npz", **SECMI, ratio=0.5)
        expected = {"member": [4, 1], "non_member": [0, 7], "auxiliary": []}
        assert as_lists(from_file(path).draw(SMALL, 0)) == as_lists(from_file(path).draw(SMALL, 1)) == expected
        assert from_file(path).inputs() == [str(path)]

    def test_a_declared_checksum_is_demanded(self, tmp_path):
        path = savez(tmp_path / "split.npz", **SECMI)
        right = hashlib.sha256(path.read_bytes()).hexdigest()
        assert as_lists(from_file(path, sha256=right).draw(SMALL, 0))["member"] == [4, 1]
        sentence = complaint(from_file(path, sha256="0" * 64))
        assert f"{path} has sha256 {right} and {'0' * 64} is expected" in sentence

    def test_keys_of_ones_own(self, tmp_path):
        path = savez(tmp_path / "split.npz", seen=[1], unseen=[2], spare=[3, 4])
        keys = {"member_key": "seen", "non_member_key": "unseen", "auxiliary_key": "spare"}
        expected = {"member": [1], "non_member": [2], "auxiliary": [3, 4]}
        assert as_lists(from_file(path, **keys).draw(SMALL, 0)) == expected

    def test_a_missing_key(self, tmp_path):
        path = savez(tmp_path / "split.npz", train=[1], mia_eval_idxs=[2])
        sentence = complaint(from_file(path))
        assert f"{path} has no array " in sentence
        assert "mia_train_idxs" in sentence
        assert "; it has " in sentence
        assert "train" in sentence.partition("; it has ")[2]

    @pytest.mark.parametrize("kind", ["text", "empty", "pickle", "npy", "cut npz", "damaged npz"])
    def test_what_is_no_npz(self, tmp_path, kind):
        npy, npz = io.BytesIO(), io.BytesIO()
        np.save(npy, np.arange(3))
        np.savez(npz, **{key: np.arange(100) for key in SECMI})
        npz = npz.getvalue()
        contents = {
            "text": b"3, 4, 5",
            "empty": b"",
            "pickle": pickle.dumps(SECMI),
            "npy": npy.getvalue(),
            "cut npz": npz[: len(npz) // 2],
            "damaged npz": npz[:300] + b"damaged" + npz[307:],
        }
        path = tmp_path / "split.npz"
        path.write_bytes(contents[kind])
        sentence = complaint(from_file(path))
        assert sentence.startswith(f"cannot read split file {path}: ")
        assert "pickle.load" not in sentence  # numpy's advice, and the last thing to do with a file of unknown origin

    def test_pickled_arrays_are_not_loaded(self, tmp_path):
        class Executed:
            def __reduce__(self):
                return (tmp_path.joinpath("executed").touch, ())

        path = tmp_path / "split.npz"
        np.savez(path, mia_train_idxs=np.array([Executed()], dtype=object), mia_eval_idxs=np.array([1]))
        assert complaint(from_file(path)).startswith(f"cannot read split file {path}: ")
        assert not (tmp_path / "executed").exists()

    def test_an_absent_file(self, tmp_path):
        assert complaint(from_file(tmp_path / "split.npz")).startswith(f"cannot read split file {tmp_path}/split.npz: ")

    @pytest.mark.parametrize("values", [[0.5, 1.5], [True, False], ["a", "b"]], ids=["fractions", "mask", "names"])
    def test_indices_are_whole_numbers(self, tmp_path, values):
        path = savez(tmp_path / "split.npz", mia_train_idxs=values, mia_eval_idxs=[2])
        assert "mia_train_idxs" in complaint(from_file(path))


def build(split, tmp_path, seed=0, data_hash="1234", name="split"):
    SMALL.to_parquet(tmp_path / "samples.parquet")
    (tmp_path / "manifest.json").write_text(json.dumps({"dataset_hash": data_hash, "shape": [1, 8, 8]}))
    out = tmp_path / "splits" / f"{name}.json"
    build_split(split, seed, tmp_path / "samples.parquet", tmp_path / "manifest.json", out)
    return json.loads(out.read_text())


def build_complaint(tmp_path, **arrays):
    path = savez(tmp_path / "split.npz", **SECMI | arrays)
    with pytest.raises(DiffmiaError) as caught:
        build(from_file(path), tmp_path)
    assert list(tmp_path.glob("splits/**/*")) == []
    return str(caught.value)


class TestManifest:
    def test_content(self, tmp_path):
        path = savez(tmp_path / "split.npz", **SECMI)
        manifest = build(from_file(path), tmp_path, seed=5)
        assert manifest.pop("split_hash")
        assert manifest == {
            "dataset": "data",
            "dataset_hash": "1234",
            "shape": [1, 8, 8],
            "method": "file",
            "seed": 5,
            "counts": {"member": 2, "non_member": 2, "auxiliary": 0},
            "class_counts": {"member": {"b": 2}, "non_member": {"a": 1, "b": 1}, "auxiliary": {}},
            "member": [1, 4],
            "non_member": [0, 7],
            "auxiliary": [],
            "files": [str(path)],
        }

    def test_all_roles_are_in_ascending_order(self, tmp_path):
        manifest = build(balanced(members=3, auxiliary=3), tmp_path)
        for role in ROLES:
            assert manifest[role] == sorted(manifest[role])

    def test_it_appears_whole_or_not_at_all(self, tmp_path, monkeypatch):
        before = build(balanced(members=3), tmp_path)
        inputs = tmp_path / "samples.parquet", tmp_path / "manifest.json"
        out = tmp_path / "splits" / "split.json"

        def write_half(path, text):
            path.write_bytes(text.encode()[: len(text) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("pathlib.Path.write_text", write_half)
        with pytest.raises(DiffmiaError, match=f"cannot write {out}"):
            build_split(balanced(members=6), 0, *inputs, out)
        assert json.loads(out.read_text()) == before
        assert list(out.parent.iterdir()) == [out]

    def test_indices_outside_the_dataset(self, tmp_path):
        assert build_complaint(tmp_path, mia_eval_idxs=[0, 12]) == (
            "the split of dataset 'data' names sample 12, and it has 12 samples"
        )
        assert build_complaint(tmp_path, mia_eval_idxs=[-1, 0]) == (
            "the split of dataset 'data' names sample -1, and it has 12 samples"
        )

    def test_indices_in_two_roles_or_twice_in_one(self, tmp_path):
        sentence = (
            "the split of dataset 'data' uses 1 samples more than once, first 4; "
            "members, non-members and auxiliary samples must be disjoint"
        )
        assert build_complaint(tmp_path, mia_eval_idxs=[4, 7]) == sentence
        assert build_complaint(tmp_path, mia_train_idxs=[4, 4]) == sentence

    @pytest.mark.parametrize(("role", "key"), [("member", "mia_train_idxs"), ("non_member", "mia_eval_idxs")])
    def test_a_role_without_samples(self, tmp_path, role, key):
        sentence = build_complaint(tmp_path, **{key: np.empty(0, int)})
        assert sentence == f"the split of dataset 'data' has no {role} samples"


class TestHash:
    """`split_hash` says which samples of which data play which role, and nothing else."""

    def hash(self, tmp_path, arrays=SECMI, **settings):
        return build(from_file(savez(tmp_path / "split.npz", **arrays)), tmp_path, **settings)["split_hash"]

    def test_moves_with_the_data(self, tmp_path):
        assert self.hash(tmp_path) != self.hash(tmp_path, data_hash="4321")

    @pytest.mark.parametrize(
        "arrays",
        [
            SECMI | {"mia_train_idxs": [4, 2]},
            SECMI | {"mia_eval_idxs": [0]},
            {"mia_train_idxs": SECMI["mia_eval_idxs"], "mia_eval_idxs": SECMI["mia_train_idxs"]},
        ],
        ids=["another member", "one non-member less", "swapped"],
    )
    def test_moves_with_the_indices(self, tmp_path, arrays):
        assert self.hash(tmp_path) != self.hash(tmp_path, arrays)

    def test_stays_with_name_seed_and_order(self, tmp_path):
        reversed_arrays = {key: values[::-1] for key, values in SECMI.items()}
        assert self.hash(tmp_path) == self.hash(tmp_path, name="other", seed=1) == self.hash(tmp_path, reversed_arrays)


class TestRolesOfANullTarget:
    """A target that is trained on half of the auxiliary samples, in place of the members."""

    MANIFEST: ClassVar = {
        "dataset": "toy",
        "seed": 7,
        "member": [0, 5],
        "non_member": [1, 2],
        "auxiliary": list(range(10, 31)),
    }

    def test_the_others_see_the_split_as_it_is(self):
        roles = roles_of(self.MANIFEST, None)
        assert {role: ids.tolist() for role, ids in roles.items()} == {role: self.MANIFEST[role] for role in ROLES}

    def test_it_has_one_half_and_leaves_the_other(self):
        roles = roles_of(self.MANIFEST, 0)
        assert roles["member"].tolist() == [0, 5]
        assert roles["non_member"].tolist() == [1, 2]
        assert (len(roles["trained"]), len(roles["auxiliary"])) == (10, 11)
        assert sorted([*roles["trained"], *roles["auxiliary"]]) == self.MANIFEST["auxiliary"]
        assert roles["trained"].tolist() == sorted(roles["trained"])

    def test_halves_are_random_and_hang_on_the_splits_seed(self):
        halves = [set(roles_of(self.MANIFEST | {"seed": s}, half)["trained"]) for s in (7, 8) for half in (0, 1)]
        assert all(one != other for i, one in enumerate(halves) for other in halves[:i])
        assert set(roles_of(self.MANIFEST, 0)["trained"]) == halves[0]

    def test_too_few_to_halve(self):
        with pytest.raises(DiffmiaError, match=r"half of the auxiliary samples, .* has 1; give it more"):
            roles_of(self.MANIFEST | {"auxiliary": [3]}, 0)


def test_groups_of_one_fill_a_role_to_its_last_sample():
    drawn = by_group(members=5, auxiliary=3).draw(SMALL.assign(group=[str(i) for i in range(12)]), 0)
    assert {role: len(ids) for role, ids in drawn.items()} == {"member": 5, "auxiliary": 3, "non_member": 4}
