"""Plots about the sea, an egg, a riddle, too much change, a wish, a lost voice."""
from lexicon import COLORS, COUNTABLES, FLOWERS, FOODS, FRUITS, SPOTS
from parts import capital, cast, closing, happy, moral, opening, sad, weather


def fog(s):
    a = s.child()
    b = s.relative(a, ["father", "uncle", "grandfather", "older brother"])
    c = s.worker(jobs=["lighthouse keeper"])
    cause = s.pick([("had slipped on the wet stairs and could not walk", "bandaged {c.his} foot"), ("lay in bed with a high fever", "put a cold cloth on {c.his} head"), ("was away in the town to buy oil", "looked for the spare key")])
    way = s.pick([("climbed the two hundred steps and lit the big lamp", "the light"), ("rang the fog bell until {a.his} arms hurt", "the bell"), ("lit a great fire of driftwood on the rocks", "the fire"), ("blew the old brass horn again and again", "the horn")])
    s.names.update(a=a, b=b, c=c, happy=happy(s))
    s.names.update(cause=cause[0], first=s.text("and " + cause[1])[4:], way=s.text("and " + way[0])[4:], sign=way[1], boat=s.pick(["the Seagull", "the Maria", "the Blue Star", "the Good Hope", "the Swallow", "the Dolphin"]))
    s.title = s.pick(["Fog", "The Night of the Fog", "{a} and the Lighthouse", "A Light in the Fog"])
    opening(s, a, False)
    s.say("{a.His} " + b.kind + " [went out to sea every day in|was a fisherman and had] a boat called {boat}.")
    s.paragraph()
    s.say("One {time} a thick fog came in from the sea. [You could not see your own hand|The harbor disappeared as if someone had wiped it away]. {boat_c} had not come back, and the lighthouse was dark.", time=s.pick(["evening", "autumn evening", "November evening", "winter night"]), boat_c=s.names["boat"].replace("the", "The"))
    s.say("{a} [took a lantern and ran|ran] up the path to the lighthouse. {c}, the lighthouse keeper, {cause}." if "away" not in cause[0] else "{a} ran up the path to the lighthouse. But {c}, the lighthouse keeper, {cause}.")
    s.say("{a} {first}. [Then there was no time to lose|But there was no time to lose].")
    s.say("{a} {way}. [Nothing happened for a long time|For an hour nobody came]. {a} did not stop.")
    s.paragraph()
    s.say("[At last|Long after midnight] {a} heard voices on the water. {boat_c} came slowly out of the fog, and {b} jumped ashore. \"What saved us was {sign}!\" {b.he} said.", boat_c=s.names["boat"].replace("the", "The"))
    s.one_of("{a} was too tired to answer. {b} carried {a.him} home on {b.his} back.", "{b} held {a.him} for a long time and said nothing more.", "When {b} heard who had done it, {b.he} was very proud.")
    moral(s, "brave", 0.3)
    closing(s, "Since that night {a} has had a key to the lighthouse.", "{c} taught {a} everything about the lamp, and one day {a} will be the keeper.")
    s.fact("What was the name of the boat?", "The boat was called {boat}.")
    s.fact("What did {a} do to save the boat?", "{a.He} {way}.")
    s.fact("Who was on the boat?", "{b_c} was on the boat.", b_c=capital(b.name))
    s.fact("Who was the lighthouse keeper?", "The lighthouse keeper was {c}.")


HATCH = [("a duckling", "followed {a.him} everywhere, even into the kitchen", "learned to swim in a bucket", "joined the wild ducks on the lake"), ("a little owl", "slept all day in an old hat", "learned to fly from chair to chair", "moved into the barn and caught all the mice"),
         ("a tiny turtle", "carried its house up and down the garden path", "learned to eat from the hand", "walked into the pond with a happy splash"), ("a swan, grey and ugly", "hissed at everybody except {a.him}", "grew whiter every week", "flew over the roof in a big circle"),
         ("a crow", "stole every shiny thing in the house", "learned to say good morning", "built a nest in the chestnut tree"), ("a gosling", "thought {a} was its mother", "learned to run, always one step behind", "flew south with the others in autumn")]


