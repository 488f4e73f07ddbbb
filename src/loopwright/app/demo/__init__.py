"""The story: half a year of real flights through the whole loop."""
