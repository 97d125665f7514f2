"""Scenes: three to six sentences about two or three people and their things, and questions about each of them.

Every answer stands in the scene, so the only way to be right is to look it up: the shortest exercise in keeping names and things apart.
"""
from lexicon import FOODS, HOMES, INDOOR_SPOTS, SPOTS, TIMES, WEATHER_BAD, WEATHER_GOOD

KEEPS = ["{p} has a {o}.", "{p} [owns|keeps|carries] a {o}.", "The {o} belongs to {p}.", "{p} is playing with a {o}.", "There is a {o} in {p}'s bag."]
PLACES = ["{p} [hid|put|left|forgot] the {o.n} {q}.", "{p}'s {o.n} is {q}.", "{p} found the {o.n} {q}."]
EATS = ["{p} likes {f}[ best| more than anything|].", "[For supper|Today] {p} [ate|had] {f}.", "{p}'s favorite food is {f}."]
LIVES = ["{p} lives in {h}.", "{p}'s home is {h}."]
TALK = ['"[Look|Come here|Wait|Listen], {g}!" [said|called] {p}.', "{p} [smiled at|waved to|waited for|thanked|helped] {g}.", '"[Is this your {o.n}|May I see the {o.n}], {g}?" asked {p}. "[Yes|Of course|Here you are]," said {g}.']


def scene(s):
    count = 2 if s.chance(0.65) else 3
    people, facts, lines = [], [], []
    for i in range(count):
        people.append(s.animal() if s.chance(0.25) else s.child())
    objects, spots = [s.thing() for _ in people], list(dict.fromkeys(s.pick(SPOTS if s.chance(0.6) else INDOOR_SPOTS) for _ in range(9)))
    foods, homes = list(dict.fromkeys(s.pick(FOODS) for _ in range(9))), list(dict.fromkeys(s.pick(HOMES) for _ in range(9)))
    kinds = ["keeps"] + [k for k in ("places", "eats", "lives") if s.chance(0.4)]
    for kind in kinds:
        for i, p in enumerate(people):
            names = {"p": p, "o": objects[i], "q": spots[i], "f": foods[i], "h": homes[i]}
            pool = {"keeps": KEEPS, "places": PLACES, "eats": EATS, "lives": LIVES}[kind]
            lines.append(s.text(s.pick(pool), **names))
            if kind == "keeps":
                facts += [s.text("Question: [Who has the {o.n}?|Whose is the {o.n}?]\nAnswer: [{p} has the {o.n}.|{p}.|The {o.n} belongs to {p}.]", **names),
                          s.text("Question: What does {p} have?\nAnswer: {p} has a {o}.", **names)]
            elif kind == "places":
                facts.append(s.text("Question: Where is the {o.n}?\nAnswer: It is {q}.", **names))
                facts.append(s.text("Question: What is {q}?\nAnswer: {p}'s {o.n}.", **names))
            elif kind == "eats":
                facts += [s.text("Question: Who likes {f}?\nAnswer: {p}[ likes {f}|].", **names), s.text("Question: What does {p} like to eat?\nAnswer: {p} likes {f}.", **names)]
            else:
                facts += [s.text("Question: Who lives in {h}?\nAnswer: {p}[ lives in {h}|].", **names), s.text("Question: Where does {p} live?\nAnswer: In {h}.", **names)]
    for _ in range(1 + int(s.rng.random() * 3)):
        i, k = int(s.rng.random() * count), int(s.rng.random() * (count - 1))
        g = (i + 1 + k) % count
        # Only after both have been named.
        lines.insert(count + int(s.rng.random() * (len(lines) - count + 1)), s.text(s.pick(TALK), p=people[i], g=people[g], o=objects[g]))
    s.names.update(w=s.pick(WEATHER_GOOD + WEATHER_BAD), time=s.pick(TIMES))
    asked = []
    for _ in range(3 + int(s.rng.random() * 5)):
        if facts:
            asked.append(facts.pop(int(s.rng.random() * len(facts))))
    return s.text("[|It is a {w} {time}. ]") + " ".join(lines) + "\n\n" + "\n".join(asked)
