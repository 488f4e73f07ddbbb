"""Fulfils `ports.lakes.Lake`: Delta tables by delta-rs, Iceberg tables by PyIceberg."""
