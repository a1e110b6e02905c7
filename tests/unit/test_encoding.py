"""Latents and embeddings on disk: once for a dataset and a target, whole, and equal to the pipeline's own."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline

from diffmia.encoding.embeddings import embed_captions
from diffmia.encoding.latents import encode_latents
from diffmia.encoding.rows import encode_rows
from diffmia.errors import DiffmiaError
from diffmia.models.diffusers_latent_diffusion import DiffusersLatentDiffusion
from diffmia.passes import engine
from diffmia.passes.engine import ModelPass
from diffmia.passes.inputs import Latents
from diffmia.passes.residuals import answer
from diffmia.passes.table import Samples
from diffmia.running.failures import OutOfMemory
from diffmia.search.probes import Probe
from diffmia.targets import describe
from tests.unit.sharded import in_shards
from tests.unit.tiny_pipeline import tiny_pipeline

CPU = torch.device("cpu")
N = 20
SPLIT = {"split_hash": "s", "dataset_hash": "d", "shape": [1, 16, 16]}
SPLIT |= {"member": [0, 2, 4, 19], "non_member": [1, 3], "auxiliary": [7]}  # the others are in no role
CAPTIONS = [f"ha {i % 3}" for i in range(N)]
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 1, 16, 16), dtype=np.uint8)


class Stages:
    """Both stages on files in a folder."""

    def __init__(self, folder, batch_size=8):
        self.folder = folder
        self.spec = DiffusersLatentDiffusion(
            family="diffusers_latent_diffusion", split="toy", folder="elsewhere", encoding_batch_size=batch_size
        )
        np.save(folder / "images.npy", IMAGES)
        self.write_captions(CAPTIONS)
        (folder / "split.json").write_text(json.dumps(SPLIT))

    def write_captions(self, captions):
        table = {"sample_id": range(N), "caption": captions}
        pd.DataFrame(table).to_parquet(self.folder / "samples.parquet")

    def latents(self, number=0, of=1):
        out = self.folder / f"{number}of{of}.npy"
        folder = self.folder
        files = folder / "target", folder / "images.npy", folder / "split.json"
        facts = encode_latents(self.spec, (number, of), *files, out, CPU)
        return np.load(out, allow_pickle=False), facts

    def embeddings(self, condition="caption"):
        out, index = self.folder / f"{condition}.npy", self.folder / f"{condition}.index.npy"
        folder = self.folder
        files = folder / "target", folder / "samples.parquet", None, folder / "split.json", out, index
        facts = embed_captions(self.spec, condition, *files, CPU)
        return np.load(out, allow_pickle=False), np.load(index, allow_pickle=False), facts


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("target")
    tiny_pipeline(vae={"scaling_factor": 0.4}).save_pretrained(folder)
    describe(folder, SPLIT, {})
    return folder


@pytest.fixture
def stages(tmp_path, target):
    (tmp_path / "target").symlink_to(target)
    return Stages(tmp_path)


@pytest.fixture(scope="module")
def pipeline(target):
    return StableDiffusionPipeline.from_pretrained(target, safety_checker=None, local_files_only=True)


@torch.no_grad()
def test_latents_are_those_of_the_pipelines_autoencoder(stages, pipeline):
    latents, facts = stages.latents()
    x0 = torch.from_numpy(IMAGES).float() / 127.5 - 1
    expected = pipeline.vae.encode(x0).latent_dist.mode() * 0.4
    assert latents.dtype == np.float32
    assert latents.shape == facts["shape"] == (N, 4, 8, 8)
    np.testing.assert_allclose(latents, expected.numpy(), rtol=0, atol=1e-5)
    assert facts["target_hash"] == json.loads((stages.folder / "target" / "target.json").read_text())["target_hash"]


@pytest.mark.parametrize(("shards", "lengths"), [(1, [20]), (2, [12, 8]), (3, [9, 6, 5]), (9, [3] * 6 + [2, 0, 0])])
def test_shards_are_of_whole_batches_and_change_no_bit(shards, lengths, stages):
    """A convolution of a batch of another size adds up in another order: in this one, where it has a single image."""
    stages.spec = stages.spec.model_copy(update={"encoding_batch_size": 3})
    whole, _ = stages.latents()
    parts = [stages.latents(number, shards) for number in range(shards)]
    assert [len(latents) for latents, _ in parts] == lengths
    assert [facts["shard"] for _, facts in parts] == [(number, shards) for number in range(shards)]
    np.testing.assert_array_equal(np.concatenate([latents for latents, _ in parts]), whole)


def test_a_pass_over_them_has_the_same_table_whatever_the_number_of_shards(stages, tmp_path, monkeypatch):
    """Latents and the pass are cut into as many."""
    monkeypatch.setattr(engine, "BLOCK", 3)
    stages.spec = stages.spec.model_copy(update={"encoding_batch_size": 3})
    _, _, facts = stages.embeddings()
    (stages.folder / "caption.meta.json").write_text(json.dumps(facts))
    ids = np.sort(np.concatenate([SPLIT["member"], SPLIT["non_member"], SPLIT["auxiliary"]]))
    denoiser = stages.spec.load(stages.folder / "target").eval().requires_grad_(False)
    questions = [
        Probe(start="gaussian", t=300, condition="caption"),
        Probe(start="proximal", t=200, condition="caption"),
    ]

    def table(shards):
        for number in range(shards):
            stages.latents(number, shards)
        files = [stages.folder / f"{number}of{shards}.npy" for number in range(shards)]
        inputs = Latents(files, [stages.folder / "caption.npy"])
        samples = Samples(inputs, ids, np.full(len(ids), "member"), ids)
        return in_shards(
            lambda: ModelPass(denoiser, questions, answer, 5, 2, CPU), samples, shards, tmp_path / str(shards)
        )

    whole = table(1)
    assert whole["sample_id"].to_pylist() == ids.tolist()
    for shards in (2, 3):
        assert table(shards).equals(whole, check_metadata=True)


def test_a_shard_without_images_has_their_shape(stages):
    latents, _ = stages.latents(number=20, of=21)
    assert latents.shape == (0, 4, 8, 8)


@torch.no_grad()
def test_embeddings_are_what_the_pipeline_tells_its_unet_each_text_once(stages, pipeline):
    embeddings, index, facts = stages.embeddings()
    asked = sorted(SPLIT["member"] + SPLIT["non_member"] + SPLIT["auxiliary"])
    texts = [CAPTIONS[i] if i in asked else "" for i in range(N)]
    assert embeddings.shape == (4, 12, 16)  # three captions and the empty prompt
    assert facts["texts"] == 4
    assert index.dtype == np.int64
    assert [int(row) for row in index[:6]] == [0, 1, 2, 0, 1, 3]  # in the order of first appearance
    expected = pipeline.encode_prompt(texts, CPU, 1, do_classifier_free_guidance=False)[0]
    np.testing.assert_allclose(embeddings[index], expected.numpy(), rtol=0, atol=1e-5)


def test_without_a_condition_all_are_told_the_empty_prompt(stages):
    embeddings, index, _ = stages.embeddings("none")
    assert embeddings.shape == (1, 12, 16)
    assert index.tolist() == [0] * N


def test_the_hash_of_a_samples_text_moves_with_that_text_alone(stages):
    def hashes():
        _, index, facts = stages.embeddings()
        return [facts["text_hashes"][row] for row in index]

    before = hashes()
    assert before[0] == hashlib.sha256(CAPTIONS[0].encode()).hexdigest()
    stages.write_captions([*CAPTIONS[:4], f"{CAPTIONS[4]}!", *CAPTIONS[5:]])
    assert [i for i, (old, new) in enumerate(zip(before, hashes(), strict=True)) if old != new] == [4]


def test_a_sample_without_a_text_is_refused_and_nothing_is_written(stages):
    stages.write_captions([*CAPTIONS[:4], None, *CAPTIONS[5:]])
    with pytest.raises(DiffmiaError, match=r"sample 4 of .*samples.parquet has no caption"):
        stages.embeddings()
    assert not list(stages.folder.glob("caption*"))
    stages.write_captions([*CAPTIONS[:5], None, *CAPTIONS[6:]])  # nobody asks about it
    stages.embeddings()


def test_a_target_of_another_split_or_damaged_is_refused(stages):
    (stages.folder / "split.json").write_text(json.dumps(SPLIT | {"split_hash": "another"}))
    for stage in (stages.latents, stages.embeddings):
        with pytest.raises(DiffmiaError, match="was trained on split s, and it is to be scored against split another"):
            stage()
    (stages.folder / "split.json").write_text(json.dumps(SPLIT))
    (stages.folder / "target").unlink()
    tiny_pipeline().save_pretrained(stages.folder / "target")
    description = describe(stages.folder / "target", SPLIT, {})
    (stages.folder / "target/target.json").write_text(json.dumps(description | {"target_hash": "other"}))
    for stage in (stages.latents, stages.embeddings):
        with pytest.raises(DiffmiaError, match="are not those the target was written with"):
            stage()


def test_batches_that_do_not_fit_are_halved_for_good(tmp_path, caplog):
    out, asked = tmp_path / "rows.npy", []

    def encode(part):
        asked.append((part.start, part.stop))
        if part.stop - part.start > 3:
            raise torch.OutOfMemoryError("full")
        return torch.arange(part.start, part.stop).float()[:, None]

    encode_rows(encode, 9, 5, "texts", out)
    assert asked == [(0, 5), (0, 2), (2, 4), (4, 6), (6, 8), (8, 9)]
    assert np.load(out)[:, 0].tolist() == list(range(9))
    assert "out of device memory; going on with 2 texts at a time" in caplog.messages


def test_batches_are_written_as_they_come(tmp_path):
    """Each is made after the one before it was written, and no larger than it may be."""
    out, made = tmp_path / "rows.npy", []

    def encode(part):
        [scratch] = tmp_path.glob(".rows.npy.*/rows.npy")
        made.append((part.start, part.stop, scratch.stat().st_size > 2**17 * 4 * part.start))
        return torch.full((part.stop - part.start, 2**17), float(part.start))

    assert encode_rows(encode, 5, 2, "rows", out) == (5, 2**17)
    assert made == [(0, 2, False), (2, 4, True), (4, 5, True)]
    assert np.load(out)[:, 0].tolist() == [0, 0, 2, 2, 4]


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (lambda: torch.full((2, 3), torch.nan), DiffmiaError, "what was made of rows: 2 of 2 are NaN or infinite"),
        (
            lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("full")),
            OutOfMemory,
            "what one of the rows takes does not fit",
        ),
    ],
    ids=["not finite", "out of memory"],
)
def test_what_cannot_be_encoded_is_one_sentence_and_no_file(tmp_path, answer, kind, said):
    with pytest.raises(kind, match=said):
        encode_rows(lambda part: answer(), 4, 2, "rows", tmp_path / "rows.npy")
    assert not list(tmp_path.iterdir())
