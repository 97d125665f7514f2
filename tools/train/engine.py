"""Spintax templates, characters and the rules of English that templates lean on (a/an, capitals, pronouns)."""
import re

from lexicon import BOYS, FOREST, GIRLS, JOBS, PET_NAMES, RELATIVES, SURNAMES, THINGS

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])(?!uni|use|Uni|eu|one\b|once)")
_SENTENCE = re.compile(r'((?:^|[.!?]"? |\n)"?)([a-z])')
_AFTER_QUOTE = re.compile(r'[!?]" $')


class Person:
    """A character: formats as its name; .he .him .his .himself agree with the gender; .kind is 'girl', 'fox', 'baker'..."""

    def __init__(self, name, gender, kind, adult=False, animal=None):
        self.name, self.gender, self.kind, self.adult, self.animal = name, gender, kind, adult, animal
        female = gender == "f"
        self.he, self.him = ("she", "her") if female else ("he", "him")
        self.his, self.himself = ("her", "herself") if female else ("his", "himself")
        self.child = "girl" if female else "boy"
        self.sibling = "sister" if female else "brother"

    def __format__(self, spec):
        return self.name

    @property
    def He(self):
        return self.he.capitalize()

    @property
    def His(self):
        return self.his.capitalize()


class Thing:
    """An object: formats as adjective and noun; .n is the bare noun."""

    def __init__(self, noun, adjective):
        self.n, self.adjective = noun, adjective

    def __format__(self, spec):
        return f"{self.adjective} {self.n}" if self.adjective else self.n


class Story:
    """Collects sentences into paragraphs; resolves choices with the story's own random source."""

    def __init__(self, rng):
        self.rng, self.paragraphs, self.current, self.facts, self.used = rng, [], [], [], set()
        self.title, self.names = "", {}

    def pick(self, options):
        return options[int(self.rng.random() * len(options))]

    def chance(self, p):
        return self.rng.random() < p

    def expand(self, text):
        while True:
            match = _CHOICE.search(text)
            if not match:
                return text
            text = text[:match.start()] + self.pick(match.group(1).split("|")) + text[match.end():]

    def text(self, template, **more):
        return tidy(self.expand(template).format(**{**self.names, **more}))

    def say(self, *templates, **more):
        """Adds each template as a sentence (or several) to the open paragraph; empty results vanish."""
        for template in templates:
            done = self.text(template, **more).strip()
            if done:
                self.current.append(done)

    def maybe(self, p, template, **more):
        if self.chance(p):
            self.say(template, **more)

    def one_of(self, *templates, **more):
        self.say(self.pick(templates), **more)

    def paragraph(self):
        if self.current:
            self.paragraphs.append(" ".join(self.current))
            self.current = []

    def fact(self, question, answer, **more):
        self.facts.append((self.text(question, **more), self.text(answer, **more)))

    def body(self):
        self.paragraph()
        return "\n\n".join(self.paragraphs)

    # characters
    def fresh(self, names):
        while True:
            name = self.pick(names)
            if name not in self.used:
                self.used.add(name)
                return name

    def child(self, gender=None):
        gender = gender or self.pick("mf")
        return Person(self.fresh(GIRLS if gender == "f" else BOYS), gender, "girl" if gender == "f" else "boy")

    def animal(self, gender=None):
        gender = gender or self.pick("mf")
        species = self.fresh(list(FOREST))
        return Person(self.fresh(PET_NAMES), gender, species, animal=FOREST[species])

    def pair(self, animals=0.25):
        """Two friends of different gender, so that 'he' and 'she' are never in doubt."""
        make = self.animal if self.chance(animals) else self.child
        first = make()
        return first, make("m" if first.gender == "f" else "f")

    def worker(self, gender=None, jobs=None):
        """An adult with a trade; named 'Mr. Holt' or 'Mrs. Finch', .kind is the trade."""
        gender = gender or self.pick("mf")
        job = self.pick(jobs or list(JOBS))
        if job in ("fisherman", "postman", "ferryman"):
            gender = "m"
        title = "Mr." if gender == "m" else self.pick(["Mrs.", "Miss"])
        who = Person(f"{title} {self.fresh(SURNAMES)}", gender, job, adult=True)
        who.place, who.work, who.gift = JOBS[job]
        return who

    def relative(self, owner, only=None):
        """'her grandmother': formats with the owner's possessive."""
        kind, gender = self.pick([r for r in RELATIVES if not only or r[0] in only])
        who = Person(f"{owner.his} {kind}", gender, kind, adult=True)
        return who

    def thing(self, pool=None):
        noun = self.fresh(list(pool or THINGS))
        return Thing(noun, self.pick(THINGS[noun]))


def tidy(text):
    text = _ARTICLE.sub(lambda m: m.group(1) + "n ", text)
    text = text.replace("a hour", "an hour").replace("a honest", "an honest")
    text = re.sub(r"  +", " ", text).replace(" .", ".").replace(" ,", ",")

    def upper(match):
        if _AFTER_QUOTE.search(match.group(1)):
            return match.group(0)  # 'What?" asked Mia' goes on with a small letter
        return match.group(1) + match.group(2).upper()

    return _SENTENCE.sub(upper, text)