def egg(s):
    a, b = cast(s, 0)
    animal, does, learns, end = s.pick(HATCH)
    guess = s.fresh(["a snake", "a dragon", "a chicken", "an eagle", "a crocodile", "a dinosaur"])
    s.names.update(animal=animal, learns=learns, end=end, guess=guess, p=s.pick(SPOTS), color=s.pick(["white", "blue", "green", "yellow", "pink", "grey", "brown", "golden"]), happy=happy(s))
    s.names["does"] = s.text("and " + does)[4:]
    warm = s.pick(["under a warm lamp", "in a box of wool beside the stove", "between two cushions", "in a nest of old socks", "in a basket full of feathers"])
    s.names["warm"] = warm
    s.title = s.pick(["The Strange Egg", "What Is in the Egg?", "{a} and the Egg", "An Egg in the Grass"])
    opening(s, a)
    s.say(weather(s, True) + " {a} found an egg {p}. It was {color} with dark spots, and there was no nest near it.")
    s.say("\"[Maybe it is {guess}|I think it is {guess}]!\" said {b}. \"[We will see|Whatever it is, it must not get cold],\" said {a}. {a.He} [carried it home|took it home] and put it {warm}.")
    s.paragraph()
    s.say("{a} [turned it every morning|sat beside it every evening|talked to it every day]. [After a week|On the tenth day] {b} said: \"[It is only a cold egg|Nothing will come of it].\" But {a} [would not give up|kept it warm all the same].")
    s.say("[Then, one night,|On Sunday morning] there was a tiny knock. The shell cracked, and out came {animal}!")
    s.say("\"[So it is not {guess}|That is not {guess} at all],\" said {b} [and had to laugh|a little sadly].")
    s.paragraph()
    s.say("It {does}. It {learns}. And [in the end|when it was big and strong], it {end}.")
    s.one_of("{a} was sad and {happy} at the same time.", "{a} stood there and waved for a long time.", "\"[Good luck, my friend|Come back soon]!\" {a} called.")
    moral(s, "care", 0.25)
    closing(s, "In {a}'s room, on the windowsill, lies half a {color} shell.", "The next spring there was a second egg {p}.")
    s.fact("Where did {a} find the egg?", "{a.He} found it {p}.")
    s.fact("What color was the egg?", "It was {color} with dark spots.")
    s.fact("What came out of the egg?", "It was {animal}." if s.chance(0.5) else "Out came {animal}.")
    s.fact("What did {b} think was in the egg?", "{b.He} thought it was {guess}.")


RIDDLES = [("What has teeth but cannot eat?", "a comb"), ("What has hands but cannot clap?", "a clock"), ("What gets wetter the more it dries?", "a towel"), ("What runs all day but never gets tired?", "a river"), ("What has one eye but cannot see?", "a needle"),
           ("What has a neck but no head?", "a bottle"), ("What goes up when the rain comes down?", "an umbrella"), ("What is full of holes but holds water?", "a sponge"), ("What has legs but cannot walk?", "a table"), ("What can fill a room but weighs nothing?", "light"),
           ("What can you break without touching it?", "a promise"), ("What has leaves but is no tree?", "a book"), ("What speaks every language but has no mouth?", "an echo"), ("What follows you in the sun and leaves you in the dark?", "a shadow"), ("What gets bigger the more you take away?", "a hole")]


