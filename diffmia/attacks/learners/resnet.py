"""Residual networks for small images (He et al. 2016): the CIFAR form, a 3x3 stem and no max-pool."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import relu


class ResNet(nn.Module):
    """Stages of residual blocks, each but the first at half the resolution, and a linear layer on their mean.

    Any height and width will do. Batch norm takes plain averages (`momentum=None`): its statistics are to be settled
    before the network is evaluated, see `fitting.settle_batch_norm`.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    outputs : int
        Numbers per image.
    widths : sequence of int
        Channels of each stage. The default, with two blocks a stage, is ResNet-18; the small networks of Tang et al.
        (2024) have fewer and narrower stages.
    blocks_per_stage : int
        Residual blocks of each stage.

    Attributes
    ----------
    architecture : dict
        The parameters above, enough to build an equal network that takes this one's weights.
    """

    def __init__(
        self,
        in_channels: int,
        outputs: int,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks_per_stage: int = 2,
    ):
        super().__init__()
        self.architecture = {
            "in_channels": in_channels,
            "outputs": outputs,
            "widths": list(widths),
            "blocks_per_stage": blocks_per_stage,
        }
        self.stem = _convolution(in_channels, widths[0])
        blocks, channels = [], widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks_per_stage):
                blocks.append(ResidualBlock(channels, width, stride=2 if stage > 0 and block == 0 else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to raw outputs (B, outputs)."""
        features = self.blocks(relu(self.stem(x)))
        return self.head(features.mean(dim=(2, 3)))


class ResidualBlock(nn.Module):
    """relu(F(x) + shortcut(x)), F of two 3x3 convolutions; the shortcut is a 1x1 convolution where shapes differ."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.first = _convolution(in_channels, channels, stride)
        self.second = _convolution(channels, channels)
        same = stride == 1 and in_channels == channels
        self.shortcut = nn.Identity() if same else _convolution(in_channels, channels, stride, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, C, H, W) to features (B, channels, H / stride, W / stride), rounded up."""
        return relu(self.second(relu(self.first(x))) + self.shortcut(x))


def _convolution(in_channels: int, channels: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """A convolution without bias, which the batch norm after it would take away."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2, bias=False),
        # group norm would divide out each image's own scale, and the size of a map is most of what it tells
        nn.BatchNorm2d(channels, momentum=None),
    )
