"""Pools of words from which slots and selectors are put together, and their split into words to train and to test on.

Pure: no clock, no files. A word belongs to the test side by its own digest, so the split never depends on the order of
a pool, and a word that is added later moves no other.
"""

import hashlib
from keyword import iskeyword
from random import Random
from typing import Literal

Side = Literal["train", "test"]

TEST_SHARE = 5
"""One word in this many is never seen in training."""


SMALLEST_SPLIT = 25
"""Pools with fewer words are used whole on both sides."""


def side_of(word: str) -> Side:
    """The side a word belongs to, for good."""
    return "test" if hashlib.sha256(f"side {word}".encode()).digest()[0] % TEST_SHARE == 0 else "train"


def on_side(pool: tuple[str, ...], side: Side) -> tuple[str, ...]:
    """The words of `pool` on `side`; a small pool is a set of roles (width, height …) and is not split."""
    return pool if len(pool) < SMALLEST_SPLIT else tuple(word for word in pool if side_of(word) == side)


def plural(word: str) -> str:
    """The plural of a noun, by the regular rules and a few exceptions."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + "s"


_IRREGULAR = {
    "person": "people",
    "child": "children",
    "leaf": "leaves",
    "shelf": "shelves",
    "knife": "knives",
    "loaf": "loaves",
    "wolf": "wolves",
    "mouse": "mice",
    "entry": "entries",
}


def coined(rng: Random, side: Side) -> str:
    """A noun that nobody has heard of, so that a model learns to copy rather than to remember."""
    while True:
        word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.randint(1, 2))) + rng.choice(_CODAS)
        if side_of(word) == side and not iskeyword(word):
            return word


_ONSETS = tuple("b d f g k l m n p r t v z br dr gl kr pl st tr fl sn".split())
_VOWELS = tuple("a e i o u oo ai".split())
_CODAS = tuple("b d g k l m n p r t ck rn lt mp nd".split())


def _pool(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.split()))


MONEY = _pool(
    "price cost fee fare wage rent toll charge premium deposit bonus payment salary rate tariff value postage commission tip "
    "subscription royalty pension allowance levy bounty donation refund stake ransom dues earnings amount expense reward"
)

COUNTS = _pool(
    "quantity count units seats copies tickets guests boxes bottles pages rooms visitors votes orders hours days weeks "
    "passengers crates pieces packs bags bricks tables chairs nights months miles shares plates rolls sheets cups jars barrels "
    "pallets lessons sessions trips rides meals shifts tiles panels windows doors lamps cartons licences workers members persons"
)

TALLIES = _pool(
    "visits likes views clicks wins losses points lives hits misses errors retries steps laps goals downloads logins calls "
    "attempts cycles turns jumps kills coins gems stars sales returns repairs edits shares pings alerts crashes saves bookings "
    "strikes rounds warnings complaints hugs smiles sneezes scans signups deaths births landings takeoffs refills"
)

LEVELS = _pool(
    "balance stock fuel energy health mana score level volume temperature speed brightness battery credit budget altitude "
    "pressure power charge savings funds water mileage debt mood heat hunger thirst humidity patience strength stamina gain "
    "opacity zoom contrast dose depth tension supply reserve capital weight mass altitude karma reputation moisture"
)

TEXTS = _pool(
    "color city country language genre brand material flavor shape mood season status role team club street town region "
    "animal fruit planet instrument hobby dialect species breed style theme texture fabric metal currency religion sport "
    "profession job department grade category kind topic subject mascot weather direction accent aroma engine crop vintage"
)

NAMES = _pool("name title label caption heading nickname headline alias username surname brandname codename")

LONG_TEXTS = _pool(
    "purpose note description motto comment summary about origin story message text slogan bio remark body "
    "content sentence line quote abstract memo"
)

STAMPS = _pool(
    "born created updated opened founded modified started published since joined built released signed arrived issued expires due"
)

THINGS = _pool(
    "tag item note word color city guest member player book song task step ingredient animal planet fruit tool letter email film recipe "
    "plant car dish street game course student teacher friend neighbour ship train bird tree flower "
    "stone river mountain poem hero villain "
    "idea goal wish skill language topic keyword author artist band room door window key lamp chair table box bag coin gem medal badge "
    "ticket parcel package letter route stop station sensor device server host user role rule event alarm message thread comment review "
    "toy puppet robot engine wheel part bolt shelf leaf knife wolf entry lesson chapter scene actor dancer runner pilot sailor farmer "
    "horse cow sheep goat hen fish cat dog mouse child person island lake bridge castle tower village market shop"
)

SERIES = _pool(
    "score price weight grade temperature reading distance age height vote duration sample size mark rating speed cost length "
    "profit loss sale delay balance level depth width rank latency pulse payment bid bill expense wage point number value measurement "
    "rainfall harvest dose lap time span area volume amount salary tip fine"
)

LEDGERS = _pool(
    "stock inventory prices counts votes balances ratings scores ages salaries points hours debts quotas weights limits "
    "populations attendance supplies savings marks goals expenses shares heights distances orders wages seats"
)

BOOKS = _pool(
    "phonebook capitals translations settings options owners aliases colors addresses emails labels roles titles languages currencies "
    "nicknames teams birthdays mentors rooms homes"
)

ADJECTIVES = _pool(
    "open active locked visible ready broken paid available hidden enabled sold muted frozen public fresh clean dirty full "
    "empty online busy asleep awake hungry happy sick alive lost found closed verified approved archived pinned starred premium "
    "urgent secret loaded armed sealed fragile married retired wet dry hot cold booked cancelled signed shiny rusty sharp"
)

MODIFIERS = _pool(
    "unit base max min total daily weekly current last first next old new red blue big small main spare extra left right home "
    "away upper lower inner outer front back net gross local remote north south early late young senior guest night summer winter"
)

WORDS = _pool(
    "amber anchor apple arrow atlas autumn bamboo banjo basil beacon berry birch blossom bolt breeze brick bronze canyon cedar "
    "cherry cinder clover cobalt comet copper coral cotton cricket crystal daisy delta denim dune echo "
    "eagle ember falcon fern flint forest "
    "garnet ginger glacier granite harbor hazel heron honey indigo iris ivory jade jasmine juniper kelp kite lagoon lantern lark laurel "
    "lemon lilac linen lotus maple marble meadow mint mist moss nectar nutmeg oak oasis olive onyx "
    "opal orchid otter paprika pebble pepper "
    "pine plum poppy quartz quill raven reed ridge robin ruby saffron sage sand sierra silver slate "
    "sparrow spruce summit sunset tea thistle "
    "thunder tiger timber topaz tulip tundra velvet violet walnut willow wren zephyr zinc"
)

PEOPLE = _pool(
    "Ada Alan Amira Anton Bea Boris Carla Chen Dana Diego Edith Elif Farid Fiona Goran Grace Hana Hugo Ines "
    "Ivan Jonas Julia Kaito Karen Lena "
    "Liam Mara Milo Nadia Nils Olga Omar Pavel Petra Quinn Rosa Samir Sofia Tariq Tessa Uma Viktor Wanda Xenia Yara Yusuf Zoe"
)

FAMILY_NAMES = _pool(
    "Baker Costa Dietz Evans Fischer Gupta Hansen Ito Jensen Kowalski Larsen Moreau Novak Okafor Petrov Quist Rossi Silva Tanaka "
    "Ueda Varga Weber Xu Young Zimmer"
)

SENTENCES = (
    "to learn from every message and to keep what it learned",
    "keeps the tools of the workshop in good order",
    "a quiet place by the river, open all year round",
    "made by hand in a small village far from the sea",
    "to serve the people who come in from the cold",
    "nobody remembers who planted the first tree here",
    "fragile, keep upright and away from direct sunlight",
    "to find out what the garden needs before it asks for it",
    "was repaired twice and still works every single day",
    "the best bread in town, baked before the sun is up",
    "watches the harbour and counts the ships that pass",
    "to become more than the sum of the parts it was given",
    "stored in the attic since the winter of the great snow",
    "an honest answer to a question that nobody has asked",
)
