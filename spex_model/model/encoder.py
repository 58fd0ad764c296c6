"""The spectral vision encoder: a residual convolution pyramid from stride 1 to stride 32.

Convolutions carry the full resolution, because rivers and roofs of one or two pixels decide what a
land cover mask is worth, and because on a CPU they cost a third of a transformer of the same width.
"""

from torch import Tensor, nn


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with group normalisation and an identity path; (B, C, H, W) in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = _norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = _norm(channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, hidden_states: Tensor) -> Tensor:
        residual = hidden_states
        hidden_states = self.activation(self.norm1(self.conv1(hidden_states)))
        hidden_states = self.norm2(self.conv2(hidden_states))
        return self.activation(hidden_states + residual)


class Stage(nn.Module):
    """A strided convolution into the stage's width, then residual blocks."""

    def __init__(self, in_channels: int, channels: int, depth: int, stride: int) -> None:
        super().__init__()
        kernel = 3 if stride == 1 else 2
        self.embed = nn.Sequential(
            nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 3, bias=False),
            _norm(channels),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential(*[ResidualBlock(channels) for _ in range(depth)])

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.blocks(self.embed(hidden_states))


class SpectralEncoder(nn.Module):
    """Pixels (B, num_channels, H, W) -> one feature map a stage, at strides 1, 2, 4, 8, 16, 32.

    H and W must be multiples of the deepest stride; `processor` pads tiles to that.
    """

    def __init__(self, num_channels: int, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        in_widths = (num_channels, *widths[:-1])
        self.stages = nn.ModuleList(
            Stage(in_width, width, depth, stride=1 if level == 0 else 2)
            for level, (in_width, width, depth) in enumerate(zip(in_widths, widths, depths, strict=True))
        )

    @property
    def stride(self) -> int:
        """Stride of the deepest stage in pixels."""
        return 2 ** (len(self.stages) - 1)

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        if pixel_values.shape[-1] % self.stride or pixel_values.shape[-2] % self.stride:
            raise ValueError(
                f"The encoder needs sides that are multiples of {self.stride} pixels, got {tuple(pixel_values.shape[-2:])}."
            )
        features = []
        hidden_states = pixel_values
        for stage in self.stages:
            hidden_states = stage(hidden_states)
            features.append(hidden_states)
        return features


def initialise(module: nn.Module) -> None:
    """He initialisation of the convolutions; the last norm of each residual block starts at zero."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out", nonlinearity="relu")
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, ResidualBlock):
            nn.init.constant_(child.norm2.weight, 0.2)
