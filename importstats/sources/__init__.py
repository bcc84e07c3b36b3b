"""Sources: servers are asked, and their answers get types and times."""
