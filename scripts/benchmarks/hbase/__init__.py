"""The benchmarks of the HBase store, against the HBase client's own scanner in the same run."""
