"""Ids and names for runs that come without one. Pure: an id gives both."""

from __future__ import annotations

from blake3 import blake3

__all__ = ["hex_id", "made_up_name"]

_AS_BASE_32 = str.maketrans("0123456789abcdefghjkmnpqrstvwxyz", "0123456789abcdefghijklmnopqrstuv")
_BITS = 128

_QUALITIES_TEXT = (
    "able agile airy amber ample azure brave bright brisk calm candid clear clever cosy crisp curious "
    "dapper daring deft eager early earnest even fair fast fine fleet fond frank free fresh gentle glad "
    "golden grand green handy happy hardy honest humble jolly just keen kind lively loyal lucid lucky "
    "mellow merry mild mint modest neat nimble noble open patient plain polite prime proud pure quick "
    "quiet rapid ready robust rosy rustic sage serene sharp silver simple sleek sly smart smooth snug "
    "solid sound spry stable steady stout sunny sure swift tender tidy trusty upbeat valiant vivid warm "
    "wily wise witty young zesty"
)
_THINGS_TEXT = (
    "acorn alder anchor apple aspen auk badger barley basin beacon beaver beech birch bison brook canyon "
    "cedar cherry cliff clover comet condor coral cove crane creek crow delta dove drum dune eagle elder "
    "elm falcon fern finch fjord flint fox frog gale garnet geyser glade grove gull harbor hare hawk "
    "hazel heron hill ibis iris isle ivy jay juniper kestrel kite lagoon lake lark larch lemur lily "
    "linden lynx magpie maple marsh martin meadow mesa mole moss oak opal osprey otter owl peak pebble "
    "pine plover pond poplar puffin quail raven reed reef ridge river robin rook rowan seal shore sorrel "
    "sparrow spruce squid stork stream swallow swan teal thrush tide toad trout tulip turtle vale vole "
    "walnut whale willow wren yak yew"
)
_QUALITIES, _THINGS = _QUALITIES_TEXT.split(), _THINGS_TEXT.split()
_NUMBERS = 1000


def hex_id(made: str) -> str:
    """An id of 26 letters as 32 hex digits, in the same order."""
    return f"{int(made.translate(_AS_BASE_32), 32) % (1 << _BITS):032x}"


def made_up_name(run_id: str) -> str:
    """Two words and a number, such as `calm-otter-217`, always the same for an id."""
    drawn = int.from_bytes(blake3(run_id.encode()).digest()[:12], "big")
    drawn, number = divmod(drawn, _NUMBERS)
    drawn, thing = divmod(drawn, len(_THINGS))
    return f"{_QUALITIES[drawn % len(_QUALITIES)]}-{_THINGS[thing]}-{number}"
