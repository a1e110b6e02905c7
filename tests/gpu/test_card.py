"""On a real card: its numbers are the CPU's, its memory may run out, and one job at a time has it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from scipy.stats import spearmanr

from diffmia.config.config import load_config
from diffmia.denoisers.compiled import Compiled
from diffmia.denoisers.precision import InPrecision
from diffmia.gradients.norms import gradient_norms
from diffmia.models.base import TrainingSpec
from diffmia.passes import gradients, residuals
from diffmia.passes.engine import ModelPass
from diffmia.passes.gate import rank_agreement
from diffmia.passes.inputs import Pixels
from diffmia.running.device import use_device
from diffmia.search.probes import GradientProbe, merge
from diffmia.training.data import PixelSet, TrainingData
from diffmia.training.trainer import Trainer
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is visible")

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
CONFIG = load_config(yaml.safe_load((REPOSITORY / "config.yaml").read_text()))
SPEC = CONFIG.targets["ddpm_cifar10_mini"]
ATTACKS = {id_: (CONFIG.attacks[id_], CONFIG.attacks[id_].t) for id_ in ("naive", "secmi", "pia", "pian")}
QUESTIONS = merge([question for spec, t in ATTACKS.values() for question in spec.questions(t)])
SHAPE = (3, 32, 32)
SMOOTH = np.linspace(-6, 6, 32)  # images with something in them: a wave each, of its own colour and slope
SLOPES = np.random.default_rng(0).normal(size=(3, 256, 3))
WAVES = np.sin(SLOPES[0][:, :, None, None] * SMOOTH[:, None] + SLOPES[1][:, :, None, None] * SMOOTH)
IMAGES = (127.5 + 60 * np.tanh(SLOPES[2])[:, :, None, None] + 60 * WAVES).astype(np.uint8)


@pytest.fixture(autouse=True)
def strict():
    """Arithmetic as in a job: strict float32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def model_on(device: torch.device, target: str = "ddpm_cifar10_mini") -> torch.nn.Module:
    torch.manual_seed(0)
    return CONFIG.targets[target].build(SHAPE).eval().requires_grad_(False).to(device)


@contextmanager
def more_memory(mebibytes: int) -> Iterator[None]:
    """Within the block there are so many on the card beside what is held."""
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + mebibytes * 2**20) / whole)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def answers(model: torch.nn.Module, device: torch.device, batch_size: int, ids: np.ndarray) -> pd.DataFrame:
    of_pass = ModelPass(model, QUESTIONS, residuals.answer, 3, batch_size, device)
    return pd.DataFrame(of_pass.block(Pixels(IMAGES), ids, QUESTIONS))


def test_scores_are_those_of_the_cpu():
    ids = np.arange(64)
    there, here = answers(model_on(CUDA), CUDA, 64, ids), answers(model_on(CPU), CPU, 32, ids)
    for name, values in here.items():
        np.testing.assert_allclose(there[name], values, rtol=2e-3, err_msg=name)
    for attack, (spec, t) in ATTACKS.items():
        scores = [spec.score(of, t) for of in (there, here)]
        for variant in spec.queries(t):
            assert spearmanr(*(one[variant] for one in scores)).statistic > 0.9999, (attack, variant)
            np.testing.assert_allclose(*(one[variant] for one in scores), rtol=1e-4)


def test_scores_do_not_depend_on_the_batch():
    ids = np.arange(48)
    whole, parts = (answers(model_on(CUDA), CUDA, size, ids) for size in (48, 7))
    for spec, t in ATTACKS.values():
        for variant in spec.queries(t):
            one, other = (spec.score(of, t)[variant] for of in (whole, parts))
            np.testing.assert_allclose(one, other, rtol=1e-4)


def test_a_batch_that_does_not_fit_is_halved_until_it_does(caplog):
    ids = np.arange(256)
    small = answers(model_on(CUDA), CUDA, 16, ids)
    with more_memory(150):
        of_pass = ModelPass(model_on(CUDA), QUESTIONS, residuals.answer, 3, 256, CUDA)
        halved = pd.DataFrame(of_pass.block(Pixels(IMAGES), ids, QUESTIONS))
    assert 0 < of_pass.at_once.size < 256
    assert "out of device memory; going on with 128 samples at a time" in caplog.text
    assert of_pass.denoiser.queries == len(ids) * residuals.count_evaluations(QUESTIONS)
    for spec, t in ATTACKS.values():
        for variant in spec.queries(t):
            one, other = (spec.score(of, t)[variant] for of in (small, halved))
            np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize(
    ("precision", "compiled"),
    [
        ("float32", True),
        ("tf32", False),
        ("bfloat16", False),
        ("bfloat16", True),
        ("float16", False),
        ("float16", True),
    ],
)
def test_faster_arithmetic_comes_to_the_gate(precision, compiled):
    """Which has only to say how it ranks: of random weights in half precision that is not much."""
    model = model_on(CUDA)
    fast = InPrecision(Compiled(model) if compiled else model, precision)
    naive = {"naive": ATTACKS["naive"]}
    x = torch.randn(50, *SHAPE, device=CUDA, generator=torch.Generator(CUDA).manual_seed(0))
    with torch.inference_mode():
        exact, coarse = (one.predict_noise(x, 200) for one in (model, fast))
    assert coarse.dtype == torch.float32
    between = {"float32": (0, 1e-5), "tf32": (1e-5, 2e-3), "bfloat16": (1e-3, 3e-2), "float16": (1e-4, 4e-3)}
    least, most = between[precision]
    error = ((coarse - exact).norm() / exact.norm()).item()
    print(precision, compiled, error)
    assert least <= error < most
    if precision in ("float32", "tf32"):
        rho = rank_agreement(
            model, fast, precision, residuals.answer, naive, Pixels(IMAGES), np.arange(50), 50, 3, CUDA
        )
        assert 0.999 <= rho <= 1


