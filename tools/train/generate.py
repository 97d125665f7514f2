"""Writes the training text: seeded stories, scenes, questions and answers about them, sums.

Training documents use seeds (1, n), held-out documents seeds (2, n): the two never meet.
    python generate.py --show 5            prints documents
    python generate.py --words             counts the words of 5,000 documents
"""
import argparse
import collections
import re

import numpy as np

import plots_a
import plots_b
import plots_c
import plots_d
import scenes
import sums
from engine import Story

PLOTS = [(plot, weight) for module in (plots_a, plots_b, plots_c, plots_d) for plot, weight in module.PLOTS]
DECK = [plot for plot, weight in PLOTS for _ in range(weight)]
SPLITS = {"train": 1, "held-out": 2}


class Random:
    """A random source with the two calls the generator makes; numpy's PCG64 underneath, so the text is the same everywhere."""

    def __init__(self, *seed):
        self._bits = np.random.Generator(np.random.PCG64(seed))
        self._pool, self._next = self._bits.random(256), 0

    def random(self):
        if self._next == 256:
            self._pool, self._next = self._bits.random(256), 0
        self._next += 1
        return self._pool[self._next - 1]

    def integers(self, low, high):
        return low + int(self.random() * (high - low))


def make_story(s, plot=None):
    (plot or s.pick(DECK))(s)
    body = s.body()
    noun = s.names["o"].n if "o" in s.names else ""
    title = s.title.replace("{N}", noun.title())
    return s.text(title), body


def questions(s, most):
    facts = list(dict.fromkeys(s.facts))
    chosen = []
    while facts and len(chosen) < most:
        chosen.append(facts.pop(int(s.rng.random() * len(facts))))
    return "\n".join(f"Question: {q}\nAnswer: {a}" for q, a in chosen)


EARLY = 12000  # so many training documents come first in which scenes are frequent


def document(split, number):
    """One document and its kind: 'story', 'story and questions', 'scene', 'sums'."""
    s = Story(Random(SPLITS[split], number))
    early = split == "train" and number < EARLY
    scene, sum_ = (0.6, 0.7) if early else (0.14, 0.36)
    draw = s.rng.random()
    if draw < scene:
        return scenes.scene(s), "scene"
    if draw < sum_:
        return sums.document(s), "sums"
    title, body = make_story(s)
    text = f"{title}\n\n{body}" if s.chance(0.5) else body
    if s.chance(0.5):
        return text, "story"
    return text + "\n\n" + questions(s, 2 + int(s.rng.random() * 3)), "story and questions"


def count_words(n):
    seen = collections.Counter()
    for i in range(n):
        seen.update(w.lower() for w in re.findall(r"[A-Za-z]+(?:['-][A-Za-z]+)*", document("train", i)[0]))
    return seen


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--show", type=int, default=0)
    arguments.add_argument("--start", type=int, default=0)
    arguments.add_argument("--words", action="store_true")
    options = arguments.parse_args()
    for i in range(options.start, options.start + options.show):
        print(f"---- {i}\n{document('held-out', i)[0]}\n")
    if options.words:
        print(len(count_words(5000)), "different words")
