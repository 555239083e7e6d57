"""Values that settings of several commands may have: layouts, kinds of labels, ranges of pixels."""

LABEL_KINDS = ("hard", "logits", "probabilities")
LAYOUTS = ("imagefolder", "cls-loc", "archives", "parquet", "webdataset")
PIXEL_RANGES = ("normalised", "0-1", "0-255")
