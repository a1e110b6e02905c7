"""Targets at the papers' size: the networks have the papers' parameters and take their images; nothing is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from diffmia.config.checks import published_targets
from diffmia.models.ddpm_unet import DDPMUNet
from diffmia.models.uvit import TrainedUViT

TARGETS = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())["targets"]
SIDES = {"ddpm_cifar10": 32, "ddpm_cifar100": 32, "ddpm_tiny_imagenet": 32, "ddpm_lfw": 128, "ddpm_lsun_cat": 128}
# pytorch-ddpm's network, and Ho et al.'s larger one at half its side
PARAMETERS = {32: 35_746_307, 128: 109_733_379}


def built(spec, side):
    """The network on the meta device, which holds shapes and no numbers."""
    with torch.device("meta"):
        return spec.build((3, side, side))


@pytest.mark.parametrize(("target", "side"), SIDES.items())
def test_a_ddpm_has_the_papers_size_and_recipe(target, side):
    spec = DDPMUNet.model_validate(TARGETS[target])
    unet = built(spec, side).unet
    assert sum(parameter.numel() for parameter in unet.parameters()) == PARAMETERS[side]
    attention = spec.model.attention
    assert [side // 2**level for level in range(len(attention)) if attention[level]] == [16]
    with torch.device("meta"):
        assert unet(torch.empty(2, 3, side, side), torch.zeros(2, dtype=torch.int64)).sample.shape == (2, 3, side, side)
    training = spec.training
    assert training.epochs == (500 if side == 32 else 200)
    assert (training.optimizer, training.learning_rate, training.warmup_steps) == ("adam", 2e-4, 5000)
    assert (training.batch_size, training.ema_decay, training.horizontal_flip) == (128, 0.9999, True)
    assert spec.model.dropout == 0.1
    schedule = spec.schedule
    assert (schedule.kind, schedule.beta_start, schedule.beta_end, schedule.timesteps) == ("linear", 1e-4, 0.02, 1000)


def test_the_uvit_is_s2_with_44_million_parameters():
    spec = TrainedUViT.model_validate(TARGETS["uvit_cifar10_half"])
    network = built(spec, 32).uvit
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6) == 44
    with torch.device("meta"):
        assert network(torch.empty(2, 3, 32, 32), torch.zeros(2)).shape == (2, 3, 32, 32)


def test_each_ddpm_of_the_papers_is_a_target():
    claimed = {(paper, name) for target in TARGETS.values() for paper, name in target.get("published_as", {}).items()}
    published = published_targets()
    of_ddpms = {(paper, name) for paper in ("oms", "pia") for name in published[paper] if name.startswith("ddpm_")}
    assert of_ddpms - claimed == set()
