"""Plots about going, growing and learning: journeys, gardens, skills, races, visits, surprises."""
from lexicon import COLORS, FAR_PLACES, FLOWERS, FOODS, FRUITS, JOBS, PETS, SEEDS, SMALL
from parts import capital, cast, closing, happy, moral, opening, sad, thanks, weather

# obstacle: (what, how the helper met on the way removes it)
MEETINGS = [("a beggar who was hungry", "half of {a.his} bread", "a river without a bridge", "showed {a.him} a place where the water was shallow"),
            ("an old woman with a heavy bag", "a hand with the bag", "a fork in the road", "told {a.him} which path was safe"),
            ("a goat with a thorn in its foot", "a moment to pull out the thorn", "a steep cliff", "led {a.him} up a hidden path"),
            ("a bee that had fallen into a puddle", "a leaf to climb on", "a field where all the paths looked alike", "flew ahead and showed {a.him} the way"),
            ("a boy who had lost his shoe", "an hour to look for the shoe", "a gate with a rusty lock", "knew where the key was hidden"),
            ("a donkey with a load that had slipped", "help with the ropes", "a long dusty road", "carried {a.him} on its back"),
            ("a little girl who was crying", "a kind word and an apple", "a big angry dog", "called the dog by its name, and it lay down"),
            ("a ferryman whose boat was full of water", "two hours of work with a bucket", "a wide lake", "rowed {a.him} across for nothing"),
            ("a blind man who wanted to cross the road", "an arm to lean on", "a dark tunnel", "led {a.him} through, because the dark was nothing new to him"),
            ("a crow with a broken wing", "a bandage made from a handkerchief", "a forest without a path", "called its brothers, who flew ahead")]


def journey(s):
    a = s.child() if s.chance(0.8) else s.animal()
    c = s.worker(jobs=["doctor", "teacher", "miller", "shepherd", "lighthouse keeper", "beekeeper", "musician", "clockmaker", "innkeeper", "ferryman"]) if a.animal is None else None
    r = s.relative(a, ["grandmother", "grandfather", "mother", "father", "aunt", "uncle"])
    o = s.thing(["letter", "lantern", "basket", "bell", "key", "blanket", "book", "flute", "music box", "compass", "violin", "spyglass", "map"])
    who, gift, obstacle, solved = s.pick(MEETINGS)
    s.names.update(a=a)
    s.names.update(r=r, o=o, c=c, far=s.pick(FAR_PLACES), met=who, give=s.text(gift), obst=obstacle, solved=s.text(solved)[0].lower() + s.text(solved)[1:], happy=happy(s))
    s.names["give"] = s.names["give"][0].lower() + s.names["give"][1:]
    s.title = s.pick(["{a}'s Journey", "The Long Way", "The {N} Must Go to {F}", "A Walk to {F}"]).replace("{F}", capital(s.names["far"])).replace("The The", "The").replace("to The", "to the")
    opening(s, a)
    s.say(weather(s) + " {r} [called {a}|came to {a}]. \"[Someone must take|Please take] this {o.n} to {far},\" {r.he} said. \"[It is important|They are waiting for it|I am too ill to go myself].\"")
    s.say("So {a} [put the {o.n} in {a.his} bag|took the {o} under {a.his} arm|wrapped the {o.n} in a cloth], [took some bread|filled a bottle with water] and set off.")
    s.paragraph()
    s.say("[On the way|After an hour|Halfway there], {a.he} met {met}. {a} was in a hurry, but {a.he} stopped all the same, and gave {give}.")
    s.say("[Soon after|A little later|Not long after that], the way was [blocked|barred]: there was {obst}. {a} [did not know what to do|stood there and thought|almost turned back].")
    s.say("[But|Then] someone came up behind {a.him}. It was the one {a.he} had helped! The stranger {solved}." if not any(w in who for w in ("goat", "bee ", "donkey", "crow")) else "But the " + next(w for w in ("goat", "bee", "donkey", "crow") if w in who) + " had followed {a.him}. It {solved}.")
    s.paragraph()
    if c:
        s.say("[When the sun went down|Toward evening|Just before dark], {a} [reached|came to] {far}. {c}, the {c.kind}, was waiting at the door. \"[At last|I had almost given up hope]!\" {c.he} said and took the {o.n}. {c.He} gave {a} {c.gift} [and a bed for the night|and a hot supper|for {a.his} trouble].")
        s.fact("Who was waiting there?", "{c}, the {c.kind}, was waiting there.")
        s.fact("What did {c} give {a}?", "{c.He} gave {a.him} {c.gift}.")
    else:
        s.say("[When the sun went down|Toward evening|Just before dark], {a} [reached|came to] {far}. The {o.n} was [safe|as good as new], and everyone was {happy} to see {a.him}.")
    moral(s, "help", 0.35)
    closing(s, "[The next day|In the morning], {a} went home, and the way seemed only half as long.", "When {a} came home and told {r} everything, {r.he} said: \"[I knew I could trust you|You have grown on the way].\"")
    s.fact("What did {a} carry?", "{a.He} carried a {o}.")
    s.fact("Where did {a} go?", "{a.He} went to {far}.")
    s.fact("Whom did {a} meet on the way?", "{a.He} met {met}.")


