"""Plots about people and animals: help, quarrels, fear, losing the way, winter, guests at night."""
from lexicon import COLORS, FAR_PLACES, FOODS, FRUITS, INDOOR_FUN, NEEDY, OUTINGS, PETS, SPOTS
from parts import capital, cast, closing, happy, moral, opening, sad, thanks, weather

# trouble: (where it is, what is tried first, why that fails, the tool, how the tool works)
TROUBLE = [
    ("stuck in the mud by the river", "pulled with both hands", "the mud held on tight", "a long plank", "lay down on the plank and reached the little one safely"),
    ("high up in an old pear tree", "called and whistled", "the animal was too afraid to move", "a ladder", "climbed up slowly and carried it down in a bag"),
    ("at the bottom of a dry well", "let down a hand as far as it would go", "the well was much too deep", "a basket on a rope", "let the basket down and pulled it up again, very slowly"),
    ("tangled in an old fishing net", "tore at the net", "the knots only grew tighter", "a pair of scissors", "cut one knot after another"),
    ("caught in a thorn bush", "reached in with bare hands", "the thorns were as sharp as needles", "thick leather gloves", "bent the branches apart"),
    ("on a small rock in the middle of the stream", "jumped from stone to stone", "the last stone was too far away", "a fallen branch", "made a bridge with the branch"),
    ("behind a locked garden gate", "shook the gate", "it would not open", "the key of the gardener", "opened the gate with a loud creak"),
    ("under a heavy fallen log", "pushed as hard as possible", "the log did not move at all", "a strong pole", "lifted the log with the pole, just far enough"),
    ("in a deep hole at the edge of the field", "dug at the side of the hole", "the earth kept falling in", "an old blanket", "made a sling of the blanket and lifted it out"),
    ("on the thin ice of the pond", "took one step on the ice", "the ice began to crack", "a long rope with a loop", "threw the loop and pulled it over the ice to the shore"),
    ("in a chimney full of soot", "called up from below", "nothing came down but black dust", "a lantern and a broom", "lit the way and pushed gently from below"),
]
FIRST_HELP = ["gave it warm milk", "dried it with a towel", "wrapped it in a scarf", "gave it some water", "let it sleep on an old coat"]


