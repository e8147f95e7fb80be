"""The Alertflight client, for notebooks, scripts and training jobs that read an archive.

>>> import flight_client as af
>>> archive = af.connect("grpc://127.0.0.1:8815")
>>> archive.objects(["ZTF20abfcszi"], columns=["i:jd", "i:fid", "i:magpsf"])
<Answer: 1 object of ztf, 3 columns, not read yet>

Importing this package loads pyarrow and nothing heavier.
"""

from flight_client.answer import Answer, MissingObjects
from flight_client.archive import Archive, connect
from flight_client.endpoints import Endpoint, Piece, Plan, plan, plans, read_endpoint
from flight_client.exchange import Exchange
from flight_client.records import Record
from flight_client.retries import Retries
from flight_server.protocol import errors
from flight_server.protocol.query import Query

__all__ = [
    "Answer",
    "Archive",
    "Endpoint",
    "Exchange",
    "MissingObjects",
    "Piece",
    "Plan",
    "Query",
    "Record",
    "Retries",
    "connect",
    "errors",
    "plan",
    "plans",
    "read_endpoint",
]
