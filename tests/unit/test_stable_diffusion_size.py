"""Stable Diffusion 1.5's U-Net, with random weights: 860 M parameters in 686 tensors, on 24 GB."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from diffusers import UNet2DConditionModel

UNET = {  # unet/config.json of stable-diffusion-v1-5
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
TENSORS, PARAMETERS = 686, 859_520_964
TIMESTEPS = tuple(range(0, 1000, 100))

# on the device that is named on the command line
GSA_OF_ONE_SAMPLE = f"""
import json, resource, sys
import numpy as np, torch
from diffusers import UNet2DConditionModel
from diffmia.passes.inputs import Batch
from diffmia.models.networks.latent import LatentDenoiser
from diffmia.models.schedule import ScheduleSpec
from diffmia.passes.gradients import answer
from diffmia.search.probes import GradientProbe
from diffmia.denoisers.schedules import DiscreteSchedule

device = torch.device(sys.argv[1])
schedule = ScheduleSpec(kind="scaled_linear", beta_start=0.00085, beta_end=0.012)
denoiser = LatentDenoiser(UNet2DConditionModel(**{UNET}), DiscreteSchedule.from_spec(schedule)).eval().to(device)
denoiser.requires_grad_(False).unet.enable_gradient_checkpointing()
latents = torch.randn(1, 4, 32, 32).to(device)  # of an image of 256x256, as the paper's
text = torch.randn(1, 77, 768).to(device)
probe = GradientProbe(loss="detached", timesteps={TIMESTEPS}, condition="caption")
columns = answer(denoiser, Batch(np.array([0]), latents, {{"caption": text}}), [probe], 0)
features = np.concatenate([columns[name] for name in probe.timestep_columns], axis=1)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({{
    "features": features.shape[1],
    "finite": bool(np.isfinite(features).all()),
    "none": int((features == 0).sum()),
    "GiB": torch.cuda.max_memory_reserved() / 2**30 if device.type == "cuda" else peak,
}}))
"""


def test_gsa_has_ten_norms_for_each_of_its_tensors():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
    assert len(list(unet.parameters())) == TENSORS
    assert sum(p.numel() for p in unet.parameters()) == PARAMETERS


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.slow
def test_gsa_of_one_sample_fits_in_16_gib(device):
    """Both queries of the loss after one more step at ten timesteps, with the norms of the mean loss."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU is visible")
    done = subprocess.run([sys.executable, "-c", GSA_OF_ONE_SAMPLE, device], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["features"] == TENSORS * len(TIMESTEPS) == 6860
    assert found["finite"]
    assert found["none"] < TENSORS  # keys' biases there are none; zeros would be layers that no gradient reaches
    assert found["GiB"] <= 16
