"""The stores. Only these packages know row keys, paths and files."""
