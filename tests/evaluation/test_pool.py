"""Students of many evaluations in one pool: the numbers of each alone, shared ones once, workers that die."""

import json
import os
import signal
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from compdd_eval.config.protocol import Protocol
from compdd_eval.data.splits import load_comp_dd
from compdd_eval.distilled.formats.published import save_published
from compdd_eval.distilled.random_images import random_images
from compdd_eval.evaluation import pool
from compdd_eval.evaluation.evaluate import Evaluation
from compdd_eval.evaluation.image_sets import TrainingSet
from compdd_eval.evaluation.pool import _Opened
from compdd_eval.evaluation.train_group import GroupTrainer
from compdd_eval.evaluation.train_students import StudentTrainer
from compdd_eval.results.student_result import read_student
from compdd_eval.utils.errors import InputError
from tests.conftest import students
from tests.evaluation.test_evaluate import launch
from tests.support.forked import launched

QUICK = {"category": "bird", "subset": "easy", "model": "ConvNetD1", "epoch_eval_train": 2, "num_eval": 2, "threads": 1}


@pytest.fixture
def sets(drawn, tmp_path):
    """Two sets of real images at 16 px, one and two a class."""
    train = load_comp_dd(drawn, "bird", "easy", (16, 16)).dst_train
    for ipc in (1, 2):
        distilled = random_images(train, ipc, seed=ipc)
        save_published(distilled, tmp_path / f"ipc{ipc}")
    return [str(tmp_path / f"ipc{ipc}") for ipc in (1, 2)]


@pytest.fixture
def grid(drawn, sets, tmp_path):
    """Write a grid over both sets; return what starts it."""

    def written(name="grid", **changes):
        settings = {**QUICK, "data_path": str(drawn), "distilled": sets, "compile": "never", **changes}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        return "--grid", str(tmp_path / f"{name}.yaml"), "--output_dir", str(tmp_path / name)

    return written


def summaries(folder):
    """What the cells of a grid have found, by name, without what says where and when."""
    found = {path.parent.name: json.loads(path.read_text()) for path in Path(folder).glob("*/summary.json")}
    for summary in found.values():
        for name in ("config", "students", "environments"):
            summary.pop(name)
    return found


def trained(monkeypatch):
    """Keep the result file of every student that is trained in this process, in order."""
    paths, train = [], StudentTrainer._train

    def kept(self, group, part, bar):
        paths.extend(str(task.path) for task in group)
        return train(self, group, part, bar)

    monkeypatch.setattr(StudentTrainer, "_train", kept)
    return paths


@pytest.mark.parametrize("more", [{"baseline": "random"}, {"lr_net": "auto", "num_eval": 1}])
def test_cells_have_the_numbers_of_single_evaluations(run, grid, sets, drawn, tmp_path, more):
    assert run(*grid(**more))[0] == 0
    two = launched(2, "-m", "compdd_eval", *grid("both", **more), cwd=tmp_path)
    assert two.returncode == 0, two.stderr
    for path in sets:
        options = {**QUICK, "data_path": drawn, "distilled": path, "compile": "never", **more}
        words = [part for name, value in options.items() for part in (f"--{name}", value)]
        assert run(*words, "--output_dir", tmp_path / "alone" / Path(path).name)[0] == 0
    alone, one, both = (summaries(tmp_path / name) for name in ("alone", "grid", "both"))
    assert alone == one == both and len(alone) == 2
    assert two.stdout.count(" of 2): ConvNetD1 ") == 2  # a line for each cell, by the main process
    cells = json.loads((tmp_path / "both/index.json").read_text())["cells"]
    assert [cell["state"] for cell in cells] == ["done", "done"]
    assert not list((tmp_path / "both").glob("**/.shared_*"))


def test_what_cells_share_is_trained_once_and_the_costliest_first(run, grid, sets, monkeypatch):
    """Two cells of one set share their four students on random images; those on the set are each cell's own."""
    paths = trained(monkeypatch)
    more = {"model": "LeNet,ConvNetD2", "baseline": "random", "distilled": sets[0], "save_students": [True, False]}
    status, _, errors = run(*grid(**more))
    assert status == 0, errors
    assert len(paths) == len(set(paths)) == 2 * 4 + 4
    assert sum("/baselines/" in path for path in paths) == 4
    models = ["ConvNetD2" if "/ConvNetD2/" in path else "LeNet" for path in paths]
    assert models == sorted(models)  # ConvNetD2 has more operations than LeNet


