"""Sub-commands: a file each here with `run(config)`, its settings in `compdd_eval/config/`."""

COMMANDS = {
    "evaluate": "train students on a distilled set, test them on real images (the default command)",
    "status": "what of evaluations and grids is done, running, failed or unfinished",
    "reproduce": "train recorded students again and compare",
    "report": "one HTML file on results: numbers with intervals, curves, confusion, the distilled images",
    "compare": "methods side by side, seed by seed; tables for papers in Markdown, LaTeX or CSV",
    "leaderboard": "a static site that ranks results, for a folder or a Space on the Hugging Face Hub",
    "distill": "make a distilled set: random, k-center, herding, dm, dc, mtt, datm, edf, or a method of your own",
    "experts": "train expert trajectories, which mtt, datm and edf match",
    "methods": "the distillation methods: papers, costs, needs and settings",
    "prepare": 'build subsets from ImageNet, so that load_dataset("comp_dd", ...) works',
    "info": "the sixteen subsets, one of them, or what a copy of ImageNet can serve",
    "export": "write the prepared subsets as Parquet files with a card, for load_dataset(FOLDER, ...)",
    "validate": "check a distilled set without training: shapes, ranges, labels, normalisation, duplicates",
    "convert": "read a distilled set in any format and write it in another",
    "push": "send a distilled set, or an export, to the Hugging Face Hub in one commit",
    "pull": "download a distilled set from the Hugging Face Hub",
    "complexity": "measure how complex images are: one minus the active share of their class-activation maps",
    "select": "choose hard and easy subsets by the complexity of their classes, or compare with the published",
    "figure": "draw what complexity measured: the subsets, and an example of each class with its map",
    "bench": "measure how fast this machine does the work, as ratios",
    "demo": "the whole job on drawn images: no ImageNet, no network, a few minutes",
}
# the others run once, whatever launches them
MULTI_PROCESS = ("evaluate", "reproduce", "demo", "complexity", "distill", "experts")
