"""Parts that many plots share: openings, searches, sayings, closings."""
from lexicon import (FEELINGS_HAPPY, FEELINGS_SAD, HOMES, TIMES, TOWNS, TRAITS_GOOD, TRAITS_MIXED, WEATHER_BAD, WEATHER_GOOD)


def cast(s, animals=0.25):
    a, b = s.pair(animals)
    s.names.update(a=a, b=b)
    return a, b


def capital(text):
    return text[0].upper() + text[1:]


def who(s, p):
    """'a cheerful girl', 'a shy fox'."""
    size = s.pick(["", "", "little ", "young "])
    trait = s.pick(TRAITS_GOOD if s.chance(0.7) else TRAITS_MIXED)
    return f"{trait + ' ' if not size or s.chance(0.4) else ''}{size}{p.kind}"


def opening(s, a, hobby=True):
    s.names.update(town=s.pick(TOWNS), home=s.pick(HOMES), time=s.pick(TIMES),
                   who=who(s, a), a=a)
    if a.animal:
        den, food, sound, moved, feature = a.animal
        s.names.update(den=den, diet=food, sound=sound, feature=feature)
        s.one_of("[Once upon a time|Long ago|Once|In a quiet forest], there [was|lived] a {who} named {a}.",
                 "{a} was a {who} with {feature}." if feature.endswith("s") or "fur" in feature else "{a} was a {who} with a {feature}.",
                 "[Deep in the woods|At the edge of the forest|Not far from the river|Beyond the hills] lived a {who} [named|called] {a}.")
        s.maybe(0.6, "{a.He} lived in a {den} and [ate|liked] {diet} [every day|best of all|more than anything].")
        if hobby:
            s.maybe(0.3, "{a.He} [knew every path in the forest|liked to sing when the sun came up|was known to all the animals nearby|slept late and stayed up late].")
        return
    s.one_of("[Once upon a time|Once|Long ago|Many years ago], there [was|lived] a {who} named {a}.",
             "[Once upon a time,|Once,] a {who} named {a} lived in {town}.",
             "{a} was a {who} who lived in {home}.",
             "In {town} there lived a {who} [named|called] {a}.",
             "{a} lived in {home} [with {a.his} family|with {a.his} mother and father|with {a.his} grandparents|with {a.his} aunt].")
    if hobby:
        s.maybe(0.55, s.pick(HOBBIES))


HOBBIES = """{a.He} loved to [read books about faraway countries|draw ships and castles|climb trees|collect smooth stones|sing in the kitchen|watch the clouds|ask difficult questions|look at the stars|help in the garden|listen to old tales|build towers of wooden blocks|watch the ships come in|feed the birds|walk barefoot in the rain|make up songs about everything|count the wagons of the train]./{a.His} [hair was never combed|best friend was a fat old cat|room was full of shells and feathers|questions made the teacher smile|shoes were always untied|hair was always full of straw|pockets were always full of string and pebbles|boots were always muddy|laugh could be heard three houses away|best days were the ones spent outdoors]./Everybody [in the street|nearby|at school] knew {a} [because {a.he} was always humming a tune|because {a.he} said hello to everyone|by {a.his} loud laugh|by {a.his} yellow coat]./{a} [was never bored|had many plans|liked quiet places|collected everything that shone|could imitate every bird|wanted to see the whole world|was good at keeping secrets|often forgot the time|could not sit still for long|always told the truth|never gave up easily].""".split("/")


def weather(s, good=None):
    """'One sunny morning,' as the start of a sentence; the caller goes on."""
    good = s.chance(0.75) if good is None else good
    s.names.update(w=s.pick(WEATHER_GOOD if good else WEATHER_BAD), time=s.pick(TIMES))
    return s.text("[One {w} {time}|One {time}|One {w} {time}]") + ","


def sad(s):
    return s.pick(FEELINGS_SAD)


def happy(s):
    return s.pick(FEELINGS_HAPPY)


def closing(s, *special):
    """An end that fits the plot, or one of a few that fit them all."""
    if special and s.chance(0.8):
        s.one_of(*special)
    else:
        s.one_of("[That night|That evening], {a} [fell asleep with a smile|slept very well|went to bed happy|dreamed of the whole day again].",
                 "It had been a [long|good|strange|wonderful] day, and {a} [would remember it for a long time|never forgot it|told everyone about it].",
                 "[When the lamps were lit that evening, everyone was content|There was nothing left to worry about|It was a happy end to a long story|Everything was well again].",
                 "{a} [looked up at the evening sky and smiled|sat for a while and thought about it all|could hardly wait for the next day|told the story many times, and each time it grew a little longer].",
                 "{a} [went home|walked home] [under the stars|singing all the way|with a light heart|just in time for supper].")


MORALS = {
    "help": "[Help comes to those who give it|A small kindness can come back to you|Nobody is too small to help|Helping a friend makes two people happy].",
    "share": "[Things are more fun when they are shared|Sharing makes a small thing big|Half a cake with a friend tastes better than a whole one alone].",
    "truth": "[The truth is hard to say but easy to carry|A lie grows heavier every day|An honest word is better than a clever excuse].",
    "try": "[Nobody learns in a day|You only fail when you stop trying|Small steps lead up tall mountains|Practice makes hard things easy].",
    "care": "[Careful hands keep what they have|It is wise to look twice|A good plan saves a lot of work].",
    "friend": "[A good friend is worth more than gold|Friends can quarrel and still be friends|It is never too late to say sorry].",
    "brave": "[Being brave means being afraid and going on|Courage grows when you use it|Fear gets smaller when you look at it].",
}


def moral(s, key, p=0.3):
    if s.chance(p):
        s.say(s.pick(["", "{a} learned something that day: ", "Since then {a} has known one thing: "]) + MORALS[key])


def thanks(s, helper="b"):
    h = s.names[helper]
    s.one_of('"Thank you, {h}! [I could not have done it without you|You are the best|I will never forget this|How can I ever repay you]!" said {a}.' if helper == "b" else
             '"Thank you so much!" said {a}.',
             '"[Thank you a thousand times|Oh, thank you]!" [cried|said|called] {a} [and hugged {h.him}|with shining eyes|again and again].',
             "{a} thanked {h} [again and again|with all {a.his} heart|and gave {h.him} a big hug|and promised to help {h.him} one day].", h=h)
