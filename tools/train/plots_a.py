"""Plots about things: lost, found, broken, traded, made, given back."""
from lexicon import COLORS, FOODS, FRUITS, INDOOR_SPOTS, SMALL, SPOTS, THINGS
from parts import capital, cast, closing, happy, moral, opening, sad, thanks, weather


def lost_and_found(s):
    a, b = cast(s)
    o = s.thing(SMALL if s.chance(0.5) else None)
    s.names.update(o=o, sad=sad(s), happy=happy(s))
    s.title = s.pick(["The Lost {N}", "{a} and the {N}", "Where Is the {N}?", "The Missing {N}"])
    opening(s, a)
    s.say("{a.His} [dearest treasure|favorite thing|most precious thing] was a {o}[ that {a.his} " + s.pick(["grandmother", "grandfather", "aunt", "uncle"]) + " had given {a.him}|, and {a.he} carried it everywhere|].")
    s.paragraph()
    s.say(weather(s) + " the {o.n} was gone. {a} [felt {sad}|was very {sad}|began to cry|could not believe it].")
    first, second = s.pick(INDOOR_SPOTS if not a.animal else SPOTS), s.pick(SPOTS)
    while second == first:
        second = s.pick(SPOTS)
    s.names.update(p1=first, p2=second)
    s.say("{a.He} looked {p1}, but it was not there." if s.chance(0.6) else "First {a.he} searched {p1}, but {a.he} found [only dust|nothing|only an old sock].")
    s.one_of('Then {b} came by. "Why are you so {sad}?" {b.he} asked. "I have lost my {o.n}," said {a}. "[Then let us look together|Do not worry, I will help you look|Four eyes see more than two]," said {b}.',
             '"What is wrong?" asked {b}, a {b.kind} from nearby. "My {o.n} is gone," said {a}. "When did you last have it?" asked {b}.',
             "{a} ran to {a.his} friend {b} and told {b.him} everything. {b} put on {b.his} thinking face." if not a.animal else "{a} ran to {a.his} friend {b} and told {b.him} everything. {b} thought for a moment.")
    s.paragraph()
    s.maybe(0.5, "They [walked back along the whole way|asked everyone they met|looked high and low|went slowly and looked at every stone], but [there was no sign of it|nobody had seen it].")
    how = s.pick(["bird", "hole", "lent", "wind", "left"])
    if how == "bird":
        bird = s.pick(["magpie", "crow", "raven", "jay"])
        s.say("Suddenly {b} [pointed|looked up]. A {bird} was sitting {p2} with something in its beak. It was the {o.n}! " if o.n in SMALL else
              "Suddenly {b} heard a {bird} making a great noise {p2}. There was the {o.n}, and the {bird} was pecking at it!", bird=bird)
        s.say("{b} [threw a few crumbs on the ground|put down a piece of bread|held out some seeds], and the {bird} [let go and came to eat|forgot all about the {o.n}].", bird=bird)
        s.fact("[Who took the {o.n}?|Which bird had the {o.n}?]", "[A {bird} took it.|It was a {bird}.]", bird=bird)
    elif how == "hole" and not a.animal:
        s.say("{b} [looked at {a}'s coat|pointed at {a}'s pocket|began to laugh]. \"There is a hole in your [pocket|bag]!\" {b.he} said. So they went back [the way {a} had come|step by step], and there, {p2}, lay the {o.n}.")
        s.say("That evening {a} [sewed up the hole|mended the hole with red thread|asked for a needle and closed the hole].")
        s.fact("Why did {a} lose the {o.n}?", "There was a hole in {a.his} pocket or bag.")
    elif how == "wind":
        s.say("Then {b} [remembered|said] that the wind had been very strong [in the night|the day before]. \"[Perhaps it blew your {o.n} away|The wind comes from the west],\" {b.he} said. They followed the wind, and {p2} they found the {o.n}.")
        s.fact("What had been strong?", "The wind had been very strong.")
    elif how == "lent":
        s.say("\"Wait,\" said {b}. \"[Were you not playing|Did you not stop to rest|Did we not meet] {p2} yesterday?\" {a} [jumped up|clapped {a.his} hands|opened {a.his} eyes wide]. They ran there at once, and there it was, a little wet but [not broken|safe].")
    else:
        s.say("At last {b} [bent down|stopped] and [called out|shouted]: \"I see something!\" It was the {o.n}, {p2}. {a} had put it there [to rest a while|to watch a butterfly|to eat an apple] and had forgotten it.")
    s.paragraph()
    s.say("{a} was {happy}.")
    thanks(s)
    moral(s, "help")
    closing(s, "From that day on, {a} [took good care of the {o.n}|always looked after the {o.n}|kept the {o.n} in a safe place].",
            "They shared [some|a plate of] " + s.pick(FOODS) + " and laughed about the long search.",
            "And whenever {b} lost something, {a} was the first to help {b.him} look.")
    s.fact("[What did {a} lose?|What was lost?|What was gone?]", "[{a} lost a {o}.|It was a {o}.]")
    s.fact("[Who helped {a}?|Who helped {a} to look for the {o.n}?]", "{b} helped {a.him}.")
    s.fact("Where was the {o.n}?", "It was {p2}.")
    s.fact("Where did {a} look first?", "{a.He} looked {p1}.")


