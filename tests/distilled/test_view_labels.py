"""Labels of views: made, kept, replayed and refused, beside few lines of one's own in float64."""

import hashlib
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torchvision.transforms import v2

from compdd_eval import EvaluateConfig, Evaluator, evaluate
from compdd_eval.config.protocol import Protocol
from compdd_eval.config.relabel import RelabelConfig
from compdd_eval.distilled.set import DistilledSet, read_distilled
from compdd_eval.distilled.validate import validate
from compdd_eval.distilled.view_labels import PART_NAME, VIEW_LABELS_NAME, ViewLabels, ViewLabelsWriter
from compdd_eval.evaluation import relabel as relabelling
from compdd_eval.evaluation.replay import ReplayedBatches
from compdd_eval.models.registry import create_model
from compdd_eval.training.train import StudentBatches, Training
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.processes import make_accelerator
from compdd_eval.utils.random_state import seed_of
from tests.support.parity import normal

SIDE, IMAGES, BATCH, PASSES = 16, 20, 8, 4
FACTS = {"category": "bird", "subset": "easy"}
BIRDS = ("--category", "bird", "--subset", "easy")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Weights of a teacher with batch norm, whose outputs differ from image to image."""
    torch.manual_seed(0)
    network = create_model("ConvNetD1BN", im_size=(SIDE, SIDE))
    with torch.no_grad():
        network(normal(5, (64, 3, SIDE, SIDE)))  # running statistics
        network.classifier.weight.mul_(20)
    file = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    torch.save(network.state_dict(), file)
    return f"ConvNetD1BN={file}"


def other_teacher(teacher, folder):
    """The same network with other weights."""
    name, _, file = teacher.partition("=")
    torch.save({key: 2 * value for key, value in torch.load(file).items()}, folder / "other_teacher.pt")
    return f"{name}={folder / 'other_teacher.pt'}"


@pytest.fixture
def folder(tmp_path):
    """A set in our format."""
    images, labels = normal(1, (IMAGES, 3, SIDE, SIDE)), torch.arange(10).repeat_interleave(2)
    DistilledSet(images, labels, metadata=FACTS).save(tmp_path / "set")
    return tmp_path / "set"


def label(folder, teacher, **changes):
    settings = {"distilled": str(folder), "teacher": teacher, "passes": PASSES, "batch_train": BATCH, "threads": 1}
    return relabelling.relabel(RelabelConfig(**settings | changes), make_accelerator(), quiet=True)


def network_of(teacher):
    network = create_model("ConvNetD1BN", im_size=(SIDE, SIDE)).eval()
    network.load_state_dict(torch.load(teacher.partition("=")[2]))
    return network


def views_by_hand(images, stored, number, mix):
    """Make the batches of a stored pass with torchvision, image by image, in float64."""
    part = {name: tensor[number] for name, tensor in stored.items()}
    for batch, start in enumerate(range(0, len(images), BATCH)):
        views = []
        for place in range(start, min(start + BATCH, len(images))):
            view = images[part["order"][place].long()].double()
            for dim, order in ((2, part["shuffles"][place, 0]), (1, part["shuffles"][place, 1])):
                view = torch.cat([view.chunk(2, dim)[number] for number in order], dim)
            view = v2.functional.resized_crop(view, *part["crops"][place].tolist(), [SIDE, SIDE], antialias=True)
            views.append(view.flip(2) if part["flips"][place] else view)
        mixed = torch.stack(views)
        for place, partner in enumerate(part["partners"][start : start + BATCH].tolist()):
            if mix == "cutmix":
                top, left, bottom, right = part["boxes"][batch].tolist()
                mixed[place, :, top:bottom, left:right] = views[partner][:, top:bottom, left:right]
            elif mix == "mixup":
                share = part["shares"][batch].item()
                mixed[place] = share * views[place] + (1 - share) * views[partner]
        yield mixed


@pytest.mark.parametrize("mix", ["cutmix", "mixup"])
def test_replayed_views_give_the_losses_of_views_made_on_the_fly(folder, teacher, mix):
    distilled = label(folder, teacher, mix=mix)
    stored = load_file(folder / VIEW_LABELS_NAME)
    for name in ("order", "crops", "shares", "logits"):
        assert len({tuple(part.flatten().tolist()) for part in stored[name]}) == PASSES, "each pass is drawn anew"
    assert stored["order"].dtype == torch.int16 and stored["logits"].dtype == torch.float16
    how = Protocol(
        "rded",
        labels="views",
        epoch_eval_train=PASSES - 1,
        batch_train=BATCH,
        mix=mix,
        optimizer="sgd",
        temperature=4.0,
    )
    torch.manual_seed(3)
    student = create_model("ConvNetD1", im_size=(SIDE, SIDE))
    own = create_model("ConvNetD1", im_size=(SIDE, SIDE)).double()
    own.load_state_dict(student.state_dict())
    batches = ReplayedBatches(distilled.images, distilled.view_labels, how)
    found = torch.stack(list(Training(student, [batches], 0.05, how).passes()))

    judge, losses = network_of(teacher).double(), []
    weights, others = ([p for p in own.parameters() if (p.dim() > 1) == decays] for decays in (True, False))
    groups = [{"params": weights, "weight_decay": how.weight_decay}, {"params": others}]
    optimizer = torch.optim.SGD(groups, 0.05, momentum=how.momentum)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2 * PASSES)
    for number in range(PASSES):
        total = 0.0
        for inputs in views_by_hand(distilled.images, stored, number, mix):
            with torch.no_grad():
                targets = F.softmax(judge(inputs) / 4.0, dim=1)
            loss = F.cross_entropy(own(inputs) / 4.0, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(inputs)
        schedule.step()
        losses.append(total / IMAGES)
    assert torch.allclose(found.double(), torch.tensor(losses).double(), atol=1e-4), (found, losses)
    # and they are those of soft+kd, which makes the same draws where its numbers begin alike
    kd = Protocol(**how.settings() | {"labels": "soft+kd"})
    torch.manual_seed(3)
    again, judge = create_model("ConvNetD1", im_size=(SIDE, SIDE)), network_of(teacher)
    feed = _SeededAnew(distilled.images, torch.zeros(IMAGES, dtype=torch.int64), "hard", kd, 0, judge)
    on_the_fly = torch.stack(list(Training(again, [feed], 0.05, kd).passes()))
    assert torch.allclose(found, on_the_fly, atol=1e-4)


class _SeededAnew(StudentBatches):
    """Draws each pass by a seed of its own, as `relabel` does."""

    def order(self):
        number = getattr(self, "number", 0)
        self.generator.manual_seed(seed_of(0, "views", number))
        self.number = number + 1
        return super().order()


def test_the_largest_outputs_and_fewer_passes(folder, teacher, tmp_path):
    whole = label(folder, teacher, output_dir=str(tmp_path / "whole")).view_labels
    few = label(folder, teacher, output_dir=str(tmp_path / "few"), top_k=3, passes=2 * PASSES, every=2).view_labels
    assert few.record.stored == PASSES and few.record.passes == 2 * PASSES
    for number in range(PASSES):
        all_of_them, kept = whole.read(number), few.read(number)
        assert torch.equal(all_of_them.order, kept.order)
        # at the temperature of the students, that of the preset
        exact, found = ((one.logits.double() / 20).softmax(1) for one in (all_of_them, kept))
        values, classes = exact.topk(3, dim=1)
        expected = ((1 - values.sum(1, keepdim=True)) / 7).expand(-1, 10).scatter(1, classes, values)
        assert torch.allclose(found, expected, atol=2e-3) and (kept.logits.sort(1).values[:, :7].std(1) == 0).all()
        assert torch.equal(few.read(number + PASSES).logits, kept.logits)  # they come again
    assert few.record.bits["outputs"] == PASSES * IMAGES * (3 * 16 + 3 * 8 + 16)
    assert whole.record.bits["outputs"] == PASSES * IMAGES * 10 * 16
    views = 16 + 4 * 8 + 4 * 16 + 8 + 16  # order, parts, crop, flip, partner of a view; share and box of a batch
    assert whole.record.bits["views"] == PASSES * (IMAGES * views + 3 * (64 + 4 * 16))


def test_a_run_that_is_stopped_goes_on(folder, teacher, tmp_path, monkeypatch):
    expected = label(folder, teacher, output_dir=str(tmp_path / "other")).view_labels.file.read_bytes()
    made, labelled = [], relabelling.labelled_pass

    def stopped(number, *rest):
        if made == [0, 1]:
            raise KeyboardInterrupt
        made.append(number)
        return labelled(number, *rest)

    monkeypatch.setattr(relabelling, "labelled_pass", stopped)
    with pytest.raises(KeyboardInterrupt):
        label(folder, teacher)
    assert not (folder / VIEW_LABELS_NAME).exists() and read_distilled(folder).view_labels is None
    begun = [check for check in validate(folder).checks if PART_NAME in check.detail]
    assert [(check.name, check.result) for check in begun] == [("labels of views", "warning")]
    made.append("again")
    assert label(folder, teacher).view_labels.file.read_bytes() == expected
    assert made == [0, 1, "again", 2, 3] and not (folder / PART_NAME).exists()
    label(folder, teacher)  # they are there
    assert made[3:] == [2, 3]
    label(folder, teacher, overwrite=True)
    assert made[5:] == [0, 1, 2, 3]


def test_labels_that_are_begun_with_other_settings_are_begun_anew(folder, teacher, monkeypatch):
    labelled = relabelling.labelled_pass

    def stopped(number, *rest):
        if number == 1:
            raise KeyboardInterrupt
        return labelled(number, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(relabelling, "labelled_pass", stopped)
        with pytest.raises(KeyboardInterrupt):
            label(folder, teacher, seed=1)
    shutil.copytree(folder, folder.with_name("other"), ignore=shutil.ignore_patterns(PART_NAME))
    expected = label(folder.with_name("other"), teacher).view_labels
    with pytest.raises(InputError, match="labels of views with other settings are begun here"):
        label(folder, teacher)
    assert (folder / PART_NAME).exists()
    assert label(folder, teacher, overwrite=True).view_labels.sha256 == expected.sha256


LABELLED = relabelling.labelled_pass


def failing(*arguments):
    return replace(LABELLED(*arguments), logits=torch.full((IMAGES, 10), torch.nan))


def stopped(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("failure", "error"), [(failing, InputError), (stopped, KeyboardInterrupt)])
def test_before_the_first_pass_nothing_changes(folder, teacher, monkeypatch, failure, error):
    """Labels that were there stay, and are named; no run is in the way of the next."""
    old = label(folder, teacher)
    monkeypatch.setattr(relabelling, "labelled_pass", failure)
    with pytest.raises(error):
        label(folder, teacher, seed=1, overwrite=True)
    assert read_distilled(folder).view_labels.sha256 == old.view_labels.sha256 and not (folder / PART_NAME).exists()
    (folder / VIEW_LABELS_NAME).unlink()
    with pytest.raises(error):
        label(folder, teacher, seed=1)
    monkeypatch.setattr(relabelling, "labelled_pass", LABELLED)
    assert label(folder, teacher).view_labels.sha256 == old.view_labels.sha256


def test_old_labels_stay_until_the_new_ones_are_whole(folder, teacher, monkeypatch):
    old = label(folder, teacher)
    monkeypatch.setattr(relabelling, "labelled_pass", lambda *given: (stopped if given[0] else LABELLED)(*given))
    with pytest.raises(KeyboardInterrupt):
        label(folder, teacher, seed=1, overwrite=True)
    assert read_distilled(folder).view_labels.sha256 == old.view_labels.sha256 and (folder / PART_NAME).exists()


def test_what_is_recorded_of_the_set_stays(folder, teacher, tmp_path):
    whole = replace(read_distilled(folder), lr=0.123, metadata=FACTS | {"method": "dm", "paper": "a paper"})
    whole.save(folder)
    with pytest.raises(InputError, match="--lr_dir none: .* has the learned rate 0.123; give another --output_dir"):
        label(folder, teacher, lr_dir="none")
    torch.save((whole.images, whole.labels), tmp_path / "bare.pt")
    with pytest.raises(InputError, match="holds a set of bird-easy; give another --output_dir"):
        label(tmp_path / "bare.pt", teacher, output_dir=str(folder), category="dog", subset="easy")
    label(tmp_path / "bare.pt", teacher, output_dir=str(folder), category="bird", subset="easy")
    made = read_distilled(folder)
    assert (made.lr, made.metadata["paper"]) == (whole.lr, "a paper") and made.view_labels is not None


def test_labels_that_others_wrote_again(folder, teacher, tmp_path):
    """The same tensors and record, in another order and with metadata of somebody's own."""
    labels = label(folder, teacher).view_labels
    with safe_open(str(labels.file), framework="pt") as file:
        record = json.loads(file.metadata()["view_labels"])
    parts = load_file(labels.file)
    metadata = {"view_labels": json.dumps(dict(reversed(record.items()))), "format": "pt"}
    save_file(parts, tmp_path / VIEW_LABELS_NAME, metadata)
    again = ViewLabels.open(tmp_path / VIEW_LABELS_NAME)
    assert again.check() == labels.check() and torch.equal(again.read(1).logits, labels.read(1).logits)


