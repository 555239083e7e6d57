"""Student networks: a registry of functions, one file a family; libraries' and users' own beside them."""
