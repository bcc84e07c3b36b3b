"""``python -m importstats``."""

from importstats.cli import main

if __name__ == "__main__":
    main()
