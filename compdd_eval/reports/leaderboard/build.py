"""`leaderboard`: build a static site that ranks results, and send it to a Space on the Hugging Face Hub."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from compdd_eval.config.leaderboard import LeaderboardConfig
from compdd_eval.reports.leaderboard.pages import as_csv, index_page, readme, run_page, site_json
from compdd_eval.reports.leaderboard.rows import Rows, read_canonical, rows_of
from compdd_eval.reports.leaderboard.sources import read_sources
from compdd_eval.utils.errors import InputError
from compdd_eval.utils.files import check_writable, write_json
from compdd_eval.utils.hub_push import Repository, open_for_push

MARKER = ".compdd-leaderboard"  # in every site: what holds it may be replaced
_OURS = ("runs", "results.json", "results.csv", "README.md", "index.html", MARKER)
_NEW_SPACE = {".gitattributes", "README.md", "index.html", "style.css"}  # what the Hub puts into a new one
_MANY = 200  # pages; fewer need no progress bar


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes:
        output: Folder of the site.
        title: Its title.
        rows: All rows, and what was left out.
        left_out: Files that are in no row.
        pushed: What was sent to the Hub, in words, or None.
    """

    output: Path
    title: str
    rows: Rows
    left_out: int
    pushed: str | None


def build(config: LeaderboardConfig) -> Built:
    """Build the site, whole or not at all, and send it to the Hub if asked for.

    Raises:
        InputError: No results; an output folder that holds something else; a Space that does; no access.
    """
    output = Path(os.path.realpath(config.output))
    _check_output(output)
    given = None if config.canonical is None else read_canonical(config.canonical)
    sources = read_sources(config.sources)
    rows = rows_of(sources.found, given)
    _write_site(output, config.title, rows)
    pushed = None if config.push is None else push_site(output, config.push, config.private, len(rows.rows))
    return Built(output, config.title, rows, sources.left_out + rows.left_out, pushed)


def push_site(folder: Path, space: str, private: bool, count: int) -> str:
    """Send a site to a static Space, in one commit; the same again makes none.

    Args:
        folder: The site.
        space: `USER/NAME`; it is made where there is none.
        private: Make a new one private.
        count: Number of results, for the message of the commit.

    Returns:
        What was done, in words.

    Raises:
        InputError: The Space holds something else, or there is no access.
    """
    with open_for_push(space, "space", private=private) as repository:
        _check_space(repository)
        pushed = repository.upload(
            folder,
            f"Leaderboard: {count:,} results",
            allow=[*_OURS[1:], "runs/*.html"],
            delete=["runs/*", *([] if MARKER in repository.names else ["style.css"])],
        )
    return f"{pushed.done()} https://huggingface.co/spaces/{pushed.repo_id} ({pushed.visibility})"


def _check_space(repository: Repository) -> None:
    """Refuse to replace what is no leaderboard; a Space that the Hub has just made is free."""
    names = repository.names
    if MARKER in names or names <= {".gitattributes"}:
        return
    commits = repository.api.list_repo_commits(repository.repo_id, repo_type="space")
    if not names <= _NEW_SPACE or len(commits) > 1:
        some = ", ".join(sorted(names - {".gitattributes"})[:3])
        raise InputError(f"{repository.repo_id}: holds {some} and no leaderboard; give another Space to --push")


def _check_output(output: Path) -> None:
    """Refuse to replace what is no site of ours, before anything is done."""
    if output.is_dir() and not (output / MARKER).is_file() and any(output.iterdir()):
        raise InputError(f"{output}: holds something else than a leaderboard; give another --output")
    if not output.is_dir():
        check_writable(output.parent, "--output")
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file, expected a folder; give another --output")


def _write_site(output: Path, title: str, rows: Rows) -> None:
    """Write all files beside the folder, then put them in its place at once."""
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as staging:
        new = Path(staging) / "new"
        (new / "runs").mkdir(parents=True)
        pages = {"index.html": index_page(title, rows), "README.md": readme(title, rows), "results.csv": as_csv(rows)}
        pages[MARKER] = "replaced by compdd_eval leaderboard\n"
        write_json(new / "results.json", site_json(title, rows))
        for name, text in pages.items():
            (new / name).write_text(text, encoding="utf-8")
        for result in tqdm(rows.results, desc="writing pages", unit="page", disable=len(rows.results) < _MANY):
            (new / result.rows[0].page).write_text(run_page(title, result), encoding="utf-8")
        if not output.exists():
            new.rename(output)
            return
        for name in _OURS:  # what else lies in the folder stays, such as .git
            if (output / name).is_dir():
                (output / name).rename(Path(staging) / f"old {name}")
            os.replace(new / name, output / name)