PESTS = [("snails ate the young leaves", "collected the snails every evening and carried them to the meadow"), ("birds picked at the seeds", "built a scarecrow out of an old coat"),
         ("it did not rain for three weeks", "carried water from the well, twenty cans a day"), ("weeds grew faster than anything else", "pulled out every weed by hand"),
         ("a goat broke through the fence", "mended the fence with new boards"), ("a late frost came in the night", "covered the plants with old blankets"), ("the leaves turned yellow", "dug some good black earth into the bed")]


def garden(s):
    a, b = cast(s, 0.15)
    seed = s.pick(SEEDS)
    pest, cure = s.pick(PESTS)
    c = s.relative(a, ["grandmother", "grandfather", "aunt", "uncle"]) if not a.animal else None
    s.names.update(seed=seed, pest=pest, cure=cure, c=c, happy=happy(s), food=s.pick(FOODS), month=s.pick(["March", "April", "May"]), harvest=s.pick(["July", "August", "September"]))
    s.title = s.pick(["{a}'s Garden", "The {S} Seeds", "A Very Small Seed", "{a} Grows a {S}"]).replace("{S}", seed.title())
    if seed == "corn" or seed == "cabbage" or seed == "lettuce":
        s.title = s.pick(["{a}'s Garden", "A Very Small Seed"])
    opening(s, a)
    if c:
        s.say("In {month}, {c} gave {a} a [handful|little bag] of {seed} seeds. \"[Plant them and wait|All you need is water and patience],\" {c.he} said.")
        s.fact("Who gave {a} the seeds?", "{c_cap} gave {a.him} the seeds.", c_cap=capital(c.name))
    else:
        s.say("In {month}, {a} found a [handful|little bag] of {seed} seeds on the path. \"[I will plant them|Let us see what comes of them],\" {a.he} said.")
    s.say("{a} [dug up a small bed beside the path|planted them in a neat row|put them into the dark earth] and [watered them every day|looked every morning before breakfast]. {b} [laughed|smiled] and said: \"[Nothing will ever grow there|You could watch a stone just as well].\"")
    s.paragraph()
    s.say("[For a long time|For two weeks] nothing happened. Then [the first green tips came up|one morning there was a tiny green leaf]. {a} was {happy}. But soon {pest}.")
    s.say("\"[What now|I knew it],\" said {b}. But {a} {cure}. [After a few days {b} came to help|It was hard work, and {a.his} back hurt|{a} did this for many days].")
    s.paragraph()
    s.say("In {harvest} [the bed was full|there was so much to pick that they needed a wagon|it was time for the harvest]. {a} [gave some to all the neighbors|sold some at the market|brought some to everyone {a.he} knew] and [kept the best seeds for the next year|kept some for the winter].")
    s.say("[From the rest they cooked|That evening they ate] {food}, and {b} [asked for a second plate|took back everything {b.he} had said|ate more than anyone].")
    moral(s, "care" if s.chance(0.5) else "try", 0.3)
    closing(s, "The next spring {b} planted a bed of {b.his} own.", "\"Next year I will help you from the first day,\" said {b}.")
    s.fact("What seeds did {a} plant?", "{a.He} planted {seed} seeds.")
    s.fact("What went wrong?", "{pest_c}.", pest_c=capital(pest))
    s.fact("What did {a} do about it?", "{a.He} {cure}.")


