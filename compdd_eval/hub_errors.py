"""What the client of the Hugging Face Hub raises, in one line that says how to go on."""

from compdd_eval.errors import InputError

_CLIENTS = ("httpx", "httpcore", "requests")  # what huggingface_hub has used to reach the Hub


def clear_hub_error(error: Exception, repository: str, before: str = "") -> Exception:
    """Return an InputError in place of what a client raised; an error of another kind is returned as it is.

    Args:
        error: What was raised.
        repository: `USER/NAME` of the dataset.
        before: What was looked for first, as in "no such folder, and ".
    """
    from huggingface_hub import errors

    page = f"https://huggingface.co/datasets/{repository}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    no_access = "check the name, or run `hf auth login`"
    if status == 401 or isinstance(error, errors.LocalTokenNotFoundError):
        reason = f"{before}the Hub does not know you or the dataset: {no_access} with a token that is valid"
    elif isinstance(error, errors.GatedRepoError):
        reason = f"its owner grants access: accept the terms at {page}, then run `hf auth login`"
    elif isinstance(error, errors.RevisionNotFoundError):
        reason = "no such revision; leave it out, or give a branch, a tag or a commit"
    elif isinstance(error, errors.RepositoryNotFoundError):
        reason = f"{before}no such dataset on the Hub or no access to it: {no_access}"
    elif isinstance(error, errors.HFValidationError):
        reason = f"{before}no name of a dataset on the Hub, which is USER/NAME"
    elif isinstance(error, errors.OfflineModeIsEnabled):
        reason = f"{before}the Hub is not asked, since HF_HUB_OFFLINE is set"
    elif status == 403:
        reason = "the Hub refuses it: run `hf auth login` with a token that can write there"
    elif isinstance(error, errors.HfHubHTTPError):
        reason = f"the Hub answers: {str(error).strip().partition(chr(10))[0]}"
    elif isinstance(error, OSError) or type(error).__module__.startswith(_CLIENTS):
        reason = f"{before}the Hub cannot be reached ({type(error).__name__}); run again"
    else:
        return error
    return InputError(f"{repository}: {reason}")
