"""Evaluate a distilled set: the grid of students (model x seed), shared out over the processes."""

import contextlib
import logging
import os
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tqdm import tqdm

from compdd_eval import results
from compdd_eval.config import EvaluateConfig, digest_of
from compdd_eval.console import print_table
from compdd_eval.data import open_split
from compdd_eval.distilled import DistilledSet
from compdd_eval.distilled.content import name_of, notes_of
from compdd_eval.errors import InputError
from compdd_eval.evaluated_set import check_distilled, load_distilled, settled
from compdd_eval.files import check_writable, locked_or_refused, write_json
from compdd_eval.models import create_model
from compdd_eval.processes import make_accelerator, once, repeatable, set_threads
from compdd_eval.subsets import NUM_CLASSES
from compdd_eval.train import count_correct, train_passes

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """All that a process needs to train its students; made once, on the main process.

    Attributes:
        config: Settings of the command.
        distilled: The set.
        lr: Learning rate of the students.
        lr_source: Where it came from, in words.
        images: Validation images, float32 `[M, 3, H, H]`, normalised.
        labels: Their labels, int64 `[M]`.
        origin: Where they came from, in words.
        digests: As in `StudentResult`.
        set_name: Folder name of the set: its IPC and its digest.
        finished: Results that were there already.
        pending: (model, seed) of the students to train.
    """

    config: EvaluateConfig
    distilled: DistilledSet
    lr: float
    lr_source: str
    images: torch.Tensor
    labels: torch.Tensor
    origin: str
    digests: dict[str, str]
    set_name: str
    finished: list[results.StudentResult]
    pending: list[tuple[str, int]]

    @property
    def config_name(self) -> str:
        """Name of the configuration that is evaluated."""
        return self.config.load_subset().name

    def path(self, model: str, seed: int) -> Path:
        """Return the result file of one student."""
        root = Path(self.config.output_dir)
        return results.student_path(root, self.set_name, self.config_name, model, self.digests["config"], seed)


def evaluate(
    config: EvaluateConfig,
    distilled: DistilledSet | None = None,
    accelerator: Accelerator | None = None,
    cache_dir: str | os.PathLike | None = None,
    quiet: bool = False,
) -> dict[str, object]:
    """Train students on a distilled set and test them on the real validation images of its subset.

    Students that have a result file already are not trained again. Every process must call this.

    Args:
        config: All settings.
        distilled: The set; None reads the files that the configuration names.
        accelerator: Devices and processes; None makes one.
        cache_dir: Cache to look for the prepared subset in; default: that of `datasets`.
        quiet: Print no tables.

    Returns:
        The summary that is also written to `summary.json`: `category`, `subset`, `ipc`, `resolution`, `results` (a
        list as of `compdd_eval.results.aggregate`), and what the numbers were made from.

    Raises:
        InputError: Anything in the settings or the data that the user can mend.
    """
    accelerator = accelerator or make_accelerator()
    threads = set_threads(config.threads, accelerator)
    repeatable()
    environment = _environment(accelerator, threads)
    with contextlib.ExitStack() as held:  # the lock of the output folder, on the main process
        job = once(accelerator, lambda: _open_job(config, distilled, cache_dir, held))
        if accelerator.is_main_process and not quiet:
            _print_plan(job, environment)
        mine = job.pending[accelerator.process_index :: accelerator.num_processes]
        new = _run_students(job, mine, environment, accelerator)
        new = gather_object(new) if accelerator.num_processes > 1 else new
        summary = once(accelerator, lambda: _finish(job, new))
    if accelerator.is_main_process and not quiet:
        _print_results(summary, Path(config.output_dir) / results.SUMMARY_NAME)
    return summary


def _open_job(
    config: EvaluateConfig,
    distilled: DistilledSet | None,
    cache_dir: str | os.PathLike | None,
    held: contextlib.ExitStack,
) -> Job:
    """Read and check everything before the first student; cheap checks come first."""
    for model in config.models:
        with torch.device("meta"):
            create_model(model, NUM_CLASSES, (config.res, config.res))
    distilled = distilled or load_distilled(config)
    config = settled(config, distilled)
    subset, size = config.load_subset(), (config.res, config.res)
    check_distilled(config, distilled, subset)
    set_name = f"ipc{distilled.ipc:g}-{distilled.sha256[:12]}"
    _claim_output_dir(Path(config.output_dir), set_name, subset.name, held)
    split = open_split(
        subset,
        "validation",
        config.data_path,
        size,
        antialias=config.antialias,
        layout=config.layout,
        cache_dir=cache_dir,
    )
    expected = subset.splits["validation"]
    if len(split) != expected:
        _logger.warning(f"{len(split)} validation images, expected {expected}: no accuracy of the benchmark")
    images, validation_digest = split.decode(progress=True)
    learned = distilled.lr is not None
    lr = distilled.lr if learned else config.lr_net
    job = Job(
        config=config,
        distilled=distilled,
        lr=lr,
        lr_source="learned with the set" if learned else "--lr_net",
        images=images,
        labels=split.labels,
        origin=split.origin,
        digests=_digests(config, distilled, lr, validation_digest),
        set_name=set_name,
        finished=[],
        pending=[(model, seed) for model in config.models for seed in config.seeds],
    )
    return _without_finished(job)


