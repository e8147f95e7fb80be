"""The benchmarks of cutouts from blocks on HDFS, against pyarrow's own reader of the same files in the same run."""
