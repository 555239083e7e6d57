"""Methods of a user's own: what they draw, what they need not say, functions in place of files."""

import json
import random
import types

import numpy as np
import pytest
import torch

import compdd_eval
from compdd_eval import DistillConfig, InputError, Synthetic, create_model, distill, register_method
from compdd_eval.distilled.set import DistilledSet
from compdd_eval.methods.registry import find_method, list_methods

WEIGHT = 1.0


def drawing(job, synthetic, step):
    """Draw from all global generators, as code of the field does.

    More lines.
    """
    network = create_model(job.config.model, 10, (16, 16)).to(job.device)
    noise = torch.randn_like(synthetic.images) + float(np.random.rand()) + random.random()
    loss = (network(synthetic.images).sum() + (synthetic.images * noise).sum()) * WEIGHT
    loss.backward()
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    return loss.detach()


def first_images(job):
    classes = torch.arange(10).repeat_interleave(job.config.ipc)
    return Synthetic(torch.randn(len(classes), 3, 16, 16) + random.random(), classes, classes)


def sampled(job):
    return [index for label in job.real.classes for index in random.sample(job.real.indices_of(label).tolist(), 2)]


def registered(name, run, **options):
    """Register a copy of a function, once in this process."""
    if name not in {method.name for method in list_methods()}:
        copy = types.FunctionType(run.__code__, globals())
        copy.__doc__ = run.__doc__
        register_method(name, **options)(copy)
    return name


@pytest.fixture
def data(drawn, cache, tmp_path):
    """Settings of drawn birds that take a second; the folder is to be given."""
    return {
        "data_path": drawn,
        "category": "bird",
        "subset": "easy",
        "res": 16,
        "model": "ConvNetD1",
        "ipc": 2,
        "threads": 1,
        "quiet": True,
    }


def states():
    _, keys, *rest = np.random.get_state()
    return torch.get_rng_state().tolist(), keys.tolist(), rest, random.getstate()


METHODS = {
    "draws": (drawing, {}, {"steps": 4, "save_every": 2}),
    "draws-first-images": (drawing, {"begin": first_images}, {"steps": 4, "save_every": 2}),
    "samples": (sampled, {"selects": True}, {}),
}


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_draws_is_decided_by_the_seed(name, data, tmp_path):
    run, options, settings = METHODS[name]
    registered(name, run, **options)
    made = []
    for number in range(2):
        torch.manual_seed(number)
        np.random.seed(number)
        random.seed(number)
        before = states()
        made.append(distill(name, **data, **settings, output_dir=tmp_path / f"set{number}"))
        assert states() == before
    assert made[0].sha256 == made[1].sha256
    assert distill(name, **data, **settings, seed=1, output_dir=tmp_path / "other").sha256 != made[0].sha256


def test_a_method_that_draws_goes_on_with_the_same_images(data, tmp_path):
    whole = distill(drawing, **data, steps=5, eval_every=2, num_eval=1, epoch_eval_train=1, output_dir=tmp_path / "a")
    distill(drawing, **data, steps=2, output_dir=tmp_path / "b")
    drawing_again = distill(drawing, **data, steps=5, output_dir=tmp_path / "b")
    assert drawing_again.sha256 == whole.sha256


def test_steps_draw_different_numbers(data, tmp_path):
    found = []

    def noting(job, synthetic, step):
        found.append((torch.rand(1).item(), np.random.rand(), random.random()))
        return drawing(job, synthetic, step)

    distill(noting, **data, steps=3, output_dir=tmp_path / "set")
    assert all(len(set(numbers)) == 3 for numbers in zip(*found, strict=True))


def test_a_name_is_all_that_a_method_needs(run):
    registered("bare", drawing)
    registered("nameless", lambda job: [], selects=True)
    assert find_method("bare").title == "Draw from all global generators, as code of the field does."
    assert find_method("nameless").title == find_method("bare").paper == ""
    out = run("methods")[1]
    lines = [line.split() for line in out.splitlines() if line.strip().startswith("nameless")]
    assert lines == [["nameless", "-", "-", "-", "-"]]


def test_only_ours_are_published(run, data, tmp_path):
    registered("bare", drawing)
    for name, preset in (("bare", "defaults"), ("dm", "published")):
        shown = run("methods", name)[1]
        assert preset in shown and ("published" in shown) == (name == "dm")
        assert set(json.loads(run("methods", name, "--json")[1])[0]["presets"]) == {preset, "smoke"}
        assert f"(preset {preset}, IPC 1)" in run("distill", name, "--help")[1]
        batch = {"batch_real": 2} if name == "dm" else {}
        made = distill(name, **data, **batch, steps=1, output_dir=tmp_path / name)
        assert made.metadata["distillation"]["preset"] == preset
    words = [word for name in ("category", "subset", "res", "model", "data_path") for word in (f"--{name}", data[name])]
    words = ["distill", "bare", *words, "--steps", 1, "--output_dir", tmp_path / "printed"]
    assert "bare, preset defaults, seed 0" in run(*words)[1]
    made = run(*words[:-1], tmp_path / "smoke", "--preset", "smoke", "--json")[1]
    assert json.loads(made)["distillation"]["preset"] == "smoke"


