"""`validate`: each check says what is wrong with a set that has it, and nothing else."""

import itertools
import json

import pytest
import torch

from compdd_eval import DistilledSet, load_comp_dd, random_images
from compdd_eval.commands.prepare import prepare
from compdd_eval.config.prepare import PrepareConfig
from compdd_eval.config.validate import ValidateConfig
from compdd_eval.data.subsets import load_subset
from compdd_eval.data.transforms import denormalise
from compdd_eval.distilled.label_order import _assign, compare_label_order
from compdd_eval.distilled.validate import validate
from compdd_eval.distilled.write import write_distilled
from compdd_eval.utils.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")  # where nothing is prepared
FACTS = {"category": "bird", "subset": "easy"}


@pytest.fixture(scope="module")
def good(drawn, tmp_path_factory):
    """Ten random images of each class."""
    data = load_comp_dd(drawn, "bird", "easy", (32, 32), cache_dir=tmp_path_factory.mktemp("none"))
    return random_images(data.dst_train, 10)


def changed(distilled, images=None, labels=None, **others):
    values = {"images": distilled.images if images is None else images}
    values["labels"] = distilled.labels if labels is None else labels
    return DistilledSet(**values, metadata=FACTS, **others)


def checks(path, **flags):
    report = validate(ValidateConfig(path=str(path), **flags))
    return {check.name: check for check in report.checks}, report


def odd(found):
    """Names of the checks that did not pass, with their results; what needs real images aside."""
    return {name: check.result for name, check in found.items() if check.result not in ("passed", "skipped")}


def test_a_good_set(good, tmp_path):
    changed(good, lr=0.01).save(tmp_path / "set")
    found, report = checks(tmp_path / "set")
    assert odd(found) == {} and not report.failed
    expected = "readable hash meaning stated images labels label_kind learned_rate resolution value_range class_balance"
    expected += " IPC soft_labels duplicates normalisation whitening label_order storage"
    assert [name.replace(" ", "_") for name in found] == expected.split()
    assert found["IPC"].detail == "10 (100 images)" and found["resolution"].detail == "32 px"
    size = 100 * 3 * 32 * 32 * 4 + 100 * 8
    assert found["storage"].detail == f"{size:,} bytes; 100 of 13,000 real training images (0.769 %)"
    assert found["learned rate"].detail == "0.01" and found["label order"].result == "skipped"
    assert report.facts["sha256"] == good.sha256 and report.facts["config_name"] == "bird-easy"


def test_what_is_unsaid_is_a_warning(good, tmp_path):
    write_distilled(changed(good), tmp_path / "set", "published")
    (tmp_path / "set/distilled.json").unlink()
    found, report = checks(tmp_path / "set", category="bird", subset="easy")
    assert odd(found) == {"stated": "warning"} and not report.failed
    assert "pixel range: normalised" in found["stated"].detail and found["hash"].result == "skipped"
    flags = {"pixel_range": "normalised", "label_kind": "hard", "label_order": "subset"}
    assert odd(checks(tmp_path / "set", category="bird", subset="easy", **flags)[0]) == {}


SOFT_IN_TURNS = torch.nn.functional.one_hot(torch.arange(10).repeat(10), 10).float() * 5


def one_hot(labels):
    return torch.nn.functional.one_hot(labels, 10).float() * 5


def wrong_peaks(labels):
    soft = one_hot(labels)
    soft[[3, 50]] = soft[[50, 3]]
    return soft


@pytest.mark.parametrize(
    ("change", "expected", "words"),
    [
        (lambda s: changed(s, denormalise(s.images)), {"value range": "failed"}, "give --pixel_range 0-1"),
        (lambda s: changed(s, denormalise(s.images) * 255), {"value range": "failed"}, "give --pixel_range 0-255"),
        (lambda s: changed(s, denormalise(s.images) * 2 - 1), {"value range": "warning"}, "--mean 0.5,0.5,0.5"),
        (lambda s: changed(s, s.images * 5 + 9), {"normalisation": "warning"}, "far apart"),
        (lambda s: changed(s, s.images / 20), {"normalisation": "warning"}, "far apart"),
        (lambda s: changed(s, torch.cat([s.images[:99], s.images[:1]])), {"duplicates": "warning"}, "0 and 99"),
        (lambda s: changed(s, s.images[10:], s.labels[10:]), {"class balance": "failed"}, "label 0 (flamingo)"),
        (lambda s: changed(s, s.images[3:], s.labels[3:]), {"class balance": "warning"}, "uneven: 7 to 10"),
        (
            lambda s: changed(s, labels=wrong_peaks(s.labels)),
            {"soft labels": "warning"},
            "image 3 peaks at 5, not at 0",
        ),
        (
            lambda s: changed(s, labels=torch.zeros(100, 10)),
            {"class balance": "warning", "soft labels": "warning"},
            "equal",
        ),
        (lambda s: changed(s, labels=one_hot(s.labels)), {}, ""),
        (lambda s: changed(s, labels=SOFT_IN_TURNS), {}, "in turns"),
    ],
)
def test_what_is_wrong_is_told(good, tmp_path, change, expected, words):
    change(good).save(tmp_path / "set")
    found, _ = checks(tmp_path / "set")
    strange = odd(found)
    strange.pop("normalisation", None) if "normalisation" not in expected else None
    strange.pop("value range", None) if "value range" not in expected else None
    assert strange == expected
    assert words in " ".join(check.detail for check in found.values())


