"""Settings of `export`."""

from dataclasses import dataclass

from compdd_eval.config.prepare import PrepareConfig


@dataclass(frozen=True)
class ExportConfig(PrepareConfig):
    """Write subsets as Parquet files with a card, so that load_dataset(FOLDER, "bird-easy") works anywhere.

    Without --data_path (or COMP_DD_IMAGENET), or with --data_path prepared, the subsets that are prepared are written;
    with it, they are prepared first. What the folder holds already is not written again.

    Args:
        output_dir: Folder for the card and one folder of Parquet files for each subset.
    """

    output_dir: str = "out/comp_dd"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expand_home("output_dir")


CONFIG = ExportConfig
