"""A simulated `cuda:0`, for the GPU path on machines without a GPU.

Every tensor on it is one of torch's fake tensors, which has a device and no memory, with its value beside it on the CPU
(`value`). Each operation that touches the device runs twice: on the fake tensors, where torch raises what a GPU raises
for mixed devices, and on the values, so that whole commands run with a CPU's numbers. What a GPU would wait for is
counted by the line of compdd_eval that asked for it:

    launches      operations that launch a kernel or more; views launch none
    copies        blocking copies from the host: pageable memory, or pinned without `non_blocking`
    reads         what the host waits for: copies from the device, `.item()`, boolean masks, `nonzero`
    undetermined  operations whose kernels add in any order (torch.use_deterministic_algorithms lists them)
    tf32          convolutions and matrix products of float32 that may run in TF32

It knows nothing of CUDA graphs, Triton, NCCL (gloo takes its place), memory and time. The libraries of torch ask a
driver whether there are devices; a stub that says so is built once with gcc and loaded before torch.
"""

import collections
import ctypes
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path

_DRIVER = """
static signed char devices = 0;
void set_devices(int number) { devices = number; }
signed char _ZN3c104cuda12device_countEv(void) { return devices; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 0; return 0; }
"""
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE, of all else that a driver is asked


class SimulatedGPU:
    """A process with a simulated GPU that runs command lines one after another.

    Args:
        cwd: Its working directory.
        environment: Changes of its environment, there before torch is imported.
    """

    def __init__(self, cwd: Path, **environment: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._calls, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, str(cwd), environment))
        self._process.start()
        theirs.close()

    def begin(self, *arguments: object) -> None:
        """Start a command line."""
        self._calls.send({"arguments": [str(argument) for argument in arguments], "environment": {}})

    def end(self) -> tuple[str, dict[str, collections.Counter]]:
        """Return what it printed, once it is through, and what was counted, by kind and line."""
        answer, counts = self._calls.recv()
        assert answer["status"] == 0, answer["stderr"]
        return answer["stdout"], counts

    def __call__(self, *arguments: object) -> tuple[str, dict[str, collections.Counter]]:
        """Run a command line to its end, which has to be a good one."""
        self.begin(*arguments)
        return self.end()

    def run(self, code: str) -> tuple[str, dict[str, collections.Counter]]:
        """Run Python, every line of which counts as one of compdd_eval."""
        self._calls.send({"code": code, "environment": {}})
        return self.end()

    def stop(self) -> None:
        self._process.kill()  # it has nothing to put away, and to let go of torch takes it seconds
        self._process.join()


def _serve(calls: Connection, cwd: str, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    os.chdir(cwd)
    driver = load_driver()
    from tests.support.hub_client import answer
    from tests.support.simulated_cuda_mode import install

    mode = install(driver)
    with mode:
        while True:
            call = calls.recv()
            mode.counts.clear()
            calls.send((answer(call), {kind: collections.Counter(found) for kind, found in mode.counts.items()}))


def load_driver() -> ctypes.CDLL:
    """Build the stub of the driver, once, and load it before torch."""
    assert "torch" not in sys.modules
    folder = f"compdd_simulated_cuda_{os.getuid()}_{metadata.version('torch')}"
    place = Path(tempfile.gettempdir(), folder, "libcuda.so.1")
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        library = Path(importlib.util.find_spec("torch").origin).parent / "lib/libcaffe2_nvrtc.so"
        found = subprocess.run(["nm", "-D", library], capture_output=True, text=True, check=True).stdout
        names = {line.split()[-1].partition("@")[0] for line in found.splitlines() if " U cu" in line}
        others = [f"int {name}(void) {{ return {_NO_DEVICE}; }}" for name in sorted(names) if name not in _DRIVER]
        building = place.with_name(f"building_{os.getpid()}.so")
        build = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-x", "c", "-", "-o", building]
        subprocess.run(build, input="\n".join([_DRIVER, *others]), text=True, check=True)
        building.replace(place)  # at once: several processes may build it
    return ctypes.CDLL(str(place), ctypes.RTLD_GLOBAL)
