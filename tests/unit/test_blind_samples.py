"""Blind baselines on what is known of samples besides pixels (captions, files), and on CLIP: planted shifts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from sklearn.feature_extraction.text import CountVectorizer
from tiny_models import save_clip
from transformers import CLIPImageProcessorPil

from diffmia.attacks.blind import BlindCaptions, BlindCLIP, BlindFiles
from diffmia.blind import STANDARD_ERROR_FACTOR, captions
from diffmia.blind.captions import STATISTICS, caption_regression, caption_statistics
from diffmia.blind.clip import image_embeddings
from diffmia.blind.cross_validation import out_of_fold
from diffmia.blind.files import file_statistics
from diffmia.blind.stage import score_blindly
from diffmia.config.config import load_config
from diffmia.errors import DiffmiaError
from diffmia.evaluation.delong import auc_test
from diffmia.evaluation.rows import read_metrics
from diffmia.evaluation.stage import aggregate_metrics, evaluate_scores
from diffmia.running.failures import NotApplicable
from diffmia.scoring.reading import write_scores
from diffmia.splits import RandomSplit, build_split
from diffmia.tables import trust
from diffmia.tables.table import TableInputs

CPU = torch.device("cpu")
FOLDS, N = 5, 200
THINGS = ("cat", "dog", "horse", "boat", "house", "tree", "car", "plate", "street", "child")
PLACES = ("on a table", "in a field", "near the sea", "under a bridge", "in the snow", "at night")


def plain(rng):
    return f"a {rng.choice(THINGS)} and a {rng.choice(THINGS)} {rng.choice(PLACES)}"


def of_a_shop(rng):
    """The same things, said as an advertisement says them."""
    return f"{rng.choice(THINGS).title()} {rng.choice(THINGS).title()} {rng.choice(PLACES)}, {rng.integers(10, 99)}x!"


def of_other_words(rng):
    """As long and written as `plain`, with one word in place of another."""
    return plain(rng).replace(" and ", " but ")


def halves(seed, n=N):
    return np.random.default_rng([seed, 1]).permutation(2 * n) < n


def written(member, seed, members=plain, others=plain):
    rng = np.random.default_rng(seed)
    return [(members if of else others)(rng) for of in member]


def files(member, seed, scale=1.0):
    """Photographs of 640 x 480 or 480 x 640; of the others `scale` times as many bytes for each pixel."""
    rng = np.random.default_rng(seed)
    upright = rng.random(len(member)) < 0.3
    size = 640 * 480 * rng.normal(0.5, 0.1, len(member)) * np.where(member, 1.0, scale)
    width, height = np.where(upright, 480, 640), np.where(upright, 640, 480)
    return pd.DataFrame({"width": width, "height": height, "bytes": size.astype(int)}).astype("Int64")


def by(spec, samples, member, seed):
    return out_of_fold(spec.learner(None, samples, None), member, spec.folds, seed)


def by_captions(member, seed, **styles):
    spec = BlindCaptions(family="blind_captions", label="B")
    return by(spec, pd.DataFrame({"caption": written(member, seed, **styles)}), member, seed)


def by_files(member, seed, **shift):
    return by(BlindFiles(family="blind_files", label="B"), files(member, seed, **shift), member, seed)


def judged(scores, member):
    return auc_test(scores[member], scores[~member])


# ---- what they read


def test_statistics_of_captions_are_counted_by_hand():
    found = caption_statistics(["A cat, 2 Dogs!", "", "état"])
    by_hand = {
        "characters": [14, 0, 4],
        "words": [4, 0, 1],
        "mean_word_length": [(1 + 4 + 1 + 5) / 4, 0, 4],
        "capitals": [2, 0, 0],
        "digits": [1, 0, 0],
        "punctuation": [2, 0, 0],
    }
    assert dict(zip(STATISTICS, found.T.tolist(), strict=True)) == by_hand


def test_statistics_of_files_are_counted_by_hand():
    samples = pd.DataFrame({"width": [640, None], "height": [480, None], "bytes": [153_600, None]}).astype("Int64")
    assert file_statistics(samples).tolist() == [[640, 480, 153_600, 4 / 3, 0.5, 1], [0] * 6]


def test_words_of_a_judged_caption_have_no_part_in_its_fit(monkeypatch):
    """Every sample has a word of its own: a vectoriser that was fitted to all would know 5 folds' words."""
    known = []
    fit = captions.words_of

    def watched(texts):
        known.append((set(fit(texts).vocabulary_), set(texts)))
        return fit(texts)

    monkeypatch.setattr(captions, "words_of", watched)
    member = halves(0, 20)
    texts = [f"word{number}" for number in range(40)]
    out_of_fold(captions.caption_regression(texts), member, FOLDS, seed=0)
    assert [len(of) for of, _ in known] == [32] * FOLDS
    assert all(of == fitted for of, fitted in known)


