"""Ways to train students that `bench train` and `bench scaling` time."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from compdd_eval.commands.bench.plain_loop import plain_passes
from compdd_eval.commands.bench.worker import WARM_UP, Turns, seconds_of
from compdd_eval.config.bench import BenchConfig
from compdd_eval.config.protocol import Protocol
from compdd_eval.data.subset_files import NUM_CLASSES, VALIDATION_IMAGES_PER_CLASS
from compdd_eval.models.registry import create_model
from compdd_eval.training.predict import predict
from compdd_eval.training.stack import Stack
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.utils.devices import repeatable
from compdd_eval.utils.process_memory import keep_memory

_MATRICES = {"cpu": (256, 512, 1024, 2048), "cuda": (8192,)}  # the peak is that of square matrix products of such sizes
_PRODUCTS = 5
_LONG = 0.05  # seconds of a product, from which on larger ones are no faster: bfloat16 where a CPU has to emulate it


@dataclass(frozen=True)
class Contestant:
    """A way to train.

    Attributes:
        name: In words.
        precision: `float32`, `tf32` or `bfloat16`.
        plain: Whether it is the plain loop; nothing of what follows is then looked at.
        parts: Whether batches go through the network in parts, where ours do.
        keeps_memory: Whether the process keeps memory that tensors gave back.
        compiled: Whether steps are compiled.
        fused_norm: Whether norm, ReLU and pooling are one operation.
        students: Students that are trained together.
    """

    name: str
    precision: str = "float32"
    plain: bool = False
    parts: bool = False
    keeps_memory: bool = False
    compiled: bool = False
    fused_norm: bool = False
    students: int = 1


def begin_training(contestant: Contestant, config: BenchConfig, ipc: int, device: torch.device) -> Turns:
    """Return passes for ever, and answers: the `peak` rate of matrix products a second, the seconds of a `test`.

    Args:
        contestant: How it trains.
        config: What it trains.
        ipc: Images per class.
        device: Where.
    """
    if contestant.keeps_memory:
        keep_memory()
    if not contestant.plain:  # which has what torch has from the start: TF32 in a GPU's convolutions
        repeatable(contestant.precision)
    peak = _peak_rate(contestant.precision, device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    passes, student, tested = _contest(contestant, config, ipc, device)
    test = (predict(student, tested) for _ in iter(int, 1))
    return Turns(passes, {"peak": lambda: peak, "test": lambda: seconds_of(test, device)})


def _contest(
    contestant: Contestant, config: BenchConfig, ipc: int, device: torch.device
) -> tuple[Iterator[object], torch.nn.Module, torch.Tensor]:
    """Return passes for ever, a student, and images to test it on."""
    size = (config.res, config.res)
    torch.manual_seed(0)
    images, labels = torch.randn(ipc * NUM_CLASSES, 3, *size), torch.arange(NUM_CLASSES).repeat_interleave(ipc)
    tested = torch.randn(VALIDATION_IMAGES_PER_CLASS * NUM_CLASSES, 3, *size, device=device)
    students = []
    for seed in range(contestant.students):
        torch.manual_seed(seed)
        students.append(create_model(config.model, NUM_CLASSES, size).to(device))
        if contestant.fused_norm:
            from compdd_eval.models.fused_norm import fuse_norms  # needs Triton

            fuse_norms(students[-1])
    protocol = Protocol(epoch_eval_train=config.passes + max(WARM_UP.values()))
    if contestant.plain:
        return plain_passes(students[0], images, labels, protocol), students[0], tested
    feeds = [StudentBatches(images, labels, "hard", protocol, seed) for seed in range(contestant.students)]
    training = Training(
        students[0] if contestant.students == 1 else Stack(students),
        feeds,
        protocol.rate,
        protocol,
        part=None if contestant.parts else len(images),
        precision=contestant.precision,
        compiled=contestant.compiled,
    )
    return training.passes(), students[0], tested


def _peak_rate(precision: str, device: torch.device) -> float:
    """Return the floating-point operations a second of large matrix products."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    rates = []
    for side in _MATRICES[device.type]:
        matrix = torch.randn(side, side, device=device).to(dtype)
        products = (operand @ operand for operand in itertools.repeat(matrix))
        least = min(seconds_of(products, device) for _ in range(_PRODUCTS))
        rates.append(2 * side**3 / least)
        if least > _LONG:
            break
    return max(rates)
