"""Send a distilled set, a student, or an export of the benchmark's images, to the Hugging Face Hub."""

import os
from dataclasses import replace
from pathlib import Path

from compdd_eval.commands.convert import warn_of_doubts
from compdd_eval.commands.export import CARD_NAME, exported
from compdd_eval.config.many_sets import place_of
from compdd_eval.config.push import PushConfig
from compdd_eval.distilled.formats.comp_dd import TENSORS_NAME
from compdd_eval.distilled.push import push_distilled, summaries_of
from compdd_eval.distilled.raw_set import notes_of
from compdd_eval.distilled.set import read_distilled
from compdd_eval.reports.benchmark_file import read_benchmark
from compdd_eval.results.hub_eval_results import EVAL_NAME, eval_yaml
from compdd_eval.results.push_student import push_student
from compdd_eval.results.student_result import SUMMARY_NAME
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.hub_push import open_for_push

_NOT_PUBLIC = (
    "is public, and ImageNet's images may not be; make it private in its settings, give another --benchmark, or say "
    "--public (see push --help)"
)


def run(config: PushConfig) -> None:
    """Push and print where it lies."""
    if config.student:
        _push_student(config)
    elif config.benchmark:
        print(push_benchmark(config))
    elif config.benchmark_results:
        _push_sets(config)
    else:
        _push_set(config)


def _push_student(config: PushConfig) -> None:
    pushed = push_student(config)
    print(pushed.in_words())
    if pushed.task:
        print(f"with its result for the task {pushed.task}, which the Hub shows once the benchmark is on its list")
    print(f"its card has the two lines that load it: https://huggingface.co/{pushed.repo_id}")


def _push_sets(config: PushConfig) -> None:
    """Push all sets of a benchmark that have results, each with its own.

    Raises:
        InputError: As of one set; nothing is sent where one of them cannot be read, or has no results of its own.
    """
    benchmark = read_benchmark(Path(config.benchmark_results))
    sets = []
    for name, (config_name, ipc) in benchmark.names.items():
        results = benchmark.root / name / SUMMARY_NAME
        if results.is_file():
            place = place_of(benchmark.sets, config_name, ipc)
            sets.append(config.of_set(place, config_name, ipc, str(results)))
    if not sets:
        raise InputError(f"{config.benchmark_results}: holds no results of its sets; run `benchmark` to its end")
    if len({one.repo_id for one in sets}) < len(sets):
        raise InputError(
            f"--repo_id {config.repo_id}: expected a name that tells {len(sets)} sets apart, as in "
            "USER/edf-{config}-ipc{ipc}"
        )
    for one in sets:
        summaries_of(one.listed_results, read_distilled(one.path, one))
    for one in sets:
        _push_set(one)


def _push_set(config: PushConfig) -> None:
    path = Path(os.path.expanduser(config.path))
    distilled = read_distilled(config.path, config)
    warn_of_doubts(distilled)
    for name, note in notes_of(distilled.origin):
        print(f"{name}: {note}")
    pushed = push_distilled(
        distilled,
        config.repo_id,
        private=config.private,
        revision=config.revision,
        results=config.listed_results,
        overwrite=config.overwrite,
        folder=path if (path / TENSORS_NAME).is_file() else None,
    )
    print(pushed.in_words())
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
    names = [entry.subset.name for entry in entries]
    with open_for_push(config.benchmark, private=True, if_public=None if config.public else _NOT_PUBLIC) as repository:
        folders = {name.partition("/")[0] for name in repository.names if "/" in name}
        if others := sorted(folders - set(names)):
            raise InputError(
                f"{repository.repo_id}: holds {', '.join(others)}, which {config.folder} lacks; export them, too, or "
                "give another --benchmark"
            )
        pushed = repository.upload(
            config.folder,
            f"Comp-DD: {', '.join(names)}",
            allow=[CARD_NAME, EVAL_NAME, *[f"{name}/*" for name in names]],
            delete=[f"{name}/*" for name in names],
        )
        if config.public and pushed.private:  # only when it is complete
            repository.api.update_repo_settings(pushed.repo_id, private=False, repo_type="dataset")
            pushed = replace(pushed, private=False)
    done = pushed.in_words(f"pushed {len(names)} configurations to")
    return f'{done}; load_dataset("{pushed.repo_id}", "{names[0]}") loads it'
