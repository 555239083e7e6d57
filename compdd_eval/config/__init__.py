"""Every flag and default in one place: `config/NAME.py` holds the settings of the command NAME."""
