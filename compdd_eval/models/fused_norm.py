"""Instance norm, ReLU and 2x2 average pooling as one operation of a GPU; needs Triton.

A block of ConvNet reads the map of its convolution once and writes a quarter of it, in the map's own precision; the
backward pass reads map and gradient and writes the gradient of the map. Between the convolutions nothing else goes
through memory, where norms alone would make bfloat16 maps float32. Statistics and sums are float32. For the backward
pass the map is kept, and mean and 1 / deviation of each map; ReLU's mask is computed again.

With x' = (x - mean) / sqrt(variance + eps), y = w x' + b, and g the gradient of y, which is that of the pooled pixel
over 4 where y > 0: the gradients of w and b are the sums of g x' and g, and that of x is
w (g - mean(g) - x' mean(g x')) / sqrt(variance + eps) (Ioffe and Szegedy, ICML 2015, of a single map).

Every sum has one order: bits repeat. There is no second derivative, and asking for it raises. TorchInductor's cache on
disk knows an operation by its name alone: where one gets other arguments or results, or another rule, rename it.
"""

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import nn

from compdd_eval.models.convnet import ConvNet

_PIXELS = 4096  # of a map that a program has at a time
_PIXELS_OF_A_WARP = 256
_MOST_WARPS = 8


class NormReluPool(nn.GroupNorm):
    """Instance norm with what follows it in a block of ConvNet; parameters are those of the norm.

    In eval mode it is the plain modules, so that weights have the same test accuracy with and without it.
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map `[N, C, H, W]`, float32 or bfloat16, H and W from 2, to `[N, C, H // 2, W // 2]`."""
        if self.training:
            return norm_relu_pool(maps, self.weight, self.bias, self.eps)[0]
        return F.avg_pool2d(F.relu(super().forward(maps)), 2)


def fuse_norms(network: nn.Module) -> bool:
    """Make norm, ReLU and average pooling one module, in place; names and values of parameters stay.

    Args:
        network: Nothing is changed but in a `ConvNet` with these three.

    Returns:
        Whether there was such a block.
    """
    layers = network.features if isinstance(network, ConvNet) else []
    found = [place for place in range(len(layers) - 2) if _fit(*layers[place : place + 3])]
    for place in found:
        norm = layers[place]
        layers[place] = NormReluPool(norm.num_groups, norm.num_channels, norm.eps)
        layers[place].weight, layers[place].bias = norm.weight, norm.bias
        layers[place + 1], layers[place + 2] = nn.Identity(), nn.Identity()
    return bool(found)


def _fit(norm: nn.Module, activation: nn.Module, pooling: nn.Module) -> bool:
    kinds = type(norm), type(activation), type(pooling)
    if kinds != (nn.GroupNorm, nn.ReLU, nn.AvgPool2d):
        return False
    return norm.num_groups == norm.num_channels and pooling.kernel_size == 2


@torch.library.custom_op("compdd_eval::norm_relu_pool", mutates_args=())
def norm_relu_pool(
    maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Norm each map by its own mean and variance, then scale and shift it, apply ReLU, and average 2x2 pixels.

    Args:
        maps: Float32 or bfloat16 `[N, C, H, W]`; H and W from 2.
        weight: Float32 `[C]`.
        bias: Float32 `[C]`.
        eps: Added to the variance.

    Returns:
        The averages `[N, C, H // 2, W // 2]` of the maps' type (a last odd row or column counts in mean and variance
        alone, as in `nn.AvgPool2d`); and float32 `[N, C]`: means, and 1 / deviations.
    """
    tensors = [tensor.contiguous() for tensor in (maps, weight, bias)]
    results = _results(*tensors, eps)
    _launch(_forward_kernel, *tensors, *results, eps=eps)
    return results


@norm_relu_pool.register_fake
def _results(
    maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    number, channels, height, width = maps.shape
    pooled = maps.new_empty(number, channels, height // 2, width // 2)
    means, inverses = (maps.new_empty(number, channels, dtype=torch.float32) for _ in range(2))
    return pooled, means, inverses


@torch.library.custom_op("compdd_eval::norm_relu_pool_backward", mutates_args=())
def _norm_relu_pool_backward(
    maps: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    means: torch.Tensor,
    inverses: torch.Tensor,
    gradient: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradient of the maps; and of weight and bias what each map adds, float32 `[N, C]`."""
    tensors = [tensor.contiguous() for tensor in (maps, weight, bias, means, inverses, gradient)]
    results = _gradients(*tensors)
    _launch(_backward_kernel, *tensors, *results)
    return results


