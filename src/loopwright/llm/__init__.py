"""Large language models: what they did (traces), what was said of it, and what they are tried on."""