def rescue(s):
    a, b = cast(s, 0.12)
    animal = s.pick(NEEDY)
    where, first, why, tool, how = s.pick(TROUBLE)
    big = animal in ("donkey", "foal", "calf", "goat", "little goat", "old dog", "swan", "fawn")
    while big and any(w in where for w in ("tree", "chimney", "well")):
        where, first, why, tool, how = s.pick(TROUBLE)
    wings = animal in ("sparrow", "little owl", "robin", "swan", "pigeon", "crow")
    while wings and not any(w in where for w in ("net", "thorn", "mud", "gate", "chimney")):
        where, first, why, tool, how = s.pick(TROUBLE)
        if "gate" in where:
            continue
    climbs = animal in ("kitten", "grey cat", "baby squirrel", "crow", "pigeon", "sparrow", "little owl", "robin")
    while not climbs and any(w in where for w in ("pear tree", "chimney")):
        where, first, why, tool, how = s.pick([t for t in TROUBLE if not big or "well" not in t[0]])
    c = s.worker(jobs=["farmer", "gardener", "fisherman", "woodcutter", "carpenter", "shepherd"])
    s.names.update(an=animal, where=where, first=first, why=why, tool=tool, how=how, c=c, happy=happy(s))
    s.title = s.pick(["{a} Helps a {X}", "The {X} in Trouble", "A Cry for Help", "{a} and the {X}"]).replace("{X}", animal.title())
    opening(s, a)
    s.say(weather(s) + " {a} heard a [weak|strange|sad|small] sound. {a.He} [followed it|looked around|stood still and listened]. A {an} was {where}!")
    s.maybe(0.5, "It [was shaking with fear|was wet and cold|looked at {a} with big eyes|was too tired to move].")
    s.paragraph()
    s.say("\"[Do not be afraid|Hold on, little one|Wait, I will help you]!\" said {a}. {a.He} {first}, but {why}.")
    s.one_of("[So {a} ran to get {b}|Then {b} came along the path]. \"[We need|What we need is] {tool},\" said {b}. [They borrowed what they needed from {c}|They got it from {c}, the {c.kind}|{c}, the {c.kind}, was glad to lend it to them].",
             "\"I cannot do this alone,\" {a} thought, and {a.he} [called|shouted] for {b}. Together they fetched {tool} from {c}, the {c.kind}.")
    s.say("[Then|This time] {a} {how}, while {b} [spoke softly to it|held on tight|kept very still|counted to ten].")
    s.paragraph()
    s.say("The {an} was free! " + s.pick(FIRST_HELP).replace("it ", "the {an} ", 1).join(["{a} ", "."]) if s.chance(0.6) else "The {an} was free! It [shook itself|took a few careful steps|made a happy little sound].")
    end = s.pick(["stay", "home", "return"])
    if end == "stay" and not a.animal and not wings and animal not in ("swan", "fawn"):
        name = s.fresh(["Lucky", "Pip", "Pepper", "Rusty", "Topsy", "Biscuit", "Clover", "Button", "Nutmeg", "Sunny", "Maple", "Smoky", "Twig", "Barley", "Mossy"])
        s.names["pn"] = name
        s.say("Nobody knew where it came from, so {a} [was allowed to|could] keep it. {a.He} [called it|named it] {pn}, and {pn} [followed {a.him} everywhere|slept at the foot of {a.his} bed|waited for {a.him} at the gate every day].")
        s.fact("What did {a} call the {an}?", "{a.He} called it {pn}.")
    elif end == "home" and not wings:
        s.say("Its mother was already [calling from the field|waiting at the edge of the trees]. The {an} ran to her as fast as it could.")
    else:
        s.say("[A week later|The next spring|Some days later] the {an} [came back|stood in front of the door]. It [had not forgotten {a}|wanted to say thank you|looked well and strong], and {a} was {happy}.")
    moral(s, "help")
    closing(s, "\"[We did it|We make a good team]!\" said {b}, and {a} had to agree.", "{c} [heard the whole story|heard what had happened] and [gave them both an apple|was proud of them both].")
    s.fact("Where was the {an}?", "It was {where}.")
    s.fact("[Who helped {a}?|Who came to help {a}?]", "{b} helped {a.him}.")
    s.fact("What did they need to save the {an}?", "They needed {tool}.")
    s.fact("Who gave them what they needed?", "{c}, the {c.kind}.")


