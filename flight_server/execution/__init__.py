"""Execution of plans: `Archive` is the entry point, `Pipeline` reads the rows."""
