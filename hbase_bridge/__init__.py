"""The bridge to HBase: a Java process that this one starts and ends, and the channel that carries its rows."""

from hbase_bridge.channel import Batch, Mode, ScanChannel, WriteChannel
from hbase_bridge.faults import BridgeFault, GatewayLost
from hbase_bridge.gateway import Gateway
from hbase_bridge.process import GatewaySettings

__all__ = ["Batch", "BridgeFault", "Gateway", "GatewayLost", "GatewaySettings", "Mode", "ScanChannel", "WriteChannel"]