def quarrel(s):
    a, b = cast(s)
    o = s.thing(["kite", "ball", "drum", "sled", "wagon", "book", "toy boat", "spyglass", "puzzle", "paintbrush", "trumpet", "jump rope", "puppet"])
    s.names.update(o=o, sad=sad(s), happy=happy(s), sad2=sad(s))
    s.title = s.pick(["The Quarrel", "{a} and {b} Fall Out", "One {N} for Two", "Two Friends and a {N}"])
    opening(s, a)
    s.say("{a.His} best friend was {b}, [who lived next door|who lived just around the corner|a {b.kind} with a quick temper]. " + s.pick(["They did everything together.", "They met every day.", "One was never seen without the other."]))
    s.paragraph()
    s.say(weather(s) + " they [found|were given] a {o}, and both of them wanted it. \"I want to have it first!\" [cried|shouted] {a}. \"[No, me|You are always first|No, it is my turn]!\" [cried|shouted] {b}.")
    broke = s.chance(0.5)
    if broke:
        s.say("{a} pulled on one side and {b} pulled on the other, until [there was a crack|they heard a snap]. The {o.n} was [broken|in two pieces].")
        s.say("\"[That was your fault|Look what you did]!\" they both said. {b} [ran away|went home without a word], and {a} [kicked a stone|sat down alone|was too angry to speak].")
    else:
        s.say("{a} took the {o.n} and [ran away with it|would not let go of it]. \"[Then I am not your friend any more|Keep it, then],\" said {b}, and went home.")
    s.paragraph()
    s.say("[For two days|For a whole week|All the next day] they did not speak. {a} [tried to play alone|sat by the window], but [it was no fun|nothing was any fun]. {b} was {sad2} too, and [did not touch {b.his} supper|stayed in bed until noon|walked around in circles].")
    first = s.pick([a, b])
    other = b if first is a else a
    s.names.update(f=first, g=other)
    s.one_of("At last {f} [could not stand it any longer|made up {f.his} mind|took a deep breath] and [knocked at {g}'s door|went to find {g}]. \"I am sorry,\" {f.he} said. \"[You are more important than any {o.n}|A {o.n} is nothing without you|I was wrong].\"",
             "Then {f} said only three words: \"I am sorry.\" {g} had waited for them and [smiled|nodded].")
    s.say("\"[I am sorry too|It was my fault too|I missed you],\" said {g}.")
    s.paragraph()
    if broke:
        s.say("They [mended|repaired] the {o.n} together [with glue and string|with a little wire|that same afternoon]. It was not as pretty as before, but [they liked it even more|it held].")
        s.fact("What happened to the {o.n}?", "It broke, and they mended it together.")
    else:
        s.say("From then on {a} had the {o.n} [on Mondays and {b} had it on Tuesdays|in the mornings and {b} had it in the evenings|for one week and {b} had it for the next], and [on Sundays|most of the time] they played with it together.")
        s.fact("How did they share the {o.n}?", "They took turns.")
    moral(s, "friend" if s.chance(0.5) else "share", 0.4)
    closing(s, "They never [quarreled about a {o.n} again|stopped being friends after that].", "And the next time they found something, they both said: \"You first!\"")
    s.fact("[What did {a} and {b} quarrel about?|What did they both want?]", "They both wanted a {o}.")
    s.fact("Who said sorry first?", "{f} said sorry first.")
    s.fact("Who was {a}'s best friend?", "{b} was {a.his} best friend.")


FEARS = {  # fear: (what it looks like, advice, what is tried, how it ends)
    "the dark": ("slept with a lamp beside the bed every night", "the dark is only a blanket that the day puts over the world", "put out the lamp and counted to twenty", "saw how many stars there were"),
    "deep water": ("never went farther than the ankles", "water carries those who trust it", "lay on the water and breathed slowly", "floated like a leaf"),
    "thunder": ("hid under the table in every storm", "thunder is only the noise that lightning leaves behind", "counted the seconds between the flash and the bang", "noticed that the storm was moving away"),
    "high places": ("would not even stand on a chair", "you must look up and not down", "climbed one step more each day", "stood at the very top and saw the sea"),
    "big dogs": ("crossed the road whenever one came near", "a dog that wags its tail wants a friend", "held out a hand and let the dog sniff it", "scratched the dog behind the ears"),
    "speaking in front of people": ("turned red and lost every word", "you should pick one kind face and talk to it", "practiced in front of the hens", "heard the whole room clap"),
    "the old forest": ("always took the long way around", "a forest is full of friends you have not met", "walked in as far as the first big oak", "found a clearing full of bluebells"),
    "spiders": ("shook out every shoe before putting it on", "a spider is more afraid of you than you are of it", "watched one build its web from beginning to end", "thought the web was as fine as lace"),
    "strangers": ("never said a word to a new face", "every friend was a stranger once", "said good morning to the new postman", "learned a funny riddle from him"),
    "the cellar": ("never went down the stone steps alone", "you will find nothing there but apples and old chairs", "went down with a candle, one step at a time", "came back with a basket of apples"),
}


