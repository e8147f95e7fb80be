"""A driver program of Spark, run in a separate environment: each line of JSON is a read, with a line of JSON as its result.

A read has the `options` of the data source, and may have `pushing`, whether filters are pushed, `where`, a filter as
SQL, `select`, a list of expressions as SQL, and `folders`, whether to tell in which folders executors read. `to` is
the file that the rows are written to.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession

from flight_client.spark import register


def folders(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the working folder for a partition; each executor has its own."""
    for _ in batches:
        pass
    yield pa.record_batch({"folder": [os.getcwd()]})  # noqa: PTH109


def answer(spark: SparkSession, read: dict[str, Any]) -> dict[str, Any]:
    spark.conf.set("spark.sql.python.filterPushdown.enabled", str(read.get("pushing", False)).lower())
    rows = spark.read.format("alertflight").options(**read["options"]).load()
    said = {"schema": rows.schema.jsonValue()}
    if "where" in read:
        rows = rows.where(read["where"])
    said["partitions"] = rows.rdd.getNumPartitions()
    if read.get("folders"):
        said["folders"] = [row.folder for row in rows.mapInArrow(folders, "folder string").collect()]
    if "select" in read:
        rows = rows.selectExpr(*read["select"])
    table = rows.toArrow()
    with pa.ipc.new_file(read["to"], table.schema) as file:
        file.write_table(table)
    return said


def main() -> None:
    spark = SparkSession.builder.getOrCreate()
    register(spark)
    for line in sys.stdin:
        try:
            said = answer(spark, json.loads(line))
        except Exception as error:
            said = {"error": str(error)}
        print(json.dumps(said), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