def test_statements_that_are_wrong(good, tmp_path):
    changed(good).save(tmp_path / "set")
    path = tmp_path / "set/distilled.json"
    original = json.loads(path.read_text())
    for entry, value, name in (("ipc", 50, "IPC"), ("sha256", "0" * 64, "hash"), ("lr", -1, "learned rate")):
        path.write_text(json.dumps({**original, entry: value}))
        found, report = checks(tmp_path / "set")
        assert report.failed == [name], found
    path.write_text(json.dumps(original))
    assert checks(tmp_path / "set", res=64)[1].failed == ["resolution"]
    assert checks(tmp_path / "set", category="dog", subset="easy")[1].failed == ["meaning"]


def test_several_faults_are_told_at_once(good, tmp_path):
    torch.save(good.images * float("inf"), tmp_path / "images.pt")
    torch.save(good.labels + 5, tmp_path / "labels.pt")
    torch.save(-1.0, tmp_path / "lr.pt")
    found, report = checks(tmp_path, category="bird", subset="easy")
    assert report.failed == ["images", "labels", "learned rate"]
    assert "NaN or infinite" in found["images"].detail and "0-9, found 5 to 14" in found["labels"].detail


def test_against_real_images(good, drawn, tmp_path):
    changed(good).save(tmp_path / "set")
    found, report = checks(tmp_path / "set", data_path=str(drawn))
    assert not report.failed and "the real images'" in found["normalisation"].detail
    real = sum(
        path.stat().st_size for wnid in load_subset("bird-easy").wnids for path in (drawn / "train" / wnid).iterdir()
    )
    changed(good, denormalise(good.images) * 2 - 1).save(tmp_path / "half")
    half, _ = checks(tmp_path / "half", data_path=str(drawn))
    assert half["normalisation"].result == half["value range"].result == "warning"
    assert f"x the size of their files, {real:,} bytes" in found["storage"].detail


def test_real_images_that_nobody_named(good, drawn, tmp_path, monkeypatch, caplog):
    """As `evaluate` takes them: those of the environment, or what is prepared; "prepared" wins over the environment."""
    changed(good).save(tmp_path / "set")
    expected = checks(tmp_path / "set", data_path=str(drawn))[0]

    def compared(**flags):
        found, report = checks(tmp_path / "set", **flags)
        assert not report.failed
        real = found["label order"].result != "skipped"
        assert not real or all(found[name].detail == expected[name].detail for name in found)
        assert real or found["label order"].detail == "needs real images: give --data_path, or prepare the subset"
        return real

    assert not compared()
    with pytest.raises(InputError, match="bird-easy: not prepared"):
        compared(data_path="prepared")
    monkeypatch.setenv("COMP_DD_IMAGENET", str(drawn))
    assert compared()
    monkeypatch.delenv("COMP_DD_IMAGENET")
    prepare(PrepareConfig(str(drawn), "bird", "easy"))
    caplog.clear()
    assert compared() and compared(data_path="prepared") and not caplog.records
    monkeypatch.setenv("COMP_DD_IMAGENET", str(tmp_path / "nowhere"))
    assert compared(data_path="prepared") and not caplog.records
    assert not compared()
    assert "not compared with real images: " in caplog.text and "nowhere: no such folder" in caplog.text


def test_a_published_list_of_nine(tmp_path, good):
    nine = {"category": "music", "subset": "hard", "published": True}
    DistilledSet(good.images[10:], good.labels[10:], metadata=nine).save(tmp_path / "set")
    found, report = checks(tmp_path / "set")
    assert not report.failed and found["class balance"].detail == "10 images of each of 9 classes"
    DistilledSet(good.images, good.labels, metadata=nine).save(tmp_path / "ten")
    assert checks(tmp_path / "ten")[1].failed == ["class balance"]


def test_the_command_line(run, good, tmp_path):
    changed(good, denormalise(good.images)).save(tmp_path / "set")
    status, out, errors = run("validate", tmp_path / "set")
    assert status == 2 and len(errors) == 1 and "1 of 18 checks failed: value range" in errors[0]
    assert "failed" in out and "give --pixel_range 0-1" in " ".join(out.split())
    status, out, errors = run("validate", tmp_path / "set", "--json")
    report = json.loads(out)
    assert status == 2 and not report["passed"] and len(report["checks"]) == 18
    changed(good).save(tmp_path / "set")
    assert run("validate", tmp_path / "set", "--json")[0] == 0


# ---- label order


