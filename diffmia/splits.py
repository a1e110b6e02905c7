"""Member, non-member and auxiliary samples of a dataset, with a hash that every later stage carries."""

from __future__ import annotations

import hashlib
import json
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from diffmia.errors import DiffmiaError
from diffmia.files.atomic import atomic_path
from diffmia.files.receipts import SourceFile
from diffmia.spec import Sha256, Spec

ROLES = ("member", "non_member", "auxiliary")
TRAINED = "trained"  # of a target that was trained on neither members nor non-members: what it was trained on
Indices = dict[str, np.ndarray]


class SplitSpec(Spec):
    """Which samples of a dataset play which role."""

    dataset: str = Field(description="Id of the dataset that is split")

    def inputs(self) -> list[str]:
        """Files the split is read from, none by default."""
        return []

    def auxiliary_size(self) -> int | None:
        """How many auxiliary samples there will be, None if only the drawn split tells."""
        return None

    @abstractmethod
    def draw(self, samples: pd.DataFrame, seed: int) -> Indices:
        """Sample ids of each role, disjoint; `samples` has columns sample_id, label and group."""


class _Sizes(SplitSpec):
    members: PositiveInt = Field(description="Samples the target is trained on")
    non_members: PositiveInt | Literal["rest"] = Field("rest", description="Samples it never sees; `rest`: all others")
    auxiliary: NonNegativeInt = Field(0, description="Further unseen samples, for attacks that learn from non-members")

    def auxiliary_size(self) -> int | None:
        """See `SplitSpec.auxiliary_size`; groups are not cut, so that there may be a few less."""
        return self.auxiliary

    def _require(self, available: int) -> None:
        rest = self.non_members == "rest"
        wanted = self.members + self.auxiliary + (1 if rest else self.non_members)
        if wanted > available:
            raise DiffmiaError(
                f"dataset '{self.dataset}' has {available} samples, and the split asks for {self.members} members, "
                f"{self.auxiliary} auxiliary and {'at least 1' if rest else self.non_members} non-members "
                f"({wanted} in all); ask for fewer"
            )

    def _quota(self, role: str) -> int | None:
        """Samples of a role, None for all that are left."""
        size = {"member": self.members, "non_member": self.non_members, "auxiliary": self.auxiliary}[role]
        return None if size == "rest" else size

    def _take_evenly(
        self, left: dict[Any, np.ndarray], role: str, generator: np.random.Generator, what: str, otherwise: str = ""
    ) -> np.ndarray:
        """The samples of a role, equally many of each class or group in `left`, give or take one; they are taken out.

        Where all that are left are wanted, there may be more of some than of others.
        """
        quota = self._quota(role)
        share, extra = (None, 0) if quota is None else divmod(quota, len(left))
        lucky = set(generator.permutation(list(left))[:extra])  # those that give one more
        parts = []
        for name in left:
            size = len(left[name]) if share is None else share + (name in lucky)
            if size > len(left[name]):
                raise DiffmiaError(
                    f"dataset '{self.dataset}': {what} {name} has {len(left[name])} samples left and a balanced draw "
                    f"of {quota} {role} samples needs {size} of it; ask for fewer{otherwise}"
                )
            parts.append(left[name][:size])
            left[name] = left[name][size:]
        return np.concatenate(parts)


class RandomSplit(_Sizes):
    """Samples drawn uniformly, whatever their class."""

    method: Literal["random"]

    def draw(self, samples: pd.DataFrame, seed: int) -> Indices:
        """See `SplitSpec.draw`."""
        self._require(len(samples))
        order = iter(np.random.default_rng(seed).permutation(samples["sample_id"].to_numpy()))
        return {role: _take(order, self._quota(role)) for role in ("member", "auxiliary", "non_member")}


class BoundarySplit(_Sizes):
    """Members from the samples before one, all others from it and after it: for a model trained on a whole part."""

    method: Literal["boundary"]
    boundary: PositiveInt = Field(description="First sample that the target never saw")

    def draw(self, samples: pd.DataFrame, seed: int) -> Indices:
        """See `SplitSpec.draw`; uniform on either side."""
        ids = samples["sample_id"].to_numpy()
        sides = {"before": ids[: self.boundary], "after": ids[self.boundary :]}
        others = self.auxiliary + (1 if self.non_members == "rest" else self.non_members)
        for side, wanted in (("before", self.members), ("after", others)):
            if len(sides[side]) < wanted:
                raise DiffmiaError(
                    f"dataset '{self.dataset}' has {len(sides[side])} samples {side} the boundary {self.boundary}, and "
                    f"the split asks for {wanted} of them; ask for fewer"
                )
        generator = np.random.default_rng(seed)
        seen, unseen = (iter(generator.permutation(side)) for side in sides.values())
        drawn = {"member": _take(seen, self.members)}
        return drawn | {role: _take(unseen, self._quota(role)) for role in ("auxiliary", "non_member")}


