"""What ``scale.py`` measures: stores, columns, and each engine's way through them."""
