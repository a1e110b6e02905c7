"""The one interface between attacks and models: a call that predicts noise, and a schedule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from diffmia.denoisers.schedules import Schedule


class Denoiser(nn.Module, ABC):
    """A diffusion model as an attack sees it; it cannot tell a U-Net from a transformer or a latent model.

    Attributes
    ----------
    schedule : Schedule
        The forward process the model was trained on.
    """

    schedule: Schedule

    @abstractmethod
    def predict_noise(self, x_t: Tensor, t: int | Tensor, condition: Tensor | None = None) -> Tensor:
        """epsilon_theta(x_t, t).

        Parameters
        ----------
        x_t : Tensor (B, C, H, W)
            Noised inputs; x0 itself is in [-1, 1].
        t : int or Tensor (B,)
            Timestep, shared or one per sample.
        condition : Tensor, optional
            What a conditional model is told besides (a prompt's embedding); None for unconditional models.

        Returns
        -------
        Tensor (B, C, H, W)
        """
