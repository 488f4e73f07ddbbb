"""The command line: every operation as `loopwright NOUN VERB`, built from an index, so help is quick."""

from loopwright.surfaces.cli.outcomes import carry_out
from loopwright.surfaces.cli.output import Output
from loopwright.surfaces.cli.parameters import json_option
from loopwright.surfaces.cli.tree import Command, LazyVerb, build_tree

__all__ = ["Command", "LazyVerb", "Output", "build_tree", "carry_out", "json_option"]
