"""OpenTelemetry's protocol for spans over HTTP, in protobuf and in JSON."""
