"""The tables and columns: declarations of config/ with their types, units and Arrow schemas."""