class ClassBalancedSplit(_Sizes):
    """Equally many samples of each class, give or take one (`rest` takes what is left)."""

    method: Literal["class_balanced"]

    def draw(self, samples: pd.DataFrame, seed: int) -> Indices:
        """See `SplitSpec.draw`."""
        self._require(len(samples))
        generator = np.random.default_rng(seed)
        left = {label: generator.permutation(ids.to_numpy()) for label, ids in samples.groupby("label")["sample_id"]}
        roles = ("member", "auxiliary", "non_member")
        return {role: self._take_evenly(left, role, generator, "class", " or use method: random") for role in roles}


class GroupSplit(_Sizes):
    """Whole groups (a person, a source) on one side: groups in random order, each role taking those that still fit."""

    method: Literal["by_group"]

    def draw(self, samples: pd.DataFrame, seed: int) -> Indices:
        """See `SplitSpec.draw`; a role may end a little under its size, as groups are not cut."""
        self._require(len(samples))
        if samples["group"].isna().any():
            raise DiffmiaError(f"dataset '{self.dataset}' has samples without a group; method: by_group needs one each")
        groups = {name: ids.to_numpy() for name, ids in samples.groupby("group")["sample_id"]}
        order = list(np.random.default_rng(seed).permutation(sorted(groups)))
        drawn: Indices = {}
        for role in ("member", "auxiliary", "non_member"):
            quota, taken = self._quota(role), []
            for name in list(order):
                if quota is None or sum(map(len, taken)) + len(groups[name]) <= quota:
                    taken.append(groups[name])
                    order.remove(name)
            drawn[role] = np.concatenate([np.empty(0, np.int64), *taken])
            if quota != 0 and not taken:
                sizes = sorted(len(groups[name]) for name in order)
                raise DiffmiaError(
                    f"dataset '{self.dataset}': no whole group fits in the {quota or 'rest of the'} {role} samples "
                    f"(the smallest left has {sizes[0] if sizes else 0}); change the sizes or use another method"
                )
        return drawn


class GroupsSplit(_Sizes):
    """Members from some groups, all others from other groups: for a model that was trained on data of its own origin.

    Each role has equally many of each of its groups, give or take one (`rest` takes what is left).
    """

    method: Literal["groups"]
    member_groups: tuple[str, ...] = Field(min_length=1, description="Groups, such as parts of a joined dataset")
    non_member_groups: tuple[str, ...] = Field(
        min_length=1,
        description="Others, for non-members and auxiliary samples; the figure `mixing` begins with the first",
    )

    @model_validator(mode="after")
    def _each_on_one_side(self) -> GroupsSplit:
        together = self.member_groups + self.non_member_groups
        if twice := sorted({group for group in together if together.count(group) > 1}):
            raise ValueError(f"group {', '.join(twice)} is named more than once in member_groups and non_member_groups")
        return self

    def draw(self, samples: pd.DataFrame, seed: int) -> Indices:
        """See `SplitSpec.draw`."""
        groups = {name: ids.to_numpy() for name, ids in samples.groupby("group")["sample_id"]}
        if unknown := [name for name in self.member_groups + self.non_member_groups if name not in groups]:
            there = f"it has {', '.join(sorted(groups))}" if groups else "its samples have none"
            raise DiffmiaError(f"dataset '{self.dataset}' has no group '{unknown[0]}'; {there}")
        generator = np.random.default_rng(seed)
        seen, unseen = (
            {name: generator.permutation(groups[name]) for name in side}
            for side in (self.member_groups, self.non_member_groups)
        )
        sides = {"member": seen, "auxiliary": unseen, "non_member": unseen}
        return {role: self._take_evenly(side, role, generator, "group") for role, side in sides.items()}


class FileSplit(SplitSpec):
    """Fixed indices from an `.npz` file, such as SecMI's `*_train_ratio0.5.npz`; the run seed does not move them."""

    method: Literal["file"]
    path: str = Field(description="The .npz file, relative to the working folder")
    sha256: Sha256 | None = Field(None, description="Checksum of the file; null: any")
    member_key: str = Field("mia_train_idxs", description="Array of member indices")
    non_member_key: str = Field("mia_eval_idxs", description="Array of non-member indices")
    auxiliary_key: str | None = Field(None, description="Array of auxiliary indices, if any")

    def inputs(self) -> list[str]:
        """See `SplitSpec.inputs`."""
        return [self.path]

    def auxiliary_size(self) -> int | None:
        """See `SplitSpec.auxiliary_size`."""
        return 0 if self.auxiliary_key is None else None

    def draw(self, samples: pd.DataFrame, seed: int) -> Indices:
        """See `SplitSpec.draw`."""
        keys = {"member": self.member_key, "non_member": self.non_member_key, "auxiliary": self.auxiliary_key}
        keys = {role: key for role, key in keys.items() if key is not None}
        try:
            if not zipfile.is_zipfile(self.path) and Path(self.path).is_file():
                raise DiffmiaError(f"cannot read split file {self.path}: it is no .npz archive")
            if self.sha256 is not None:
                SourceFile.of(self.path).require(self.sha256)
            with np.load(self.path, allow_pickle=False) as arrays:
                if missing := [key for key in keys.values() if key not in arrays]:
                    has = ", ".join(sorted(arrays))
                    raise DiffmiaError(f"split file {self.path} has no array {' or '.join(missing)}; it has {has}")
                drawn = {role: arrays[key] for role, key in keys.items()}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise DiffmiaError(f"cannot read split file {self.path}: {error}") from error
        for role, ids in drawn.items():
            if ids.dtype.kind not in "iu":
                raise DiffmiaError(f"split file {self.path}: {keys[role]} holds {ids.dtype} values, not sample indices")
        return {role: drawn.get(role, np.empty(0)).astype(np.int64).ravel() for role in ROLES}