def test_one_pass_of_labels(folder, teacher):
    with pytest.raises(InputError, match="--passes 1: expected a number of passes from 2"):
        label(folder, teacher, passes=1)
    record = replace(label(folder, teacher).view_labels.record, passes=1)  # as of a folder of the published kind
    flags = record.flags()
    assert Protocol(**flags).passes == 2


def test_the_command(folder, teacher, run, tmp_path):
    status, out, errors = run(
        "relabel", folder, "--teacher", teacher, "--passes", 4, "--batch_train", 8, "--threads", 1
    )
    assert status == 0, errors
    stored = PASSES * (IMAGES * (136 + 160) + 3 * 128)
    pixels = IMAGES * 3 * SIDE**2
    assert f"{stored:,}: the teacher's outputs {PASSES * IMAGES * 160:,}" in out
    assert f"the images' {8 * pixels:,} with 8 bits a value, {32 * pixels:,} as they are stored" in out
    assert f"--distilled {folder}" in out and "--labels views" in out and "--batch_train 8" in out
    record = json.loads((folder / "distilled.json").read_text())["view_labels"]
    assert record["in_words"].startswith("4 passes in batches of 8") and "ConvNetD1BN" in record["in_words"]
    card = (folder / "README.md").read_text()
    assert "Labels of views: 4 passes in batches of 8, 2 x 2 parts shuffled, crops from 0.5 of the area" in card
    command = card.partition("## Evaluate again")[2].partition("```bash\n")[2].partition("```")[0]
    assert command.replace("\\\n", " ").split()[6:] == [
        *("--data_path", "/path/to/imagenet", "--category", "bird", "--subset", "easy", "--labels", "views"),
        *("--protocol", "rded", "--batch_train", "8", "--epoch_eval_train", "3"),
    ]
    same = ("relabel", folder, "--teacher", teacher, "--passes", 4, "--batch_train", 8)
    status, _, lines = run(*same)
    assert status == 0 and "is made already" in lines[-1]
    status, _, lines = run(*same, "--seed", 1)
    assert status == 2 and "other settings or of another teacher" in lines[-1] and "--overwrite" in lines[-1]
    status, out, _ = run(*same, "--seed", 1, "--overwrite", "--json")
    assert status == 0 and json.loads(out)["seed"] == 1
    status, out, _ = run("validate", folder)
    assert status == 0 and "labels of views  passed   4 passes in batches of 8" in out
    assert f"{(folder / VIEW_LABELS_NAME).stat().st_size:,} of labels of views" in out
    status, out, _ = run("convert", folder, tmp_path / "one.pt")
    assert status == 0 and "labels of views" in out.partition("lost")[2]
    assert read_distilled(tmp_path / "one.pt").view_labels is None
    status, out, _ = run("convert", folder, tmp_path / "copy")
    copied = read_distilled(tmp_path / "copy")
    assert copied.view_labels.file.read_bytes() == (folder / VIEW_LABELS_NAME).read_bytes()
    copied = DistilledSet(copied.images, copied.labels, metadata=FACTS)
    copied.save(tmp_path / "copy")  # without them
    assert not (tmp_path / "copy" / VIEW_LABELS_NAME).exists()


