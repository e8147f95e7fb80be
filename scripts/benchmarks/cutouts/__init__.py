"""The benchmarks of image stamps: how they come out of their blocks, and how they become pixels."""
