"""Sources: ask servers, and give their answers types and times."""
