"""From a plan to record batches: one archive in front, one pipeline of stages behind it."""
