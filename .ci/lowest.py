"""Print the lowest version of every dependency that setup.cfg admits, for `pip install -r`: python .ci/lowest.py

Left out are the tools of the tests, and trackio, which needs newer versions of what others have lower bounds for.
"""

import configparser
from pathlib import Path

from packaging.requirements import Requirement

LEFT_OUT = ("test", "trackio")  # extras


def lowest(requirement: Requirement) -> str:
    """Return a requirement with its lower bound as the version; ValueError where it has none."""
    (bound,) = (part.version for part in requirement.specifier if part.operator == ">=")
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}=={bound}"


config = configparser.ConfigParser()
config.read(Path(__file__).resolve().parent.parent / "setup.cfg")
parts = [config["options"]["install_requires"]]
parts += [text for name, text in config["options.extras_require"].items() if name not in LEFT_OUT]
for line in filter(None, "\n".join(parts).splitlines()):
    wanted = Requirement(line)
    if wanted.marker is None or wanted.marker.evaluate():
        print(lowest(wanted))