def _digests(config: EvaluateConfig, distilled: DistilledSet, lr: float, validation: str) -> dict[str, str]:
    """Return digests of the data, and of all that decides a student's numbers besides its name and seed."""
    digests = {"distilled": distilled.sha256, "validation": validation}
    decisive = {name: value for name, value in config.protocol().items() if name != "lr_net"}
    decisive |= {"lr": lr, "label_kind": distilled.label_kind, "antialias": config.antialias, "res": config.res}
    return digests | {"config": digest_of([decisive, digests, results.SCHEMA_VERSION])}


def _claim_output_dir(root: Path, set_name: str, config_name: str, held: contextlib.ExitStack) -> None:
    """Take a folder for this run; refuse one of another set or subset, one in use, one that cannot be written."""
    check_writable(root, "--output_dir")
    in_use = f"{root}: another run writes into it now; wait for it or give another --output_dir"
    held.enter_context(locked_or_refused(root / ".lock", in_use))
    for path in sorted(root.glob("*/*/*/*/seed*.json")):
        found = path.relative_to(root).parts[:2]
        if found != (set_name, config_name):
            raise InputError(
                f"{root}: holds results of set {found[0]} on {found[1]}, this is set {set_name} on {config_name}; "
                "give another --output_dir"
            )


def _without_finished(job: Job) -> Job:
    """Move the students that have a result file from the pending to the finished ones."""
    done = [student for student in job.pending if job.path(*student).exists()]
    finished = [results.read_student(job.path(*student)) for student in done]
    pending = [student for student in job.pending if student not in done]
    return replace(job, finished=finished, pending=pending)


def _environment(accelerator: Accelerator, threads: int) -> dict[str, object]:
    """Describe where the numbers are made."""
    device = accelerator.device
    tf32 = device.type == "cuda" and torch.backends.cudnn.allow_tf32  # torch's default, as in the reference
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": "float32 (convolutions in TF32)" if tf32 else "float32",
        "threads": threads,
        "processes": accelerator.num_processes,
        "versions": results.versions(),
        "commit": results.commit(),
    }


def _print_plan(job: Job, environment: dict[str, object]) -> None:
    """Say what will be run."""
    config, distilled = job.config, job.distilled
    subset = config.load_subset()
    protocol = ", ".join(f"{k} {v}" for k, v in config.protocol().items() if k != "lr_net")
    protocol += f", antialias {config.antialias}"
    changed = f", changed in {', '.join(config.changes())}" if config.changes() else ""
    subset_classes = ", ".join(subset.label_names)
    seeds = f"{config.seeds[0]}-{config.seeds[-1]}" if len(config.seeds) > 1 else str(config.seeds[0])
    rows = [
        ("subset", f"{subset.name}: {subset_classes}"),
        ("validation", f"{len(job.labels)} images ({subset.splits['validation']} expected) from {job.origin}"),
        ("", f"digest {job.digests['validation'][:16]}, the same wherever the same images were used"),
        ("distilled set", f"{len(distilled.images)} images, IPC {distilled.ipc:g}, {distilled.resolution} px"),
        ("", name_of(distilled.origin)),
        *notes_of(distilled.origin),
        ("labels", distilled.label_kind),
        ("learning rate", f"{job.lr:g} ({job.lr_source})"),
        ("protocol", f"comp-dd{changed} ({config.epoch_eval_train + 1} passes): {protocol}"),
        (
            "students",
            f"{', '.join(config.models)}; seeds {seeds}; {len(job.pending)} to train, {len(job.finished)} done",
        ),
        ("processes", "{processes} on {device}, {threads} CPU threads each, {precision}".format(**environment)),
        ("results", str(Path(config.output_dir) / job.set_name / subset.name)),
    ]
    print_table("Comp-DD evaluation", ["", ""], rows)


def _run_students(
    job: Job, students: list[tuple[str, int]], environment: dict[str, object], accelerator: Accelerator
) -> list[results.StudentResult]:
    """Train this process's students one after another, writing each result as soon as it is there."""
    done = []
    total = len(students) * (job.config.epoch_eval_train + 1)
    with tqdm(total=total, unit="pass", disable=not accelerator.is_main_process or not students) as bar:
        for model, seed in students:
            bar.set_description(f"{model} seed {seed}")
            result = _run_student(job, model, seed, environment, accelerator.device, bar)
            results.write_student(job.path(model, seed), result)
            done.append(result)
    return done


