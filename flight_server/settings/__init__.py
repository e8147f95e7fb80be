"""The settings of one process: packaged defaults, a file, the environment and flags, as one typed value."""
