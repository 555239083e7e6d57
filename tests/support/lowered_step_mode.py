"""The lowering of `tests.support.lowered_step`; imports torch, so the stub of the driver has to be loaded."""

import ctypes
import re
from collections.abc import Callable
from unittest.mock import patch

import torch
import torch._functorch.config
import torch._inductor.config
import triton
from torch._dynamo.device_interface import CudaInterface
from torch._inductor import async_compile, compile_fx, graph, output_code
from torch._inductor.fx_passes import joint_graph, post_grad
from torch._inductor.runtime import triton_helpers, triton_heuristics
from triton.backends.compiler import GPUTarget

from compdd_eval.methods.student_steps import Student, _back
from compdd_eval.models.fused_norm import fuse_norms
from compdd_eval.models.registry import create_model
from compdd_eval.training import compiling
from compdd_eval.training.stack import Stack
from compdd_eval.training.train import _network_loss
from compdd_eval.utils.devices import repeatable
from tests.support.lowered_step import Lowered, Step
from tests.support.simulated_cuda_mode import Fake, install

CAPABILITY = 9, 0  # of an H200
_MOST_RETURNED = 4  # by what is compiled
_LAUNCH = r"^ +(triton_\w+\.run|\w+ = torch\.ops\.compdd_eval\.[\w.]+)\("
REDUCTIONS = {"REDUCTION", "PERSISTENT_REDUCTION", "SPLIT_SCAN"}


class _Target:
    """What Triton asks a driver for."""

    utils = None
    get_current_target = staticmethod(lambda: GPUTarget("cuda", 10 * CAPABILITY[0] + CAPABILITY[1], 32))
    get_current_device = staticmethod(lambda: 0)
    get_active_torch_device = staticmethod(lambda: torch.device("cuda", 0))
    get_device_capability = staticmethod(lambda *device: CAPABILITY)


class Lowering:
    """Lowers steps one after another."""

    def __init__(self, driver: ctypes.CDLL) -> None:
        install(driver)
        triton.runtime.driver.set_active(_Target())
        torch._functorch.config.force_non_lazy_backward_lowering = True  # else the first backward pass would do it
        inductor = torch._inductor.config
        inductor.force_disable_caches = True
        inductor.compile_threads = 1
        # these compute on the device: constants, and examples of patterns that are replaced
        inductor.joint_graph_constant_folding = False
        joint_graph.lazy_init = post_grad.lazy_init = lambda *args, **options: None
        # which has the function that torch.cuda had before
        CudaInterface.get_device_properties = staticmethod(torch.cuda.get_device_properties)
        triton_helpers.set_driver_to_gpu = lambda: None
        triton_heuristics.cached_autotune = _kind_and_number
        async_compile.AsyncCompile.triton = lambda compiler, name, source, **more: self._keep_kernel(name, source)
        generate = graph.GraphLowering.codegen
        graph.GraphLowering.codegen = lambda lowered: self._keep_code(lowered, generate(lowered))
        output_code.CompiledFxGraph.post_compile = lambda found, inputs, *more: self._keep_graph(found, inputs)
        self._compile = compile_fx.compile_fx

    def __call__(self, step: Step) -> Lowered:
        """Lower a step of networks with fresh weights; after another step it is a recompilation, as in a training."""
        self._kernels: list[tuple[str, str]] = []
        self._code, self._bytes, self._no_graphs = "", 0, []
        repeatable(step.precision)
        size = step.resolution, step.resolution
        networks = [create_model(step.network, im_size=size) for _ in range(step.students)]
        if step.fused:
            assert all(fuse_norms(network) for network in networks)
        model = networks[0] if step.students == 1 else Stack(networks)
        stack = () if step.students == 1 else (step.students,)
        images = torch.empty(*stack, step.batch, 3, *size)
        hard, soft = torch.zeros(*stack, step.batch, dtype=torch.int64), torch.empty(*stack, step.batch, 10)
        function, arguments = _network_loss, (model, images, soft if step.soft else hard, 1.0)
        if step.matching:
            student = Student(networks[0])
            theta = student.flat(list(networks[0].parameters()))
            function, arguments = (
                _back,
                (student, theta, images, soft, torch.empty_like(theta), 1 / step.batch, (0, 1, 2)),
            )
        compiled = compiling.compiled(function, True, True)
        with (
            patch.object(compile_fx, "compile_fx", self._compile_on_gpu),
            torch.autocast("cuda", torch.bfloat16, enabled=step.precision == "bfloat16"),
        ):
            compiled(*arguments)
        assert self._code, f"{step}: lowered before"
        return self._found()

    def _compile_on_gpu(self, module: torch.fx.GraphModule, inputs: list, **options: object) -> Callable:
        """Stand in for `compile_fx`: with tensors of a GPU; return what gives no numbers, for nothing can be run."""
        with Fake():
            moved = [_on_gpu(value) for value in inputs]
        with patch.object(compile_fx, "compile_fx", self._compile):  # it calls itself
            self._compile(module, moved, **options)
        return lambda *inputs: (torch.zeros(()),) * _MOST_RETURNED

    def _keep_kernel(self, name: str, source: str) -> None:
        self._kernels.append((name, source))

    def _keep_code(self, lowered: graph.GraphLowering, code: tuple) -> tuple:
        self._code += code[0].value
        for node in lowered.scheduler.nodes:
            self._bytes += node.get_read_write_buffers_sizes()
            if why := lowered.scheduler.should_partition(node):
                self._no_graphs.append(why)
        return code

    def _keep_graph(self, found: output_code.CompiledFxGraph, inputs: list) -> None:
        output_code.set_tracing_context_output_strides(inputs, found)
        self._no_graphs += [found.disabled_cudagraphs_reason] if found.disabled_cudagraphs_reason else []
        self._no_graphs += found.cudagraph_info.cudagraph_fail_reasons if found.cudagraph_info else ["none asked for"]
        if set(found.mutated_input_idxs) - set(found.fx_kwargs["static_input_idxs"]):
            self._no_graphs.append("writes to an input that may move")

    def _found(self) -> Lowered:
        timed = []
        for name, source in self._kernels:
            names: dict[str, object] = {"__file__": name}
            exec(source.replace("@triton.jit", ""), names)
            kind, number = names[name]
            if kind in REDUCTIONS and number > 1:
                timed.append(name)
        return Lowered(
            kernels=len(
                re.findall(r"^ +(triton_\w+\.run|\w+ = torch\.ops\.compdd_eval\.[\w.]+)\(", self._code, re.MULTILINE)
            ),
            gigabytes=self._bytes / 1e9,
            timed_reductions=timed,
            unordered=[name for name, source in self._kernels if "tl.atomic_" in source],
            no_graphs=self._no_graphs,
        )


def _kind_and_number(size_hints: object, configs: list, triton_meta: dict, heuristic_type: object, **more: object):
    """Stand in for `cached_autotune`, which decorates a kernel: return its kind and how many configurations it has."""
    return lambda kernel: (heuristic_type.name, len(configs))


def _on_gpu(value: object) -> object:
    """Return a fake tensor of the GPU like this one; in a fake mode."""
    if not isinstance(value, torch.Tensor):
        return value
    moved = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")
    if isinstance(value, torch.nn.Parameter):
        return torch.nn.Parameter(moved)
    return moved.requires_grad_(value.requires_grad)