def test_short_words_are_words():
    found = captions.words_of(np.array(["a 7", "B"], dtype=object))
    assert isinstance(found, CountVectorizer)
    assert sorted(found.vocabulary_) == ["7", "a", "b"]
    assert captions.words_of(np.array(["", "!?"], dtype=object)) is None


# ---- what they find


@pytest.mark.parametrize("others", [of_a_shop, of_other_words])
def test_captions_of_another_style_or_of_other_words_are_found(others):
    member = halves(0)
    found = judged(by_captions(member, 0, others=others), member)
    assert 50 + 100 * found.delta > 90


def test_files_of_another_compression_are_found():
    member = halves(0)
    assert 50 + 100 * judged(by_files(member, 0, scale=2.0), member).delta > 90


@pytest.mark.parametrize("baseline", [by_captions, by_files])
def test_without_a_shift_they_are_at_chance(baseline):
    found = []
    for seed in range(12):
        member = halves(seed)
        found.append(judged(baseline(member, seed), member))
    standard_error = STANDARD_ERROR_FACTOR * np.mean([of.standard_error for of in found]) / np.sqrt(len(found))
    assert abs(np.mean([of.delta for of in found])) < 1.96 * standard_error


@pytest.mark.parametrize("baseline", [by_captions, by_files])
def test_a_seed_decides_the_scores(baseline):
    member = halves(0, 40)
    np.testing.assert_array_equal(baseline(member, 3), baseline(member, 3))
    assert not np.array_equal(baseline(member, 3), baseline(member, 4))


def test_that_one_side_has_captions_is_a_shift_too():
    member = halves(0, 40)
    texts = pd.Series(written(member, 0)).where(member, None)
    spec = BlindCaptions(family="blind_captions", label="B")
    scores = by(spec, pd.DataFrame({"caption": texts}), member, 0)
    assert judged(scores, member).delta == 0.5


def test_samples_without_any_cannot_be_judged():
    member = halves(0, 40)
    samples = pd.DataFrame({"caption": [None] * 80, "width": [None] * 80, "height": [None] * 80, "bytes": [None] * 80})
    with pytest.raises(NotApplicable, match="none of the 80 samples has a caption"):
        by(BlindCaptions(family="blind_captions", label="B"), samples, member, 0)
    with pytest.raises(NotApplicable, match="none of the 80 samples came in a file of its own"):
        by(BlindFiles(family="blind_files", label="B"), samples, member, 0)


# ---- CLIP


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return folder, save_clip(folder)