def _run_student(
    job: Job, model_name: str, seed: int, environment: dict[str, object], device: torch.device, bar: tqdm
) -> results.StudentResult:
    """Train and test one student."""
    start = time.perf_counter()
    losses, correct = _train_and_test(job, model_name, seed, device, bar)
    return results.StudentResult(
        schema_version=results.SCHEMA_VERSION,
        config_name=job.config_name,
        model=model_name,
        seed=seed,
        accuracy=sum(correct) / len(job.labels),
        correct=correct,
        total=torch.bincount(job.labels, minlength=NUM_CLASSES).tolist(),
        losses=losses,
        lr=job.lr,
        lr_source=job.lr_source,
        label_kind=job.distilled.label_kind,
        ipc=job.distilled.ipc,
        resolution=job.distilled.resolution,
        protocol=job.config.protocol(),
        digests=job.digests,
        config=asdict(job.config),
        environment=environment,
        seconds=round(time.perf_counter() - start, 3),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _train_and_test(
    job: Job, model_name: str, seed: int, device: torch.device, bar: tqdm
) -> tuple[list[float | None], list[int]]:
    """Return the loss of each pass and the right images of each label; the seed alone decides all random numbers."""
    config, distilled, losses = job.config, job.distilled, []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = create_model(model_name, NUM_CLASSES, (config.res, config.res)).to(device)
        passes = train_passes(
            model,
            distilled.images,
            distilled.labels,
            label_kind=distilled.label_kind,
            lr=job.lr,
            epochs=config.epoch_eval_train,
            batch_size=config.batch_train,
            dsa=config.dsa,
            dsa_strategy=config.dsa_strategy,
            crop_pad=config.crop_pad,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            seed=seed,
        )
        for loss in passes:
            losses.append(loss)
            bar.update()
        correct = count_correct(model, job.images, job.labels, NUM_CLASSES)
    return results.finite_or_none(torch.stack(losses).tolist()), correct.tolist()


def _finish(job: Job, new: list[results.StudentResult]) -> dict[str, object]:
    """Write and return the summary of all students of this run."""
    for result in new:  # a node with a disk of its own has written its students there
        if not job.path(result.model, result.seed).exists():
            results.write_student(job.path(result.model, result.seed), result)
    students = {(result.model, result.seed): result for result in [*job.finished, *new]}
    config, subset = job.config, job.config.load_subset()
    ordered = [students[model, seed] for model in config.models for seed in config.seeds]
    summary = {
        "schema_version": results.SCHEMA_VERSION,
        "category": config.category,
        "subset": config.subset,
        "config_name": job.config_name,
        "ipc": job.distilled.ipc,
        "resolution": job.distilled.resolution,
        "images": len(job.distilled.images),
        "label_kind": job.distilled.label_kind,
        "lr": job.lr,
        "lr_source": job.lr_source,
        "protocol": config.protocol(),
        "protocol_changes": config.changes(),
        "class_names": subset.label_names,
        "validation_images": len(job.labels),
        "validation_images_expected": subset.splits["validation"],
        "results": results.aggregate(ordered),
        "digests": job.digests,
        "distilled": job.distilled.metadata | job.distilled.origin,
        "config": asdict(config),
        "environments": results.environments(ordered),
    }
    for entry in summary["results"]:
        if entry["diverged_seeds"]:
            seeds = ", ".join(map(str, entry["diverged_seeds"]))
            _logger.warning(f"{entry['model']} seed {seeds}: the loss was not finite; a lower rate may help")
    if len(summary["environments"]) > 1:
        _logger.warning(
            "the students were made in different environments (see summary.json); their last bits may differ"
        )
    path = Path(config.output_dir) / results.SUMMARY_NAME
    write_json(path, summary)
    return summary


def _print_results(summary: dict[str, object], path: Path) -> None:
    rows = []
    for entry in summary["results"]:
        each = " ".join(f"{100 * accuracy:.1f}" for accuracy in entry["accuracies"])
        rows.append([entry["model"], results.mean_and_spread(entry), len(entry["accuracies"]), each])
    chance = 100 * results.chance(summary["results"][0])
    size = f"IPC {summary['ipc']:g}, {summary['resolution']} px"
    images = f"{summary['validation_images']} of {summary['validation_images_expected']} validation images"
    title = f"{summary['config_name']}, {size}: accuracy in % on {images} (chance: {chance:.3g})"
    print_table(title, ["student", "mean ± std>", "n>", "each seed"], rows)
    print(f"summary: {path}")