def trade(s):
    a = s.child()
    c1, c2 = s.worker(), s.worker()
    o1, o2 = s.thing(SMALL), s.thing()
    goal = s.thing(["kite", "drum", "violin", "music box", "sled", "wagon", "spyglass", "toy train", "toy boat", "book", "trumpet", "harmonica", "lantern", "backpack", "puppet", "compass", "umbrella", "doll", "teddy bear", "locket"])
    s.names.update(a=a, c1=c1, c2=c2, o1=o1, o2=o2, goal=goal, happy=happy(s))
    s.title = s.pick(["{a} Makes a Trade", "The Long Trade", "From {N1} to {G}", "{a} and the {G}"]).replace("{N1}", o1.n.title()).replace("{G}", goal.n.title())
    opening(s, a)
    s.say("[More than anything, {a} wanted|For weeks {a} had wished for|In a shop window {a} had seen] a {goal}, but {a.he} had no money. All {a.he} had was a {o1}.")
    s.paragraph()
    s.say(weather(s) + " {a} [met|went to see|came to] {c1}, the {c1.kind}, who was {c1.work}.")
    s.one_of('"What a fine {o1.n}!" said {c1}. "I have been looking for one [for years|everywhere]. Will you take my {o2} for it?" {a} [thought for a moment and agreed|nodded|shook hands on it].',
             "\"I need a {o1.n},\" sighed {c1}. {a} held it out. \"You can have mine, if you give me that {o2},\" {a.he} said.",
             "{c1} had a {o2} that nobody used. So they traded, and both of them were content.")
    s.say("[Next|After that|An hour later|On the way home], {a} [came to|walked past] the {c2.place}, where {c2} was {c2.work}.")
    kid = s.pick(["son", "daughter", "grandson", "niece", "nephew"])
    s.say("{c2}, the {c2.kind}, [saw|noticed] the {o2.n} at once. \"[My " + kid + " would love that|That is just what I need|My old one broke last week]!\" {c2.he} said. \"I have a {goal} here that I never use.\"")
    s.say("{a} could [hardly|not] believe {a.his} ears. {a.He} [gave away|handed over] the {o2.n} and took the {goal.n} in both hands.")
    s.paragraph()
    s.say("So a {o1} became a {o2}, and a {o2} became a {goal}.")
    s.one_of("{a} was so {happy} that {a.he} [skipped|ran|danced] all the way home.", "\"[One day I will trade for a ship|Everybody got what they wanted],\" {a} said at supper, and {a.his} mother laughed.",
             "[The best part was that|And] [nobody had paid a single coin|everyone had got what they wished for].")
    closing(s, "{a} kept the {goal.n} for many years.", "And the {o1.n}? {c1} still uses it every day.")
    s.fact("What did {a} want?", "{a.He} wanted a {goal}.")
    s.fact("What did {a} have at first?", "At first {a.he} had a {o1}.")
    s.fact("[Who gave {a} the {o2.n}?|Who took the {o1.n}?]", "{c1}, the {c1.kind}.")
    s.fact("Who gave {a} the {goal.n}?", "{c2}, the {c2.kind}.")