@_norm_relu_pool_backward.register_fake
def _gradients(
    maps: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    means: torch.Tensor,
    inverses: torch.Tensor,
    gradient: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return maps.new_empty(maps.shape), means.new_empty(means.shape), means.new_empty(means.shape)


def _keep(ctx: object, inputs: tuple, output: tuple) -> None:
    *tensors, _ = inputs
    _, *statistics = output
    ctx.mark_non_differentiable(*statistics)
    ctx.save_for_backward(*tensors, *statistics)


def _backward(ctx: object, gradient: torch.Tensor, *_: object) -> tuple[torch.Tensor | None, ...]:
    of_maps, of_weight, of_bias = _norm_relu_pool_backward(*ctx.saved_tensors, gradient)
    return of_maps, of_weight.sum(dim=0), of_bias.sum(dim=0), None


norm_relu_pool.register_autograd(_backward, setup_context=_keep)


@norm_relu_pool.register_vmap
def _of_students(
    info: object, dims: tuple, maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> tuple[list[torch.Tensor], list[int]]:
    """Take the channels of all students of a `Stack` as those of one: so lie the maps that its convolutions return."""
    students, given, kind = info.batch_size, maps.dtype, maps.device.type
    maps = maps.movedim(dims[0], 1).flatten(1, 2)
    weight, bias = (value.movedim(dim, 0).flatten() for value, dim in zip((weight, bias), dims[1:], strict=False))
    if torch.is_autocast_enabled(kind):  # vmap adds a convolution's bias before that, in float32
        maps = maps.to(torch.get_autocast_dtype(kind))
    pooled, *statistics = norm_relu_pool(maps, weight, bias, eps)
    return [value.unflatten(1, (students, -1)) for value in (pooled.to(given), *statistics)], [1, 1, 1]


def _launch(kernel: triton.JITFunction, maps: torch.Tensor, *tensors: torch.Tensor, **numbers: float) -> None:
    """Run a program for each map."""
    number, channels, height, width = maps.shape
    block = min(triton.next_power_of_2(height * width), _PIXELS)
    warps = max(1, min(block // _PIXELS_OF_A_WARP, _MOST_WARPS))
    sizes = {"channels": channels, "HEIGHT": height, "WIDTH": width, "BLOCK": block}
    kernel[(number * channels,)](maps, *tensors, **numbers, **sizes, num_warps=warps)


@triton.jit
def _forward_kernel(
    maps,
    weight,
    bias,
    pooled,
    means,
    inverses,
    eps,
    channels,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    SIZE: tl.constexpr = HEIGHT * WIDTH
    COLUMNS: tl.constexpr = WIDTH // 2
    POOLED: tl.constexpr = HEIGHT // 2 * COLUMNS
    place = tl.program_id(0).to(tl.int64)  # a map may begin beyond 2^31
    pixels = tl.arange(0, BLOCK)
    maps += place * SIZE
    pooled += place * POOLED
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, SIZE, BLOCK):
        total += tl.load(maps + start + pixels, mask=start + pixels < SIZE, other=0.0).to(tl.float32)
    mean = tl.sum(total) / SIZE
    # about the mean: mean square minus squared mean would cancel
    total = tl.zeros([BLOCK], tl.float32)
    for start in range(0, SIZE, BLOCK):
        inside = start + pixels < SIZE
        away = tl.load(maps + start + pixels, mask=inside, other=0.0).to(tl.float32) - mean
        total += tl.where(inside, away * away, 0.0)
    inverse = 1 / tl.sqrt(tl.sum(total) / SIZE + eps)
    tl.store(means + place, mean)
    tl.store(inverses + place, inverse)
    scale, shift = tl.load(weight + place % channels), tl.load(bias + place % channels)
    for start in range(0, POOLED, BLOCK):
        inside = start + pixels < POOLED
        corner = maps + (start + pixels) // COLUMNS * (2 * WIDTH) + (start + pixels) % COLUMNS * 2
        total = tl.zeros([BLOCK], tl.float32)
        for row in tl.static_range(2):
            for column in tl.static_range(2):
                value = tl.load(corner + row * WIDTH + column, mask=inside, other=0.0).to(tl.float32)
                value = (value - mean) * inverse * scale + shift
                total += tl.where(value <= 0, 0.0, value)  # a maximum would hide that a value is not a number
        tl.store(pooled + start + pixels, total / 4, mask=inside)


@triton.jit
def _backward_kernel(
    maps,
    weight,
    bias,
    means,
    inverses,
    gradient,
    of_maps,
    of_weight,
    of_bias,
    channels,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    SIZE: tl.constexpr = HEIGHT * WIDTH
    place = tl.program_id(0).to(tl.int64)
    pixels = tl.arange(0, BLOCK)
    maps += place * SIZE
    of_maps += place * SIZE
    gradient += place * (HEIGHT // 2 * (WIDTH // 2))
    mean, inverse = tl.load(means + place), tl.load(inverses + place)
    scale, shift = tl.load(weight + place % channels), tl.load(bias + place % channels)
    by_normed = tl.zeros([BLOCK], tl.float32)
    by_one = tl.zeros([BLOCK], tl.float32)
    for start in range(0, SIZE, BLOCK):
        normed, back = _before_pooling(maps, gradient, start + pixels, mean, inverse, scale, shift, HEIGHT, WIDTH)
        by_normed += back * normed
        by_one += back
    sum_by_normed, sum_by_one = tl.sum(by_normed), tl.sum(by_one)
    tl.store(of_weight + place, sum_by_normed)
    tl.store(of_bias + place, sum_by_one)
    for start in range(0, SIZE, BLOCK):
        normed, back = _before_pooling(maps, gradient, start + pixels, mean, inverse, scale, shift, HEIGHT, WIDTH)
        back = scale * inverse * (back - (sum_by_one + normed * sum_by_normed) / SIZE)
        tl.store(of_maps + start + pixels, back, mask=start + pixels < SIZE)


@triton.jit
def _before_pooling(maps, gradient, pixels, mean, inverse, scale, shift, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Return the normed pixels, and the gradient of what went into ReLU, 0 outside of the map."""
    rows, columns = pixels // WIDTH, pixels % WIDTH
    normed = (tl.load(maps + pixels, mask=pixels < HEIGHT * WIDTH, other=0.0).to(tl.float32) - mean) * inverse
    pooled = (rows < HEIGHT // 2 * 2) & (columns < WIDTH // 2 * 2)  # else a last odd row or column
    back = tl.load(gradient + rows // 2 * (WIDTH // 2) + columns // 2, mask=pooled, other=0.0).to(tl.float32) / 4
    return normed, tl.where(normed * scale + shift <= 0, 0.0, back)
