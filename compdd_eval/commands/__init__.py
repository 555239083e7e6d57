"""Sub-commands: a file each here with `run(config)`, its settings in `compdd_eval/config/`."""

GROUPS = {
    "Data": {
        "prepare": 'build subsets from ImageNet, so that load_dataset("comp_dd", ...) works',
        "info": "the sixteen subsets, one of them, or what a copy of ImageNet can serve",
        "export": "write prepared subsets as Parquet files with a card, for load_dataset(FOLDER, ...)",
    },
    "Evaluate": {
        "evaluate": "train students on a distilled set and test them on real images (the default)",
        "benchmark": "evaluate a method on all sixteen subsets, and print the table of a paper",
        "status": "what is done, running, failed or unfinished of evaluations and grids",
        "reproduce": "train recorded students again and compare",
        "models": "the students: their parameters, and the smallest images that they take",
    },
    "Distil": {
        "distill": "make a distilled set, by one of the methods that `methods` lists, or by your own",
        "relabel": "store a teacher's outputs for augmented views with a set, for evaluate --labels views",
        "teacher": "train a network on all training images: for soft labels, rded and sre2l",
        "experts": "train the expert trajectories that mtt, ftd, datm and edf match",
        "methods": "the distillation methods: papers, costs, needs and settings",
    },
    "Results": {
        "report": "one HTML file: what was found, with intervals; the distilled images, confusion, curves",
        "compare": "methods side by side, seed by seed; tables in Markdown, LaTeX or CSV",
        "leaderboard": "a static site that ranks results, for a folder or a Space on the Hub",
    },
    "Share": {
        "validate": "check a distilled set without training: shapes, ranges, labels, duplicates",
        "convert": "read a distilled set in any format and write it in another",
        "push": "send a set, a student or an export to the Hugging Face Hub, in one commit",
        "pull": "download a distilled set from the Hugging Face Hub",
    },
    "Complexity": {
        "complexity": "measure how complex images are, by the area of their class-activation maps",
        "select": "choose hard and easy subsets by the complexity of their classes",
        "figure": "draw what `complexity` measured, with an example of each class",
    },
    "This machine": {
        "demo": "the whole job on drawn images: no ImageNet, no network, a few minutes",
        "bench": "measure how fast this machine does the work, as ratios",
    },
}
COMMANDS = {name: text for commands in GROUPS.values() for name, text in commands.items()}
# the others run once, whatever launches them
MULTI_PROCESS = ("evaluate", "benchmark", "reproduce", "demo", "complexity", "distill", "relabel", "teacher", "experts")
