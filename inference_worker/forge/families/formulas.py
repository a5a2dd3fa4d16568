"""Quantities that everybody knows: areas, volumes, speed, unit conversions."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_FLAT = (
    ("width", "height"),
    ("length", "width"),
    ("width", "depth"),
    ("breadth", "length"),
    ("height", "base"),
    ("side_a", "side_b"),
    ("breadth", "width"),
    ("length", "breadth"),
    ("long_side", "short_side"),
)
_THINGS = (
    "floor",
    "room",
    "garden",
    "wall",
    "field",
    "screen",
    "window",
    "plot",
    "roof",
    "table",
    "board",
    "page",
    "canvas",
    "carpet",
    "tile",
    "picture",
)


def area(d: Draw) -> Method:
    """Width times height, with or without a noun before it."""
    first, second = d.rng.choice(_FLAT)
    noun = d.noun(_THINGS, 0)
    if d.rng.random() < 0.35:
        first, second = f"{noun}_{first}", f"{noun}_{second}"
    d.slot(first, values.number)
    d.slot(second, values.number)
    selector = d.say(
        "area",
        "area",
        "area",
        f"{noun}_area",
        f"{noun}_area",
        f"area_of_{noun}",
        "surface",
        "compute_area",
        "get_area",
        "total_area",
        "calculate_area",
    )
    return Method(selector, f"return self.{first} * self.{second}", lambda s: s[first] * s[second])


def perimeter(d: Draw) -> Method:
    """Twice the sum of the sides."""
    first, second = d.rng.choice(_FLAT)
    d.slot(first, values.number)
    d.slot(second, values.number)
    noun = d.noun(_THINGS, 0)
    selector = d.say("perimeter", "perimeter", f"{noun}_perimeter", "fence_length", "length_of_border", "get_perimeter", "outline")
    return Method(selector, f"return 2 * (self.{first} + self.{second})", lambda s: 2 * (s[first] + s[second]))


def volume(d: Draw) -> Method:
    """Three sides multiplied."""
    names = d.rng.choice(
        (("length", "width", "height"), ("width", "height", "depth"), ("width", "depth", "height"), ("length", "breadth", "thickness"))
    )
    for name in names:
        d.slot(name, values.number)
    noun = d.noun(("box", "tank", "room", "crate", "pool", "parcel", "aquarium", "chest"), 0)
    selector = d.say("volume", "volume", f"{noun}_volume", f"volume_of_{noun}", "compute_volume", "total_volume", "cubic_size")
    return Method(selector, "return " + " * ".join(f"self.{name}" for name in names), lambda s: s[names[0]] * s[names[1]] * s[names[2]])


_KNOWN = (
    (("speed", "average_speed", "velocity"), "distance", "/", "time"),
    (("density",), "mass", "/", "volume"),
    (("pace",), "minutes", "/", "kilometers"),
    (("force",), "mass", "*", "acceleration"),
    (("power", "watts"), "voltage", "*", "current"),
    (("momentum",), "mass", "*", "velocity"),
    (("pay", "wages", "salary", "earnings"), "hours", "*", "hourly_rate"),
    (("distance", "distance_travelled"), "speed", "*", "time"),
    (("work",), "force", "*", "distance"),
    (("consumption",), "litres", "/", "distance"),
    (("resistance",), "voltage", "/", "current"),
    (("cells", "cell_count", "number_of_cells"), "rows", "*", "columns"),
    (("pixels", "pixel_count"), "width", "*", "height"),
    (("reading_time",), "pages", "*", "minutes_per_page"),
    (("payroll",), "employees", "*", "salary"),
    (("turnover", "revenue"), "sales", "*", "average_price"),
    (("population_density",), "population", "/", "area"),
    (("fuel_cost",), "litres", "*", "price_per_litre"),
    (("seats", "seat_count"), "rows", "*", "seats_per_row"),
    (("bottles_needed",), "guests", "*", "bottles_per_guest"),
    (("days_needed", "duration"), "pages", "/", "pages_per_day"),
)


def known(d: Draw) -> Method:
    """A formula with a name of its own: speed, density, pay …"""
    names, first, operator, second = d.rng.choice(_KNOWN)
    d.slot(first, values.whole(1, 200))
    d.slot(second, values.number)
    name = d.rng.choice(names)
    outcome = (lambda s: s[first] * s[second]) if operator == "*" else (lambda s: s[first] / s[second])
    return Method(
        d.say(name, f"compute_{name}", f"get_{name}", f"calculate_{name}"), f"return self.{first} {operator} self.{second}", outcome
    )


_UNITS = (
    ("hours", "minutes", "*", 60),
    ("minutes", "seconds", "*", 60),
    ("days", "hours", "*", 24),
    ("weeks", "days", "*", 7),
    ("minutes", "hours", "/", 60),
    ("seconds", "minutes", "/", 60),
    ("years", "months", "*", 12),
    ("kilometers", "meters", "*", 1000),
    ("meters", "kilometers", "/", 1000),
    ("km", "meters", "*", 1000),
    ("meters", "centimeters", "*", 100),
    ("centimeters", "meters", "/", 100),
    ("kilograms", "grams", "*", 1000),
    ("grams", "kilograms", "/", 1000),
    ("kg", "grams", "*", 1000),
    ("litres", "millilitres", "*", 1000),
    ("dozens", "pieces", "*", 12),
    ("euros", "cents", "*", 100),
    ("cents", "euros", "/", 100),
    ("dollars", "cents", "*", 100),
    ("cents", "dollars", "/", 100),
    ("feet", "inches", "*", 12),
    ("miles", "kilometers", "*", 1.609344),
    ("inches", "centimeters", "*", 2.54),
    ("hours", "days", "/", 24),
    ("days", "weeks", "/", 7),
    ("months", "years", "/", 12),
    ("tons", "kilograms", "*", 1000),
    ("bytes", "kilobytes", "/", 1024),
    ("megabytes", "kilobytes", "*", 1024),
)


def conversion(d: Draw) -> Method:
    """A slot in another unit."""
    source, target, operator, factor = d.rng.choice(_UNITS)
    slot, quantity = source, ""
    if d.rng.random() < 0.5:
        quantity = d.noun(
            ("distance", "duration", "weight", "age", "length", "wait", "delay", "height", "load", "journey", "pause", "depth", "walk"), 0
        )
        slot = f"{quantity}_{d.rng.choice(('', 'in_'))}{source}"
    d.slot(slot, values.number)
    prefix = quantity or slot
    selector = d.say(
        f"{prefix}_in_{target}", f"in_{target}", f"to_{target}", f"as_{target}", f"{prefix}_to_{target}", f"convert_to_{target}"
    )
    outcome = (lambda s: s[slot] * factor) if operator == "*" else (lambda s: s[slot] / factor)
    return Method(selector, f"return self.{slot} {operator} {factor}", outcome)


def temperature(d: Draw) -> Method:
    """Celsius and Fahrenheit."""
    to_fahrenheit = d.rng.random() < 0.5
    source, target = ("celsius", "fahrenheit") if to_fahrenheit else ("fahrenheit", "celsius")
    slot = d.slot(d.rng.choice((source, f"temperature_{source}", f"degrees_{source}", f"{source}_degrees")), values.number)
    selector = d.say(f"temperature_in_{target}", target, f"in_{target}", f"to_{target}", f"as_{target}", f"degrees_in_{target}")
    if to_fahrenheit:
        return Method(selector, f"return self.{slot} * 9 / 5 + 32", lambda s: s[slot] * 1.8 + 32)
    return Method(selector, f"return (self.{slot} - 32) * 5 / 9", lambda s: (s[slot] - 32) / 1.8)


def square(d: Draw) -> Method:
    """A slot times itself, and the circle."""
    if d.rng.random() < 0.5:
        slot = d.slot(d.noun(words.LEVELS + words.SERIES, 0), values.number)
        return Method(
            d.say(f"{slot}_squared", f"squared_{slot}", f"square_of_{slot}"), f"return self.{slot} * self.{slot}", lambda s: s[slot] ** 2
        )
    slot = d.slot(d.rng.choice(("radius", "radius", "wheel_radius", "inner_radius")), values.number)
    if d.rng.random() < 0.5:
        return Method(
            d.say("circle_area", "area", "disc_area", "area_of_circle"),
            f"return 3.141592653589793 * self.{slot} * self.{slot}",
            lambda s: 3.141592653589793 * s[slot] ** 2,
        )
    return Method(
        d.say("circumference", "circle_circumference", "length_of_rim"),
        f"return 2 * 3.141592653589793 * self.{slot}",
        lambda s: 6.283185307179586 * s[slot],
    )


FAMILIES = (area, area, area, perimeter, volume, known, conversion, temperature, square)
