"""One student, or a stack of them, trained on images that are given."""
