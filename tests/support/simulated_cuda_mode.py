"""The simulated device of `tests.support.simulated_cuda`; imports torch, so the stub of the driver has to be loaded."""

import collections
import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

aten = torch.ops.aten
CUDA = torch.device("cuda", 0)
NAME = "Simulated H200"
# of the list in the documentation of torch.use_deterministic_algorithms; without bincount and cumsum of integers, which
# are exact in any order
_UNDETERMINED = {
    *("grid_sampler_2d_backward", "cudnn_grid_sampler_backward", "max_pool2d_with_indices_backward"),
    *("_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward", "avg_pool3d_backward"),
    *("upsample_bilinear2d_backward", "_upsample_bilinear2d_aa_backward", "upsample_bicubic2d_backward"),
    *("scatter_add", "scatter_add_", "scatter_reduce", "index_add", "index_add_", "index_copy", "put_"),
    *("replication_pad2d_backward", "reflection_pad2d_backward", "embedding_dense_backward", "histc", "median"),
}
_SIZE_OF_DATA = {  # their result has a size, or is a number, that only the values give
    *("nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal", "_local_scalar_dense"),
    *("bincount", "is_nonzero", "repeat_interleave"),
}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_NOTHING_LAUNCHED = {"detach", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
_PRODUCTS = {"convolution", "convolution_backward", "cudnn_convolution", "mm", "bmm", "addmm", "baddbmm"}


class Fake(FakeTensorMode):
    avoid_device_init = property(lambda self: True)


class SimulatedCuda(TorchDispatchMode):
    """While it is entered, `cuda` is the simulated device.

    Attributes:
        counts: What was counted: kind -> line of compdd_eval -> number.
    """

    def __init__(self, driver: ctypes.CDLL) -> None:
        super().__init__()
        self.counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        self.pinned: dict[int, torch.Tensor] = {}
        self._fake = Fake(allow_non_fake_inputs=False)
        with self._fake:  # installs the device guard that does nothing, which the threads of autograd need
            pass
        driver.set_devices(127)  # as many as that guard says there are

    def __enter__(self) -> "SimulatedCuda":
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def on_device(self, value: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the simulated device with this value."""
        with self._fake:
            fake = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=CUDA)
        fake.value = value
        return fake

    def values(self, tree: object) -> object:
        """Return arguments with values in place of tensors of the device, and the CPU in place of the device."""
        tree = tree_map_only(
            torch.device, lambda device: torch.device("cpu") if device.type == "cuda" else device, tree
        )
        return tree_map_only(FakeTensor, lambda tensor: tensor.value, tree)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> object:
        kwargs = kwargs or {}
        flat, spec = tree_flatten((args, kwargs))
        asked = kwargs.get("device")
        to_cuda = isinstance(asked, torch.device) and asked.type == "cuda"
        if not to_cuda and not any(on_cuda(value) for value in flat):
            return func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        if name == "device":
            return args[0].fake_device
        tensors = [value for value in flat if isinstance(value, torch.Tensor)]
        masks = name in _INDEXING and any(i.dtype in (torch.bool, torch.uint8) for i in tensors[1:] if i is not None)
        self._count(func, name, tensors, kwargs if asked is not None else None, masks, args)
        if special := _SPECIAL.get(func._schema.name):
            return special(self, func, args, kwargs)
        value_args, value_kwargs = self.values((args, kwargs))
        if name in _SIZE_OF_DATA or (masks and name == "index"):
            if not masks and any(not on_cuda(tensor) and tensor.dim() for tensor in tensors):
                raise RuntimeError(f"{func}: tensors on cpu and cuda")
            found = func(*value_args, **value_kwargs)
            if name == "_local_scalar_dense":
                return found
            return tree_map_only(torch.Tensor, self.on_device, found)
        fake_args, fake_kwargs = tree_unflatten([self._as_fake(value) for value in flat], spec)
        with self._fake:
            fake = func(*fake_args, **fake_kwargs)
        found = func(*value_args, **value_kwargs)
        written = [
            i for i, a in enumerate(func._schema.arguments) if a.alias_info is not None and a.alias_info.is_write
        ]
        if written and isinstance(fake, torch.Tensor) and len(func._schema.returns) == 1:
            first = written[0]
            return args[first] if first < len(args) else kwargs[func._schema.arguments[first].name]
        return self._with_values(fake, found)

    def _as_fake(self, value: object) -> object:
        if not isinstance(value, torch.Tensor) or isinstance(value, FakeTensor):
            return value
        return self._fake.from_tensor(value.detach())

    def _with_values(self, fake: object, found: object) -> object:
        if isinstance(fake, (list, tuple)):
            return type(fake)(self._with_values(*pair) for pair in zip(fake, found, strict=True))
        if not isinstance(fake, torch.Tensor) or fake.device.type == "cpu":
            return found
        if not hasattr(fake, "value"):
            assert (fake.shape, fake.dtype) == (found.shape, found.dtype), (fake, found)
            fake.value = found
        return fake

    def _count(self, func, name: str, tensors: list, moved: dict | None, masks: bool, args: tuple) -> None:
        kinds = []
        if name in ("_to_copy", "copy_"):
            source = tensors[-1] if name == "copy_" else tensors[0]
            target = on_cuda(tensors[0]) if name == "copy_" else moved is None or moved["device"].type == "cuda"
            to_meta = moved is not None and moved["device"].type == "meta"  # shapes alone
            if target != on_cuda(source) and not to_meta:
                waits = not target or not (self.is_pinned(source) and _non_blocking(func, args, moved))
                kinds = ([] if not waits else ["copies"]) if target else ["reads"]
                self._add(name, kinds)
                return
        if name in _SIZE_OF_DATA or (masks and name == "index"):
            kinds.append("reads")
        view = any(a.alias_info is not None and not a.alias_info.is_write for a in func._schema.arguments)
        if not view and name not in _NOTHING_LAUNCHED and name not in ("_local_scalar_dense", "is_nonzero"):
            kinds.append("launches")
        if name in _UNDETERMINED:
            kinds.append("undetermined")
        if name in _PRODUCTS and tensors[0].dtype == torch.float32 and _may_use_tf32(name):
            kinds.append("tf32")
        self._add(name, kinds)

    def _add(self, name: str, kinds: list[str]) -> None:
        if kinds:
            place = _line_of_ours()
            for kind in kinds:
                self.counts[kind][f"{name} {place}"] += 1

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self.pinned

    def pin(self, tensor: torch.Tensor) -> torch.Tensor:
        """Copy to memory that counts as pinned."""
        copied = tensor.clone(memory_format=torch.contiguous_format)
        self.pinned[copied.untyped_storage().data_ptr()] = copied  # kept: its address must not be taken again
        return copied


def on_cuda(value: object) -> bool:
    return isinstance(value, FakeTensor) and value.fake_device.type == "cuda"


def _non_blocking(func, args: tuple, moved: dict | None) -> bool:
    if func._schema.name == "aten::copy_":
        return len(args) > 2 and bool(args[2])
    return bool(moved and moved.get("non_blocking"))


def _may_use_tf32(name: str) -> bool:
    setting = torch.backends.cudnn.conv if "conv" in name else torch.backends.cuda.matmul
    if hasattr(setting, "fp32_precision"):
        return setting.fp32_precision == "tf32"
    return torch.backends.cudnn.allow_tf32 if "conv" in name else torch.backends.cuda.matmul.allow_tf32


def _line_of_ours() -> str:
    frame = sys._getframe(3)
    while frame is not None:
        code = frame.f_code
        if "compdd_eval" in code.co_filename or code.co_filename == "<test>":
            return f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}"
        frame = frame.f_back
    return "autograd"


# --- what fake tensors cannot do by themselves


def _deepcopy(tensor: FakeTensor, memo: dict) -> FakeTensor:
    if id(tensor) not in memo:
        copied = tensor.detach().clone()
        is_parameter = getattr(tensor, "_is_param", False)
        memo[id(tensor)] = (
            torch.nn.Parameter(copied, tensor.requires_grad)
            if is_parameter
            else copied.requires_grad_(tensor.requires_grad)
        )
    return memo[id(tensor)]


def _set_data(tensor: FakeTensor, data: FakeTensor) -> None:
    torch.Tensor.data.__set__(tensor, data)
    tensor.value = data.value.detach()


def _apply(module: torch.nn.Module, function: Callable, recurse: bool = True) -> torch.nn.Module:
    """`Module._apply` with new parameters: those of another kind of tensor cannot take the place of the old ones."""
    for child in module.children():
        _apply(child, function)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                applied = function(parameter)
            if applied is not parameter:
                module._parameters[name] = torch.nn.Parameter(applied, parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = function(buffer)
    return module


def _fused(mode: SimulatedCuda, func, args: tuple, kwargs: dict) -> None:
    """Check what fused optimisers check on a GPU, then run them on the values."""
    for group in args[:3]:
        for tensor, parameter in zip(group, args[0], strict=False):
            if not on_cuda(tensor):
                raise RuntimeError(f"{func}: tensor on {tensor.device}, expected cuda:0")
            if (tensor.stride(), tensor.dtype) != (parameter.stride(), parameter.dtype):
                raise RuntimeError(f"{func}: params, grads and state must have the same dtype, device and layout")
    args, kwargs = mode.values((args, kwargs))
    func(*args, **kwargs)


def _on_values(function: Callable, *more: object) -> Callable:
    """Return what runs a function of a CPU for one that only GPUs have."""

    def run(mode: SimulatedCuda, func, args: tuple, kwargs: dict) -> object:
        if not all(on_cuda(value) for value in args if isinstance(value, torch.Tensor)):
            raise RuntimeError(f"{func}: tensors on cpu and cuda")
        return tree_map_only(torch.Tensor, mode.on_device, function(*mode.values(args), *more))

    return run


def _batch_norm(*args: object) -> tuple[torch.Tensor, ...]:
    return *aten.native_batch_norm(*args), torch.empty(0, dtype=torch.uint8)


def _batch_norm_backward(x, grad, weight, mean, variance, saved_mean, saved_rstd, epsilon, _) -> tuple:
    saved = weight, mean, variance, saved_mean, saved_rstd, True, epsilon, [True, True, True]
    return aten.native_batch_norm_backward(grad, x, *saved)


def _grid_backward(x: torch.Tensor, grid: torch.Tensor, grad: torch.Tensor) -> tuple:
    return aten.grid_sampler_2d_backward(grad, x, grid, 0, 0, True, [True, True])


def _collective(mode: SimulatedCuda, func, args: tuple, kwargs: dict) -> object:
    """Run it on the values; NCCL would refuse tensors of the CPU."""
    if not all(on_cuda(value) for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)):
        raise RuntimeError(f"{func}: NCCL has no CPU tensors")
    value_args, value_kwargs = mode.values((args, kwargs))
    found = func(*value_args, **value_kwargs)
    return (args[0], found[1]) if isinstance(found, tuple) and func._schema.name == "c10d::allreduce_" else found


def _layout_of_convolution(images: torch.Tensor, weight: torch.Tensor, backend: object = None) -> torch.memory_format:
    """Return the layout of the output, as cuDNN's: channels last where an input is so."""
    last = torch.channels_last
    found = [t for t in (images, weight) if t.is_contiguous(memory_format=last) and not t.is_contiguous()]
    return last if found else torch.contiguous_format


_SPECIAL = {
    **dict.fromkeys(("aten::_fused_sgd_", "aten::_fused_adam_", "aten::_fused_adamw_"), _fused),
    "aten::cudnn_batch_norm": _on_values(_batch_norm),
    "aten::cudnn_batch_norm_backward": _on_values(_batch_norm_backward),
    "aten::cudnn_grid_sampler": _on_values(aten.grid_sampler_2d, 0, 0, True),
    "aten::cudnn_grid_sampler_backward": _on_values(_grid_backward),
    **{f"c10d::{name}": _collective for name in ("allreduce_", "broadcast_", "allgather_", "barrier")},
    "c10d::_allgather_base_": _collective,
}


class _Properties:
    name, major, minor, total_memory, multi_processor_count = NAME, 9, 0, 141 * 10**9, 132
    warp_size, regs_per_multiprocessor, max_threads_per_block, max_threads_per_multi_processor = 32, 65536, 1024, 2048
    shared_memory_per_block, shared_memory_per_block_optin, shared_memory_per_multiprocessor = 49152, 232448, 233472
    L2_cache_size, gcnArchName = 60 * 2**20, ""


def install(driver: ctypes.CDLL) -> SimulatedCuda:
    """Let `torch.cuda` tell of the simulated device, for as long as this process lives; return the mode to enter."""
    mode = SimulatedCuda(driver)  # before torch says that there is a device
    FakeTensor.__deepcopy__ = _deepcopy
    torch.nn.Module._apply = _apply
    torch.Tensor.pin_memory = lambda tensor, device=None: mode.pin(tensor)
    # one copy of all numbers; a fake tensor asks for each by itself
    FakeTensor.tolist = lambda tensor: tensor.cpu().tolist()
    FakeTensor.data = property(torch.Tensor.data.__get__, _set_data)
    torch.Tensor.is_pinned = lambda tensor, device=None: mode.is_pinned(tensor)
    torch._C._cuda_isCurrentStreamCapturing = lambda: False
    torch._C._cuda_getDeviceCount = lambda: 1
    torch._C._select_conv_backend = lambda *args, **options: torch._C._ConvBackend.Cudnn
    torch._C._conv_determine_backend_memory_format = _layout_of_convolution
    state = torch.zeros(16, dtype=torch.uint8)
    told = {
        "is_available": True,
        "device_count": 1,
        **dict.fromkeys(("current_device", "_exchange_device", "_maybe_exchange_device"), 0),
        "is_initialized": True,
        "get_device_name": NAME,
        "get_device_properties": _Properties(),
        "get_device_capability": (9, 0),
        "mem_get_info": (140 * 10**9, 141 * 10**9),
        "max_memory_allocated": 0,
        "memory_allocated": 0,
        "memory_reserved": 0,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "_is_in_bad_fork": False,
        "get_rng_state": state,
        **dict.fromkeys(
            ("_lazy_init", "_lazy_call", "init", "set_device", "synchronize", "empty_cache", "ipc_collect")
        ),
        **dict.fromkeys(("set_rng_state", "manual_seed", "manual_seed_all", "reset_peak_memory_stats")),
    }
    for name, value in told.items():
        for module in (torch.cuda, torch.cuda.random, torch.cuda.memory):
            if module is torch.cuda or hasattr(module, name):
                setattr(module, name, lambda *args, _value=value, **options: _value)
    start, barrier = torch.distributed.init_process_group, torch.distributed.barrier

    def start_gloo(backend: str | None = None, device_id: object = None, **options: object) -> None:
        start(backend="gloo", **options)

    torch.distributed.init_process_group = start_gloo
    torch.distributed.barrier = lambda *args, **options: barrier()
    return mode
