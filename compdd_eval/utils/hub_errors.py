"""What the client of the Hugging Face Hub raises, in one line that says how to go on; the Hub's own words are in it."""

import errno
import re
from collections.abc import Iterator

from compdd_eval.utils.errors import InputError

_CLIENTS = ("httpx", "httpcore", "requests")  # what huggingface_hub has used to reach the Hub
_MOST = 300  # letters of the Hub's own text
_ROOM = re.compile(r"storage|quota|\bplan\b|billing|payment|too large", re.IGNORECASE)  # what a login does not mend
_LOGIN = re.compile(r"token|\brights?\b|permission|authori[sz]|forbidden|^$", re.IGNORECASE)
_XET = re.compile(
    r"xet|\bCAS\b|file reconstruction|internal writer error|request (middleware )?error|reqwest", re.IGNORECASE
)  # in what hf_xet raises, as plain RuntimeError, ConnectionError and the like
_FULL = re.compile(r"os error (28|112|122)\b|no space left|not enough space|quota exceeded", re.IGNORECASE)
_WRITER = "internal writer error"  # of hf_xet: the file could not be written, often since the disk is full
_ADDRESS = re.compile(r"https?://([^/\s)\"]+)[^\s)\"]*")


def clear_hub_error(
    error: Exception, repository: str, before: str = "", cached: bool | None = None, kind: str = "dataset"
) -> Exception:
    """Return an InputError in place of what a client raised; an error of another kind is returned as it is.

    Args:
        error: What was raised; what caused it counts, too.
        repository: `USER/NAME`, maybe with `/FOLDER` and `@REVISION`.
        before: What was looked for first, as in "no such folder, and ".
        cached: Whether a copy was found on this machine, where one was looked for.
        kind: What the repository is: `dataset`, `model` or `space`.
    """
    nor_cached = ", and no copy of it is cached" if cached is False else ""
    for cause in _causes(error):
        reason = _answer(cause, repository, before, nor_cached, kind) or _xet(cause)
        if reason is not None:
            return InputError(f"{repository}: {reason}")
    for cause in _causes(error):  # last: what an answer caused can look like this
        if _is_network(cause):
            reason = f"{before}the Hub cannot be reached ({type(cause).__name__}){nor_cached}; run again"
            return InputError(f"{repository}: {reason}")
    return error


def no_connection(error: BaseException) -> bool:
    """Whether the Hub was not reached, as opposed to having said no."""
    from huggingface_hub import errors

    causes = list(_causes(error))
    for cause in causes:
        if _status(cause):
            return _status(cause) >= 500
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return True
    return not any(map(_xet, causes)) and any(map(_is_network, causes))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, what caused it, what caused that, ..."""
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int:
    return getattr(getattr(error, "response", None), "status_code", None) or 0


def _is_network(error: BaseException) -> bool:
    """Whether it is about a connection; an OSError with a file name or of a full disk is about this machine."""
    if isinstance(error, OSError):
        return error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT)
    return type(error).__module__.startswith(_CLIENTS)


def _answer(error: BaseException, repository: str, before: str, nor_cached: str, kind: str) -> str | None:
    """Put what the Hub answered, or the client said in its place, into words; None for an error of another kind."""
    from huggingface_hub import errors

    repo_id = "/".join(repository.partition("@")[0].split("/")[:2])
    page = f"https://huggingface.co/{'' if kind == 'model' else f'{kind}s/'}{repo_id}"
    no_access = "check the name, or run `hf auth login`"
    if _status(error) == 401 or isinstance(error, errors.LocalTokenNotFoundError):
        return f"{before}the Hub does not know you or the {kind}: {no_access} with a token that is valid"
    if isinstance(error, errors.GatedRepoError):
        return f"its owner grants access: accept the terms at {page}, then run `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision; leave it out, or give a branch, a tag or a commit"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{before}no such {kind} on the Hub or no access to it: {no_access}"
    if isinstance(error, errors.HFValidationError):
        return f"{before}no name of a {kind} on the Hub, which is USER/NAME"
    if isinstance(error, errors.OfflineModeIsEnabled):
        advice = "check the path, or unset it" if before else "unset it"
        return f"{before}the Hub is not asked, since HF_HUB_OFFLINE is set{nor_cached}; {advice}"
    if isinstance(error, errors.HfHubHTTPError) and _status(error):
        return _refusal(error, page)
    if isinstance(error, ValueError) and str(error).startswith("LFS batch API returned errors"):
        text = _one_line(str(error))
        return f"the Hub refuses it: {text}; {_advice(text, page)}"
    return None


def _refusal(error: BaseException, page: str) -> str:
    """Pass on what the Hub says of a request that it refuses, with what mends it."""
    status = _status(error)
    text = _one_line(getattr(error, "server_message", None) or "")
    if status in (402, 403, 413, 507):
        return f"the Hub refuses it{f': {text}' if text else ''}; {_advice(text, page)}"
    if status == 429:
        wait = re.search(r"Retry after (\d+) seconds", str(error))
        found = f"after {wait[1]} seconds" if wait else "later"
        return f"the Hub refuses so many requests{f': {text}' if text else ''}; run again {found}"
    return f"the Hub answers {status}: {text or _one_line(str(error))}"


def _advice(text: str, page: str) -> str:
    if _ROOM.search(text):
        return "make room there, or give another repository"
    return "run `hf auth login` with a token that can write there" if _LOGIN.search(text) else f"see {page}"


def _xet(error: BaseException) -> str | None:
    """Say how to go on without XET, the storage of large files that the Hub names, where that has failed."""
    text = str(error)
    plain = type(error).__module__.startswith(("builtins", "hf_xet")) and isinstance(error, RuntimeError | OSError)
    if not plain or getattr(error, "filename", None) is not None or not _XET.search(text):
        return None
    said = _one_line(_ADDRESS.sub(r"\1", text))  # addresses are signed: whoever reads them can use them
    if _FULL.search(text):
        return f"the disk is full ({said}); make room, or let HF_HOME name a folder on another disk"
    room = ", with room on the disk of HF_HOME" if _WRITER in text.lower() else ""
    return f"XET, where the Hub keeps large files, has failed ({said}); run again with HF_HUB_DISABLE_XET=1{room}"


def _one_line(text: str) -> str:
    """Return a text of others as one line that can be printed anywhere."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line.rstrip(".") if len(line) <= _MOST else f"{line[:_MOST]} ..."