SKILLS = [("ride a bicycle", "fell into a hedge", "look far ahead and not at the wheel", "rode all the way to the bridge"), ("whistle", "only blew air", "make the lips round like a cherry", "whistled so loudly that every dog in the street came running"),
          ("swim", "swallowed a lot of water", "move like a frog and breathe slowly", "swam to the raft and back"), ("skate", "sat down hard on the ice", "bend the knees and lean forward", "drew a big figure eight on the ice"),
          ("bake bread", "burned the first loaf as black as coal", "watch the oven and not the clock", "made a loaf that cracked and sang when it cooled"), ("play the flute", "made a sound like an angry goose", "breathe as if to cool hot soup", "played a whole song without a mistake"),
          ("milk a cow", "got more milk on the boots than in the bucket", "hum a quiet tune and have gentle hands", "filled the bucket to the top"), ("row a boat", "went around in circles", "pull both oars at the same time", "rowed straight across the lake"),
          ("juggle", "dropped every ball", "watch the highest ball only", "juggled four oranges at the fair"), ("tie knots", "tied a thumb into the knot", "think of the rope as a snake that goes around a tree", "tied six different knots with closed eyes"),
          ("read", "mixed up all the letters", "follow the words with a finger", "read a whole book aloud to the little ones"), ("draw horses", "drew something that looked like a table", "draw the round parts first", "drew a horse that almost seemed to run"),
          ("carve wood", "cut the spoon in half", "follow the lines of the wood", "carved a tiny bird with open wings"), ("knit", "lost one stitch after another", "count every row aloud", "knitted a scarf two meters long"),
          ("dance", "stepped on everybody's toes", "listen to the drum and forget the feet", "danced until the lamps went out"), ("catch fish", "caught only an old boot", "sit as still as a stone", "pulled out a trout as long as an arm")]


def skill(s):
    a, b = cast(s, 0)
    what, fail, advice, success = s.pick(SKILLS)
    c = s.worker() if s.chance(0.5) else s.relative(a)
    s.names.update(what=what, fail=fail, advice=advice, success=success, c=c, happy=happy(s))
    s.title = s.pick(["{a} Learns to {W}", "Try Again, {a}", "How {a} Learned to {W}"]).replace("{W}", what.title().replace(" A ", " a ").replace(" The ", " the "))
    opening(s, a)
    s.say("All {a.his} friends could {what}. Only {a} could not." if s.chance(0.5) else "More than anything {a} wanted to {what}, [like {b}|just like {a.his} friend {b}].")
    s.paragraph()
    s.say(weather(s, True) + " {a} [tried it for the first time|made up {a.his} mind to learn it]. But {a.he} {fail}. {b} [laughed, but not in a mean way|tried not to laugh|had to smile].")
    s.say("{a} tried [again and again|ten times|until the sun went down], and every time it went wrong. \"[I will never learn to {what}|It is too hard for me|I give up],\" {a.he} said.")
    s.names["c_intro"] = f"{c}, the {c.kind}," if c.name.startswith("M") else c.name
    s.say("{c_intro} [heard this|had seen everything|came by]. \"[It took me a whole year|Nobody can do it at once],\" said {c}. \"You must {advice}.\"")
    s.paragraph()
    s.say("{a} [closed {a.his} eyes for a moment|took a deep breath|nodded]. [From then on {a.he} practiced every day|The next morning {a.he} was up before everyone else|{a.He} tried it once more, and a little better this time].")
    s.say("[Two weeks later|On Sunday|At the end of the month|Before the summer was over], {a} {success}. {b} [clapped|cheered|stared with an open mouth]. \"[I knew it|You are better than I am|Show me how you did that]!\" {b.he} [said|cried].")
    s.paragraph()
    s.say("{a} was {happy}.")
    moral(s, "try", 0.5)
    closing(s, "A year later {a} taught a little [boy|girl] from next door to {what}, and {a.he} told the child: \"You must {advice}.\"", "{a} thanked {c}, who only [smiled|winked].")
    s.fact("What did {a} want to learn?", "{a.He} wanted to {what}.")
    s.fact("What happened at first?", "{a.He} {fail}.")
    s.fact("Who gave {a} advice?", "{c_cap}.", c_cap=capital(c.name) + (f", the {c.kind}" if c.name[0] in "M" else ""))
    s.fact("What was the advice?", "{a.He} should {advice}.")


