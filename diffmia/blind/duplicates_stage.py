"""The stage that looks for near-duplicates of a split's members among its non-members."""

from __future__ import annotations

import json
from pathlib import Path

from diffmia.blind.duplicates import near_duplicates
from diffmia.blind.spec import DuplicatesSpec
from diffmia.files.atomic import atomic_path
from diffmia.files.images import ChosenImages, open_images


def find_duplicates(spec: DuplicatesSpec, images: Path, split: Path, out: Path) -> dict:
    """Write the pairs of a member and a non-member that look alike; returns how many there are.

    The file has columns member and non_member (sample ids), hamming, exact and rms, see `near_duplicates`.
    """
    manifest = json.loads(Path(split).read_text())
    pixels = open_images(images)
    members, non_members = (manifest[role] for role in ("member", "non_member"))
    pairs = near_duplicates(ChosenImages(pixels, members), ChosenImages(pixels, non_members), spec.bits, spec.rms)
    pairs["member"] = [members[i] for i in pairs["member"]]
    pairs["non_member"] = [non_members[j] for j in pairs["non_member"]]
    with atomic_path(out) as scratch:
        pairs.to_csv(scratch, index=False)
    found = {"pairs": len(pairs), "exact": int(pairs["exact"].sum())}
    return {**found, "split_hash": manifest["split_hash"], "dataset_hash": manifest["dataset_hash"]}