def pictures(member, seed, redder=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(40, 160, (len(member), 3, 20, 20))
    images[~member, 0] += redder
    return images.clip(0, 255).astype(np.uint8)


def test_embeddings_are_those_of_the_whole_model(clip):
    folder, model = clip
    images = pictures(halves(0, 35), 0)  # more than one batch
    seen = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(images=seen, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = model.visual_projection(model.vision_model(pixels).pooler_output)
    expected = torch.nn.functional.normalize(expected, dim=1)
    np.testing.assert_allclose(image_embeddings(folder, images, CPU), expected.numpy(), atol=1e-6)


def test_what_clip_sees_is_found_and_nothing_is_not(clip):
    member = halves(0, 100)
    spec = BlindCLIP(family="blind_clip", label="B", folder=str(clip[0]))
    assert spec.inputs()[-1] == f"{clip[0]}/model.safetensors"
    learners = [spec.learner(pictures(member, 0, redder), None, CPU) for redder in (60, 0)]
    found = [judged(out_of_fold(learner, member, spec.folds, 0), member) for learner in learners]
    assert found[0].delta > 0.4
    assert abs(found[1].delta) < 1.96 * STANDARD_ERROR_FACTOR * found[1].standard_error


def test_a_clip_without_safetensors_is_refused(clip, tmp_path):
    save_clip(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(DiffmiaError, match=r"cannot read .*model.safetensors as CLIPVisionModelWithProjection"):
        image_embeddings(tmp_path, pictures(halves(0, 4), 0), CPU)


# ---- in a run

CONFIG = {
    "run": {"targets": ["mine"], "attacks": ["naive", "blind_captions", "blind_files"]},
    "datasets": {
        "coco": {"source": "coco_val2017", "size": 8},
        "folder": {"source": "folder", "root": "pictures"},
        "digits": {"source": "digits"},
    },
    "splits": {
        name: {"dataset": name, "method": "random", "members": 60, "non_members": 60}
        for name in ("coco", "folder", "digits")
    },
    "targets": {
        "mine": {"family": "ddpm_unet", "split": "coco", "model": {"channels": [32]}, "training": {"epochs": 1}},
    },
    "attacks": {
        "naive": {"family": "residual", "label": "NA", "start": "gaussian", "t": 350, "norm": 2},
        "blind_captions": {"family": "blind_captions", "label": "Blind (captions)"},
        "blind_files": {"family": "blind_files", "label": "Blind (files)"},
    },
    "evaluation": {"bootstrap": 100, "threshold_repeats": 2},
}


def config_on(dataset):
    target = CONFIG["targets"]["mine"] | {"split": dataset}
    return load_config(CONFIG | {"targets": {"mine": target}})


@pytest.mark.parametrize(
    ("dataset", "left_out"), [("coco", []), ("folder", ["captions"]), ("digits", ["captions", "files"])]
)
def test_they_are_left_out_where_the_dataset_has_nothing_for_them(dataset, left_out):
    assert config_on(dataset).left_out == {
        ("mine", f"blind_{what}"): f"needs {what} of the samples and has none" for what in left_out
    }


def test_config_yaml_defines_them(pytestconfig):
    shipped = load_config(yaml.safe_load((pytestconfig.rootpath / "config.yaml").read_text()))
    assert isinstance(shipped.attacks["blind_captions"], BlindCaptions)
    assert isinstance(shipped.attacks["blind_files"], BlindFiles)


@pytest.mark.parametrize(("others", "shifted"), [(of_a_shop, True), (plain, False)])
def test_a_shift_of_captions_is_flagged_and_is_the_best_blind_baseline(others, shifted, tmp_path):
    """From samples to `metrics.csv` and the table `trust`, by the stages themselves."""
    config, rng = config_on("coco"), np.random.default_rng(0)
    split = tmp_path / "seed0.json"
    np.save(tmp_path / "images.npy", np.zeros((120, 3, 8, 8), dtype=np.uint8))
    manifest = {"dataset_hash": "d" * 64, "n": 120, "shape": [3, 8, 8], "label_names": [""], "source": "coco_val2017"}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    samples = pd.DataFrame({"sample_id": range(120), "label": 0, "label_name": "", "group": None, "caption": None})
    samples.to_parquet(tmp_path / "samples.parquet")
    drawn = RandomSplit(method="random", dataset="coco", members=60, non_members=60)
    build_split(drawn, 0, tmp_path / "samples.parquet", tmp_path / "manifest.json", split)
    roles = json.loads(split.read_text())
    member = np.isin(np.arange(120), roles["member"])
    table = samples.assign(caption=written(member, 0, others=others)).join(files(member, 0))
    table.to_parquet(tmp_path / "samples.parquet")

    scores = [tmp_path / f"{name}.parquet" for name in ("naive", "blind_captions", "blind_files")]
    for path in scores[1:]:
        inputs = (tmp_path / "images.npy", tmp_path / "samples.parquet", split)
        score_blindly(config.attacks[path.stem], path.stem, 0, *inputs, path, None)
    of_attack = {"attack": "naive", "sample_id": np.arange(120), "member": member, "role": "eval"}
    of_attack |= {"base": rng.normal(size=120) - member, "oms": rng.normal(size=120) - member}
    hashes = {key: roles[key] for key in ("split_hash", "dataset_hash")}
    write_scores(pd.DataFrame(of_attack), hashes, scores[0])
    job = {"target": "mine", "dataset": "coco", "run_seed": 0, "seed": 0}
    given = (scores, split, tmp_path / "samples.parquet")
    evaluate_scores(config.run_attacks("mine"), config.evaluation, job, *given, tmp_path / "part.csv")
    aggregate_metrics([tmp_path / "part.csv"], config, tmp_path / "metrics.csv")

    metrics = read_metrics(tmp_path / "metrics.csv")
    assert metrics["flags"].astype(str).str.contains("shift").all() == shifted
    shown = trust.fill(TableInputs(metrics, {}, config))
    auc = metrics[(metrics["metric"] == "auc") & (metrics["variant"] == "base")].set_index("attack")["value"]
    assert (auc["blind_captions"] > 90) == shifted
    best = max(auc["blind_captions"], auc["blind_files"])
    row = shown.data.query("attack == 'naive' and variant == 'base'").iloc[0]
    assert row["blind"] == pytest.approx(best)
    assert row["excess"] == pytest.approx(auc["naive"] - max(best, 50))
    assert list(shown.data["attack"].unique()) == ["blind_captions", "blind_files", "naive"]


def test_how_other_judged_captions_are_written_changes_no_score():
    member = halves(0, 20)
    texts, train, judged_rows = written(member, 0), np.arange(30), np.arange(30, 40)
    others = [*texts[:39], texts[39] * 100]
    first, again = (
        caption_regression(of)(train, member[train], judged_rows, np.random.default_rng(0)) for of in (texts, others)
    )
    np.testing.assert_array_equal(first[:-1], again[:-1])
