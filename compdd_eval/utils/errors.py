"""The one exception that means "the input is wrong", and how its messages suggest the right value."""

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator

_OTHER_WORDS = {  # name of a setting -> what else the field calls it; the first that a command has is suggested
    "steps": "iteration iterations iters num_iters num_steps max_iterations epochs",
    "epoch_eval_train": "epochs epoch num_epochs n_epochs max_epochs train_epochs eval_epochs epoch_eval re_epochs",
    "epochs": "epoch num_epochs n_epochs max_epochs train_epochs",
    "lr_net": "lr learning_rate adamw_lr sgd_lr base_lr eval_lr",
    "lr": "learning_rate lr_teacher base_lr",
    "batch_train": "batch_size batch bs train_batch train_batch_size re_batch_size mini_batch_size",
    "weight_decay": "wd adamw_weight_decay",
    "optimizer": "optim opt",
    "schedule": "scheduler lr_schedule lr_scheduler sched",
    "temperature": "temp tau kd_temperature",
    "num_eval": "num_runs runs n_runs repeats repeat trials num_trials num_seeds n_seeds num_exp",
    "num_experts": "num_runs runs n_experts",
    "seed": "seeds manual_seed random_seed",
    "threads": "workers num_workers num_threads n_threads cpu_threads nproc num_proc",
    "num_proc": "workers num_workers threads num_threads nproc",
    "model": "net network arch architecture arch_name student student_model stud_name backbone model_name",
    "res": "im_size image_size img_size size input_size resolution",
    "ipc": "images_per_class num_images n_images imgs_per_class",
    "distilled": "set data dataset_dir syn_data syn_data_path synthetic distilled_path distilled_dir",
    "category": "dataset dataset_name class_group",
    "data_path": "imagenet imagenet_dir imagenet_path imagenet_root data_root root dataset_path dataset_root train_dir",
    "teacher": "ckpt checkpoint ckpt_path teacher_path teacher_model pretrained expert_model weights",
    "weights": "ckpt checkpoint pretrained",
    "experts": "buffer_path buffers expert_path expert_dir trajectories ckpt",
    "lr_dir": "lr_path syn_lr",
    "label_dir": "label_path labels_path label labels_dir soft_labels",
    "output_dir": "output out outdir out_dir save_dir save_path result_dir results_dir exp_dir log_dir logdir",
    "precision": "amp fp16 bf16 half mixed_precision dtype",
    "parallel": "ddp distributed multi_gpu",
    "log_with": "wandb tensorboard tracker report_to",
    "dry_run": "dryrun debug",
    "overwrite": "force",
}
_OF_THE_LAUNCHER = "gpu gpus gpu_id gpu_ids device devices cuda num_gpus nproc_per_node"  # no setting of any command
_LAUNCHER = (
    "devices and processes are the launcher's: accelerate launch --num_processes N -m compdd_eval ..., or "
    "CUDA_VISIBLE_DEVICES"
)
# a list of choices is a help while it fits a line or two
_MANY = 16  # choices; more are not listed where one is close
_TOO_MANY = 70  # choices; more are never listed


class InputError(ValueError):
    """Bad input: a flag, a file or a value that the user can mend.

    The message is one line: it names the file or value, says what was expected and how to fix it.
    The command line prints it without a traceback and exits with status 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))


def unknown(kind: str, value: object, choices: Iterable[str]) -> InputError:
    """Make the error for a name that is none of `choices`: with the nearest where one is close, or all, or three.

    Of settings, with or without "--", the one that has this meaning is the nearest.
    """
    choices = list(choices)
    if meant := _meant(str(value), choices):
        return InputError(f"unknown {kind} {value!r}; {meant}")
    lowered = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(str(value).lower(), lowered, n=1, cutoff=0.5)
    if close and len(choices) > _MANY:
        return InputError(f"unknown {kind} {value!r}; did you mean {lowered[close[0]]!r}?")
    if len(choices) > _TOO_MANY:
        near = difflib.get_close_matches(str(value).lower(), lowered, n=3, cutoff=0.0)
        return InputError(f"unknown {kind} {value!r}; the nearest are {', '.join(lowered[name] for name in near)}")
    hint = f"; did you mean {lowered[close[0]]!r}?" if close else ""
    return InputError(f"unknown {kind} {value!r}{hint} (one of: {', '.join(choices)})")


def _meant(value: str, choices: list[str]) -> str | None:
    """Say what a setting is called here whose name is another word for it, or None."""
    word = value.lstrip("-").replace("-", "_").lower()
    dashes = "--" if value.startswith("--") else ""
    for name, words in _OTHER_WORDS.items():
        if word in words.split() and dashes + name in choices:
            return f"did you mean {dashes + name!r}?"
    settings = {choice.removeprefix("--") for choice in choices} & _OTHER_WORDS.keys()
    return _LAUNCHER if settings and word in _OF_THE_LAUNCHER.split() else None


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def named_as_arguments(settings: Iterable[str]) -> Iterator[None]:
    """Let the errors of a block name settings as Python does: `steps` in place of `--steps`; commands stay."""
    try:
        yield
    except InputError as error:
        error.args = (with_arguments(str(error), settings),)
        raise


def with_arguments(text: str, settings: Iterable[str]) -> str:
    """Return a text that names settings as Python does; see `named_as_arguments`."""
    flag = rf"(compdd_eval \w+(?: --\w+ [^ -]+)+)|--(?=(?:{'|'.join(settings)})\b)"
    return re.sub(flag, lambda match: match[1] or "", text)


def require(name: str, value: object, valid: bool, expected: str) -> None:
    """Raise InputError naming the flag or argument, the value and what was expected, unless `valid`."""
    if not valid:
        raise InputError(f"{name} {value}: expected {expected}")