def test_a_student_that_fails_takes_with_it_the_cells_that_wait_for_it(run, grid, monkeypatch):
    train = StudentTrainer._train

    def failing(self, group, part, bar):
        if "ipc1" in str(group[0].path) and group[0].source == "distilled":
            raise InputError("no room for it")
        return train(self, group, part, bar)

    monkeypatch.setattr(StudentTrainer, "_train", failing)
    command = grid(baseline="random")
    status, _, errors = run(*command)
    assert status == 2 and "1 of 2 cells failed; the first, ipc1: no room for it" in errors[-1]
    states = [cell["state"] for cell in json.loads((Path(command[3]) / "index.json").read_text())["cells"]]
    assert states == ["failed", "done"]
    monkeypatch.undo()
    assert run(*command)[0] == 0 and summaries(command[3]).keys() == {"ipc1", "ipc2"}


def test_images_of_a_cell_are_let_go(run, grid, monkeypatch):
    living, most, begin = weakref.WeakSet(), [], Evaluation.__init__

    def counted(self, *arguments, **named):
        begin(self, *arguments, **named)
        living.add(self)
        most.append(len(living))

    monkeypatch.setattr(Evaluation, "__init__", counted)
    assert run(*grid(model=["MLP", "LeNet", "ConvNetD1"], num_eval=1))[0] == 0
    assert len(most) >= 6 and max(most) <= 2  # one that trains, one that is planned or finished


@pytest.mark.parametrize("fails", ["random", "distilled"])
def test_a_failed_cell_and_one_that_asks_for_its_students_later(run, grid, sets, monkeypatch, fails):
    """The second cell trains a teacher first: its random students are asked for when those of the first are over."""
    train = StudentTrainer._train

    def failing(self, group, part, bar):
        if group[0].source == fails and "/LeNet/" not in str(group[0].path):
            raise InputError("no room for it")
        return train(self, group, part, bar)

    monkeypatch.setattr(StudentTrainer, "_train", failing)
    more = {"distilled": sets[0], "baseline": "random", "full_epochs": 2, "teacher": [None, "LeNet"]}
    command = grid(**more)
    status, _, errors = run(*command)
    assert status == 2 and "no room for it" in errors[-1]
    states = [cell["state"] for cell in json.loads((Path(command[3]) / "index.json").read_text())["cells"]]
    assert states == ["failed", "failed" if fails == "random" else "done"]
    # random students are trained although the first cell, which asked for them first, has failed
    drawn = [path for path in students(Path(command[3])) if "/random-ipc1" in str(path)]
    assert len(drawn) == (0 if fails == "random" else 2)


def test_a_teacher_and_a_full_baseline_of_one_network(run, grid, sets):
    """Both have one result file; the teacher has weights, too."""
    more = {"model": "MLP", "distilled": sets[0], "baseline": "full", "full_epochs": 2, "teacher": [None, "MLP"]}
    command = grid(**more)
    status, _, errors = run(*command)
    assert status == 0, errors
    assert len(list(Path(command[3]).glob("baselines/teachers/*.safetensors"))) == 1