MAKE = {  # what: (parts, verb, first mistake, fix, test)
    "kite": (["paper", "two thin sticks", "a long string"], "glued", "it fell to the ground at once", "added a longer tail", "It rose higher than the church tower"),
    "birdhouse": (["some old boards", "a handful of nails", "a little paint"], "hammered", "the roof slid off", "used longer nails", "Two days later, a pair of sparrows moved in"),
    "raft": (["five logs", "a strong rope", "an old sheet"], "tied", "it turned over in the water", "tied the knots much tighter", "It floated all the way across the pond"),
    "scarecrow": (["an old coat", "a sack of straw", "a broken broom"], "stuffed", "the crows sat down on its arms", "hung shiny tin lids on its sleeves", "Not one crow came near the field"),
    "snow fort": (["a lot of snow", "two buckets", "a wooden shovel"], "packed", "one wall fell down", "poured water over the walls so that they froze", "It stood until the end of February"),
    "soup": (["three carrots", "a bag of beans", "a bunch of herbs"], "cooked", "it tasted like nothing at all", "added salt, pepper and an onion", "Everyone asked for a second bowl"),
    "cake": (["flour", "eggs", "a jar of honey"], "mixed", "it came out of the oven as flat as a plate", "remembered the baking powder", "It rose like a golden cloud"),
    "treehouse": (["planks", "a ladder", "a bag of nails"], "nailed", "the floor was as crooked as a smile", "measured every plank twice", "It was big enough for four friends"),
    "swing": (["a thick rope", "a smooth board", "a strong branch"], "tied", "the knot came loose", "learned a better knot", "It swung as high as the roof"),
    "windmill": (["a stick", "a sheet of tin", "a bent nail"], "bent", "it would not turn", "put a drop of oil on the nail", "It spun day and night"),
    "puppet theater": (["a big box", "red cloth", "six old socks"], "sewed", "the curtain fell on the puppets", "hung the curtain on a strong wire", "The whole street came to see the show"),
    "cart": (["four wheels", "a wooden box", "a piece of rope"], "built", "a wheel rolled away down the hill", "fixed the wheels with iron pins", "It carried three children and a dog"),
    "lamp": (["a glass jar", "a candle", "some wire"], "bent", "the wind blew it out", "closed the jar with a lid full of tiny holes", "It burned all night long"),
    "drum": (["an empty barrel", "a goat skin", "a piece of cord"], "stretched", "it made no sound but a tired thud", "pulled the skin much tighter", "It boomed like thunder"),
    "bridge": (["three long planks", "a pile of stones", "some rope"], "laid", "it sank into the mud", "put flat stones under both ends", "Even the miller's donkey could walk over it"),
    "quilt": (["scraps of cloth", "a needle", "blue thread"], "sewed", "the corners did not meet", "cut all the pieces to the same size", "It kept the baby warm all winter"),
}