RACES = [("running race", "fell over a root"), ("boat race", "ran onto a sandbank"), ("sled race", "flew into a snowdrift"), ("swimming race", "got a cramp"), ("bicycle race", "had a flat tire"), ("kite contest", "got {b.his} kite caught in a tree"),
         ("wagon race", "lost a wheel")]


def race(s):
    a, b = cast(s, 0.25)
    kind, mishap = s.pick(RACES if not a.animal else RACES[:3:2])
    prize = s.pick(["a silver cup", "a golden medal", "a big cake", "a basket of fruit", "a new hat", "a wreath of flowers", "a blue ribbon", "a bag of nuts"])
    s.names.update(kind=kind, mishap=s.text("{x}", x=mishap).lower() if "{" not in mishap else "", prize=prize, happy=happy(s), sad=sad(s))
    m = s.text(mishap)
    s.names["mishap"] = m[0].lower() + m[1:]
    s.title = s.pick(["The Great Race", "{a} and the {K}", "Who Will Win?", "{a} Against {b}"]).replace("{K}", kind.title())
    opening(s, a)
    s.say("[Every year|Once a year|That week] there was a {kind}[, and the prize was {prize}|. The winner got {prize}]. {a} [wanted to win at last|had practiced for weeks]. But {b} was [fast|strong] too, and {b.he} [had never lost|had won the year before].")
    s.paragraph()
    s.say("[A bell rang|A horn sounded|Someone shouted \"Go!\"], and off they went. At first {b} was [ahead|in front], then {a}. [The people shouted and waved|Everyone held their breath].")
    s.say("[Suddenly|Then|Just before the end], {b} {mishap}. \"[Help|Oh no]!\" {b.he} [cried|called]. {a} [looked back|heard it]. The [end was so near|prize was so near]!")
    if s.chance(0.6):
        s.paragraph()
        s.say("[{a} thought for only a second|But {a} did not think twice]. {a.He} turned around and helped {b}. The others [passed them|were faster], and someone else won {prize}.")
        s.say("\"You could have won,\" said {b}. \"[A friend is a better prize|I would have been sad to win like that],\" said {a}.")
        s.say("When the people heard of it, they [cheered for {a} more than for the winner|clapped until their hands were red]. {a} was {happy}.")
        s.fact("Who won the {kind}?", "Someone else won.")
        s.fact("Why did {a} turn around?", "{a.He} wanted to help {b}.")
        moral(s, "help", 0.3)
    else:
        s.paragraph()
        s.say("{b} [got up again|did not give up] and went on as fast as {b.he} could, but {a} was [first|faster]. {a.He} won {prize}!")
        s.say("{b} was {sad}, [but {b.he} was the first to shake {a}'s hand|but {b.he} smiled].")
        s.say("{a} [saw this|thought of the bad luck {b} had had]. \"[Without bad luck you would have won, so let us share the fame|Next year you will win, I am sure of it],\" said {a}.")
        s.fact("Who won the {kind}?", "{a} won the {kind}.")
        moral(s, "friend", 0.3)
    closing(s, "After the race they sat together and laughed about it." if "contest" not in kind else "Afterward they sat together and laughed about it.", "Since that day {a} and {b} have practiced together.")
    s.fact("What was the prize?", "The prize was {prize}.")
    s.fact("What happened to {b}?", "{b.He} {mishap}.")


