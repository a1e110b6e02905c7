"""How strongly a map f contracts: the spectral norm of its Jacobian.

Near a fixed point where the Jacobian J of f has a spectral norm below 1, Picard's iteration converges, and its
residuals shrink at least by that factor a step (Banach).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.func import vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class SpectralNorms(NamedTuple):
    """The spectral norm of each sample's Jacobian, and how well it is known.

    Attributes
    ----------
    norms : Tensor (B,) float64
        Lower bounds of the norms, rounding aside, that rise to them with the iterations.
    products : Tensor (B,) int64
        Products with J or its transpose that the sample took; the batch took the largest of them.
    change : Tensor (B,) float64
        Relative change of the norm in the sample's last iteration; 1 after a single one.
    """

    norms: Tensor
    products: Tensor
    change: Tensor


@torch.no_grad()
def spectral_norms(
    f: Callable[[Tensor], Tensor], epsilon: Tensor, start: Tensor, iterations: int = 50, tolerance: float = 1e-3
) -> SpectralNorms:
    """The largest singular value of each sample's Jacobian of f, by power iteration on J^T J.

    J^T w is a vector-Jacobian product and linear in w, so its own vector-Jacobian product is J v. That evaluates f
    once, and needs no forward mode, in which group norm fails after attention (torch 2.13). Norms have no gradient.

    Parameters
    ----------
    f : callable
        (B, ...) -> (B, ...); row i of the answer depends on row i alone.
    epsilon : Tensor (B, ...)
        Where the Jacobians are taken.
    start : Tensor, like `epsilon`
        The first vector of each sample, of any length but zero: Gaussian noise of the sample's own.
    iterations : int
        At most so many, of two products each.
    tolerance : float
        A sample's norm is settled, whatever its batch does, once its relative change is below this. It may still be
        further off than this if the next singular values are close to it.
    """
    if start.shape != epsilon.shape or iterations < 1:
        raise ValueError(f"{iterations} iterations from vectors {tuple(start.shape)} at points {tuple(epsilon.shape)}")
    norms, change = torch.zeros(2, len(epsilon), dtype=torch.float64, device=epsilon.device)
    products = torch.zeros_like(norms, dtype=torch.int64)
    settled, v = products > 0, _unit(start)
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative, which J v takes
        answer, transposed = vjp(f, epsilon)
        _, product = vjp(lambda w: transposed(w)[0], torch.zeros_like(answer))
        for _ in range(iterations):
            back = transposed(_unit(product(v)[0]))[0]
            norm = _length(back)  # |J^T J v| / |J v|, between |J v| and the spectral norm
            change = torch.where(settled, change, (norm - norms).abs() / torch.where(norm > 0, norm, 1))
            norms = torch.where(settled, norms, norm)
            products += 2 * ~settled
            settled |= change < tolerance
            if settled.all():
                break
            v = _unit(back)
    return SpectralNorms(norms, products, change)


def _length(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows.flatten(1), dim=1, dtype=torch.float64)


def _unit(rows: Tensor) -> Tensor:
    """Each row of length 1; rows of zeros stay so."""
    length = _length(rows).reshape(-1, *(1,) * (rows.dim() - 1))
    return (rows / torch.where(length > 0, length, 1)).to(rows.dtype)
