"""The packaged settings and declarations; the survey that is meant where none is named."""

DEFAULT_SURVEY: str = "ztf"
DEFAULT_TABLE: str = "ztf"
EXAMPLE_ID: str = "ZTF20abfcszi"  # an object of it that the sample alerts have
EXAMPLE_COLUMNS: tuple[str, ...] = ("i:jd", "i:fid", "i:magpsf", "i:sigmapsf")
