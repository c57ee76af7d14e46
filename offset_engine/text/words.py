"""256 words to compare keys by, one for each byte; part of what `fingerprint_words` promises.

Short, of everyday life, and hard to mistake for one another: any two differ in at least three letters and
within the first four. Their order is fixed: a changed word would make two programs disagree about a key.

Source: PROTOCOL.md, "Keys in words".
"""

from typing import Final

WORDS: Final = tuple(
    """
    acorn album amber anchor angel apple apricot apron athlete attic autumn avenue badge bakery
    balcony balloon bamboo barrel basket bathtub bishop blossom brick bronze cabbage cabin
    cactus canoe captain carpet castle cavern cheese chimney cinema circus cliff cloud coffee
    comet compass concert copper coral cotton cousin cradle crayon crown crystal cushion cyclone
    daisy dancer dentist desert diary doctor dolphin drawer drum dust eagle earth easel echo
    eclipse elbow elder engine envoy escape evening fabric factory farmer ferry flag flute
    forest fortune fossil fox friend furnace galaxy garden garlic gazelle ghost giant ginger
    giraffe glacier goblet grape guitar gypsum hamster harbor harvest hermit hippo horse hotel
    hunter hymn iceberg icicle igloo indigo insect iris island ivory jaguar jelly jewel jigsaw
    journey juice jungle kayak kernel kettle kingdom kitten kiwi koala ladder lantern laptop
    leopard lettuce liberty library lilac lion lobby lobster lotus magnet mammoth marble melon
    mermaid mirror monkey mosaic moth muffin muscle museum napkin nectar needle nephew nickel
    ninja nugget nursery nutmeg oasis oboe octopus olive opera orange ostrich otter oven owl
    oxygen package palace pancake panda paper parrot pasture peach pebble pelican pencil penguin
    pianist pigeon pillow pirate planet pony popcorn prince puzzle pyramid quartz queen quilt
    rabbit radio raisin ribbon river rocket rubber ruby runway saddle salad salmon saturn scarf
    school shadow sister sketch snail soccer spider sponge square statue stork summer swan syrup
    tailor tango teapot temple toast tomato topaz tulip tunnel turtle twig urchin valley velvet
    violin voyage waffle wagon walrus whale wisdom wizard wolf wrench yacht yarn yogurt zero
    zigzag zinc
    """.split()  # noqa: SIM905 - a table of words
)