def test_a_function_is_a_method(data, tmp_path):
    made = distill(drawing, **data, steps=3, lr_img=0.5, output_dir=tmp_path / "set")
    assert made.sha256 == DistilledSet.load(tmp_path / "set").sha256 and made.metadata["method"] == "drawing"
    recipe = made.metadata["distillation"]
    assert recipe["settings"] == {"steps": 3, "lr_img": 0.5, "momentum_img": 0.5, "init": "real"}
    assert recipe["preset"] == "defaults" and len(recipe["inputs"]["code"]) == 64
    assert "drawing" not in {method.name for method in list_methods()}
    config = DistillConfig(method="random", **{**{n: v for n, v in data.items() if n != "quiet"}, "data_path": "x"})
    assert distill(config, quiet=True, data_path=data["data_path"], output_dir=tmp_path / "random").ipc == 2


def test_a_registered_function_has_its_settings(data, tmp_path):
    run = find_method(registered("of-batches", drawing, settings={"steps": 2, "batch_real": 3})).run
    made = distill(run, **data, batch_real=4, output_dir=tmp_path / "set")
    assert made.metadata["method"] == "of-batches" and made.metadata["distillation"]["steps"] == 2


def test_edited_code_does_not_go_on(data, tmp_path, monkeypatch):
    """The function, what it uses, and its first images, whether it is registered or not."""
    names = [registered(f"edited-{i}", drawing, begin=begin) for i, begin in enumerate((None, first_images))]
    for name in (drawing, names[0]):
        folder = tmp_path / str(name)[:9]
        distill(name, **data, steps=1, output_dir=folder)
        distill(name, **data, steps=2, output_dir=folder)
        with monkeypatch.context() as patch:
            patch.setitem(globals(), "WEIGHT", 2.0)
            with pytest.raises(InputError, match="made with other settings.*give another output_dir, or overwrite"):
                distill(name, **data, steps=3, output_dir=folder)
    before = distill(names[1], **data, steps=1, output_dir=tmp_path / "begun").metadata["distillation"]["inputs"]
    assert (
        before["code"]
        != distill(names[0], **data, steps=1, output_dir=tmp_path / "other").metadata["distillation"]["inputs"]["code"]
    )
    ours = distill("random", **data, output_dir=tmp_path / "ours").metadata["distillation"]["inputs"]
    assert ours == {"files": None, "plugin": None}


def test_an_edited_plugin_is_run_again(data, tmp_path):
    file, text = (
        tmp_path / "mine.py",
        (
            "from compdd_eval import register_method\n\n\n@register_method('mine-{n}')\n"
            "def mine(job, synthetic, step):\n    loss = {n} * synthetic.images.square().mean()\n    loss.backward()\n"
            "    return loss.detach()\n"
        ),
    )
    file.write_text(text.format(n=1))
    first = distill("mine-1", **data, plugin=str(file), steps=1, output_dir=tmp_path / "set")
    file.write_text(text.format(n=1).replace("1 * ", "2 * "))
    with pytest.raises(InputError, match="made with other settings"):
        distill("mine-1", **data, plugin=str(file), steps=1, output_dir=tmp_path / "set")
    second = distill("mine-1", **data, plugin=str(file), steps=1, output_dir=tmp_path / "other")
    assert first.metadata["distillation"]["inputs"] != second.metadata["distillation"]["inputs"]
    file.write_text(text.format(n=2))
    with pytest.raises(InputError, match="unknown method 'mine-1'"):
        distill("mine-1", **data, plugin=str(file), steps=1, output_dir=tmp_path / "third")


def dm(job, synthetic, step):
    return drawing(job, synthetic, step)


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        (drawing, {"stepz": 3}, r"unknown setting 'stepz'; did you mean 'steps'"),
        (drawing, {"lr": 3}, "unknown setting 'lr'; did you mean 'lr_"),
        (drawing, {"steps": 0}, "^steps 0: expected a whole number from 1"),
        (
            drawing,
            {"batch_real": 2},
            "^batch_real: drawing has no such setting; it has steps, lr_img, momentum_img, init",
        ),
        (drawing, {"keep": "best"}, "^keep best chooses among evaluations; give eval_every, for example 500"),
        (sampled, {}, r"method sampled: expected a function of job, synthetic and step \(.*selects=True"),
        (dm, {}, "method dm: another one of this name is registered; rename the function"),
        (5, {}, "method 5: expected a function, the name of a method, or a DistillConfig"),
        ("dmm", {}, "unknown method 'dmm'; did you mean 'dm'"),
        ("mtt", {}, "^experts is missing"),
    ],
)
def test_errors_name_the_arguments(method, changes, message, data, tmp_path):
    with pytest.raises(InputError, match=message):
        distill(method, **data, **changes, output_dir=tmp_path / "set")
    assert not (tmp_path / "set/distilled.json").exists()


def test_settings_that_were_not_given_as_arguments_are_flags(data, tmp_path):
    settings = {name: value for name, value in data.items() if name not in ("quiet", "data_path")}
    with pytest.raises(InputError, match="^--batch_train: dm has no such setting"):
        distill(DistillConfig(method="dm", batch_train=2, **settings), data_path=data["data_path"])


def test_a_dry_run_of_a_function(data, tmp_path):
    cost = distill(drawing, **data, steps=50, dry_run=True, output_dir=tmp_path / "set")
    assert cost.steps == 50 and cost.seconds == pytest.approx(50 * cost.seconds_of_a_step)
    assert not (tmp_path / "set").exists()


def test_it_is_public():
    assert {"distill", "DistillConfig", "Job", "Synthetic", "register_method"} <= set(compdd_eval.__all__)