def making(s):
    a, b = cast(s, 0)
    what = s.pick(list(MAKE))
    parts, verb, mistake, fix, test = MAKE[what]
    adult = s.relative(a) if s.chance(0.5) else s.worker(jobs=["carpenter", "blacksmith", "cook", "tailor", "mason"])
    s.names["c_intro"] = f"{adult}, the {adult.kind}," if adult.name.startswith("M") else adult.name
    s.names.update(what=what, x=parts[0], y=parts[1], z=parts[2], verb=verb, mistake=mistake, fix=fix, test=test, c=adult, happy=happy(s))
    s.title = s.pick(["{a} Makes a {W}", "The {W}", "{a}, {b} and the {W}", "A {W} for the Summer"]).replace("{W}", what.title())
    if what == "snow fort":
        s.title = s.pick(["The Snow Fort", "{a} and the Snow Fort"])
    s.names["art"] = "" if what == "soup" else "a "
    opening(s, a)
    s.say((weather(s, True) if what != "snow fort" else "One snowy winter morning,") + " {a} [had an idea|had a plan|woke up with an idea]. \"Let us make {art}{what}!\" {a.he} said to {a.his} friend {b}." if s.chance(0.7) else
          "{a} and {b} had nothing to do. \"[I am bored|The day is too long],\" said {b}. \"Then let us make {art}{what},\" said {a}.")
    s.paragraph()
    if what == "snow fort":
        s.say("The snow was deep, and they fetched two buckets and a wooden shovel.")
    else:
        s.say("They needed {x}, {y} and {z}. [{a} brought {x}, and {b} found the rest|{b} found {x} in the shed, and {a} borrowed {y}|They looked in the attic and in the cellar until they had everything].")
    s.say("They {verb} [and worked|and laughed and worked] [all morning|until noon|for two hours|until their fingers hurt]. But when they [tried it|were done|were ready], {mistake}.")
    s.say(s.pick(['"[It is no use|We will never do it]," [sighed|said|groaned] {b}.', "{b} wanted to give up.", '"Oh no!" [cried|said] {b}.', "{b} looked at it and [shook {b.his} head|had to laugh]."]))
    s.one_of("{c_intro} [had been watching|came by|looked over the fence] and [smiled|laughed softly]. \"[Think about why it went wrong|A mistake is a good teacher|Try again, but slowly],\" {c} said.",
             '"[Wait|Let me think]," said {a}. "I think I know what we did wrong."',
             "But {a} [did not give up so easily|only scratched {a.his} head|walked around it three times].")
    s.say("So they tried again, and this time they {fix}.")
    s.paragraph()
    s.say("{test}. {a} and {b} [were {happy}|cheered|shook hands like two old masters|jumped up and down].")
    moral(s, "try")
    closing(s, "[The next day|Soon after], [all the other children wanted one too|they began to plan something even bigger].",
            "\"[What shall we make tomorrow|What is next]?\" asked {b}, and they both laughed.",
            "{c_intro} [was proud of them|said it was the best work {c.he} had ever seen|wanted to know how they had done it].")
    s.fact("What did {a} and {b} make?", "They made {art}{what}.")
    s.fact("What went wrong [at first|the first time]?", "{mistake_c}.", mistake_c=capital(mistake))
    s.fact("What did they do the second time?", "They {fix}.")
    if what != "snow fort":
        s.fact("What did they need?", "They needed {x}, {y} and {z}.")


BROKEN = {  # thing: (what was wrong, who can help, what it takes, how we see that it works)
    "clock": ("had stopped at noon", "clockmaker", "a new spring", "It began to tick, and at six it rang six times"),
    "boat": ("had a hole in its side", "carpenter", "a piece of oak and some tar", "It floated, and not a drop came in"),
    "fence": ("had been broken by the storm", "carpenter", "four new posts", "Even the wildest goat could not get through"),
    "pump": ("gave no more water", "blacksmith", "a new handle and a leather ring", "Clear cold water ran into the bucket"),
    "music box": ("would not play", "clockmaker", "a drop of oil and a tiny screw", "It played the old song from beginning to end"),
    "cart": ("had lost a wheel", "blacksmith", "an iron pin", "It rolled down the road without a squeak"),
    "bell of the school": ("made no sound", "blacksmith", "a new clapper", "Its voice was heard in every street"),
    "oven": ("would not get hot", "mason", "six new bricks", "Soon the whole house smelled of bread"),
    "violin": ("had lost two strings", "musician", "two new strings", "It sang like a bird"),
    "bicycle": ("had a flat tire", "blacksmith", "a patch of rubber and some glue", "It flew down the lane like the wind"),
    "roof": ("let in the rain", "mason", "twelve red tiles", "That night it rained, and every bed stayed dry"),
    "weather vane": ("always pointed north", "blacksmith", "a good cleaning and some grease", "It turned with every little wind"),
    "net": ("was full of holes", "fisherman", "a ball of strong cord", "The next morning it came up full of fish"),
    "boots": ("had split at the toes", "shoemaker", "two patches of leather", "They kept out snow and water all winter"),
}


