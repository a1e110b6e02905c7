"""Each row's gradient with respect to a layer's weight or bias, from what the layer was given and what came back to it.

The gradient of a matrix is a sum of outer products, one for each position of a map or of a sequence, of all uses of the
matrix. So there are two ways to its norm: make it, or add up the products of all pairs of positions (Goodfellow, arXiv
1510.01799), which is less work where positions are few and the matrix is large.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

LARGE_MAP = 256  # positions from which PyTorch's own gradient of one row is up to twice as fast as a matrix product
FEW_PAIRS = 0.4  # share of the work of a gradient up to which pairs of positions were measured to be faster

CHANNELS_FIRST = (nn.Conv2d, nn.GroupNorm)
LAYERS = (*CHANNELS_FIRST, nn.Linear, nn.LayerNorm, nn.Embedding)


class Arrival(NamedTuple):
    """A gradient that has come to a layer's output; the first axis of both tensors is the rows."""

    layer: nn.Module
    name: str  # of one of its own parameters
    given: Tensor
    gradient: Tensor


def own(layer: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of one of LAYERS that there is a rule for."""
    return {name: parameter for name, parameter in layer.named_parameters(recurse=False) if name in ("weight", "bias")}


def covers(layer: nn.Module, inputs: tuple, rows: int) -> bool:
    """Whether the rules are right for this call of one of LAYERS."""
    if not inputs or inputs[0].dim() == 0 or len(inputs[0]) != rows:
        return False
    match layer:
        case nn.Conv2d():
            plain = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
            return plain and inputs[0].dim() == 4
        case nn.Embedding():
            return layer.padding_idx is None and layer.max_norm is None and not layer.scale_grad_by_freq
        case nn.LayerNorm():
            return inputs[0].dim() > len(layer.normalized_shape)
    return inputs[0].dim() >= 2


def norms_and_sums(arrivals: list[Arrival], samples: int, of_each: int) -> tuple[Tensor, Tensor]:
    """Norms of the rows' gradients of a parameter, and each sample's sum of them.

    Parameters
    ----------
    arrivals : list of Arrival
        One for each use of the parameter, about the same rows: `of_each` of every sample.

    Returns
    -------
    norms : Tensor (samples, of_each)
    sums : Tensor (samples, n)
        The n numbers of the parameter in an order of their own.
    """
    if _by_pairs(arrivals):
        factors = list(map(_factors, arrivals))
        of_output, given = factors[0] if len(factors) == 1 else map(torch.hstack, zip(*factors, strict=True))
        pairs = torch.bmm(of_output, of_output.mT) * torch.bmm(given, given.mT)
        norms = pairs.sum((1, 2)).clamp(min=0).sqrt()
        of_output, given = (factor.reshape(samples, -1, factor.shape[2]) for factor in (of_output, given))
        return norms.unflatten(0, (samples, of_each)), torch.bmm(of_output.mT, given).flatten(1)
    gradients = functools.reduce(torch.add, map(_gradient, arrivals)).unflatten(0, (samples, of_each))
    return torch.linalg.vector_norm(gradients, dim=2), gradients.sum(1)


def numbers(arrivals: list[Arrival], of_each: int) -> int:
    """About how many numbers are at hand for each row in `norms_and_sums`."""
    parameter = _parameter(arrivals[0])
    of_gradient = parameter.numel() // (of_each if _by_pairs(arrivals) else 1)
    return of_gradient + max(
        max(arrival.gradient[0].numel(), _positions(arrival) * parameter[0].numel()) for arrival in arrivals
    )


def _parameter(arrival: Arrival) -> nn.Parameter:
    return own(arrival.layer)[arrival.name]


def _positions(arrival: Arrival) -> int:
    """How many outer products a row's gradient of a matrix is summed from."""
    channels = arrival.layer.embedding_dim if isinstance(arrival.layer, nn.Embedding) else len(_parameter(arrival))
    return arrival.gradient[0].numel() // channels


def _by_pairs(arrivals: list[Arrival]) -> bool:
    """Whether norms come from pairs of positions."""
    parameter = _parameter(arrivals[0])
    if arrivals[0].name == "bias" or isinstance(arrivals[0].layer, (nn.GroupNorm, nn.LayerNorm)):
        return False  # no matrix
    factors = sum(map(_positions, arrivals)) * (len(parameter) + parameter[0].numel())
    return factors < FEW_PAIRS * parameter.numel()


def _gradient(arrival: Arrival) -> Tensor:
    """Each row's gradient (B, n)."""
    layer, name, x, g = arrival
    match layer:
        case _ if name == "bias":
            return _channels_last(layer, g).sum(1)
        case nn.GroupNorm():
            return _channels_last(layer, F.group_norm(x, layer.num_groups, eps=layer.eps).mul_(g)).sum(1)
        case nn.LayerNorm():
            return _channels_last(layer, F.layer_norm(x, layer.normalized_shape, eps=layer.eps).mul_(g)).sum(1)
        case nn.Conv2d() if len(x) == 1 and _positions(arrival) >= LARGE_MAP:
            weight = conv2d_weight(x, layer.weight.shape, g, layer.stride, layer.padding, layer.dilation)
            return weight.permute(0, 2, 3, 1).reshape(1, -1)  # ordered like the product with `_columns`
    of_output, given = _factors(arrival)
    return torch.bmm(of_output.mT, given).flatten(1)


def _factors(arrival: Arrival) -> tuple[Tensor, Tensor]:
    """(B, positions, rows of the matrix) and (B, positions, columns): over positions, a gradient's outer products."""
    layer, _, x, g = arrival
    match layer:
        case nn.Conv2d():
            return _channels_last(layer, g), _columns(layer, x, g.shape[2:])
        case nn.Linear():
            return _channels_last(layer, g), _channels_last(layer, x)
        case nn.Embedding():  # a linear layer of what was chosen
            return F.one_hot(x.reshape(len(x), -1), layer.num_embeddings).to(g.dtype), _channels_last(layer, g)


def _channels_last(layer: nn.Module, values: Tensor) -> Tensor:
    """An input or output (B, ...) of `layer` as (B, positions, channels)."""
    if isinstance(layer, CHANNELS_FIRST):
        return values.reshape(*values.shape[:2], -1).mT
    channels = math.prod(layer.normalized_shape) if isinstance(layer, nn.LayerNorm) else values.shape[-1]
    return values.reshape(len(values), -1, channels)


def _columns(layer: nn.Conv2d, x: Tensor, positions: torch.Size) -> Tensor:
    """What a convolution sees at each of its positions, (B, positions, height * width * channels of the kernel)."""
    (top, left), (down, right), (apart, across) = layer.padding, layer.stride, layer.dilation
    padded = F.pad(x, (left, left, top, top)).permute(0, 2, 3, 1).contiguous()  # channels last are copied in long runs
    row, line, pixel, channel = padded.stride()
    shape = len(x), *positions, *layer.kernel_size, x.shape[1]
    columns = padded.as_strided(shape, (row, down * line, right * pixel, apart * line, across * pixel, channel))
    return columns.reshape(len(x), positions.numel(), -1)
