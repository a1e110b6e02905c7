"""Taking in a model that was trained elsewhere: from its fetched files, with the split that belongs to it."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffmia.errors import DiffmiaError
from diffmia.models.diffusers_ddpm import DiffusersDDPM
from diffmia.models.fetch import fetch_model
from diffmia.models.uvit import UViTCheckpoint
from diffmia.targets import check_split, import_target, load_target

ROLES = {"member": [0, 49_999], "non_member": [50_000], "auxiliary": [50_001]}
SPLIT = {"split_hash": "a" * 64, "dataset_hash": "b" * 64, "shape": [1, 8, 8], **ROLES}
CPU = torch.device("cpu")


@pytest.fixture
def elsewhere(tiny_target, tiny_unet, tmp_path, monkeypatch):
    """A pipeline's folder, and the manifest of the split of its model."""
    monkeypatch.setenv("DIFFMIA_CACHE", str(tmp_path / "cache"))
    tiny_target.save(tiny_unet, tmp_path / "elsewhere")
    (tmp_path / "split.json").write_text(json.dumps(SPLIT))
    return tmp_path


def taken_in(folder, **settings):
    spec = DiffusersDDPM(family="diffusers_ddpm", split="toy", folder=str(folder / "elsewhere"), **settings)
    fetch_model(spec, folder / "source.json")
    import_target(spec, folder / "source.json", folder / "split.json", folder / "target")
    return load_target(spec, folder / "target", SPLIT, CPU)


def test_it_answers_as_where_it_was_trained_and_says_what_it_was_made_of(elsewhere, tiny_unet):
    model, description = taken_in(elsewhere, origin="google/ddpm-cifar10-32", sha256=None, split_hash="a" * 64)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(model.predict_noise(x, 7), tiny_unet.predict_noise(x, 7))
    imported = description["imported"]
    assert imported["licence"] == "Apache 2.0"
    assert set(imported["sha256"]) == {
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
    }


def test_attention_under_its_old_names_is_read(tmp_path):
    """The published DDPMs are older than the names that diffusers has for attention now."""
    from diffmia.models.ddpm_unet import DDPMUNet

    (tmp_path / "split.json").write_text(json.dumps(SPLIT))
    shape = {"channels": [8, 16], "attention": [False, True], "layers_per_block": 1, "norm_groups": 4}
    target = DDPMUNet(family="ddpm_unet", split="toy", model=shape, training={"epochs": 1})
    unet = target.build((1, 8, 8)).eval().requires_grad_(False)
    target.save(unet, tmp_path / "elsewhere")
    path = tmp_path / "elsewhere" / "unet" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(path)
    renamed = {re.sub("|".join(old), lambda new: old[new[0]], name): value for name, value in state.items()}
    assert sum("query" in name for name in renamed) >= 2
    save_file(renamed, path)
    model, _ = taken_in(tmp_path)
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(model.predict_noise(x, 7), unet.predict_noise(x, 7))


@pytest.mark.parametrize("change", ["gone", "has changed"])
def test_files_that_are_no_longer_what_was_fetched_are_refused(elsewhere, change):
    spec = DiffusersDDPM(family="diffusers_ddpm", split="toy", folder=str(elsewhere / "elsewhere"))
    fetch_model(spec, elsewhere / "source.json")
    config = elsewhere / "elsewhere" / "unet" / "config.json"
    config.unlink() if change == "gone" else config.write_text("{}")
    with pytest.raises(DiffmiaError, match=f"unet/config.json .*{change}.* since it was fetched; delete .*source.json"):
        import_target(spec, elsewhere / "source.json", elsewhere / "split.json", elsewhere / "target")
    assert not (elsewhere / "target").exists()


def test_a_split_that_is_not_the_targets_own_is_refused(elsewhere):
    with pytest.raises(DiffmiaError, match=rf"split 'toy' has hash {'a' * 64}, and .* on {'c' * 64} .*own split"):
        taken_in(elsewhere, split_hash="c" * 64)
    assert not (elsewhere / "target").exists()


def uvit(origin):
    return UViTCheckpoint(family="uvit_checkpoint", split="toy", checkpoint="w.pth", origin=origin)


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ({"member": [1, 50_000]}, "has 1 member samples that the model never saw \\(first 50000\\)"),
        ({"non_member": [49_999, 7]}, "has 2 non_member samples that the model was trained on \\(first 49999\\)"),
        ({"auxiliary": [3]}, "has 1 auxiliary samples that the model was trained on \\(first 3\\)"),
    ],
)
def test_members_a_published_model_never_saw_are_refused_and_others_it_saw(roles, said):
    check_split(uvit("baofff/uvit-cifar10-small"), SPLIT)
    with pytest.raises(DiffmiaError, match=f"split 'toy' {said}: it was trained on all 50,000 .* method: boundary"):
        check_split(uvit("baofff/uvit-cifar10-small"), SPLIT | roles)
    check_split(uvit(None), SPLIT | roles)  # of other models nothing is known