def riddle(s):
    a, b = cast(s)
    (q1, a1), (q2, a2) = s.pick(RIDDLES), s.pick(RIDDLES)
    while q2 == q1:
        q2, a2 = s.pick(RIDDLES)
    guard = s.pick(["an old troll", "a giant", "a grumpy goat", "a tall guard", "a wizard with a long beard", "a witch with a green hat", "a stone lion that could speak"])
    what = s.pick(["the bridge", "the gate of the garden", "the tunnel", "the mountain road", "the door of the tower"])
    want = s.pick(["get home before dark", "bring medicine to a sick friend", "pick the apples on the other side", "see the sea", "visit {b}'s grandmother", "find a lost lamb"])
    s.names.update(q1=q1, a1=a1, q2=q2, a2=a2, guard=guard, what=what, happy=happy(s), prize=s.pick(["a silver bell", "a golden key", "a small red stone", "a bag of nuts", "a warm cloak", "an old map"]))
    w = s.text("and " + want)[4:]
    s.names.update(want=w, g=guard.split(" with")[0].split(" that")[0].split(" ", 1)[1])
    s.title = s.pick(["The Riddle", "Two Riddles", "{a} Answers a Riddle", "The Keeper of the Way"])
    opening(s, a)
    s.say(weather(s) + " {a} and {a.his} friend {b} wanted to {want}. But {guard} sat in front of {what}. \"[Nobody may pass|You may not pass|No one gets through here] without the right answer,\" said the {g}.")
    s.paragraph()
    s.say("\"{q1}\" asked the {g}. {b} [scratched {b.his} ear|closed {b.his} eyes|walked up and down]. \"[I do not know|That is too hard for me],\" {b.he} [whispered|said].")
    s.say("But {a} [looked around|thought and thought|smiled]. \"[It is|That must be|I know, it is] {a1}!\" {a.he} said. The {g} [frowned|grumbled]. \"[Right|Correct]. But now comes a harder one. {q2}\"")
    s.say("This time {a} [had no idea|did not know it], and it was {b} who [jumped up|laughed]. \"[That is easy, it is|Ha, it is] {a2}!\" {b.he} [cried|called].")
    s.paragraph()
    s.say("The {g} [began to smile|laughed so loudly that the stones shook|stood up slowly]. \"[Alone, neither of you would have passed, but together you are wise|Two heads are better than one, and you have two good ones],\" said the {g}. The {g} let them go and gave them {prize} too.")
    s.say("So they could {want}.")
    moral(s, "friend", 0.3)
    closing(s, "On the way home they made up new riddles, and when they came back, it was the {g} who had to guess.", "They were {happy} and asked each other riddles all the way.")
    s.fact("Who sat in front of {what}?", "{guard_c} sat there.", guard_c=capital(guard))
    s.fact("{q1}", "It is {a1}." if a1 != "light" else "It is light.")
    s.fact("{q2}", "It is {a2}.")
    s.fact("Who knew the second answer?", "{b} knew it.")


def change(s):
    a = s.child()
    c = s.worker(jobs=["baker", "grocer", "farmer", "potter", "tailor", "shoemaker", "beekeeper"])
    r = s.relative(a)
    good = s.pick({"baker": ["bread", "rolls", "a cake"], "grocer": ["sugar", "rice", "candles"], "farmer": ["eggs", "milk", "potatoes"], "potter": ["a jug", "two cups"], "tailor": ["a spool of thread", "six buttons"],
                   "shoemaker": ["laces", "a tin of polish"], "beekeeper": ["honey", "wax"]}[c.kind])
    pay, cost = s.pick([(10, 4), (10, 6), (10, 3), (20, 8), (20, 12), (10, 7), (20, 5), (20, 15), (10, 2)])
    right = pay - cost
    extra = s.pick([1, 2, 5, 10])
    s.names.update(a=a, c=c, r=r, good=good, pay=pay, cost=cost, right=right, extra=extra, got=right + extra, happy=happy(s), toy=s.thing(["ball", "kite", "marble", "whistle", "top", "yo-yo", "ribbon", "toy boat", "pencil"]),
                   coins="coin" if extra == 1 else "coins")
    s.title = s.pick(["Too Much Change", "{a} Goes Shopping", "The Extra Coins" if extra > 1 else "The Extra Coin", "{a} Counts Again"])
    opening(s, a)
    s.say(weather(s) + " {r} sent {a} to {c}, the {c.kind}, to buy {good}, and gave {a.him} {pay} coins.")
    s.say("It cost {cost} coins. So {a} should have got {right} coins back. But {c} was [tired|in a hurry|talking to a neighbor] and gave {a.him} {got}.")
    s.paragraph()
    s.say("{a} only noticed it [on the bridge|halfway home|at the corner]. {a.He} counted once, {a.he} counted twice. There {was} {extra} {coins} too many.", was="was" if extra == 1 else "were")
    s.say("[In the window of a shop lay|{a} thought of] a {toy} that {a.he} [wanted very much|had wanted for a long time]. \"[Nobody will ever know|It is not my mistake],\" {a.he} [thought|whispered]. But {a.his} feet [would not go on|grew heavy].")
    s.say("So {a} [turned around|went back]. \"You gave me too much,\" {a.he} said and put {extra} {coins} on the table.")
    s.paragraph()
    s.say("{c} [stopped working|looked up in surprise|was quiet for a moment]. \"[Many would have kept it|I would have missed it tonight, and I would never have known where it was],\" {c.he} said. {c.He} [shook {a}'s hand|smiled] and gave {a} {c.gift}.")
    s.say("When {a} told {r} about it, {r} [nodded|smiled|was very proud]. {a} was {happy}.")
    moral(s, "truth", 0.4)
    closing(s, "From then on {c} always gave {a} the best of everything.", "And the {toy}? {a} saved {a.his} money and bought it in the spring.")
    s.fact("How many coins did {a} have at first?", "{a.He} had {pay} coins.")
    s.fact("What did {a} have to buy?", "{a.He} had to buy {good}.")
    s.fact("How much did it cost?", "It cost {cost} coins.")
    s.fact("How many coins too many did {a} get?", "{a.He} got {extra} {coins} too many.")


