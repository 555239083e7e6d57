"""A static site that ranks results."""
