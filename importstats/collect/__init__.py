"""Collect: polls jobs, stores the snapshots, and notifies other systems."""