def test_a_set_of_another_format_gets_a_folder(folder, teacher, run, tmp_path):
    run("convert", folder, tmp_path / "set.pt")
    given = ("relabel", tmp_path / "set.pt", "--teacher", teacher, "--passes", 2, "--batch_train", 8)
    status, _, lines = run(*given)
    assert status == 2 and "give --output_dir" in lines[-1]
    status, _, _ = run(*given, "--output_dir", tmp_path / "labelled")
    assert status == 0 and read_distilled(tmp_path / "labelled").view_labels.record.passes == 2
    DistilledSet(normal(2, (10, 3, SIDE, SIDE)), torch.arange(10), metadata=FACTS).save(tmp_path / "third")
    status, _, lines = run(*given, "--output_dir", tmp_path / "third")
    assert status == 2 and "holds another set" in lines[-1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--teacher is missing"),
        (
            ("--teacher", "ResNet18"),
            "--teacher ResNet18: is no folder that `teacher` made, and a name alone has no weights",
        ),
        (("--teacher", "TEACHER", "--top_k", 10), "--top_k 10: expected a number from 1 to 9"),
        (
            ("--teacher", "TEACHER", "--passes", 4, "--every", 5),
            "--every 5: expected a number from 1 to --passes, 4",
        ),
        (("--teacher", "TEACHER", "--rrc", 2), "--rrc 2.0: expected a share"),
        (("--teacher", "TEACHER", "--protocol", "comp-dd"), "'comp-dd'"),
        (("--teacher", "missing.pt"), "missing.pt"),
    ],
)
def test_what_is_refused(folder, teacher, run, flags, message):
    status, _, lines = run("relabel", folder, *(teacher if flag == "TEACHER" else flag for flag in flags))
    assert status == 2 and message in lines[-1], lines
    assert not (folder / VIEW_LABELS_NAME).exists() and not (folder / PART_NAME).exists()


