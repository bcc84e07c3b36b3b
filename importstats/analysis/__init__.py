"""Analysis: frames in, frames out; no I/O, no clock, no state."""
