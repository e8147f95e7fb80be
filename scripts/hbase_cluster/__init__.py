"""A real HDFS and a real HBase, each daemon a process of its own, from Maven artifacts; the standard library suffices."""
