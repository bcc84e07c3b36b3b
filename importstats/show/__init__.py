"""Show: a job in the terminal and in a notebook."""