def losses(device: torch.device, tmp_path: Path, **settings) -> list[float]:
    plain = {"epochs": 4, "batch_size": 64, "learning_rate": 1e-3, "ema_decay": 0.9, "horizontal_flip": True}
    torch.manual_seed(0)
    model = SPEC.build(SHAPE)
    data = TrainingData(PixelSet(IMAGES[:150], True), PixelSet(IMAGES[150:200]))
    trainer = Trainer(model, TrainingSpec(**plain | settings), data, 5, device)
    trainer.run(tmp_path / f"{device}{settings}.pt", lambda epoch: None)
    return [value for row in trainer.losses for key, value in row.items() if key.endswith("loss")]


def test_training_is_that_of_the_cpu(tmp_path):
    """Its draws are made on the CPU; and what is compiled, or of a coarser kind, learns alike."""
    here = losses(CPU, tmp_path)
    np.testing.assert_allclose(losses(CUDA, tmp_path), here, rtol=2e-3)
    np.testing.assert_allclose(losses(CUDA, tmp_path, compile=True, precision="bfloat16"), here, rtol=5e-2)


def test_a_training_step_that_does_not_fit_is_made_in_parts(tmp_path, caplog):
    whole = losses(CUDA, tmp_path)
    with more_memory(150):
        parts = losses(CUDA, tmp_path, seconds_between_saves=0)
    assert "out of device memory; going on with 32 samples at a time" in caplog.text
    np.testing.assert_allclose(parts, whole, rtol=2e-3)


def test_a_training_goes_on_where_it_stopped(tmp_path):
    whole = losses(CUDA, tmp_path, seconds_between_saves=0)
    state = tmp_path / "half.pt"
    for epochs in (2, 4):
        torch.manual_seed(epochs)  # other weights: those of the state must be taken
        data = TrainingData(PixelSet(IMAGES[:150], True), PixelSet(IMAGES[150:200]))
        settings = {"batch_size": 64, "learning_rate": 1e-3, "ema_decay": 0.9, "horizontal_flip": True}
        if epochs == 2:
            torch.manual_seed(0)
        trainer = Trainer(SPEC.build(SHAPE), TrainingSpec(epochs=epochs, **settings), data, 5, CUDA)
        trainer.run(state, lambda epoch: None)
    halves = [row["loss"] for row in trainer.losses]
    assert len(halves) == 4
    np.testing.assert_allclose(halves, whole[::3], rtol=2e-3)


def test_norms_of_gradients_are_those_of_the_cpu():
    found = []
    for device in (CPU, CUDA):
        probe = GradientProbe(loss="detached", timesteps=(100, 500, 900))
        of_pass = ModelPass(model_on(device), [probe], gradients.answer, 3, 4, device)
        found.append(of_pass.block(Pixels(IMAGES), np.arange(8), [probe]))
    for name, values in found[0].items():
        whole = np.linalg.norm(values, axis=1, keepdims=True)
        np.testing.assert_allclose(found[1][name] / whole, values / whole, atol=1e-4, err_msg=name)


def test_many_rows_at_once_are_a_loop_of_one():
    model, x = model_on(CUDA), torch.from_numpy(IMAGES[:12]).float().to(CUDA) / 127.5 - 1
    epsilon = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(CUDA)

    def of_rows(rows: slice) -> torch.Tensor:
        return (model.predict_noise(x[rows], 300) - epsilon[rows]).square().flatten(1).mean(1)[None]

    at_once, _ = gradient_norms(model, of_rows, 12)
    for row in range(12):
        one, _ = gradient_norms(model, lambda rows, row=row: of_rows(slice(row, row + 1)), 1)
        torch.testing.assert_close(at_once[:, row : row + 1], one, rtol=1e-3, atol=1e-6)


JOB = """
import sys
from diffmia.running.device import use_device
print(use_device("cuda", 1, 1), flush=True)
sys.stdin.read()
"""


def test_one_job_at_a_time_has_the_card(tmp_path):
    """And when it is killed the next has it."""
    environment = os.environ | {"TMPDIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0", "PYTHONPATH": str(REPOSITORY)}
    start = [sys.executable, "-c", JOB]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen(start, **pipes) as first:
        assert first.stdout.readline() == "cuda:0\n"
        with subprocess.Popen(start, **pipes) as second:
            with pytest.raises(subprocess.TimeoutExpired):
                second.wait(15)
            first.kill()
            assert second.stdout.readline() == "cuda:0\n"
            second.stdin.close()


def test_without_a_gpu_resource_a_job_is_on_the_cpu():
    assert use_device("auto", 0, 1) == CPU