def repair(s):
    a = s.child()
    what = s.pick(list(BROKEN))
    wrong, job, need, works = BROKEN[what]
    c = s.worker(jobs=[job])
    owner = s.relative(a)
    s.names.update(a=a, c=c, r=owner, what=what, wrong=wrong, need=need, works=works, happy=happy(s), sad=sad(s),
                   was="were" if what == "boots" else "was", it="them" if what == "boots" else "it")
    s.title = s.pick(["The Broken {W}", "{a} Mends the {W}", "{a} and the {W}"]).replace("{W}", what.title().replace("'S", "'s").replace(" Of ", " of "))
    if what == "boots":
        s.title = "{a} and the Boots"
    opening(s, a)
    s.say("[In the shed|At home|In the yard] there {was} an old {what} that belonged to {r}." if what not in ("bell of the school", "roof", "doll's arm", "boots") else "Everybody loved the {what}." if what == "bell of the school" else "{r} had a pair of old boots that had walked a thousand miles." if what == "boots" else "The house was old, and so was its roof.")
    s.say(weather(s, False) + " the {what} {wrong}.")
    s.one_of("{r} was {sad}. \"[What a pity|Now what shall we do|And there is no money for a new one],\" {r.he} said.",
             "\"[We must throw {it} away|Nothing lasts forever],\" said {r}. But {a} [shook {a.his} head|did not agree|had another idea].")
    s.paragraph()
    s.say("First {a} [tried to mend {it} with string|tried to fix {it} alone|pulled and pushed and knocked], but that only made things worse.")
    s.say("So {a.he} [went|ran|walked] to {c}, the {c.kind}, who was {c.work}. \"[Please show me how to mend {it}|Please help me|I do not know what to do],\" said {a}.")
    s.one_of("{c} [looked at it for a long time|put on {c.his} glasses|asked a few questions]. \"You need {need},\" {c.he} said. \"[Come, I will show you|You will do the work, and I will watch].\"",
             "\"That is easy if you know how,\" said {c}. \"All it takes is {need}.\"")
    pay = s.pick(["swept the floor of the {c.place}", "carried water for {c}", "fed {c}'s cat for a week", "washed the windows of the {c.place}", "helped in the {c.place} for two days"])
    s.names["pay"] = s.text(pay)[0].lower() + s.text(pay)[1:]
    s.maybe(0.7, "{a} had no money, so {a.he} {pay} instead.")
    paid = s.current[-1].startswith(str(a.name) + " had no money")
    s.paragraph()
    s.say("{a} [worked slowly and carefully|worked until dark|did just what {c} had said]. {works}.")
    s.say("{r} could not [stop smiling|believe it|say a word for joy]. \"[Who did this|How did you do that]?\" {r.he} asked." if s.chance(0.5) else "{r} was {happy} and [hugged {a}|kissed {a} on both cheeks|called {a} a real master].")
    moral(s, "try", 0.2)
    closing(s, "After that, people brought {a} [all their broken things|their broken toys and lamps], and {a.he} mended most of them.",
            "{a} [went to thank {c} the very next day|still visits {c} every week and learns something new].")
    s.fact("What was wrong with the {what}?", "It {wrong}." if what != "boots" else "They {wrong}.")
    s.fact("Who showed {a} how to mend {it}?", "{c}, the {c.kind}.")
    s.fact("What did {a} need?", "{a.He} needed {need}.")
    if paid:
        s.fact("How did {a} pay for the help?", "{a.He} {pay}.")


