"""What client and server share: query language, errors, times, completeness record, caller and deadline."""