def test_evaluate_replays_them(folder, teacher, run, drawn, cache, tmp_path):
    label(folder, teacher)
    base = ("evaluate", "--distilled", folder, "--data_path", drawn, "--model", "ConvNetD1", "--num_eval", 2)
    base += ("--threads", 1, "--epoch_eval_train", 3, "--output_dir", tmp_path / "results")
    views = (*base, "--protocol", "rded", "--batch_train", 8, "--labels", "views")
    status, out, errors = run(*views)
    assert status == 0, errors
    assert "views: 4 passes in batches of 8" in out and "with the teacher ConvNetD1BN" in out
    summary = json.loads((tmp_path / "results/summary.json").read_text())
    assert summary["teacher"]["name"] == summary["results"][0]["teacher"]["name"] == "ConvNetD1BN"
    # the students are those of the loop of the test above
    torch.manual_seed(0)
    how = Protocol("rded", labels="views", epoch_eval_train=3, batch_train=8)
    distilled = read_distilled(folder)
    record = json.loads(sorted((tmp_path / "results").rglob("seed0.json"))[0].read_text())
    student = create_model("ConvNetD1", im_size=(SIDE, SIDE))
    losses = list(
        Training(student, [ReplayedBatches(distilled.images, distilled.view_labels, how)], 0.001, how).passes()
    )
    assert record["losses"] == pytest.approx([loss.item() for loss in losses], rel=1e-6)
    assert (
        len({tuple(json.loads(path.read_text())["losses"]) for path in (tmp_path / "results").rglob("seed*.json")}) == 2
    )
    before = record["digests"]["config"]
    assert "the set has labels of views, too: --labels views" in run(*base, "--dry_run")[1]
    assert run("report", tmp_path / "results", "--output", tmp_path / "report.html")[0] == 0
    page = (tmp_path / "report.html").read_text()
    assert "views, teacher ConvNetD1BN" in page and "4 passes in batches of 8" in page and "bits an image" in page
    status, _, lines = run(*base, "--labels", "views")
    assert status == 2
    assert "give --protocol rded, --batch_train 8" in lines[-1]
    status, _, lines = run(*base, "--labels", "views", "--protocol", "sre2l", "--batch_train", 8)
    assert status == 2 and lines[-1].endswith("give --protocol rded, --batch_train 8")
    status, _, lines = run(*base, "--labels", "views", "--protocol", "rded", "--batch_train", 8, "--patches", 4)
    assert status == 2 and lines[-1].endswith("give --patches 2")
    changed = ("--batch_train", 8, "--patches", 4, "--rrc", 0.2)
    status, _, lines = run(*base, "--labels", "views", "--protocol", "rded", *changed)
    assert status == 2 and lines[-1].endswith("give --patches 2, --rrc 0.5"), "not the preset, which is given"
    status, _, lines = run(*base, "--labels", "views", "--protocol", "rded", "--batch_train", 9)
    assert status == 2 and lines[-1].endswith("give --batch_train 8")
    assert not any("begin again" in line for line in errors)
    status, _, lines = run(*views, "--epoch_eval_train", 4, "--dry_run")
    assert status == 0 and any("5 passes on labels of views for 4: they begin again then" in line for line in lines)
    status, _, lines = run(*views, "--baseline", "random")
    assert status == 2 and "soft+kd label both" in lines[-1]
    status, _, lines = run(*base, "--regimes", "views")
    assert status == 2 and "--regimes views: labels of views are of the set's images" in lines[-1]
    label(folder, teacher, seed=1, overwrite=True)
    shutil.rmtree(tmp_path / "results")
    assert run(*views)[0] == 0
    record = json.loads(sorted((tmp_path / "results").rglob("seed0.json"))[0].read_text())
    assert record["digests"]["config"] != before and record["digests"]["distilled"] == distilled.sha256
    status, _, lines = run("reproduce", tmp_path / "results")
    assert status == 0, lines
    label(folder, teacher, seed=2, overwrite=True)
    status, out, _ = run("reproduce", tmp_path / "results")
    assert status == 1 and "differs: it would be taught by other labels of views, so it was not trained" in out
    label(folder, other_teacher(teacher, tmp_path), seed=1, overwrite=True)
    status, out, _ = run("reproduce", tmp_path / "results")
    assert status == 1 and "differs: it would be taught by another teacher, so it was not trained" in out
    (folder / VIEW_LABELS_NAME).unlink()
    status, _, lines = run(*views)
    assert status == 2 and f"{VIEW_LABELS_NAME} is missing" in lines[-1]