def _take(order: Iterator, size: int | None) -> np.ndarray:
    taken = list(order) if size is None else [next(order) for _ in range(size)]
    return np.array(taken, dtype=np.int64)


def roles_of(manifest: dict, auxiliary_half: int | None) -> Indices:
    """Sample ids of each role, ascending, as one target sees them.

    A target that is trained on a half of the auxiliary samples in place of the members (`auxiliary_half` names which of
    the random halves) has that half as `trained` and the other one as `auxiliary`; members and non-members stay.
    """
    roles = {role: np.array(manifest[role], dtype=np.int64) for role in ROLES}
    if auxiliary_half is None:
        return roles
    seed = np.random.SeedSequence(manifest["seed"], spawn_key=(auxiliary_half,))
    shuffled = np.random.default_rng(seed).permutation(roles["auxiliary"])
    middle = len(shuffled) // 2
    if middle == 0:
        raise DiffmiaError(
            f"a target is to be trained on half of the auxiliary samples, and the split of dataset "
            f"'{manifest['dataset']}' has {len(shuffled)}; give it more"
        )
    return roles | {TRAINED: np.sort(shuffled[:middle]), "auxiliary": np.sort(shuffled[middle:])}


def groups_drawn_whole(manifest: dict, about: pd.DataFrame) -> pd.Series | None:
    """The group of each sample of `about` if the split drew whole groups, None if it drew samples.

    The manifest decides, and not whether each group happens to lie on one side. It does by design where a folder of
    members lies beside one of non-members, and there the group is the very shift that a blind baseline is for (method
    `groups` draws samples, from groups that a person named); and one stray sample would undo it. A `file` does not say
    how it was drawn; folds of samples may then call a shift what is only other groups, and hide none.
    """
    # Blind baselines fold by it: what the draw put on a side at random is what a fold must not cut. To keep groups
    # whole that a split of samples happens not to cut would be wrong, since those it does cut tell the wrong side: on
    # random halves of 200 pairs of like samples, nearest neighbours then have an AUC of 21, and of 49 with folds of
    # samples. Intervals resample by it: with people and images in numbers like LFW's, and scores that correlate by 0.3
    # within a person, an AUC has three to four times the spread that it would have of as many single samples.
    return about["group"] if manifest["method"] == "by_group" else None


def build_split(spec: SplitSpec, seed: int, samples: Path, dataset_manifest: Path, out: Path) -> None:
    """Draw a split and write its manifest.

    The manifest holds the sample ids of each role in ascending order, their number in each class, the hash of the data
    and `split_hash`, the hash of both: what a target was trained on and judged by.

    Raises
    ------
    DiffmiaError
        If the dataset is too small, a role is empty, or indices repeat or point outside the dataset.
    """
    table = pd.read_parquet(samples)
    dataset = json.loads(Path(dataset_manifest).read_text())
    drawn = {role: np.sort(ids) for role, ids in spec.draw(table, seed).items()}
    _check(spec, drawn, len(table))
    roles = {role: drawn[role].tolist() for role in ROLES}
    content = json.dumps({"dataset_hash": dataset["dataset_hash"], **roles}, sort_keys=True)
    labels = table.set_index("sample_id")["label_name"]
    manifest = {
        "dataset": spec.dataset,
        "dataset_hash": dataset["dataset_hash"],
        "shape": dataset["shape"],
        "method": spec.method,
        "seed": seed,
        "split_hash": hashlib.sha256(content.encode()).hexdigest(),
        "counts": {role: len(ids) for role, ids in roles.items()},
        "class_counts": {role: labels[ids].value_counts().sort_index().to_dict() for role, ids in roles.items()},
        **({"files": files} if (files := spec.inputs()) else {}),
        **roles,
    }
    with atomic_path(out) as scratch:
        scratch.write_text(json.dumps(manifest))


def _check(spec: SplitSpec, drawn: Indices, n: int) -> None:
    for role in ("member", "non_member"):
        if not len(drawn[role]):
            raise DiffmiaError(f"the split of dataset '{spec.dataset}' has no {role} samples")
    together = np.concatenate([drawn[role] for role in ROLES])
    outside = together[(together < 0) | (together >= n)]
    if len(outside):
        raise DiffmiaError(f"the split of dataset '{spec.dataset}' names sample {outside[0]}, and it has {n} samples")
    ids, times = np.unique(together, return_counts=True)
    if (times > 1).any():
        raise DiffmiaError(
            f"the split of dataset '{spec.dataset}' uses {int((times > 1).sum())} samples more than once, "
            f"first {ids[times > 1][0]}; members, non-members and auxiliary samples must be disjoint"
        )
