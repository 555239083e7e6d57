"""What the client of the Hugging Face Hub raises, in one line that says how to go on."""

import errno

from compdd_eval.errors import InputError

_CLIENTS = ("httpx", "httpcore", "requests")  # what huggingface_hub has used to reach the Hub


def clear_hub_error(
    error: Exception, repository: str, before: str = "", cached: bool | None = None, kind: str = "dataset"
) -> Exception:
    """Return an InputError in place of what a client raised; an error of another kind is returned as it is.

    Args:
        error: What was raised; what caused it counts, too.
        repository: `USER/NAME`.
        before: What was looked for first, as in "no such folder, and ".
        cached: Whether a copy was found on this machine, where one was looked for.
        kind: What the repository is: `dataset`, `model` or `space`.
    """
    nor_cached = ", and no copy of it is cached" if cached is False else ""
    cause: BaseException | None = error
    while cause is not None:
        reason = _reason(cause, repository, before, nor_cached, kind)
        if reason is not None:
            return InputError(f"{repository}: {reason}")
        cause = cause.__cause__
    return error


def no_connection(error: BaseException) -> bool:
    """Whether the Hub was not reached, as opposed to having said no."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return getattr(error.response, "status_code", 0) >= 500
    if isinstance(error, errors.OfflineModeIsEnabled) or _is_network(error):
        return True
    return error.__cause__ is not None and no_connection(error.__cause__)


def _is_network(error: BaseException) -> bool:
    """Whether it is about a connection; an OSError with a file name or of a full disk is about this machine."""
    if isinstance(error, OSError):
        return error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT)
    return type(error).__module__.startswith(_CLIENTS)


def _reason(error: BaseException, repository: str, before: str, nor_cached: str, kind: str) -> str | None:
    from huggingface_hub import errors

    page = f"https://huggingface.co/{'' if kind == 'model' else f'{kind}s/'}{repository}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    no_access = "check the name, or run `hf auth login`"
    if status == 401 or isinstance(error, errors.LocalTokenNotFoundError):
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
        return f"{before}the Hub is not asked, since HF_HUB_OFFLINE is set{nor_cached}; unset it"
    if status == 403:
        return "the Hub refuses it: run `hf auth login` with a token that can write there"
    if isinstance(error, errors.HfHubHTTPError):
        return f"the Hub answers: {str(error).strip().partition(chr(10))[0]}"
    if _is_network(error):
        return f"{before}the Hub cannot be reached ({type(error).__name__}){nor_cached}; run again"
    return None
