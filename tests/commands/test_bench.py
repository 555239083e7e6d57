"""What `bench` measures, and the plain loop that it compares with."""

import itertools
import json
import random
from dataclasses import replace
from importlib import import_module

import pytest
import torch

from compdd_eval import create_model, diff_augment
from compdd_eval.commands.bench import distill, plain_methods, scaling_grid
from compdd_eval.commands.bench.plain_loop import augment as augment_plainly
from compdd_eval.commands.bench.plain_loop import plain_passes
from compdd_eval.commands.bench.scaling import least_makespan, plan_of_the_table
from compdd_eval.commands.bench.train import as_json, whole_table_hours
from compdd_eval.config.bench import TIMED_METHODS, BenchConfig
from compdd_eval.config.protocol import DSA_STRATEGY, Protocol
from compdd_eval.methods.expert_files import open_experts
from compdd_eval.methods.job import Job, Synthetic
from tests.support.parity import normal
from tests.test_readme import MEASURING, arguments_of, made_tiny


@pytest.fixture
def in_small(run, monkeypatch):
    """Run a command of the guides with numbers that take little time; return what it measured, and what it printed."""

    def call(what, *more):
        (line,) = [line for line in MEASURING if f"bench {what}" in line]
        bench, found = import_module(f"compdd_eval.commands.bench.{what}"), []
        measure = getattr(bench, f"bench_{what}")
        monkeypatch.setattr(bench, f"bench_{what}", lambda config: found.append(measure(config)) or found[0])
        status, out, lines = run(*made_tiny(arguments_of(line, "")), *more)
        assert status == 0, lines
        return found[0], out

    return call


def test_every_command_of_the_guides_is_run_here():
    assert sorted(arguments_of(line, "")[1] for line in MEASURING) == sorted(["data", *RUN_IN_SMALL])


def test_bench_measures_everything_it_names(in_small, tmp_path, run):
    figures, out = in_small("data", "--output_dir", tmp_path)
    assert len(figures) == 13 and sum(figure.reached is not None for figure in figures) == 8
    assert all(any(character.isdigit() for character in figure.value) and figure.value in out for figure in figures)
    assert not list(tmp_path.iterdir())
    status, _, errors = run("bench", "dat")
    assert status == 2 and "did you mean 'data'" in errors[0]
    assert run("bench", "data", "--images", "0")[0] == 2


def rows_of_train(rows, text):
    printed = json.loads(json.dumps(as_json(rows)))
    assert printed["rows"] == rows and {row["ipc"] for row in rows} == {1}
    assert {row["precision"] for row in rows} >= {"float32", "bfloat16"}
    for row in rows:
        assert row["resolution"] == 8 and row["images_per_second"] > 0 and row["peak_memory_bytes"] > 10**6
        assert (row["ratio_to_plain"] == 1) == (row["name"] == "plain loop")
    assert len(printed["whole_table_hours"]) == len(rows)
    assert "2 students together" in text and "plain loop, float32" in text and "All 16 subsets at IPC 1" in text


def rows_of_scaling(measured, text):
    assert "2 processes" in text and "A grid of 8 cells, IPC 1, one student of " in text
    one, two = measured["rows"]
    grid = measured["grid"]
    assert grid["speedup"] == grid["seconds"][0] / grid["seconds"][1] and grid["processes"] == 2
    assert (one["processes"], one["threads"], one["efficiency"]) == (1, 2, 1)
    assert (two["processes"], two["threads"]) == (2, 1) and two["efficiency"] > 0


def rows_of_distill(rows, text):
    assert [row["method"] for row in rows] == ["mtt"] * 4
    for row in rows:
        assert row["steps_per_second"] > 0 and row["first_step_seconds"] > 0
        assert (row["ratio_to_plain"] == 1) == (row["name"] == "plain loop")
    assert "Students of mtt and edf make 2 steps" in text


def rows_of_evaluator(rows, text):
    assert [row["name"] for row in rows] == ["plain loop", "Evaluator, eager", "Evaluator, compiled"]
    assert rows[0]["ratio_to_plain"] == 1 and all(row["first_call_seconds"] > 0 for row in rows)
    assert "ConvNetD1 at 8 px, 2 passes" in text


