"""One file for each format of distilled sets: its reader and its writer."""
