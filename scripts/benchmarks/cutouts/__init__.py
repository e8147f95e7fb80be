"""The benchmarks of cutouts: reading from blocks on HDFS, and decoding to pixels."""
