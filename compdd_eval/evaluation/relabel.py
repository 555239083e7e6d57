"""Label the views of a distilled set: draw them pass by pass, and keep a teacher's outputs for each."""

import logging
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from tqdm.auto import tqdm

from compdd_eval.config.checks import no_subset
from compdd_eval.config.relabel import RelabelConfig
from compdd_eval.data.subset_files import NUM_CLASSES
from compdd_eval.distilled.card import CARD_NAME, is_ours, set_card, updated_card
from compdd_eval.distilled.formats.comp_dd import TENSORS_NAME, save_folder
from compdd_eval.distilled.metadata import RECORD_NAME, SetRecord, read_record
from compdd_eval.distilled.raw_set import name_of
from compdd_eval.distilled.set import DistilledSet, read_distilled
from compdd_eval.distilled.view_labels import LOCK_NAME, VIEW_LABELS_NAME, LabelledPass, ViewLabels, ViewLabelsWriter
from compdd_eval.distilled.view_record import ViewRecord
from compdd_eval.distilled.write import check_target, real_path
from compdd_eval.evaluation.teachers import given_teacher
from compdd_eval.evaluation.train_group import teacher_network
from compdd_eval.training.predict import predict_logits
from compdd_eval.training.views import draw_views
from compdd_eval.utils.digests import digest_of_tensors
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable, locked_or_refused, write_json, write_text
from compdd_eval.utils.processes import make_accelerator, on_main_process, set_torch
from compdd_eval.utils.random_state import seed_of

_logger = logging.getLogger(__name__)


def relabel(config: RelabelConfig, accelerator: Accelerator | None = None, quiet: bool = False) -> DistilledSet:
    """Label the views of a set, on the main process; every process must call this.

    A run that was stopped goes on after its last pass, with the same labels.

    Args:
        config: All settings.
        accelerator: Devices and processes; None makes one.
        quiet: Show no bar.

    Returns:
        The set with its `view_labels`, as it lies in its folder.

    Raises:
        InputError: Anything in the settings or the set that the user can mend.
    """
    accelerator = accelerator or make_accelerator()
    set_torch(config.threads, accelerator)
    return on_main_process(accelerator, lambda: _relabelled(config, accelerator.device, quiet))


def _relabelled(config: RelabelConfig, device: torch.device, quiet: bool) -> DistilledSet:
    distilled = read_distilled(config.distilled, config, view_labels=False)
    if distilled.definition is None:
        if config.load_subset() is None:
            raise no_subset(name_of(distilled.origin))
        distilled = replace(distilled, metadata=distilled.metadata | config.load_subset().selection)
    folder = _folder(config)
    teacher = given_teacher(config.teacher, distilled.resolution, distilled.definition)
    known = {name: getattr(teacher, name) for name in ("name", "digest", "accuracy")}
    # the labels go to other machines: no place on this one
    known["recipe"] = teacher.recipe.replace(teacher.file, Path(teacher.file).name)
    record = record_of_views(config, distilled, known)
    distilled = _as_there(folder, distilled, config.lr_dir)
    if doubt := config.views.doubt_at(distilled.ipc):
        _logger.warning(doubt)
    with ExitStack() as locks:
        check_writable(folder, "--output_dir")
        in_use = f"{folder}: another run labels its views now; wait for it, or give another --output_dir"
        locks.enter_context(locked_or_refused(folder / LOCK_NAME, in_use))
        if not (folder / TENSORS_NAME).exists():
            save_folder(distilled, folder)
        labels = _made(folder, record, config.overwrite)
        if labels is None:
            network, images = teacher_network(teacher, distilled.resolution).to(device), distilled.images.to(device)
            with ViewLabelsWriter(folder, record, config.overwrite) as writer:
                if writer.done:
                    _logger.info(f"going on from pass {writer.done} of {record.stored}")
                numbers, shown = range(writer.done, record.stored), {"desc": "labels of views", "unit": "pass"}
                for number in tqdm(numbers, initial=writer.done, total=record.stored, disable=quiet, **shown):
                    writer.write(labelled_pass(number, config, images, network))
                _name_labels(distilled, folder)  # none: whoever reads the set while its labels change can read it
                labels = writer.finish()
        distilled = replace(distilled, view_labels=labels)
        _name_labels(distilled, folder)
    return distilled