RUN_IN_SMALL = {
    "train": (rows_of_train, ("--threads", 1, "--students_per_device", 2)),
    "scaling": (rows_of_scaling, ("--threads", 2)),
    "distill": (rows_of_distill, ("--threads", 1, "--method", "mtt", "--syn_steps", 2)),
    "evaluator": (rows_of_evaluator, ("--threads", 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", RUN_IN_SMALL)
def test_rows(what, in_small, monkeypatch):
    monkeypatch.setattr(scaling_grid, "_SECONDS", 0.5)
    check, more = RUN_IN_SMALL[what]
    check(*in_small(what, *more))


def test_the_whole_table_is_projected_from_what_was_measured():
    row = {"name": "ours", "precision": "float32", "students_per_hour": 120, "test_seconds": 6}
    rows = [{**row, "ipc": 1}, {**row, "ipc": 10, "students_per_hour": 60}, {**row, "name": "half", "ipc": 1}]
    assert whole_table_hours(rows) == {"ours, float32": pytest.approx(16 * 5 * (30 + 6 + 60 + 6) / 3600)}


def test_the_whole_table_on_paper():
    """Two devices of three take the longest students; of many, the longest student is all that counts."""
    rows = [{"ipc": ipc, "images_per_second": 10.0, "processes": 1} for ipc in (1, 50)]
    plans = {plan["devices"]: plan for plan in plan_of_the_table(rows)}
    seconds = 1001 * 10 / 10.0  # of a student at IPC 1
    assert plans[8]["hours"] == pytest.approx((10 * 50 + 10) * seconds / 3600)  # 80 of each, ten of each for a device
    # 64 take a long one each, 16 of them another; the 80 short ones are done by then
    assert plans[64]["hours"] == pytest.approx(100 * seconds / 3600)
    assert plans[64]["share_of_ideal"] == pytest.approx(1), "of 65 long ones on 64 devices, two share one"
    assert plans[512]["hours"] == pytest.approx(50 * seconds / 3600) and plans[512]["share_of_ideal"] == 1


@pytest.mark.parametrize("seed", range(8))
def test_no_plan_beats_the_least_makespan(seed):
    """All ways to share six students among two or three devices."""
    draw = random.Random(seed)
    students = sorted((draw.choice([1, 5, 10, 50]) * draw.uniform(0.9, 1.1) for _ in range(6)), reverse=True)
    for devices in (2, 3):
        ways = itertools.product(range(devices), repeat=len(students))
        best = min(
            max(sum(s for s, place in zip(students, way, strict=True) if place == device) for device in range(devices))
            for way in ways
        )
        assert max(students) <= least_makespan(students, devices) <= best + 1e-9
    assert least_makespan([3.0, 3.0, 3.0], 2) == 6 and least_makespan([4.0, 1.0, 1.0], 2) == 4


def test_the_bench_says_where_memory_ran_out(run):
    """Half a terabyte is refused at once."""
    if torch.cuda.is_available():
        pytest.skip("this is about CPUs")
    status, _, lines = run("bench", "train", "--res", 9000, "--ipc", 50, "--model", "ConvNetD1", "--passes", 1)
    assert status == 2 and lines == [
        "compdd_eval: error: plain loop, float32: out of memory; give a smaller --res, --ipc or --model"
    ]


@pytest.mark.parametrize("strategy", ["color", "crop", "cutout", "flip", "scale", "rotate", DSA_STRATEGY])
def test_the_plain_loop_does_the_work_of_ours(strategy):
    """With the same draws its augmentation gives our images."""
    protocol = Protocol(dsa_strategy=strategy)
    for seed in range(6):
        images = normal(1, (100, 3, 10 + seed, 10 + seed))
        ours = diff_augment(images, strategy, protocol.crop_pad, torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)
        plain = augment_plainly(images, protocol)
        torch.testing.assert_close(plain, ours, rtol=0, atol=1e-4)
        assert (plain - images).abs().mean() > 0.1


def test_the_plain_loop_learns():
    model = create_model("ConvNetD1", im_size=(16, 16))
    passes = plain_passes(model, normal(1, (20, 3, 16, 16)), torch.arange(20) % 10, Protocol(dsa=False))
    found = [next(passes) for _ in range(10)]
    (first_loss, first_accuracy), (last_loss, last_accuracy) = found[0], found[-1]
    assert last_loss < 0.9 * first_loss and first_accuracy < last_accuracy <= 1


@pytest.mark.parametrize("name", TIMED_METHODS)
def test_the_plain_methods_do_the_work_of_ours(name, monkeypatch, tmp_path):
    """From the same images, network and experts, without augmentation: the same loss, step after step."""
    config = BenchConfig("distill", res=8, ipc="2", model="ConvNetD1", method=name, syn_steps=3)
    experts = distill._write_expert(tmp_path, config)
    settings = next(distill._contestants(config, name, 2, experts)).settings
    settings = replace(settings, **{"dsa": False, "lr_img": 1.0, **({} if name != "dc" else {"inner_loop": 1})})
    if name == "dc":
        settings = replace(settings, outer_loop=2)
    torch.manual_seed(0)
    images = torch.randn(10 * 20, 3, 8, 8)
    job = Job(settings, distill._RandomImages(images, torch.device("cpu")), torch.device("cpu"))
    networks = iter([job.network(name, number) for number in range(3)])
    monkeypatch.setattr(plain_methods, "augment", lambda batch, protocol: batch)
    monkeypatch.setattr(plain_methods.PlainMethod, "_network", lambda self: next(networks))
    monkeypatch.setattr(distill.Synthetic, "begin", lambda job: Synthetic(*first_of(images), settings.lr_student))
    ours = distill._ours(settings, images, torch.device("cpu"), "never")
    experts = open_experts(experts, "ConvNetD1", 8) if settings.experts else None
    plain = plain_methods.PlainMethod(settings, images, experts, torch.device("cpu")).steps()
    assert [next(ours) for _ in range(3)] == pytest.approx([next(plain) for _ in range(3)], rel=1e-3)


def first_of(images):
    """The first two images of each class, with labels and classes."""
    classes = torch.arange(10).repeat_interleave(2)
    return images.view(10, -1, 3, 8, 8)[:, :2].flatten(0, 1), classes, classes


def test_a_method_that_is_not_timed(run):
    status, _, lines = run("bench", "distill", "--method", "dm,herding")
    assert status == 2 and "unknown value of --method 'herding'" in lines[0]


def test_what_scoring_costs(run):
    status, out, lines = run(
        "bench", "complexity", "--images", 2, "--side", 64, "--repeats", 1, "--threads", 1, "--json"
    )
    assert status == 0, lines
    rows = json.loads(out)["rows"]
    assert [row["method"] for row in rows] == ["smoothgradcampp", "gradcam", "gradcampp", "layercam"]
    for row in rows:
        assert (
            row["ratio"] == pytest.approx(row["images_per_second"] / row["bare_images_per_second"]) and row["ratio"] > 0
        )