def surprise(s):
    a, b = cast(s)
    food, color = s.pick(FOODS), s.pick(COLORS)
    o = s.thing()
    s.names.update(food=food, color=color, o=o, happy=happy(s), sad=sad(s), place=s.pick(["in the barn", "under the big chestnut tree", "in the garden", "by the lake", "in the old mill", "in the meadow", "on the hill"]))
    s.title = s.pick(["{a}'s Birthday", "The Surprise", "Nobody Remembered", "A Secret Party"])
    opening(s, a)
    s.say(weather(s, True) + " {a} woke up early, because it was {a.his} birthday. But [nobody said a word about it|everyone seemed to have forgotten it|nobody sang].")
    s.paragraph()
    s.say("{a} went to see {b}. \"[I have no time today|Sorry, I am busy],\" said {b} and [closed the door|hurried away]. {a} was {sad}. {a.He} [sat down by the stream|walked around all alone|counted the clouds].")
    s.maybe(0.6, "Everyone {a.he} met was [in a hurry|whispering], and when {a} came near, they [stopped talking|smiled in a strange way|looked at the sky].")
    s.paragraph()
    s.say("In the [afternoon|evening], {b} came running. \"[Come quickly|You must help me|Something has happened]!\" {b.he} [cried|called]. {a} [followed {b.him}|ran after {b.him}] and found {color} lanterns {place}, and all {a.his} friends were there. \"[Surprise|Happy birthday, {a}]!\" they shouted.")
    s.say("They ate {food}, and there were games and music. {b} gave {a} a {o}. \"[I made a promise not to tell|It was so hard to keep the secret],\" {b.he} said.")
    s.say("\"[I thought you had all forgotten me|I was so sad all day],\" said {a} and laughed. {a.He} was so {happy} that {a.he} [did not know what to say|hugged everyone twice|danced with everybody].")
    moral(s, "friend", 0.3)
    closing(s, "They [danced|sang] until the moon stood high.", "It was the best birthday {a} had ever had.")
    s.fact("Why was {a} sad?", "{a.He} thought that everyone had forgotten {a.his} birthday.")
    s.fact("What did {b} give {a}?", "{b.He} gave {a.him} a {o}.")
    s.fact("Where was the party?", "It was {place}.")
    s.fact("What color were the lanterns?", "They were {color}.")


