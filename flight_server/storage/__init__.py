"""The stores: the only rooms that know row keys, paths and files."""