def record_of_views(config: RelabelConfig, distilled: DistilledSet, teacher: dict[str, object]) -> ViewRecord:
    """Return what the labels of views will be."""
    return ViewRecord(
        images=len(distilled.images),
        image_digest=digest_of_tensors(distilled.images),
        resolution=distilled.resolution,
        classes=NUM_CLASSES,
        passes=config.passes,
        every=config.every,
        batch=config.batch_train,
        patches=config.patches,
        rrc=config.rrc,
        flip=config.flip,
        mix=config.mix,
        top_k=config.top_k,
        temperature=config.temperature if config.top_k else None,
        seed=config.seed,
        teacher=teacher,
    )


def labelled_pass(number: int, config: RelabelConfig, images: torch.Tensor, network: nn.Module) -> LabelledPass:
    """Draw the views of a pass, and label them.

    Args:
        number: Which of the stored passes; with the seed, it decides all draws.
        config: Its `seed` and `views`.
        images: Float `[N, 3, H, H]`, on the device of the network.
        network: From such images to logits, in eval mode.
    """
    generator = torch.Generator().manual_seed(seed_of(config.seed, "views", number))
    protocol, size = config.views, tuple(images.shape[2:])
    order = torch.randperm(len(images), generator=generator)
    drawn, logits = [], []
    for indices in order.split(protocol.batch_train):
        views = draw_views(size, len(indices), protocol, generator)
        drawn.append(views)
        inputs = views.mix_images(views.crop_and_flip(images[indices.to(images.device)]))
        logits.append(predict_logits(network, inputs))
    return LabelledPass(order, drawn, torch.cat(logits))


def _folder(config: RelabelConfig) -> Path:
    """Return the folder of the set with its labels."""
    own = Path(os.path.expanduser(config.distilled))
    if config.output_dir is not None:
        return Path(config.output_dir)
    if not all((own / name).is_file() for name in (TENSORS_NAME, RECORD_NAME)):
        raise InputError(f"{config.distilled}: no folder of our format; give --output_dir for the set and its labels")
    return own


def _as_there(folder: Path, distilled: DistilledSet, lr_dir: str | None) -> DistilledSet:
    """Return the set as its folder has it, which keeps all that is recorded there; raise InputError for another one."""
    if not (folder / TENSORS_NAME).exists():
        check_target(real_path(folder), overwrite=True)
        return distilled
    there = read_distilled(folder, view_labels=False)
    if there.sha256 != distilled.sha256:
        raise InputError(f"{folder}: holds another set (sha256 {there.sha256[:12]}...); give another --output_dir")
    if there.definition not in (None, distilled.definition):
        raise InputError(f"{folder}: holds a set of {there.definition.name}; give another --output_dir")
    if lr_dir is not None and there.lr != distilled.lr:
        raise InputError(f"--lr_dir {lr_dir}: {folder} has the learned rate {there.lr}; give another --output_dir")
    return there if there.definition else replace(there, metadata=there.metadata | distilled.definition.selection)


def _made(folder: Path, record: ViewRecord, overwrite: bool) -> ViewLabels | None:
    """Return labels that are there and are those that are asked for; None where they are to be made."""
    file = folder / VIEW_LABELS_NAME
    if overwrite or not file.exists():
        return None
    labels = ViewLabels.open(file)
    if labels.record != record:
        raise InputError(
            f"{file}: labels of views with other settings or of another teacher; give another --output_dir, or "
            "--overwrite"
        )
    _logger.info(f"{file}: is made already")
    return labels


def _name_labels(distilled: DistilledSet, folder: Path) -> None:
    """Say in a set's record and card which labels of views it has; what people have written into the card stays."""
    new, old = SetRecord.of(distilled), read_record(folder)
    if new.same_set(old):
        return
    write_json(folder / RECORD_NAME, new.as_json())
    card = folder / CARD_NAME
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else None
    if text is None or is_ours(text):
        write_text(card, set_card(new) if text is None else updated_card(text, new, None, []))