def honest_finder(s):
    a = s.child()
    c = s.worker()
    o = s.thing(["purse", "ring", "watch", "locket", "necklace", "key", "pearl", "medal", "coin"])
    s.names.update(a=a, c=c, o=o, p=s.pick(SPOTS), happy=happy(s))
    wish = s.thing()
    s.names["wish"] = wish
    s.title = s.pick(["The {N} on the Road", "{a} Finds a {N}", "An Honest {G}"]).replace("{G}", a.child.title())
    opening(s, a)
    s.say("{a}'s family was [poor|not rich], and {a.he} had long wished for a {wish}.")
    s.paragraph()
    s.say(weather(s) + " {a} [found|saw] a {o} lying {p}. [Nobody was there|The road was empty|There was no one around].")
    s.one_of("{a} [thought|knew] that it was worth a lot of money. \"[I could buy the {wish}|With this I could buy a {wish}],\" {a.he} whispered. But then {a.he} thought of the person who had lost it.",
             "\"[Keep it|It is yours now],\" said a little voice in {a.his} head. \"[Somebody is looking for it|It is not yours],\" said another voice.")
    s.say("So {a} [went from door to door and asked|asked everyone in the square|asked in every shop]. The first man shook his head, and so did the second.")
    s.say("At the {c.place} {a.he} found {c}, the {c.kind}, [searching every corner|in tears|turning out all {c.his} pockets]. \"Have you lost a {o.n}?\" asked {a}.")
    s.paragraph()
    s.say("{c} [jumped up|cried out for joy|held it to {c.his} heart]. \"It belonged to my [mother|father|grandmother],\" {c.he} said. \"[I thought it was gone forever|I have not slept for two nights].\"")
    if s.chance(0.6):
        s.say("The next day there was a box in front of {a}'s door. In it {a.he} found a {wish}. {a} was {happy}.")
        s.fact("What was in the box?", "There was a {wish} in the box.")
    else:
        s.say("{c} gave {a} {c.gift} and said: \"[An honest heart is rare|Whoever is honest has friends everywhere].\" And {a} was {happy}, even without a {wish}.")
        s.fact("What did {c} give {a}?", "{c.He} gave {a.him} {c.gift}.")
    moral(s, "truth", 0.3)
    closing(s, "{c} and {a} have been friends ever since.")
    s.fact("What did {a} find?", "{a} found a {o}.")
    s.fact("Where was the {o.n}?", "It was {p}.")
    s.fact("Who had lost the {o.n}?", "{c}, the {c.kind}, had lost it.")


def broken_secret(s):
    a, b = cast(s, 0)
    owner = s.relative(a, ["grandmother", "mother", "aunt", "father", "grandfather"])
    thing = s.pick(["blue vase", "big mirror", "old teapot", "glass lamp", "painted plate", "flower pot", "sugar bowl", "clay jug", "crystal bowl"])
    toy = s.pick(["ball", "slingshot", "kite", "broom", "hoop", "wooden sword"])
    blame = s.pick(["the cat", "the dog", "the wind", "{b}"])
    s.names.update(r=owner, v=thing, toy=toy, happy=happy(s), sad=sad(s))
    s.names["blame"] = s.text(blame) if blame == "{b}" else blame
    s.title = s.pick(["The {V}", "{a} Tells the Truth", "A Heavy Secret", "Who Broke the {V}?"]).replace("{V}", thing.title())
    opening(s, a)
    s.paragraph()
    s.say(weather(s, False) + " {a} was playing with a {toy} in the house, although {r} had [forbidden it|said no]. [Crash!|Suddenly there was a loud crash.] The {v} [was in pieces|broke into a hundred pieces|broke into a thousand pieces].")
    s.say("{a} [stood very still|turned pale|held {a.his} breath]. When {r} came in and asked who had done it, {a} [said|answered]: \"It was {blame}.\"")
    if blame == "{b}":
        s.say("So {b} [was not allowed to come to the house any more|was sent home without supper|had to stay at home all week]. {b} said nothing, but {b.he} looked {sad}.")
    elif blame == "the wind":
        s.say("So {r} [shut every window in the house|went to close the windows], and said no more about it.")
    else:
        s.say("So the poor animal had to [sleep outside in the rain|stay in the cold yard]. It looked at {a} through the window [with big eyes|and did not understand].")
    s.paragraph()
    s.say("{a} could not [eat|sleep|laugh]. The lie lay in {a.his} stomach like a [cold stone|heavy stone|piece of lead].")
    s.maybe(0.5, "\"[What is the matter|Are you ill]?\" {r} asked, but {a} only looked at the floor.")
    s.say("[At last|In the middle of the night|On the third day|Before breakfast], {a} went to {r}. \"It was not {blame},\" {a.he} said [in a small voice|with tears in {a.his} eyes]. \"It was me. I am sorry.\"")
    s.one_of("{r} was quiet for a while. \"[I am sad about the {v}|A {v} is only a thing],\" {r.he} said, \"but I am glad that you told me the truth.\"",
             "{r} [took {a}'s hand|nodded slowly]. \"[I knew it all along|I had guessed it],\" {r.he} said. \"I was waiting for you to be brave.\"")
    s.paragraph()
    if blame == "{b}":
        s.say("Then {a} ran to {b} and said sorry to {b.him} too. {b} was angry for [one whole day|an hour], and then they were friends again.")
    elif blame == "the wind":
        s.say("Together they swept up the pieces, and {a} [paid for a new one with {a.his} own coins|helped in the kitchen for two weeks].")
    else:
        s.say("Then {a} [ran outside|opened the door] and let {blame} in. It got a bowl of milk and the best place by the fire.")
    moral(s, "truth", 0.5)
    closing(s, "That night {a} slept deeply for the first time in days.", "{a} never blamed anyone else again.")
    s.fact("[What broke?|What did {a} break?]", "The {v} broke." if s.chance(0.5) else "It was the {v}.")
    s.fact("[Who really broke the {v}?|Who broke the {v}?]", "{a} broke it.")
    s.fact("[Whom did {a} blame?|Who got the blame?]", "{a} said it was {blame}.")
    s.fact("What was {a} playing with?", "{a.He} was playing with a {toy}.")


