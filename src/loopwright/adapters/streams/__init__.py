"""Fulfils `ports.sources.RecordStream`: Redis Streams (and Valkey's), Kafka."""