def fear(s):
    a = s.child()
    b = s.child("m" if a.gender == "f" else "f")
    what = s.pick(list(FEARS))
    looks, advice, tried, end = FEARS[what]
    c = s.relative(a)
    s.names.update(a=a, b=b, c=c, what=what, looks=looks, advice=advice, tried=tried, end=end, happy=happy(s))
    s.title = s.pick(["{a} Is Brave", "{a} and {W}", "Not Afraid Any More"]).replace("{W}", what.title().replace(" In ", " in ").replace(" Of ", " of "))
    opening(s, a)
    s.say("{a} [was afraid of|had always been afraid of] only one thing, and that was {what}. {a.He} {looks}." if s.chance(0.5) else "There was one thing {a} did not like at all: {what}. {a.He} {looks}.")
    s.maybe(0.5, "[Some children laughed at {a.him}, but {b} never did|Nobody knew about it except {b}].")
    s.paragraph()
    s.say(weather(s) + " {a} [told {c} about it|asked {c} for advice]. \"[When I was small, I was just the same|That is nothing to be ashamed of|Everyone is afraid of something],\" said {c}. \"Remember, {advice}.\"")
    s.say("{a} [thought about this for a long time|was not so sure|wrote the words on a piece of paper]. \"[Will you come with me|Will you stay near me]?\" {a.he} asked {b}. \"[Of course|Always|To the end of the world],\" said {b}.")
    s.paragraph()
    s.say("[The first time|On the first day], {a.his} [knees shook|heart beat like a drum|hands were cold], and {a.he} [turned back|gave up|ran home]. [The second time|The next day] it was a little better.")
    s.say("[On the third day|Then, at last|The third time], {a} {tried}. And {a.he} {end}." if s.chance(0.6) else "But {a} did not give up. {a.He} {tried}, and then, to {a.his} surprise, {a.he} {end}.")
    s.one_of("\"[You did it|I knew you could do it]!\" [cried|shouted] {b}.", "\"[It is not so bad|I did it],\" said {a} and laughed.")
    s.paragraph()
    moral(s, "brave", 0.5)
    closing(s, "{a} was {happy}. Now {a.he} could help others who were afraid of {what}.", "{c} only smiled and said: \"I knew it.\"", "After that, {a} was not afraid of {what} any more, or only a little.")
    s.fact("What was {a} afraid of?", "{a.He} was afraid of {what}.")
    s.fact("Who gave {a} advice?", "{c_cap} gave {a.him} advice.", c_cap=capital(c.name))
    s.fact("Who stayed near {a}?", "{b} stayed near {a.him}.")
    s.fact("How did it end?", "{a.He} {end}.")


CLUES = [("the bells of the church", "heard", "followed the sound"), ("the smoke of a chimney", "saw", "walked toward it"), ("the sound of the river", "heard", "followed the water down into the valley"),
         ("a row of white stones", "saw", "went from one stone to the next"), ("the light of the lighthouse", "saw", "went straight toward the light"), ("the north star", "found", "kept it on the left side"),
         ("the bark of a dog", "heard", "called out as loudly as possible"), ("the smell of fresh bread", "noticed", "followed it like a thread"), ("the tracks of a cart", "found", "stayed between the two lines"),
         ("the whistle of the train", "heard", "found the railway line and walked along it")]