def lost_letter(s):
    a, b = cast(s, 0)
    c = s.worker()
    color = s.pick(COLORS)
    o = s.thing()
    s.names.update(c=c, o=o, color=color, p1=s.pick(SPOTS), p2=s.pick(SPOTS), happy=happy(s), fruit=s.pick(FRUITS))
    s.title = s.pick(["The Secret Map", "{a} and the Map", "The {C} Cross", "The Treasure Hunt"]).replace("{C}", color.title())
    opening(s, a)
    s.say(weather(s) + " {a} found [an old map in a book|a map in the attic|a rolled map inside a bottle]. There was a {color} cross on it. {a} [called|ran to fetch] {b} at once.")
    s.paragraph()
    s.say("\"[A treasure|Look, a real treasure map]!\" [cried|whispered] {b}. They packed {fruit} and a [rope|shovel|lamp] and set off.")
    s.say("The first mark was {p1}, [where they counted forty steps to the north|where an arrow was cut into a stone|and from there toward the sunset]. The cross itself was {p2}.")
    s.say("They [dug|dug and dug] until their hands were [black|sore]. [At last|Suddenly] they hit [something hard|an iron box].")
    s.paragraph()
    s.say("In the box lay a {o} and a note. \"Whoever finds this is as curious as I was. Bring it to the {c.place}, and you will get a reward. {c}.\"")
    s.say("{c}, the {c.kind}, [laughed until the tears came|could not believe it|turned red with joy]. \"I hid that box when I was a child,\" {c.he} said. \"I waited [thirty|forty|fifty] years for someone to find it!\"")
    s.say("{c.He} gave them {c.gift}, and {c.he} [told them stories until it was dark|let them keep the {o.n}|made them promise to hide a box of their own].")
    s.paragraph()
    closing(s, "The next week, {a} and {b} hid a box too, with a map and a note, for children who are not born yet.", "{a} and {b} were {happy}, and they hung the map on the wall.")
    s.fact("What color was the cross?", "The cross was {color}.")
    s.fact("What was in the box?", "There was a {o} in the box, and a note.")
    s.fact("Who had hidden the box?", "{c}, the {c.kind}, had hidden it.")
    s.fact("Who went with {a}?", "{b} went with {a.him}.")


PLOTS = [(lost_and_found, 3), (trade, 2), (making, 3), (repair, 2), (honest_finder, 2), (broken_secret, 2), (lost_letter, 2)]