WISHES = [("everything {a.he} touched would smell of chocolate", "the soup, the soap and even the cat smelled of chocolate, and nobody could eat any more"), ("it would always be Sunday", "no shop was ever open and no friend ever had time, because every day was a family day"),
          ("{a.he} could be as tall as a house", "{a.he} did not fit through the door and had to sleep in the rain"), ("it would snow in the middle of summer", "all the strawberries froze and the swallows shook with cold"), ("all the animals could speak", "the dogs told jokes all night and the hens complained about the weather from morning to evening"),
          ("nobody could see {a.him}", "everyone sat down on {a.him}, and nobody said good night"), ("{a.he} never had to sleep", "the nights were long and dark and there was nobody to talk to"), ("everyone would do what {a.he} said", "nobody laughed or argued with {a.him} any more, and playing was no fun")]


def wish(s):
    a, b = cast(s, 0)
    w, result = s.pick(WISHES)
    giver = s.pick(["a golden bird", "a tiny man with a red cap", "an old woman with silver hair", "a white deer", "a talking crow", "a falling star", "a frog with a crown"])
    help_ = s.pick([("was caught in a net", "cut the net"), ("was stuck between two stones", "pushed the stones apart"), ("was tired and thirsty", "brought water in {a.his} hat"), ("had fallen into a ditch", "held out a hand")]) if not any(w in giver for w in ("star", " man", " woman")) else s.pick([("was tired and thirsty", "brought water in {a.his} hat"), ("had fallen into a ditch", "held out a hand")]) if "star" not in giver else ("fell into the grass and could not rise", "threw it back into the sky")
    s.names.update(giver=giver, ill=help_[0], happy=happy(s), g="star" if "star" in giver else giver.split(" with")[0].split(" ", 1)[1])
    for key, text in (("wish", w), ("result", result), ("help", help_[1])):
        s.names[key] = s.text("and " + text)[4:]
    s.title = s.pick(["The Wish", "{a}'s Wish", "Be Careful What You Wish", "One Wish Too Many"])
    opening(s, a)
    s.say(weather(s) + " {a} [met|came upon] {giver} that {ill}. {a} {help}." if "man" not in giver and "woman" not in giver else weather(s) + " {a} met {giver} who {ill}. {a} {help}.")
    s.say("\"[You have a good heart|You have helped me],\" said the {g}. \"[For that I grant you one wish|You may wish for one thing], but think well.\" {a} did not think for long. {a.He} wished that {wish}.")
    s.paragraph()
    s.say("At first it was [wonderful|great fun]. [But after a few days|But soon] {result}.")
    s.say("\"This cannot go on,\" said {a.his} friend {b}. \"[I know, I know|I was foolish],\" sighed {a}. \"[We must find the {g} again|If only I could take it back]!\"")
    s.say("Together they [searched for three days|looked everywhere]. {where_c} they found the {g} at last, and {a} begged to be free of the wish.", where_c=capital(s.pick(SPOTS)))
    s.paragraph()
    s.say("The {g} [smiled|laughed softly]. \"[That was the real gift|Now you know what you have],\" said the {g}, and everything was as before.")
    s.say("{a} had never been so {happy} about [an ordinary day|plain bread and butter|an ordinary Monday].")
    moral(s, "care", 0.2)
    closing(s, "\"[Next time, ask me first|If you ever get a wish again, wish for cookies],\" said {b}.", "{a} never wished for too much again.")
    s.fact("What did {a} wish for?", "{a.He} wished that {wish}.")
    s.fact("Who gave {a} the wish?", "{giver_c}.", giver_c=capital(giver))
    s.fact("What went wrong?", "{result_c}.", result_c=capital(s.names["result"]))
    s.fact("Who helped {a} to search?", "{b} helped {a.him}.")


PLOTS = [(fog, 2), (egg, 2), (riddle, 2), (change, 2), (wish, 2)]
