"""Shared by the tests that need a model: a U-Net so small that a pass takes milliseconds."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def tiny_target():
    """Spec of a DDPM target with an 8x8 U-Net of a few thousand weights, dropout included."""
    from diffmia.models.ddpm_unet import DDPMUNet

    return DDPMUNet(
        family="ddpm_unet",
        split="toy",
        model={"channels": [8, 16], "layers_per_block": 1, "norm_groups": 4, "dropout": 0.1},
        training={"epochs": 1},
    )


@pytest.fixture
def tiny_unet(tiny_target):
    """Its denoiser with random weights, in eval mode, for images of shape (1, 8, 8)."""
    import torch

    torch.manual_seed(0)
    return tiny_target.build((1, 8, 8)).eval().requires_grad_(False)
