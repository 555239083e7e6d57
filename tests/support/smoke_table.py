"""Every distillation method on one subset at 32 px, in about an hour and a half on two CPU cores; ends with the tables.

    python -m tests.support.smoke_table --data_path /path/to/imagenet --category insect --subset easy --output_dir smoke

Run it again after an interruption: what is finished is kept. `--model`, `--steps`, `--epochs`, `--num_experts`,
`--num_eval` and `--epoch_eval_train` make it shorter. With `--regimes hard,soft,soft+kd` the sets are evaluated under
each kind of labels, beside random images under the same; `--teacher` labels, and makes rded and sre2l.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

METHODS = ("random", "k-center", "herding", "rded", "sre2l", "dm", "dc", "mtt", "ftd", "datm", "edf")
SELECT, TAUGHT, MATCH_EXPERTS = METHODS[:4], METHODS[3:5], METHODS[7:]
IPCS = (1, 10)


def compdd_eval(*arguments: object) -> None:
    """Run a command as the README has it, and show it."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ python -m compdd_eval {shlex.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "compdd_eval", *words], check=True)


def main() -> None:
    """Train experts, distil, evaluate, compare."""
    options = parse()
    place = Path(options.output_dir)
    data = ["--category", options.category, "--subset", options.subset, "--res", 32, "--model", options.model]
    data += ["--threads", options.threads]
    data += ["--data_path", options.data_path] if options.data_path else []
    trained = ["--num_experts", options.num_experts, "--epochs", options.epochs, "--batch_train", 64]
    methods = set(options.methods)
    if methods & set(MATCH_EXPERTS) - {"ftd"}:
        compdd_eval("experts", *data, *trained, "--output_dir", place / "experts")
    if "ftd" in methods:  # on flat trajectories
        compdd_eval("experts", *data, *trained, "--sam", "true", "--output_dir", place / "experts-sam")
    teacher = options.teacher
    if teacher is None and (methods & set(TAUGHT) or options.regimes):
        teacher = place / "teacher"
        trained = ["--model", options.teacher_model, "--protocol", "rded", "--epochs", options.full_epochs]
        compdd_eval("teacher", *data, *trained, "--output_dir", teacher)
    tested = ["--epoch_eval_train", options.epoch_eval_train, "--num_eval", options.num_eval]
    tested += ["--precision", options.precision, "--baseline_dir", place / "baselines"]
    if options.regimes:
        tested += ["--regimes", options.regimes, "--teacher", teacher, "--protocol", "rded"]
    for ipc in options.ipc:
        for method in options.methods:
            more = []
            if method in MATCH_EXPERTS:
                more += ["--experts", place / ("experts-sam" if method == "ftd" else "experts")]
            more += ["--teacher", teacher] if method in TAUGHT else []
            more += ["--steps", options.steps] if options.steps and method not in SELECT else []
            made = place / f"{method}-ipc{ipc}"
            compdd_eval("distill", method, *data, "--ipc", ipc, "--preset", "smoke", *more, "--output_dir", made)
            results = place / ("regimes" if options.regimes else "results") / method / f"ipc{ipc}"
            compdd_eval("evaluate", "--distilled", made, *data, *tested, "--output_dir", results)
    folders = [place / ("regimes" if options.regimes else "results") / method for method in options.methods]
    for shape in ("text", "markdown") if len(folders) > 1 else ():
        regimes = ["--regimes"] if options.regimes else []
        compdd_eval("compare", *folders, *regimes, "--names", ",".join(options.methods), "--format", shape)


def parse() -> argparse.Namespace:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data_path")
    parser.add_argument("--category", default="insect")
    parser.add_argument("--subset", default="easy")
    parser.add_argument("--output_dir", default="smoke")
    parser.add_argument("--model", default="ConvNetD3")
    parser.add_argument("--methods", type=lambda text: text.split(","), default=METHODS)
    parser.add_argument("--ipc", type=lambda text: [int(part) for part in text.split(",")], default=IPCS)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--regimes")
    parser.add_argument("--teacher", help="default: one that is trained on all training images")
    parser.add_argument("--teacher_model", default="ResNet18BN_Tiny")
    parser.add_argument("--full_epochs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--num_experts", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--num_eval", type=int, default=5)
    parser.add_argument("--epoch_eval_train", type=int, default=150)
    parser.add_argument("--precision", default="bfloat16")  # of the students; two CPU cores are thrice as fast in it
    return parser.parse_args()


if __name__ == "__main__":
    main()
