"""Names of distillation methods -> what they are; a third party's are registered in the same way."""

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from compdd_eval.config.arguments import settings_from
from compdd_eval.config.distill import DISTILL_PRESETS, DistillConfig, MatchingConfig
from compdd_eval.data.subsets import config_names
from compdd_eval.utils.code_digest import code_name
from compdd_eval.utils.errors import InputError, unknown
from compdd_eval.utils.user_code import run_file

_METHODS: dict[str, "Method"] = {}
# ours, each in a file of its name, from the cheapest on: the order in which they are listed
_OURS = ("random", "k_center", "herding", "rded", "sre2l", "dm", "dc", "mtt", "ftd", "datm", "edf")
_FIELDS = frozenset(field.name for field in fields(MatchingConfig))
_LEARNING = MappingProxyType({"steps": 1000, "lr_img": 1.0, "momentum_img": 0.5, "init": "real"})  # of all that learn
DEFAULTS = "defaults"  # what the first preset is called where nobody has published it
_FIRST_SUBSET = "bird-easy"  # whose values are those of subsets without any of their own


@dataclass(frozen=True)
class ByIPC:
    """A setting that goes with the images per class, and maybe with the subset.

    Attributes:
        values: Images per class -> value; between them, that of the next smaller number holds, below all the smallest.
        subsets: Name of a subset -> those of these values that are other there; `values` are bird-easy's.
    """

    values: Mapping[int, object]
    subsets: Mapping[str, Mapping[int, object]] = field(default_factory=dict)

    def at(self, ipc: int, subset: str | None = None) -> object:
        """Return the value for a number of images per class, and a subset."""
        values = {**self.values, **self.subsets.get(subset, {})}
        return values[max((key for key in values if key <= ipc), default=min(values))]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to distil; `list_methods()` returns all.

    Attributes:
        name: As on the command line.
        run: Where `selects`, `(job) -> list of positions in the training split`, or a `Synthetic`; else
            `(job, synthetic, step) -> loss`, one step: adds gradients to the tensors of `synthetic` and returns the
            loss, a detached scalar.
        title: In a few words.
        presets: Preset -> setting -> value, or `ByIPC`; their names are the settings that the method takes.
        paper: Where it is from.
        cost: What time and memory go into.
        needs: What has to be there besides ImageNet; "" for nothing.
        selects: Whether it chooses real images, or parts of them; else it learns synthetic ones, step by step.
        options: Names that it takes as `--options`.
        shared: Whether its steps can be shared by processes: each returns its part of loss and gradients, which are
            summed. Of others, every process makes all steps.
        begin: `(job) -> Synthetic`, where the beginning is not `Synthetic.begin`.
        compiles: `(config) -> number of images` that pass a network forward and backward in a step, where what the
            method calls through `job.compiled_call` can be compiled: by them, it is decided whether that pays.
        bfloat16: Whether its passes through networks have the precision of `job.config.precision`, this one, too.
        adam: Whether updates are those of Adam, with betas `momentum_img` and 0.9 and a rate that falls to 0 along
            half a cosine over all steps; else of SGD at a constant rate.
        inputs: `(config) -> anything that JSON can hold`: says which files it reads, such as the digest of experts;
            a run goes on only with the same.
        experts: Settings of `experts` that differ from its defaults where `distill --all` trains them for the method.
    """

    name: str
    run: Callable = field(repr=False)
    title: str
    presets: Mapping[str, Mapping[str, object]] = field(repr=False)
    paper: str = ""
    cost: str = ""
    needs: str = ""
    selects: bool = False
    options: tuple[str, ...] = ()
    shared: bool = False
    begin: Callable | None = None
    compiles: Callable | None = None
    bfloat16: bool = False
    adam: bool = False
    inputs: Callable | None = None
    experts: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def is_ours(self) -> bool:
        """Whether it comes with this package; else it is a user's own."""
        return _is_ours(self.run)

    def preset_name(self, preset: str) -> str:
        """Return what a preset is called: the settings of a user's own method are not published, but its defaults."""
        return DEFAULTS if preset == DISTILL_PRESETS[0] and not self.is_ours else preset

    def settings(self, preset: str, ipc: int, subset: str = _FIRST_SUBSET) -> dict[str, object]:
        """Return the settings of a preset for a number of images per class and a subset, by its name.

        None is what a user has to give or may.
        """
        values, whose = self.presets[preset], self.whose_settings(subset)
        return {name: value.at(ipc, whose) if isinstance(value, ByIPC) else value for name, value in values.items()}

    def whose_settings(self, subset: str) -> str | None:
        """Return the name of the subset whose settings a subset takes; None where all have the same.

        Where none are published for it, they are those of bird of the same difficulty; for a list that is not the
        benchmark's, those of bird-easy.
        """
        values = self.presets[DISTILL_PRESETS[0]].values()
        published = {name for value in values if isinstance(value, ByIPC) for name in value.subsets}
        if not published:
            return None
        bird = f"bird-{subset.split('-')[1]}" if subset in config_names() else _FIRST_SUBSET
        return next((name for name in (subset, bird) if name in published), _FIRST_SUBSET)

    def settings_note(self, subset: str) -> str | None:
        """Say whose settings a subset takes; None where all have the same."""
        whose = self.whose_settings(subset)
        missing = "" if whose == subset else f": none are published for {subset}"
        return whose and f"settings of {whose}{missing}"


