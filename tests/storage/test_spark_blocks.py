"""The blocks of tests and benchmarks are like those that Spark writes."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from spark_files import RUBIN_FILES, Block, BlockFault, Writing, rubin_alerts, write_blocks, ztf_alerts

KINDS = ("Science", "Template", "Difference")
# Java and Maven are needed, as for HBase
pytestmark = [pytest.mark.java, pytest.mark.timeout(1800)]


def chunks(path):
    """The column chunks of the first row group by their paths."""
    group = pq.read_metadata(path).row_group(0)
    found = [group.column(place) for place in range(group.num_columns)]
    return {chunk.path_in_schema: chunk for chunk in found}


def leaves(cells):
    """The leaf arrays of an array; floats as bits, so that NaN equals itself."""
    if isinstance(cells, pa.MapArray):
        return [pc.list_value_length(cells.cast(pa.list_(cells.type.field(0)))), *leaves(cells.keys), *leaves(cells.items)]
    if pa.types.is_struct(cells.type):
        return [cells.is_valid(), *(leaf for field in cells.flatten() for leaf in leaves(field))]
    if pa.types.is_list(cells.type):
        return [pc.list_value_length(cells), *leaves(cells.flatten())]
    if pa.types.is_floating(cells.type):
        return [cells.is_valid(), cells.fill_null(0).view(f"int{cells.type.bit_width}")]
    return [cells]


def same(one, other):
    columns = zip(one.combine_chunks().columns, other.combine_chunks().columns, strict=True)
    pairs = [zip(leaves(a.chunk(0)), leaves(b.chunk(0)), strict=True) for a, b in columns]
    return one.schema.equals(other.schema) and all(a.equals(b) for pair in pairs for a, b in pair)


def read(path):
    return pq.read_table(path, page_checksum_verification=True)


@pytest.fixture(scope="module")
def alerts():
    return ztf_alerts(250, 60)


@pytest.fixture(scope="module")
def written(alerts, tmp_path_factory):
    """The same alerts written by Spark and in other ways; all by one process."""
    folder = tmp_path_factory.mktemp("blocks")
    ways = {
        "spark": Writing(),
        "zstd": Writing(codec="zstd"),
        "gzip": Writing(codec="gzip"),
        "uncompressed": Writing(codec="uncompressed"),
        "v2": Writing(version="v2"),
        "no dictionary": Writing(dictionary=False),
        "many groups": Writing(row_group_bytes=2 << 20),
        "small pages": Writing(page_bytes=64 << 10),
        "no checksums": Writing(checksums=False),
    }
    write_blocks(Block(folder / name, alerts, writing) for name, writing in ways.items())
    return {name: folder / name for name in ways}


def test_every_way_of_writing_keeps_all_rows_of_all_columns(alerts, written):
    for path in written.values():
        assert same(read(path), alerts), path.name


def test_alerts_are_told_apart_by_their_ids_and_stamps(alerts):
    others = ztf_alerts(250, 60, first=250)
    assert not same(alerts, others)
    both = pa.concat_tables([alerts, others])
    assert pc.count_distinct(both["candid"]).as_py() == 500
    assert pc.count_distinct(both["objectId"]).as_py() == 120
    assert pc.match_substring_regex(both["objectId"], "^ZTF[0-9]{2}[a-z]{7}$").to_pylist() == [True] * 500
    for kind in KINDS:
        assert pc.count_distinct(pc.struct_field(both[f"cutout{kind}"], "stampData")).as_py() == 500
    assert alerts["candid"].equals(pc.struct_field(alerts["candidate"], "candid"))
    assert pc.max(pc.list_value_length(alerts["prv_candidates"])).as_py() > 1


def test_a_file_of_spark_has_one_row_group_snappy_and_an_offset_index_of_every_column(written):
    metadata = pq.read_metadata(written["spark"])
    assert (metadata.num_row_groups, metadata.num_rows, metadata.num_columns) == (1, 250, 268)
    assert metadata.created_by.startswith("parquet-mr version 1.17")
    assert pq.ParquetFile(written["spark"]).schema.to_arrow_schema().names == read(written["spark"]).schema.names
    assert b"org.apache.spark.sql.parquet.row.metadata" in metadata.metadata
    assert b"ARROW:schema" not in metadata.metadata
    found = chunks(written["spark"])
    assert all(chunk.has_offset_index and chunk.compression == "SNAPPY" for chunk in found.values())
    assert found["timestamp"].physical_type == "INT96"


def test_stamps_are_plain_and_ids_as_small_as_spark_makes_them(written):
    found = chunks(written["spark"])
    for kind in KINDS:
        stamps = found[f"cutout{kind}.stampData"]
        assert not stamps.has_dictionary_page
        assert "PLAIN" in stamps.encodings
    assert found["objectId"].has_dictionary_page


def test_ways_of_writing_show_in_the_file(written):
    assert chunks(written["zstd"])["candid"].compression == "ZSTD"
    assert chunks(written["gzip"])["candid"].compression == "GZIP"
    assert chunks(written["uncompressed"])["candid"].compression == "UNCOMPRESSED"
    assert not any(chunk.has_dictionary_page for chunk in chunks(written["no dictionary"]).values())
    assert pq.read_metadata(written["many groups"]).num_row_groups > 2
    assert "RLE_DICTIONARY" in chunks(written["v2"])["objectId"].encodings


def test_checksums_are_there_unless_not_wanted(written, tmp_path):
    def damaged(path):
        """Flip the last byte of the IDs' pages."""
        chunk = chunks(path)["candid"]
        content = bytearray(path.read_bytes())
        content[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 1
        copy = tmp_path / "damaged"
        copy.write_bytes(content)
        return pq.read_table(copy, columns=["candid"], page_checksum_verification=True)

    with pytest.raises(OSError, match="CRC"):
        damaged(written["spark"])
    plain = pq.read_table(written["no checksums"], columns=["candid"])
    assert not damaged(written["no checksums"]).equals(plain)


@pytest.mark.skipif(not RUBIN_FILES, reason="needs the real Rubin alerts beside the repository")
def test_rubin_alerts_keep_their_nested_ids_and_plain_stamps(tmp_path):
    alerts = rubin_alerts(RUBIN_FILES, 150, 40)
    (path,) = write_blocks([Block(tmp_path / "rubin.parquet", alerts)])
    assert same(read(path), alerts)
    assert pc.count_distinct(pc.struct_field(alerts["diaSource"], "diaSourceId")).as_py() == 150
    assert pc.count_distinct(pc.struct_field(alerts["diaObject"], "diaObjectId")).as_py() == 40
    assert alerts["diaSourceId"].equals(pc.struct_field(alerts["diaSource"], "diaSourceId"))
    found = chunks(path)
    for kind in KINDS:
        assert not found[f"cutout{kind}"].has_dictionary_page
        assert all(stamp.as_py().startswith(b"SIMPLE") for stamp in alerts[f"cutout{kind}"])


def test_a_table_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(BlockFault, match="LZ5"):
        write_blocks([Block(tmp_path / "block", ztf_alerts(5), Writing(codec="lz5"))])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_3000_alerts_make_one_row_group_of_121_mb(tmp_path):
    (path,) = write_blocks([Block(tmp_path / "block.parquet", ztf_alerts())])
    assert 120e6 < path.stat().st_size < 123e6
    metadata = pq.read_metadata(path)
    assert (metadata.num_rows, metadata.num_row_groups) == (3000, 1)
    assert 50_000 < metadata.serialized_size < 66_000
    ids = [chunks(path)[name].total_compressed_size for name in ("objectId", "candid")]
    assert sum(ids) < 70_000
