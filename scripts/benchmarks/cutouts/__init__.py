"""The benchmarks of image stamps: how they come out of blocks on HDFS, and how they become pixels."""
