"""Several processes: what they are told, and what they give each other."""

import json
import platform

import pytest
import torch

from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import make_accelerator
from tests.conftest import python
from tests.support.forked import ranks

SHARED = """
import json, os, sys
from pathlib import Path
import torch
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import make_accelerator, shared_from_main_process

accelerator, folder = make_accelerator(), Path(sys.argv[1 + int(os.environ["RANK"])])
made = shared_from_main_process(accelerator, lambda: {"images": torch.arange(6.0)}, folder)

def fails():
    raise InputError("no such set")

try:
    shared_from_main_process(accelerator, fails, folder)
except InputError as error:
    refused = str(error)
print(json.dumps([made["images"].tolist(), refused, sorted(os.listdir(folder))]))
"""

ALLOCATING = """
import resource
import torch
from compdd_eval.utils.processes import Alone, make_accelerator, set_torch

def pages():
    for _ in range(30):  # until the heap has grown
        torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = pages()
threads = set_torch(1, Alone(make_accelerator()), "tf32")
print(before, pages(), threads, torch.get_num_threads(), torch.backends.cudnn.allow_tf32)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept where the C library is glibc")
def test_what_every_long_work_tells_torch(tmp_path):
    """Among others, that 64 MB which a tensor gave back serve the next one: pages that nobody has to clear again."""
    done = python("-c", ALLOCATING, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after, *said = done.stdout.split()
    assert int(after) < 100 < int(before)
    assert said == ["1", "1", "True"]


@pytest.mark.parametrize("shared", [True, False])
def test_large_results_reach_all_processes(shared, tmp_path):
    """Through a file where they see the same folder, else by a broadcast; no file is left."""
    folders = [tmp_path / "a", tmp_path / "a" if shared else tmp_path / "b"]
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.shared_1.pt").write_text("left by a run that was killed")
    for process in ranks(2, "-c", SHARED, *folders, cwd=tmp_path):
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert json.loads(out) == [list(range(6)), "no such set", []]


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    with pytest.raises(InputError, match=r"^8 processes on a machine with 2 GPUs: .* give --num_processes 2$"):
        make_accelerator()