def lost_way(s):
    a, b = cast(s)
    clue, verb, act = s.pick(CLUES)
    c = s.relative(a, ["grandmother", "grandfather", "mother", "father", "aunt", "uncle"]) if not a.animal else None
    why = s.pick(["followed a blue butterfly", "ran after a white rabbit", "looked for mushrooms", "wanted to find the end of the rainbow", "took a new path", "followed the stream too far", "picked one flower after another", "chased a rolling hat"])
    bad = s.pick([("the fog came down", "fog"), ("it began to snow", "snow"), ("it grew dark", "dark"), ("a thick mist rose from the ground", "mist"), ("black clouds covered the sun", "clouds")])
    s.names.update(clue=clue, verb=verb, act=act, c=c, why=why, bad=bad[0], happy=happy(s), sad=sad(s))
    s.title = s.pick(["{a} Loses the Way", "The Way Home", "{a} and {b} in the Woods", "Which Way Is Home?"])
    opening(s, a)
    s.say(weather(s) + " {a} [and {b} went out together|went for a walk with {b}]. They {why} and did not [look back|think about the time|notice how far they had gone].")
    s.say("Then {bad}. [Every tree looked the same|The path was gone|They could not see the path any more]. \"[We are lost|I do not know this place|I want to go home],\" said {b}[ in a thin voice| and came closer to {a}|].")
    s.paragraph()
    s.say("First they [went to the left|walked straight on], but they [came back to the same tree|only got deeper into the woods|walked in a circle]. [{b} began to cry|{b} was tired and {sad}|They sat down under a big tree].")
    s.say("\"[Let us be quiet and think|They say that you must stay calm|Do not cry, we will find a way],\" said {a}.")
    s.maybe(0.4, "They shared the last [piece of bread|apple|two cookies], and that helped a little.")
    s.say("[Then|After a while|All at once] {a} {verb} {clue}. \"[Listen|This way|Come], I know what to do!\" {a.he} said. They {act}.")
    s.paragraph()
    if c:
        s.say("[At last|An hour later|Just as the stars came out] they saw a light. It was {c}, who had come out [with a lantern|with a lamp in {c.his} hand] to look for them. {c} [did not scold them|hugged them both|was so {happy} that {c.he} forgot to be angry].")
        s.fact("Who came to look for them?", "{c_cap} came to look for them.", c_cap=capital(c.name))
    else:
        s.say("[At last|An hour later|Just as the stars came out] they reached home. It had never looked so [warm|good|bright]. {b} [danced for joy|lay down and fell asleep at once|was so {happy} that {b.he} sang].")
    moral(s, "brave", 0.25)
    closing(s, "The next time they went out, {a} took [a ball of string|a whistle|a lantern] along.", "\"You were so calm,\" said {b}. \"[Inside I was shaking|Only on the outside],\" said {a}, and they both laughed.")
    s.fact("Why did they lose their way?", "They {why}." + (" Then {bad}." if s.chance(0.4) else ""))
    s.fact("How did they find the way home?", "{a} {verb} {clue}.")
    s.fact("Who was with {a}?", "{b} was with {a.him}.")


THIEVES = [("hedgehog", "it needed food for its four babies", "put a bowl of food behind the house every evening"), ("magpie", "it loved everything that shone", "hung a string of glass beads in the tree for it"),
           ("mouse", "winter was coming and its nest was empty", "left a handful of grain by the wall"), ("squirrel", "its own store had been washed away by the rain", "gave it a sack of nuts"),
           ("raccoon", "it had hurt its leg and could not hunt", "bandaged the leg and fed it until it was well"), ("stray cat", "it had three kittens in the hay", "made a warm bed for all of them"),
           ("crow", "it was old and could not fly far", "built a little feeding table for it"), ("old dog", "nobody had given it anything to eat for days", "gave it a home by the fire")]