def sick_friend(s):
    a, b = cast(s)
    ill = s.pick(["had a bad cold", "had a fever", "had hurt {b.his} foot", "had a sore throat", "had the measles" if not a.animal else "had a stomach ache", "had fallen from a tree"])
    food = s.pick(["soup", "honey cake", "hot chocolate", "plum jam", "apple pie", "warm milk"])
    o = s.thing(["feather", "shell", "marble", "whistle", "puzzle", "book", "music box", "puppet", "notebook"])
    s.names.update(food=food, o=o, happy=happy(s), sad=sad(s), fl=s.pick(FLOWERS))
    t = s.text(ill)
    s.names["ill"] = t[0].lower() + t[1:]
    first, second = s.pick([("a blanket", "chairs"), ("two sheets", "a table"), ("a mirror", "the sunlight"), ("old boxes", "colored paper")])
    idea = s.pick(["put up a mirror so that {b} could see the street from the bed", "sang a new song under the window every day", "brought the whole class to the window to wave", "wrote down everything that happened and read it to {b.him}",
                   "made a puppet show on the windowsill", "drew a picture of each day and pinned it to the wall"] if not a.animal else ["sang a new song at the door every day", "told {b.him} all the news of the forest", "made a bed of soft moss for {b.him}", "collected one beautiful thing each day and brought it along"])
    i = s.text(idea)
    s.names["idea"] = i[0].lower() + i[1:]
    s.title = s.pick(["{b} Is Ill", "A Visit", "Get Well, {b}", "{a} the Nurse"])
    opening(s, a)
    s.say(weather(s) + " {a} [waited for {a.his} friend {b}|went to meet {a.his} friend {b}], but {b} did not come. {b.He} {ill} and had to stay in bed.")
    s.paragraph()
    s.say("{a} [was {sad}|missed {b.him}]. \"[What would I like if I were ill|How can I make {b} happy]?\" {a.he} asked {a.himself}.")
    s.say("{a.He} took {food}, picked some {fl} and went to {b}. {b} tried to smile, but {b.he} [was tired and bored|hurt too much to laugh|said that the days were as long as years].")
    s.say("So {a} {idea}. {b} [laughed for the first time in days|forgot the pain for a while|could hardly wait for the next day].")
    s.paragraph()
    s.say("[A week later|Ten days later|Soon] {b} was well again. The first thing {b.he} did was to [run to {a}|knock at {a}'s door]. \"This is for you,\" {b.he} said and gave {a.him} a {o}. \"[You made me well|Without you I would still be lying there].\"")
    s.maybe(0.4, "But the next morning {a} began to [sneeze|cough]. \"Now I will visit you,\" said {b}, and they both had to laugh.")
    moral(s, "friend", 0.3)
    closing(s, "{a} [kept the {o.n} on the windowsill|has the {o.n} to this day].")
    s.fact("What was wrong with {b}?", "{b.He} {ill}.")
    s.fact("What did {a} bring?", "{a.He} brought {food} and some {fl}.")
    s.fact("What did {a} do for {b}?", "{a.He} {idea}.")
    s.fact("What did {b} give {a}?", "{b.He} gave {a.him} a {o}.")


def new_neighbor(s):
    a = s.child()
    b = s.child("m" if a.gender == "f" else "f")
    pet = s.pick(PETS)
    odd = s.pick([("spoke another language", "they drew pictures in the sand to talk to each other", "ten new words"), ("never said a word", "they played chess without speaking", "how to listen"), ("was afraid of the noise in the street", "they met in the quiet garden behind the house", "the names of all the birds"),
                  ("sat in a wheelchair", "they raced down the hill, one on wheels and one on foot", "how to take a corner at full speed"), ("always wore a funny old hat", "they swapped hats for a day", "three magic tricks"), ("came from a country where it never snows", "they built a snowman taller than the door", "a song about the desert")])
    s.names.update(a=a, b=b, pet=pet, odd=odd[0], how=odd[1], learned=odd[2], happy=happy(s), food=s.pick(FOODS))
    s.title = s.pick(["The New Neighbor", "{a} Meets {b}", "Someone Moves In", "The {P} Over the Fence"]).replace("{P}", pet.title())
    opening(s, a)
    s.say(weather(s) + " a [truck|wagon|cart] full of [chairs and boxes|furniture] stopped [next door|across the street]. A {b.child} named {b} climbed down, with a {pet} in {b.his} arms." if pet not in ("pony", "donkey", "goat") else weather(s) + " a wagon full of chairs and boxes stopped next door. A {b.child} named {b} climbed down, and behind the wagon walked a {pet}.")
    s.say("{b} {odd}, and the other children [left {b.him} alone|kept away|only stared]. {a} [only watched from the window|did not know what to say either].")
    s.paragraph()
    s.say("[The next day|A few days later|On Saturday], the {pet} [got out|ran away]. It [ran straight into {a}'s kitchen|landed in {a}'s garden|hid under {a}'s porch] and would not come out.")
    s.say("{b} [came running|stood at the gate], red in the face. {a} [laughed|smiled] and [held out a carrot|held out some bread], and the {pet} came at once. \"[What a fine {pet}|It likes me]!\" said {a}.")
    s.paragraph()
    s.say("That was the beginning. Soon {how}. {a} learned {learned} from {b}, and {b} learned where to find [the best berries|the best hiding places] from {a}.")
    s.say("[After a while|A month later] the other children came too, [one by one|first one, then three, then all of them], and {b} was {happy}.")
    moral(s, "friend", 0.3)
    closing(s, "\"It is all thanks to the {pet},\" said {a}, and the {pet} got an extra large dinner.", "Now there is a hole in the fence, and nobody wants to mend it.")
    s.fact("Who moved in?", "A {b.child} named {b} moved in.")
    s.fact("What animal did {b} have?", "{b.He} had a {pet}.")
    s.fact("What did {a} learn from {b}?", "{a.He} learned {learned}.")


