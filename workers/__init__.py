"""Worker applications: one package each, with its handlers and its own SQL."""
