"""The Alertflight client: what notebooks and shells use to read an archive."""