def test_a_set_without_them_says_how_to_make_them(folder, run, drawn, cache):
    status, _, lines = run("evaluate", "--distilled", folder, "--data_path", drawn, "--labels", "views")
    assert status == 2 and "has no labels of views" in lines[-1] and "relabel" in lines[-1]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("order", lambda part: part[1].fill_(3), "its order is not one of 20 images"),
        ("shuffles", lambda part: part[2, 5, 1].fill_(1), "shuffled parts are not those of 2 columns and rows"),
        ("crops", lambda part: part[2, 5].copy_(torch.tensor([10, 0, 10, 4])), "crops reach beyond images of 16 px"),
        ("partners", lambda part: part[0, 19].fill_(4), "mixed with others than the 4 of their batch"),
        ("shares", lambda part: part[3, 0].fill_(1.5), "the share of a mixture is 1.5"),
        ("boxes", lambda part: part[3, 2].fill_(17), "the box of a mixture reaches beyond"),
        ("logits", lambda part: part[1, 0].fill_(math.inf), "outputs of the teacher are not finite"),
    ],
)
def test_what_cannot_be_is_found(folder, teacher, run, name, change, message):
    file = label(folder, teacher).view_labels.file
    data, record = file.read_bytes(), json.loads((folder / "distilled.json").read_text())
    length = int.from_bytes(data[:8], "little")
    entry = json.loads(data[8 : 8 + length])[name]
    kinds = {"U8": np.uint8, "I16": np.int16, "F16": np.float16, "F64": np.float64}
    start, end = (8 + length + offset for offset in entry["data_offsets"])
    values = torch.from_numpy(np.frombuffer(bytearray(data[start:end]), kinds[entry["dtype"]]).reshape(entry["shape"]))
    change(values)
    file.write_bytes(data[:start] + values.numpy().tobytes() + data[end:])
    status, out, lines = run("validate", folder)
    assert status == 2 and "is not the file that distilled.json names" in out
    record["view_labels"]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "distilled.json").write_text(json.dumps(record))
    status, out, lines = run("validate", folder)
    assert status == 2 and "labels of views" in lines[-1] and message in out, out