def night_thief(s):
    a, b = cast(s, 0)
    animal, why, what_then = s.pick(THIEVES)
    shiny = animal in ("magpie",)
    goods = s.pick(["silver spoons", "buttons", "coins", "glass beads"] if shiny else ["eggs", "loaves of bread", "sausages", "nuts", "apples", "cookies", "pieces of cheese", "pears", "fish"])
    c = s.worker(jobs=["baker", "farmer", "innkeeper", "grocer", "cook", "miller", "tailor"])
    trap = s.pick(["strewed flour on the floor", "hung a bell on the door", "hid behind a barrel", "tied a thread across the doorway", "lay down under the table with a lamp"])
    suspect = s.pick(["the boys from the mill", "a traveling peddler", "the neighbor", "a band of robbers", "the new stable boy"])
    s.names.update(an=animal, why=why, then=what_then, goods=goods, c=c, trap=trap, suspect=suspect, happy=happy(s))
    s.title = s.pick(["The Thief in the Night", "Who Took the {G}?", "{a} Solves a Riddle", "The Case of the {G}"]).replace("{G}", goods.title().replace(" Of ", " of "))
    opening(s, a)
    s.say("[Every night|Night after night] something [was missing|disappeared] from the {c.place} of {c}, the {c.kind}: {goods}!" if c.kind != "farmer" else "[Every night|Night after night] something was missing on the farm of {c}: {goods}!")
    s.say("\"[It must be|I am sure it was|I think it was] {suspect},\" [said|grumbled] {c}. But {a} [was not so sure|wanted to see proof|shook {a.his} head].")
    s.paragraph()
    s.say("\"[We must keep watch|Let us find out],\" {a} said to {b}. That night they {trap} and waited. [The clock struck ten, then eleven|The moon rose|An owl called outside]. {b} [almost fell asleep|held {b.his} breath|yawned].")
    if "flour" in trap:
        s.say("In the morning there were small tracks in the flour. They led [out of the door|through a hole in the wall] and across the yard, and at the end of them sat a {an}, looking very guilty.")
    else:
        s.say("[Then|At midnight] [there was a soft noise|something moved in the dark|they heard small feet]. {a} [lifted the lamp|lit a candle]. There stood a {an}, [as surprised as they were|blinking in the light|too scared to run].")
    s.paragraph()
    s.say("They followed it and soon [understood|saw why]: {why}. \"[Poor thing|So that is why],\" [said|whispered] {b}.")
    s.say("[The next morning|At breakfast] they told {c} everything. At first {c} was angry, but then {c.he} {then}.")
    s.one_of("After that nothing was missing any more.", "From that night on, nobody took any {goods} again.")
    closing(s, "And {c} said sorry to {suspect}." if suspect.startswith("the ") else "And {c} never blamed a stranger again.", "{c} gave {a} and {b} {c.gift} for their good work.")
    s.fact("What was missing?", "[Every night {goods} were missing.|{goods_c} were missing.]", goods_c=capital(goods))
    s.fact("Who was the thief?", "The thief was a {an}.")
    s.fact("Why did the {an} do it?", "Because {why}.")
    s.fact("Whom did {c} suspect at first?", "{c} suspected {suspect}.")


def winter(s):
    a, b = cast(s, 1)
    stock = s.pick(FRUITS if s.chance(0.3) else ["nuts", "seeds", "acorns", "dried berries", "roots", "mushrooms", "grain"])
    lazy = s.pick(["danced and sang", "slept in the sun", "swam in the river", "played with the wind", "lay in the grass and looked at the clouds"])
    gift = s.pick([("sang to the others through the long dark evenings", "the songs"), ("told stories that made everyone forget the cold", "the stories"), ("taught everyone to dance so that they stayed warm", "the dances"),
                   ("painted flowers on the walls so that it looked like spring", "the pictures"), ("made jokes until everyone lay on the floor laughing", "the jokes")])
    s.names.update(stock=stock, lazy=lazy, gift=gift[0], thing=gift[1], happy=happy(s))
    s.title = s.pick(["The Long Winter", "{a} and {b} in the Snow", "A Guest in Winter", "When the Snow Came"])
    opening(s, a, False)
    s.say("All [summer|autumn] {a} gathered {stock} for the winter. {b}, a young {b.kind}, [laughed at {a.him}|shook {b.his} head at so much work] and {lazy}. \"[Winter is far away|You work too much|Come and play],\" {b} said.")
    s.paragraph()
    s.say("Then the [first snow fell|north wind came|frost came]. [The river froze|The ground was as hard as stone|The trees were bare], and {b} had [nothing to eat|no food at all]. {b.He} [knocked at {a}'s door|came to {a}, thin and cold]. \"[Please|I was foolish], [let me in|help me],\" {b.he} said.")
    if s.chance(0.6):
        s.say("{a} remembered [how {b} had laughed|the summer], but {a.he} also saw how {b.he} was shaking. \"[Come in and warm yourself|There is enough for two],\" {a.he} said.")
    else:
        s.say("\"[You should have worked in the summer|I told you so],\" said {a} at first. But {a.he} could not close the door. \"[Come in|Sit by the fire],\" {a.he} said [at last|after a while].")
    s.paragraph()
    s.say("{b} had no food to give. But {b.he} {gift}. {a} had never [spent such a merry winter|been so {happy}], and {thing} [made the snow seem less deep|were worth more than a sack of {stock}].")
    s.say("[In spring|When the ice melted], {b} [was up before the sun|came with a basket]. \"This year I will [gather {stock} too|work beside you],\" {b.he} said, and {b.he} kept {b.his} word.")
    moral(s, "share", 0.3)
    closing(s, "[And in the evening, when the work was done|And when the work was done], they sang together.")
    s.fact("What did {a} gather?", "{a} gathered {stock}.")
    s.fact("Who came to {a} in the winter?", "{b}, the {b.kind}, came to {a.him}.")
    s.fact("What did {b} do in the summer?", "{b.He} {lazy}.")
    s.fact("What did {b} give in return?", "{b.He} {gift}.")


