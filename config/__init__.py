"""The configuration that Alertflight ships: defaults, tables and columns, installed as package data."""