def register_method(
    name: str,
    *,
    title: str | None = None,
    paper: str = "",
    cost: str = "",
    needs: str = "",
    selects: bool = False,
    options: Sequence[str] = (),
    shared: bool = False,
    begin: Callable | None = None,
    compiles: Callable | None = None,
    bfloat16: bool = False,
    adam: bool = False,
    inputs: Callable | None = None,
    experts: Mapping[str, object] = MappingProxyType({}),
    settings: Mapping[str, object] = MappingProxyType({}),
    smoke: Mapping[str, object] = MappingProxyType({}),
) -> Callable:
    """Register a function as a distillation method; a decorator. See `Method` for what the function does.

    Args:
        name: As on the command line.
        title: In a few words; default: the first line of the function's docstring.
        paper: Where it is from.
        cost: What time and memory go into.
        needs: What has to be there besides ImageNet.
        selects: Whether it chooses real images.
        options: Names of settings of its own, which `--options` gives and `job.config.options` holds.
        shared: Whether processes can share a step.
        begin: Makes the first synthetic images.
        compiles: Says how much a step computes, where that can be compiled.
        bfloat16: Whether it heeds `job.config.precision`, this one, too: see `compdd_eval.training.precision`.
        adam: Whether updates are those of Adam with a rate that falls to 0.
        inputs: Says which files it reads.
        experts: Settings of `experts` where `distill --all` trains those that the method matches.
        settings: Defaults of all settings (fields of `MatchingConfig`) that it takes, or `ByIPC`; None where there is
            none. Those of ours are the published ones. All that learn have `steps`, `lr_img`, `momentum_img`, `init`.
        smoke: Those that are other in the preset "smoke", which takes minutes on a CPU.

    Raises:
        ValueError: The name is taken, or a setting is no field of `MatchingConfig`.
    """
    if not selects:
        settings = {**_LEARNING, **settings}
    for setting in [*settings, *smoke]:
        if setting not in _FIELDS:
            raise ValueError(f"method {name!r}: {setting!r} is no field of MatchingConfig; take config.options for it")
    presets = {DISTILL_PRESETS[0]: dict(settings), DISTILL_PRESETS[1]: {**settings, **smoke}}

    def register(run: Callable) -> Callable:
        if not _is_ours(run):
            _register_ours()  # names of ours are taken, whoever comes first
        if name in _METHODS:
            raise ValueError(f"a distillation method {name!r} is registered already")
        shown = _first_line(run) if title is None else title
        _METHODS[name] = Method(
            name=name,
            run=run,
            title=shown,
            presets=presets,
            paper=paper,
            cost=cost,
            needs=needs,
            selects=selects,
            options=tuple(options),
            shared=shared,
            begin=begin,
            compiles=compiles,
            bfloat16=bfloat16,
            adam=adam,
            inputs=inputs,
            experts=dict(experts),
        )
        return run

    return register


def _is_ours(run: Callable) -> bool:
    return str(run.__module__).startswith("compdd_eval.")  # that of code in a text is None


def _first_line(run: Callable) -> str:
    """Return the first line of the docstring of a function, "" where it has none."""
    return (inspect.getdoc(run) or "").partition("\n")[0] if inspect.isroutine(run) else ""


@functools.cache
def _register_ours() -> None:
    for name in _OURS:
        import_module(f"compdd_eval.methods.{name}")


def list_methods() -> list[Method]:
    """Return all methods: ours from the cheapest on, then others in the order in which they were registered.

    {method.name: method.settings("published", ipc=10) for method in list_methods()}
    """
    _register_ours()
    ours = [name.replace("_", "-") for name in _OURS]
    return [_METHODS[name] for name in dict.fromkeys([*ours, *_METHODS])]


