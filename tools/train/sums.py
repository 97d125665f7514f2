"""Sums: bare lines and little word problems."""
from lexicon import BOYS, COUNTABLES, GIRLS


def bare(s):
    """Addition up to 20 + 20, subtraction from at most 40, multiplication up to 10 * 10; small numbers more often."""
    kind, most = s.rng.random(), 21 if s.chance(0.5) else 11
    x, y = int(s.rng.integers(0, most)), int(s.rng.integers(0, most))
    if kind < 0.5:
        return f"{x} + {y} = {x + y}."
    if kind < 0.85:
        return f"{x + y} - {y} = {x}."
    x, y = int(s.rng.integers(1, 11)), int(s.rng.integers(1, 11))
    return f"{x} * {y} = {x * y}."


NUMBER_ONE = {"cookies": "cookie", "candles": "candle", "marbles": "marble", "pencils": "pencil", "roses": "rose", "plates": "plate", "leaves": "leaf",
              "bottles": "bottle", "boxes": "box", "fish": "fish", "apples": "apple"}


def count(n, noun):
    if n == 1:
        return "1 " + NUMBER_ONE.get(noun, noun[:-1])
    return f"{n} {noun}"


def problem(s):
    girl = s.chance(0.5)
    name, he = s.pick(GIRLS if girl else BOYS), "she" if girl else "he"
    other = s.pick(BOYS if girl else GIRLS)
    noun = s.pick(COUNTABLES)
    x = int(s.rng.integers(2, 21))
    kind = int(s.rng.integers(0, 6))
    He = he.capitalize()
    if kind in (0, 1):
        y = int(s.rng.integers(1, 11))
        verb = s.pick(["gets {} more", "finds {} more", "buys {} more", "makes {} more", "is given {} more"]).format(y)
        return f"{name} has {count(x, noun)} and {verb}. Now {he} has {count(x + y, noun)}."
    if kind in (2, 3):
        y = int(s.rng.integers(1, x + 1))
        verb = s.pick(["loses {}", "gives {} to " + other, "sells {}", "gives {} away", "drops {}"]).format(y)
        left = x - y
        end = f"{He} has no {noun} left." if left == 0 else f"{He} has {count(left, noun)} left."
        return f"{name} has {count(x, noun)} and {verb}. {end}"
    if kind == 4:
        y = int(s.rng.integers(2, 11))
        return f"{name} has {count(x, noun)} and {other} has {count(y, noun)}. Together they have {count(x + y, noun)}."
    k, y = int(s.rng.integers(2, 7)), int(s.rng.integers(2, 8))
    return f"{name} has {k} boxes with {count(y, noun)} in each. That makes {count(k * y, noun)}." if noun not in ("boxes", "baskets") else \
        f"{name} fills {k} {noun} with {y} stones each. That makes {k * y} stones."


def ask(s):
    """A word problem as question and answer."""
    name, other, noun = s.pick(GIRLS), s.pick(BOYS), s.pick(COUNTABLES)
    x, y = int(s.rng.integers(2, 21)), int(s.rng.integers(1, 11))
    if s.chance(0.5):
        return f"Question: {name} has {count(x, noun)}. {other} gives her {y} more. How many {noun} does she have now?\nAnswer: She has {count(x + y, noun)}."
    x = max(x, y)
    left = x - y
    have = f"no {noun}" if left == 0 else count(left, noun)
    return f"Question: {other} had {count(x, noun)}. He gave {y} to {name}. How many {noun} does he have now?\nAnswer: He has {have}."


def document(s):
    n = int(s.rng.integers(4, 9))
    kind = s.rng.random()
    if kind < 0.5:
        return "\n".join(bare(s) for _ in range(2 * n))
    if kind < 0.8:
        return "\n".join(problem(s) for _ in range(n))
    return "\n".join(ask(s) for _ in range(n - 1))