def storm_outing(s):
    a, b = cast(s, 0)
    (doing, where, noun), (fun, _) = s.pick(OUTINGS), s.pick(INDOOR_FUN)
    c = s.relative(a)
    food = s.pick(FOODS)
    storm = s.pick([("the sky turned black and it began to pour", "rain"), ("a cold wind blew and hail fell like marbles", "hail"), ("lightning flashed and thunder rolled", "storm"), ("it started to snow in thick flakes", "snow"), ("such a wind came up that nobody could stand straight", "wind")])
    shelter = s.pick(["an old barn", "a cave", "a boathouse", "a hut with a broken door", "an empty stable", "a shed full of hay", "a big hollow tree"])
    s.names.update(doing=doing, where=where, noun=noun, fun=fun, c=c, food=food, storm=storm[0], st=storm[1], shelter=shelter, happy=happy(s), sad=sad(s))
    s.title = s.pick(["The Big Storm", "A Day of {S}", "{a} and {b} Get Wet", "A Change of Plans"]).replace("{S}", storm[1].title())
    opening(s, a)
    s.say("[All week|For days] {a} and {b} had [looked forward to|planned] their {noun}. They wanted to {doing} {where}. " + s.text("{c}", c=c).join(["", " packed {food} for them."]))
    s.paragraph()
    if s.chance(0.5):
        s.say("But just as they got there, {storm}. \"[Run|Quick, over there]!\" [cried|shouted] {a}. They found {shelter} and [slipped inside|hid in it], wet to the skin.")
        s.say("[At first they only looked at each other|They listened to the noise outside]. Then {b} [unpacked|took out] the {food}, and they ate it [on the dry floor|by the light that came through the cracks] and told each other [riddles|jokes|the strangest stories they knew].")
        s.say("\"[This is better than any {noun}|This is a real adventure],\" said {a}.")
        s.fact("Where did they hide?", "They hid in {shelter}.")
    else:
        s.say("But that morning {storm}. {b} [looked out of the window|stood at the door] and was {sad}. \"[Our {noun} is over|Now everything is spoiled],\" {b.he} [said|sighed].")
        s.say("\"[Bad weather is only bad outside|Then we will have fun in here],\" said {c}. So they {fun}. {a} laughed so much that {a.he} [forgot the {st} outside|got hiccups|fell off {a.his} chair]. For lunch they ate {food}.")
        s.fact("What did they do instead?", "They {fun}.")
    s.paragraph()
    s.say("[In the late afternoon|Toward evening|Later] the sky cleared, and [a rainbow stood over the roofs|the whole world smelled fresh|the sun came out].")
    closing(s, "\"Tomorrow we will {doing} {where},\" said {b}. \"[Or the day after|And if it storms again, I will not mind],\" said {a}.", "It was not the day they had planned, but it was [a better one|one of the best].")
    s.fact("What did {a} and {b} want to do?", "They wanted to {doing} {where}.")
    s.fact("What did they eat?", "They ate {food}.")
    s.fact("What went wrong?", "{storm_c}.", storm_c=capital(storm[0]))


PLOTS = [(rescue, 3), (quarrel, 3), (fear, 3), (lost_way, 3), (night_thief, 2), (winter, 2), (storm_outing, 2)]
