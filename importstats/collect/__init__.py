"""Collect: jobs are polled and stored, and other systems hear of what happened."""