def test_finished_cells_are_trained_again_once_where_that_is_asked_for(run, grid, monkeypatch):
    command = grid(baseline="random", save_students=[True, False])
    assert run(*command)[0] == 0
    again = trained(monkeypatch)
    assert run(*command)[0] == 0 and not again
    assert run(*command, "--overwrite")[0] == 0
    assert len(again) == len(set(again)) == len(students(Path(command[3])))


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again(run, grid, tmp_path):
    """`torchrun --max_restarts`: what is finished stays, and the end is that of an undisturbed run."""
    more = {"epoch_eval_train": 30, "num_eval": 3, "baseline": "random"}
    assert run(*grid("calm", **more))[0] == 0
    command = grid(**more)
    process = launch(2, *command, cwd=tmp_path, PET_MAX_RESTARTS="3")
    kept, deadline = {}, time.time() + 240
    for wanted in (2, 5):
        while len(found := students(tmp_path / "grid")) < wanted and process.poll() is None and time.time() < deadline:
            time.sleep(0.02)
        kept |= {path: path.stat().st_mtime_ns for path in found}
        workers = [pid for pid in children(process.pid) if b"compdd_eval" in command_of(pid)]
        assert len(workers) == 2
        os.kill(workers[wanted % 2], signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert summaries(tmp_path / "calm") == summaries(command[3])
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def children(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(number) for path in tasks for number in path.read_text().split()]


def command_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_students_are_recorded_as_trained_by_one_process(run, grid, tmp_path):
    two = launched(2, "-m", "compdd_eval", *grid(), cwd=tmp_path)
    assert two.returncode == 0, two.stderr
    assert {read_student(path).environment["processes"] for path in students(tmp_path / "grid")} == {1}
    assert torch.get_num_threads() == 1


def test_processes_of_one_student_drop_other_units(settings):
    """Each has other images in hand; the student's own numbers are those of one process."""
    given = TrainingSet(torch.zeros(10, 3, 32, 32), torch.arange(10), "hard", "")
    protocol = Protocol()
    task = SimpleNamespace(model="ConvNetD1", seed=3, lr=0.1, protocol=protocol, training_set=given, teacher=None)
    drawn = []
    for rank in range(2):
        place = SimpleNamespace(device=torch.device("cpu"), num_processes=2, process_index=rank)
        trainer = GroupTrainer(settings(parallel="ddp"), place)
        with torch.random.fork_rng():
            training = trainer.training([task], part=10, compiled=False)
            drawn.append((torch.rand(4).tolist(), training.model.state_dict()["classifier.weight"].sum().item()))
    assert drawn[0][0] != drawn[1][0] and drawn[0][1] == drawn[1][1]


def student(key, source, model="m"):
    given = SimpleNamespace(images=torch.zeros(1, 3, 1, 1), labels=torch.zeros(1), label_kind="hard")
    facts = {"model": model, "protocol": 0, "lr": 0.1, "searching": False, "flops": 1.0, "weights": None}
    return SimpleNamespace(path=key, source=source, training_set=given, **facts)


class Opened:
    """An evaluation of which only the order of its students is there: rounds of them in `plan`."""

    def __init__(self, index, config, accelerator, real, locks):
        self.index, self.real, self.inputs, self.summary = index, None, None, None
        self.number, self.tasks = 0, config.plan[0]
        self._plan, self._done, self._fails, self._trainer = config.plan, config.done, config.fails, config.trainer
        self.records = SimpleNamespace(has=lambda task: task.path in self._done)

    def prepare(self):
        pass

    look_for_doubts = record = prepare
    take_compiled = _Opened.take_compiled

    def go_to(self, number):
        while self.number < number:
            self.number += 1
            left = self.number < len(self._plan)
            self.tasks = self._plan[self.number] if left else []
            self.summary = None if left else SimpleNamespace(content=dict)

    def train(self, keys, bar):
        if self._fails in keys:
            raise InputError(f"{self._fails}: no room")
        self._done.update(keys)
        return [(key, key) for key in keys]


def pooled(monkeypatch, plans, fails=None, choose=lambda tasks: []):
    """Run plans in a pool of one process, which must end in seconds; return how each ended, and what was trained."""
    done, ended = set(), {}
    trainer = SimpleNamespace(choose_compiled=choose, compile_only=lambda models: None)
    configs = [SimpleNamespace(overwrite=False, plan=p, done=done, fails=fails, trainer=trainer) for p in plans]
    monkeypatch.setattr(pool, "_Opened", Opened)
    alone = {"is_main_process": True, "num_processes": 1, "wait_for_everyone": lambda: None}
    accelerator = SimpleNamespace(device=torch.device("cpu"), **alone)

    def changed(index, state, value):
        if state in (pool.DONE, pool.FAILED):
            ended[index] = value if state == pool.FAILED else state

    def late(*_):
        raise AssertionError(f"waits for what nobody trains: {ended}, {done}")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    try:
        pool.StudentPool(configs, accelerator, changed, quiet=True).run()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return ended, done


def test_shared_students_of_a_cell_that_fails_later_are_trained_for_the_others(monkeypatch):
    """It asked for them first, and then saw that another student of it had failed."""
    teacher, shared = student("teacher", "full"), student("random/Conv", "random", "Conv")
    failing = student("random/MLP", "random", "MLP")
    plans = [
        [[failing, student("c0/MLP", "distilled", "MLP")]],
        [[teacher], [failing, shared, student("c1/Conv", "distilled", "Conv")]],
        [[teacher], [shared, student("c2/Conv", "distilled", "Conv")]],
    ]
    ended, done = pooled(monkeypatch, plans, fails="random/MLP")
    assert ended == {0: "random/MLP: no room", 1: "random/MLP: no room", 2: "done"}
    assert {"random/Conv", "c2/Conv"} <= done and "c1/Conv" not in done


def test_who_waits_for_what_is_compiled_hears_of_a_failure(monkeypatch):
    def choose(tasks):
        if any(task.path == "c0/MLP" for task in tasks):
            raise InputError("out of memory with one image at a time")
        return []

    shared = student("random/MLP", "random")
    plans = [[[student("c0/MLP", "distilled"), shared]], [[student("c1/MLP", "distilled")]]]
    ended, done = pooled(monkeypatch, plans, choose=choose)
    assert ended == {0: "out of memory with one image at a time", 1: "done"} and done == {"c1/MLP"}
