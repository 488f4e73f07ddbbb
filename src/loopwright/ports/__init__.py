"""Names what is needed from the world: narrow protocols, each with a docstring that is its contract."""
