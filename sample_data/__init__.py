"""Real alerts; the package carries one file of them, which `alertflight simulate` replicates."""