@pytest.mark.parametrize("end", [0, 5, 100, -1])
def test_a_file_that_is_cut_off(folder, teacher, end):
    file = label(folder, teacher).view_labels.file
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(InputError, match="view_labels.safetensors"):
        read_distilled(folder)
    assert label(folder, teacher, overwrite=True).view_labels.record.passes == PASSES


def test_labels_of_other_images(folder, teacher, tmp_path):
    labels = label(folder, teacher).view_labels
    DistilledSet(normal(2, (IMAGES, 3, SIDE, SIDE)), torch.arange(10).repeat(2), metadata=FACTS).save(
        tmp_path / "other"
    )
    shutil.copy(labels.file, tmp_path / "other")
    assert read_distilled(tmp_path / "other").view_labels is None  # nothing names them
    record = json.loads((tmp_path / "other/distilled.json").read_text())
    record["view_labels"] = labels.summary()
    (tmp_path / "other/distilled.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="made for 20 other images"):
        read_distilled(tmp_path / "other")


def test_labels_stay_with_their_images(folder, teacher, tmp_path):
    distilled = label(folder, teacher)
    for images in (distilled.images + 1, distilled.images[:10], F.interpolate(distilled.images, scale_factor=2)):
        with pytest.raises(InputError, match="made for 20 other images"):
            replace(distilled, images=images, labels=distilled.labels[: len(images)])
    for field, value in (("resolution", 64), ("classes", 7)):
        record = replace(distilled.view_labels.record, **{field: value})
        with pytest.raises(InputError, match="made for 20 other images"):
            replace(distilled, view_labels=replace(distilled.view_labels, record=record))


def test_labels_that_are_replaced_while_a_set_uses_them(folder, teacher, tmp_path):
    distilled = label(folder, teacher)
    label(folder, teacher, seed=1, overwrite=True)
    with pytest.raises(InputError, match="has been replaced"):
        distilled.view_labels.read(0)
    with pytest.raises(InputError, match="has been replaced"):
        distilled.save(tmp_path / "copy")
    assert read_distilled(folder).view_labels.record.seed == 1


def test_a_set_that_is_saved_over_itself(folder, teacher):
    distilled = label(folder, teacher)
    (folder / PART_NAME).write_bytes(b"begun")
    distilled.save(folder)
    again = read_distilled(folder)
    assert again.view_labels.sha256 == distilled.view_labels.sha256 and (folder / PART_NAME).read_bytes() == b"begun"
    replace(again, view_labels=None).save(folder)
    assert read_distilled(folder).view_labels is None and not (folder / VIEW_LABELS_NAME).exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_when_the_labels_are_finished(folder, teacher, monkeypatch, overwrite):
    """The set can be read; the same command takes the labels that are there."""
    if overwrite:
        label(folder, teacher, seed=1)
    named = relabelling._name_labels

    def killed(distilled, *rest):
        if distilled.view_labels is not None:
            raise KeyboardInterrupt
        named(distilled, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(relabelling, "_name_labels", killed)
        with pytest.raises(KeyboardInterrupt):
            label(folder, teacher, overwrite=overwrite)
    assert read_distilled(folder).view_labels is None
    monkeypatch.setattr(relabelling, "labelled_pass", None)
    label(folder, teacher)
    assert read_distilled(folder).view_labels.record.seed == 0


def test_a_disk_that_is_full(folder, teacher, run, monkeypatch):
    monkeypatch.setattr(
        ViewLabelsWriter, "write", lambda self, labelled: (_ for _ in ()).throw(OSError(28, "No space"))
    )
    status, _, lines = run("relabel", folder, "--teacher", teacher, "--passes", 2)
    assert status == 2 and len(lines) == 1 and "No space" in lines[0]
    assert read_distilled(folder).view_labels is None


def test_a_set_of_one_image(tmp_path, teacher):
    DistilledSet(normal(1, (1, 3, SIDE, SIDE)), torch.zeros(1, dtype=torch.int64), metadata=FACTS).save(
        tmp_path / "one"
    )
    whole = {"patches": 1, "rrc": 0.0, "mix": "none", "flip": False}
    labels = label(tmp_path / "one", teacher, **whole, batch_train=1).view_labels
    with torch.no_grad():
        expected = network_of(teacher)(normal(1, (1, 3, SIDE, SIDE)))
    for number in range(PASSES):
        assert torch.allclose(labels.read(number).logits, expected, rtol=1e-3, atol=1e-2)


def test_what_is_the_users_stays(folder, teacher, run, tmp_path):
    given = ("--teacher", teacher, "--passes", 2, "--batch_train", 8, "--threads", 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    status, _, lines = run("relabel", folder, *given, "--output_dir", tmp_path / "mine")
    assert status == 2 and "thesis.txt" in lines[-1] and len(list((tmp_path / "mine").iterdir())) == 1
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare)
    (bare / "distilled.json").unlink()
    (bare / "README.md").write_text("mine")
    status, _, lines = run("relabel", bare, *given, *BIRDS)
    assert status == 2 and "give --output_dir" in lines[-1] and (bare / "README.md").read_text() == "mine"
    card = (folder / "README.md").read_text().replace("## Source and licence", "My words.\n\n## Source and licence")
    (folder / "README.md").write_text(card)
    assert run("relabel", folder, *given)[0] == 0
    text = (folder / "README.md").read_text()
    assert "My words." in text and "Labels of views: 2 passes in batches of 8" in text


def test_a_short_record_is_enough(folder, teacher):
    record = json.loads((folder / "distilled.json").read_text())
    short = {name: record[name] for name in ("schema_version", "config_name", "sha256")}
    (folder / "distilled.json").write_text(json.dumps(short))
    label(folder, teacher)
    assert read_distilled(folder).view_labels.record.passes == PASSES


@pytest.mark.parametrize(
    "value",
    [{"x": 1}, {"sha256": None, "in_words": "x"}, [], "x", {"sha256": "a", "in_words": "b\n"}]
    + [
        {"sha256": "a", "in_words": "b", "evaluate": flags}
        for flags in ({"data_path": "x"}, {"mix": "a\n"}, {"mix": []}, 1)
    ],
)
def test_a_malformed_entry_of_the_record(folder, run, value):
    record = json.loads((folder / "distilled.json").read_text())
    (folder / "distilled.json").write_text(json.dumps(record | {"view_labels": value}))
    status, _, lines = run("convert", folder, folder.with_name("copy"))
    assert status == 2 and "distilled.json: view_labels is" in lines[-1]


MUTATIONS = [
    ("schema_version", 2), ("images", 0), ("images", 2.0), ("images", True), ("images", 10**12), ("batch", None),
    ("resolution", 10**5), ("classes", 300), ("passes", -1), ("every", 9), ("rrc", float("nan")), ("rrc", "0.5"),
    ("patches", 0), ("patches", 2.0), ("patches", 17),
    ("flip", 1), ("mix", "cut"), ("mix", []), ("top_k", 0), ("top_k", 3), ("temperature", 1.0), ("seed", [1]),
    ("seed", 2**70), ("image_digest", "ab"), ("image_digest", None), ("teacher", None), ("teacher", {}),
    ("teacher", {"name": "x", "digest": "", "recipe": "", "accuracy": float("nan")}),
    ("teacher", {"name": "x", "digest": "", "recipe": "", "accuracy": 2}),
    ("teacher", {"name": "x" * 3000, "digest": "", "recipe": "", "accuracy": 0}),
    ("teacher", {"name": "x\n", "digest": "", "recipe": "", "accuracy": 0}),
    ("teacher", {"name": "x", "digest": "", "recipe": "", "accuracy": 0, "file": "/etc/passwd"}),
    ("more", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), MUTATIONS)
def test_records_that_say_what_cannot_be(folder, teacher, name, value):
    file = label(folder, teacher).view_labels.file
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    record = json.loads(header["__metadata__"]["view_labels"]) | {name: value}
    header["__metadata__"]["view_labels"] = json.dumps(record)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(InputError, match="view_labels.safetensors"):
        ViewLabels.open(file)


def test_headers_that_are_none(folder, teacher):
    file = label(folder, teacher).view_labels.file
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    without = {name: entry for name, entry in header.items() if name != "__metadata__"}
    others = [without, without | {"__metadata__": {}}, without | {"__metadata__": {"view_labels": "[1"}}, [], 3]
    others += [without | {"order": dict(without["order"], dtype="I32")}, header | {"more": without["order"]}]
    for other in others:
        text = json.dumps(other).encode()
        text += b" " * (-len(text) % 8)
        file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        with pytest.raises(InputError, match="view_labels.safetensors"):
            ViewLabels.open(file)
    file.write_bytes((60 * 2**20).to_bytes(8, "little") + b"x" * 100)
    with pytest.raises(InputError, match="claims a header"):
        ViewLabels.open(file)


def test_classes_of_the_largest_outputs(folder, teacher, run):
    file = label(folder, teacher, top_k=3).view_labels.file
    for classes in ([200, 1, 2], [4, 4, 2]):
        stored = load_file(file)
        stored["classes"][1, 2] = torch.tensor(classes, dtype=torch.uint8)
        with safe_open(str(file), "pt") as opened:
            save_file(stored, file, opened.metadata())
        with pytest.raises(
            InputError, match="pass 1: the 3 largest outputs of a view are not of so many of 10 classes"
        ):
            ViewLabels.open(file).check()


def test_a_teacher_beside_them_is_refused(folder, teacher, run, drawn, cache):
    label(folder, teacher)
    given = ("evaluate", "--distilled", folder, "--data_path", drawn, "--labels", "views", "--teacher", teacher)
    status, _, lines = run(*given)
    assert status == 2 and "leave --teacher out" in lines[-1]


def test_temperatures_of_the_largest_outputs(folder, teacher, run, drawn, cache):
    """What is not kept is shared out at the temperature of the students: another one is refused."""
    label(folder, teacher, top_k=3)
    given = ("evaluate", "--distilled", folder, "--data_path", drawn, "--labels", "views", "--protocol", "rded")
    status, _, lines = run(*given, "--batch_train", BATCH, "--temperature", 4)
    assert status == 2 and "give --temperature 20" in lines[-1]


def test_an_evaluator_replays_them(folder, teacher, drawn, cache):
    """In Python: a set that was read, and its numbers beside those of `evaluate`; a pair of tensors has none."""
    distilled = label(folder, teacher)
    how = {"data_path": str(drawn), "model": "ConvNetD1", "num_eval": 2, "epoch_eval_train": 3, "threads": 1}
    how |= {"protocol": "rded", "batch_train": BATCH, "labels": "views", "subset": "bird-easy"}
    score = Evaluator(**how)(distilled)
    summary = evaluate(EvaluateConfig(**how, output_dir=None), distilled, quiet=True)
    assert score.to_dict()["results"][0]["accuracies"] == summary["results"][0]["accuracies"]
    assert summary["teacher"]["name"] == "ConvNetD1BN"
    with pytest.raises(InputError, match="has no labels of views"):
        Evaluator(**how)(distilled.images, distilled.labels)
