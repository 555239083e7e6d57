"""The command line: list the commands, dispatch to one, and turn bad input into one line and exit status 2."""

import os
import shlex
import sys
import time
from importlib import import_module

from compdd_eval import __version__
from compdd_eval.commands import COMMANDS, MULTI_PROCESS
from compdd_eval.commands.help import asks_for_help, help_text, overview
from compdd_eval.commands.parser import parse
from compdd_eval.utils.console import setup_logging
from compdd_eval.utils.errors import InputError, unknown

_HEAD_START = 10  # seconds that the main process has to report an error before another one does


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit status: 0, or 2 for bad input, or 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    setup_logging()
    try:
        _dispatch(arguments)
        return 0
    except InputError as error:
        return _report(str(error))
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno is None:
            raise
        return _report(f"{error.filename or 'writing'}: {error.strerror}; mend it or give another place")
    except KeyboardInterrupt:
        if _is_main_process():
            short = arguments[:1] and arguments[0] in ("validate", "convert", "pull")
            kept = "nothing was written" if short else "what is finished is kept, run the same command to go on"
            print(f"\ncompdd_eval: interrupted; {kept}", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> None:
    if len(arguments) > 1 and arguments[0] in ("-h", "--help"):
        if arguments[1] not in COMMANDS:
            raise unknown("command", arguments[1], COMMANDS)
        arguments = [arguments[1], "--help", *arguments[2:]]
    if not arguments or arguments[0] in ("-h", "--help", "--version"):
        if _is_main_process():
            print(f"compdd_eval {__version__}" if arguments[:1] == ["--version"] else overview())
        return
    if arguments[0].startswith("--"):
        arguments = ["evaluate", *arguments]
    command, *rest = arguments
    if command not in COMMANDS:
        raise _no_command(command, rest)
    only_prints = asks_for_help(rest) or any(word.startswith("--print_config") for word in rest)
    if (only_prints or command not in MULTI_PROCESS) and not _is_main_process():
        return
    if asks_for_help(rest):
        print(help_text(command, rest))
        return
    settings = import_module(f"compdd_eval.config.{command}")
    config = parse(settings.CONFIG, rest, getattr(settings, "POSITIONAL", ()))
    import_module(f"compdd_eval.commands.{command}").run(config)


def _no_command(word: str, rest: list[str]) -> InputError:
    """Say how a distilled set is evaluated where one stands in the place of a command."""
    if not os.path.exists(os.path.expanduser(word)) and "/" not in word:
        return unknown("command", word, COMMANDS)
    line = shlex.join(["python", "-m", "compdd_eval", "evaluate", "--distilled", word, *rest])
    return InputError(f"{word}: is no command; to evaluate a distilled set: {line}")


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _report(message: str) -> int:
    """Print one line on stderr and return exit status 2.

    Where a launcher runs several processes, the main one speaks first; the launcher then ends the others, which
    only speak if the main one had nothing to say.
    """
    if not _is_main_process():
        time.sleep(_HEAD_START)
    print(f"compdd_eval: error: {message}", file=sys.stderr, flush=True)
    return 2


def script() -> None:
    """Run as a console script, in each process of a launcher."""
    status = 1
    try:
        status = main()
    finally:
        _leave_process_group(failed=status != 0)
    sys.exit(status)


def _leave_process_group(failed: bool) -> None:
    """End the threads of the process group.

    After a collective they need Python once more, to give its tensors back. One that asks for it while the interpreter
    is taken down aborts the process: "terminate called without an active exception". So they are ended before.
    torch 2.6 does that holding Python's lock, and the threads and the process wait for each other for ever, unless the
    backends are the last to be let go: these wait without the lock.
    """
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return
    if failed and distributed.get_backend() != "gloo":  # NCCL would wait for processes that failed elsewhere
        return
    group = distributed.group.WORLD
    backends = [group._get_backend(device) for device in group._device_types]
    distributed.destroy_process_group()
    del group
    backends.clear()


if __name__ == "__main__":
    script()