def find_method(method: str | Callable) -> Method:
    """Return a method by its name or its function.

    A function that is not registered is a method that learns, named by its own name, with the settings of all of them.

    Raises:
        InputError: There is none of that name; the function has the name of another one, or is none.
    """
    _register_ours()
    if isinstance(method, str):
        if method not in _METHODS:
            raise unknown("method", method, _METHODS)
        return _METHODS[method]
    if not callable(method):
        raise InputError(f"method {method!r}: expected a function, the name of a method, or a DistillConfig")
    registered = next((known for known in _METHODS.values() if known.run == method), None)
    return registered or _unregistered(method)


def _unregistered(run: Callable) -> Method:
    name, presets = code_name(run), dict.fromkeys(DISTILL_PRESETS, _LEARNING)
    if name in _METHODS:
        raise InputError(f"method {name}: another one of this name is registered; rename the function")
    try:
        inspect.signature(run).bind("job", "synthetic", "step")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"method {name}: expected a function of job, synthetic and step ({error}); one of the job alone, which "
            "chooses real images, is registered by @register_method(NAME, selects=True)"
        ) from error
    return Method(name=name, run=run, title=_first_line(run), presets=presets)


def load_plugin(file: str) -> str:
    """Run a user's Python file that registers methods; again where it was edited. Return the SHA-256 of the file.

    Raises:
        InputError: There is no such file, it fails, or it registers nothing.
    """
    _register_ours()
    path = Path(file).expanduser()
    place = path.resolve()
    digest, names = _LOADED.get(place, (None, ()))
    if digest is None or not place.is_file() or digest != hashlib.sha256(place.read_bytes()).hexdigest():
        for name in names:
            _METHODS.pop(name, None)
        before = set(_METHODS)
        run_file(path, "--plugin takes a Python file that registers methods")
        names = tuple(set(_METHODS) - before)
        if not names:
            raise InputError(f"{path}: registers no method; put @register_method(...) above its function")
        digest = hashlib.sha256(place.read_bytes()).hexdigest()
        _LOADED[place] = digest, names
    return digest


_LOADED: dict[Path, tuple[str, tuple[str, ...]]] = {}  # file -> its digest, and the methods that it registered


def asked_for(
    method: Callable | str | DistillConfig, settings: Mapping[str, object]
) -> tuple[DistillConfig, Method | None]:
    """Return what `distill` is asked for as settings, and the method if its function is given.

    Raises:
        InputError: An unknown setting or function, or a value that no method can use.
    """
    if isinstance(method, DistillConfig):
        return settings_from(DistillConfig, "method", method, settings), None
    found = None if isinstance(method, str) else find_method(method)
    return settings_from(DistillConfig, "method", found.name if found else method, settings), found


def fill_settings(config: DistillConfig, method: Method) -> DistillConfig:
    """Fill the settings that are left out from the method's preset.

    Raises:
        InputError: A setting is given that the method does not take, or one is missing that it needs.
    """
    takes = method.settings(config.preset, config.ipc, config.load_subset().name)
    for name in config.given():
        if name not in takes:
            raise InputError(f"--{name}: {method.name} has no such setting; it has {_listed(takes)}")
    for name in config.options or {}:
        if name not in method.options:
            known = ", ".join(method.options) or "none"
            raise InputError(f"--options: {method.name} has no {name!r}; it has {known}")
    if config.precision == "bfloat16" and not method.bfloat16:
        able = ", ".join(found.name for found in list_methods() if found.bfloat16)
        raise InputError(f"--precision bfloat16: {method.name} runs no network in it; give float32, or one of {able}")
    if method.selects and config.eval_every:
        raise InputError(f"--eval_every: {method.name} has no steps to evaluate in between; leave it out")
    filled = {name: value for name, value in takes.items() if getattr(config, name) is None}
    fill_settings = replace(config, **filled)
    if "experts" in takes and fill_settings.experts is None:
        raise InputError(
            f"--experts is missing: {method.name} matches expert trajectories; train them with "
            "`python -m compdd_eval experts`, or give a folder with replay_buffer_0.pt, ..."
        )
    if "teacher" in takes and fill_settings.teacher is None:
        raise InputError(
            f"--teacher is missing: {method.name} needs a network that knows the classes; train one with "
            "`python -m compdd_eval teacher` and give its folder, or give NAME=FILE with weights"
        )
    return fill_settings


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in names) or "none"
