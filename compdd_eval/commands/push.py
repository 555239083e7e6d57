"""Send a distilled set, a student, or an export of the benchmark's images, to the Hugging Face Hub."""

import os
from pathlib import Path

from compdd_eval.commands.convert import warn_of_doubts
from compdd_eval.commands.export import CARD_NAME, exported
from compdd_eval.config.push import PushConfig
from compdd_eval.distilled.content import notes_of
from compdd_eval.distilled.formats.comp_dd import TENSORS_NAME
from compdd_eval.distilled.push import Pushed, push_distilled
from compdd_eval.distilled.set import read_distilled
from compdd_eval.results.hub_eval_results import EVAL_NAME, eval_yaml
from compdd_eval.results.push_student import PushedStudent, push_student
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.hub_errors import clear_hub_error


def run(config: PushConfig) -> None:
    """Push and print where it lies."""
    if config.student:
        print_pushed_student(push_student(config))
        return
    if config.benchmark:
        print(push_benchmark(config))
        return

    print_pushed(push(config))


def print_pushed_student(pushed: PushedStudent) -> None:
    """Say what was done and how to use it."""
    done = "pushed to" if pushed.changed else "nothing has changed in"
    seen = "private" if pushed.private else "public"
    print(f"{done} {pushed.repo_id} ({seen}, revision {pushed.commit})")
    if pushed.task:
        print(f"with its result for the task {pushed.task}, which the Hub shows once the benchmark is on its list")
    print(f"its card has the two lines that load it: https://huggingface.co/{pushed.repo_id}")


def push(config: PushConfig) -> Pushed:
    """Read a set and send it to the Hub."""
    path = Path(os.path.expanduser(config.path))
    folder = path if (path / TENSORS_NAME).is_file() else None
    distilled = read_distilled(config.path, config)
    warn_of_doubts(distilled)
    for name, note in notes_of(distilled.origin):
        print(f"{name}: {note}")
    return push_distilled(
        distilled,
        config.repo_id,
        private=config.private,
        revision=config.revision,
        results=config.listed_results,
        overwrite=config.overwrite,
        folder=folder,
    )


def print_pushed(pushed: Pushed) -> None:
    """Say what was done and how to use it."""
    done = "pushed to" if pushed.changed else "nothing has changed in"
    seen = "private" if pushed.private else "public"
    print(f"{done} {pushed.repo_id} ({seen}, revision {pushed.commit})")
    name = pushed.repo_id if pushed.revision is None else f"{pushed.repo_id}@{pushed.revision}"
    print(f"evaluate it: accelerate launch -m compdd_eval --distilled {name} --data_path IMAGENET")


def push_benchmark(config: PushConfig) -> str:
    """Send an export to a dataset repository, in one commit; what the repository has already is not sent again.

    A new repository is private. The images are there before a repository is made public.

    Returns:
        What was done, in words.

    Raises:
        InputError: No export in the folder, or one of an older version; no access; a public repository without
            `public`; a repository that holds configurations which the export lacks.
    """
    entries = exported(Path(config.folder))
    if eval_yaml(entries) and not (Path(config.folder) / EVAL_NAME).is_file():
        raise InputError(f"{config.folder}: has no {EVAL_NAME}; run export --output_dir {config.folder} again")
    try:
        return _push(config, [entry.subset.name for entry in entries])
    except InputError:
        raise
    except Exception as error:
        raise clear_hub_error(error, config.benchmark) from error


def _push(config: PushConfig, names: list[str]) -> str:
    from huggingface_hub import HfApi

    api = HfApi()
    repository = api.create_repo(config.benchmark, repo_type="dataset", private=True, exist_ok=True).repo_id
    info = api.dataset_info(repository)
    if not info.private and not config.public:
        raise InputError(
            f"{repository}: is public, and ImageNet's images may not be; make it private in its settings, give another "
            "--benchmark, or say --public (see push --help)"
        )
    folders = {file.rfilename.partition("/")[0] for file in info.siblings if "/" in file.rfilename}
    if others := sorted(folders - set(names)):
        raise InputError(
            f"{repository}: holds {', '.join(others)}, which {config.folder} lacks; export them, too, or give "
            "another --benchmark"
        )
    commit = api.upload_folder(
        repo_id=repository,
        repo_type="dataset",
        folder_path=config.folder,
        allow_patterns=[CARD_NAME, EVAL_NAME, *[f"{name}/*" for name in names]],
        delete_patterns=[f"{name}/*" for name in names],
        commit_message=f"Comp-DD: {', '.join(names)}",
    )
    if config.public and info.private:
        api.update_repo_settings(repository, private=False, repo_type="dataset")
    seen = "public" if config.public else "private"
    done = "nothing has changed in" if commit.oid == info.sha else f"pushed {len(names)} configurations to"
    return f'{done} {repository} ({seen}, revision {commit.oid}); load_dataset("{repository}", "{names[0]}") loads it'