def greedy(s):
    a, b = cast(s, 1)
    food = s.pick(["berries", "honey", "apples", "nuts", "plums", "mushrooms", "pears", "cherries", "acorns", "grapes"])
    s.names.update(food=food, happy=happy(s), sad=sad(s), where=s.pick(["on a sunny slope", "behind the waterfall", "in a hidden valley", "on the far side of the swamp", "near the old oak", "beside a ruined tower"]))
    out = s.pick([("got stuck in the narrow gap between the rocks", "could not move forward or back", "pushed and pulled until {a.he} was free"), ("got such a stomach ache that {a.he} could not stand", "lay on the ground and groaned", "brought bitter herbs that took the pain away"),
                  ("slipped on the wet stones and fell into the stream", "could not swim with such a full belly", "held out a long branch"), ("did not notice that the bees were coming", "had to jump into the pond up to the neck", "led the bees away with a branch of flowers")])
    for key, text in zip(("what", "then", "saved"), out):
        t = s.text(text)
        s.names[key] = t[0].lower() + t[1:]
    s.title = s.pick(["{a} Wants It All", "The Secret Place", "Too Many {F}", "The Greedy {K}"]).replace("{F}", food.title()).replace("{K}", a.kind.title())
    if food == "honey":
        s.title = s.title.replace("Too Many Honey", "Too Much Honey")
    opening(s, a)
    s.say(weather(s, True) + " {a} found {food} {where}, more than {a.he} had ever seen. \"[I will tell nobody|This is all for me],\" {a.he} thought.")
    s.paragraph()
    s.say("On the way there {a.he} met {b}, a hungry {b.kind}. \"You look so pleased today,\" said {b}. \"[Nowhere|Oh, just for a walk],\" said {a}, and {a.he} [walked faster|looked the other way].")
    s.say("{a} ate and ate, until {a.his} belly was as round as a [drum|ball|pumpkin]. Then {a.he} {what}. {a.He} {then}. \"[Help]!\" {a.he} called.")
    s.paragraph()
    s.say("{b} [heard it|had followed {a.him}] and came at once. {b.He} [asked no questions|did not laugh]. {b.He} {saved}.")
    s.say("{a} [was ashamed|looked at the ground]. \"[I wanted to keep everything for myself|There is more than enough, and I told you nothing],\" {a.he} said. \"Please, eat as much as you like.\"")
    moral(s, "share", 0.5)
    closing(s, "After that they [went there together|picked the {food} together], and [it tasted twice as good|there was enough for everyone].", "{b} ate a little, and carried a little home, and was {happy}.")
    s.fact("What did {a} find?", "{a} found {food} {where}.")
    s.fact("Who saved {a}?", "{b}, the {b.kind}, saved {a.him}.")
    s.fact("What happened to {a}?", "{a.He} {what}.")


PLOTS = [(journey, 3), (garden, 2), (skill, 3), (race, 2), (surprise, 2), (sick_friend, 2), (new_neighbor, 2), (greedy, 2)]
