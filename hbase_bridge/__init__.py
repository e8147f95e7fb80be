"""The bridge to HBase: a Java process under control of this one, and the channel that rows come through."""

from hbase_bridge.channel import Batch, ScanChannel, WriteChannel
from hbase_bridge.faults import BridgeFault, GatewayLost
from hbase_bridge.gateway import Gateway, GatewaySettings

__all__ = ["Batch", "BridgeFault", "Gateway", "GatewayLost", "GatewaySettings", "ScanChannel", "WriteChannel"]
