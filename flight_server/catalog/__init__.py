"""Which tables and columns exist: the declarations of config/ with their types, units and Arrow schemas."""