def classes_of_colour(number, seed, noise):
    """Images of ten classes, each with a colour and a direction of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(10).repeat_interleave(number)
    colours = torch.linspace(-1, 1, 10)[:, None] * torch.tensor([[1.0, -1.0, 0.5]])
    images = noise * torch.randn(10 * number, 3, 16, 16, generator=generator)
    return images + colours[labels][:, :, None, None], labels


def test_a_permuted_order_is_found():
    real, real_labels = classes_of_colour(20, 0, 1.0)
    images, labels = classes_of_colour(5, 1, 1.5)
    right = compare_label_order(images, labels, real, real_labels)
    assert right.telling and not right.suspicious and right.order == list(range(10))
    for shift in range(1, 10):
        wrong = compare_label_order(images, (labels + shift) % 10, real, real_labels)
        assert wrong.telling and wrong.suspicious
        assert wrong.order == [(label - shift) % 10 for label in range(10)]


@pytest.mark.parametrize("real", [1, 2])
def test_hardly_any_real_images(real):
    """One image a class has no spread; nothing fails, and nothing is suspected of labels that are right."""
    real_images, real_labels = classes_of_colour(real, 0, 0.1)
    images, labels = classes_of_colour(2, 1, 0.1)
    assert not compare_label_order(images, labels, real_images, real_labels).suspicious


def test_nothing_to_see_is_not_suspicious():
    """Where real images tell nothing, nothing is said; and nine classes are as good as ten."""
    generator = torch.Generator().manual_seed(0)
    real, labels = torch.randn(100, 3, 16, 16, generator=generator), torch.arange(10).repeat_interleave(10)
    assert not compare_label_order(real.flip(0), labels, real, labels).telling
    images, labels = classes_of_colour(5, 1, 1.5)
    real, real_labels = classes_of_colour(20, 0, 1.0)
    nine = compare_label_order(
        images[labels > 0], labels[labels > 0], real[real_labels > 0], real_labels[real_labels > 0]
    )
    assert nine.telling and not nine.suspicious and nine.order == list(range(1, 10))


def test_the_best_assignment():
    """Against trying all orders."""
    tables = torch.randn(20, 5, 5, generator=torch.Generator().manual_seed(0))
    best, order = _assign(tables)
    every = torch.tensor(list(itertools.permutations(range(5))))
    for table, value in zip(tables, best, strict=True):
        sums = table[torch.arange(5), every].sum(1)
        assert value == pytest.approx(sums.max().item(), abs=1e-5)
    assert order == every[sums.argmax()].tolist()


def test_label_order_of_real_photographs(shared, tmp_path):
    """On the real insects: the right order passes, a permuted one is told with the order that mends it."""
    flags = {"data_path": str(shared / "imagenet_tiny"), "category": "insect", "subset": "easy"}
    data = load_comp_dd(flags["data_path"], "insect", "easy", (64, 64), cache_dir=tmp_path)
    good = random_images(data.dst_train, 20, seed=3)
    wrong = [3, 7, 1, 9, 0, 8, 2, 5, 4, 6]
    for labels, result in ((good.labels, "passed"), (torch.tensor(wrong)[good.labels], "warning")):
        folder = tmp_path / result
        DistilledSet(good.images, labels, metadata={"category": "insect", "subset": "easy"}).save(folder)
        assert checks(folder, **flags)[0]["label order"].result == result


def test_sets_in_memory(good, tmp_path, run, cache):
    """The same checks, but for what only files have."""
    good.save(tmp_path / "set")
    expected, _ = checks(tmp_path / "set", category="bird", subset="easy")
    report = validate(good)
    assert report.passed and repr(report) == "Report('the distilled set': 18 checks, failed: none, warnings: 0)"
    found = {check.name: check for check in report.checks}
    assert {name for name in expected if found[name] != expected[name]} == {"hash"}
    pair = validate((good.images.requires_grad_(), good.labels), subset="bird-easy", pixel_range="normalised")
    assert pair.passed and pair.facts["sha256"] == good.sha256
    status, out, _ = run("validate", tmp_path / "set", "--json")
    assert status == 0 and json.loads(out) == validate(tmp_path / "set").to_dict()
    bad = validate((torch.zeros(10, 3, 8, 8), torch.zeros(10, dtype=torch.int64)), subset="bird-easy")
    assert not bad.passed and "failed: class balance" in repr(bad)


@pytest.mark.parametrize(
    ("distilled", "settings", "message"),
    [
        (5, {}, "^distilled 5: expected a set, its .images, labels., or where it lies"),
        ((torch.zeros(3),), {}, "^distilled of 1 parts: expected two tensors"),
        ("x", {"label_kynd": "hard"}, "^unknown setting 'label_kynd'; did you mean 'label_kind'"),
        ("x", {"res": 0}, "^res 0: expected a number of pixels"),
        ((torch.zeros(10, 3, 8, 8), torch.arange(10)), {}, "^category is missing"),
    ],
)
def test_errors_speak_of_arguments(distilled, settings, message):
    with pytest.raises(InputError, match=message):
        validate(distilled, **settings)
