"""Send what was exported to the Hugging Face Hub."""

from pathlib import Path

from compdd_eval.config import PushConfig
from compdd_eval.errors import InputError
from compdd_eval.export import CARD_NAME, exported
from compdd_eval.hub_errors import clear_hub_error
from compdd_eval.hub_results import EVAL_NAME, eval_yaml


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
