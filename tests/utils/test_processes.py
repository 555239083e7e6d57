"""Several processes: what they are told, and what they give each other."""

import json

import pytest
import torch

from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import make_accelerator
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
