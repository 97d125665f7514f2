"""Word lists of the story generator. Everything here is written for this project; nothing is taken from other texts."""


def words(text):
    return text.split()


def items(text):
    return [part.strip() for part in text.replace("\n", " ").split(",") if part.strip()]


GIRLS = words("""Mia Anna Clara Nora Lily Rosa Ella Wren Greta Ines Tess Maya Leila Zoe Alma Cora Edith Hana Kira Lena Mabel Nina Petra
Quinn Sofia Thea Una Vera Wilma Yara Zelda Amira Bella Celia Dora Elsa Freya Gwen Heidi Ida Jana Kate Lucy Marta Nell
Rita Sara Tilda Ursula Viola Willa Xenia Abby Bridget Carmen Delia Esther Flora Gloria Holly Isla Kelly Lotte Molly""")
BOYS = words("""Tom Ben Max Leo Sam Jack Finn Hugo Otto Emil Omar Felix Oscar Theo Noah Liam Adam Anton Boris Caleb Daniel Eli Frank
George Harry Ivan Jonas Karl Luca Milo Ned Owen Paul Rami Simon Toby Victor Walter Yusuf Zack Albert Bruno Colin David
Edgar Fred Gus Henry Isaac Jacob Kurt Lars Marco Nico Oliver Peter Ralph Stefan Tim Ulrich Vince Arthur Cyrus Dylan""")
SURNAMES = words("""Alder Finch Holt Dale Ellis Hart Jensen Kemp Lane Nash Oakley Thorn Vale Archer Cole Drake Hale Ives Webb Parker""")
PET_NAMES = words("""Rusty Pip Biscuit Pepper Bramble Button Clover Dusty Echo Fudge Ginger Inky Jinx Kiki Lucky Mossy Nutmeg Pickle Poppy
Pumpkin Smoky Sunny Tansy Thistle Toffee Topsy Twig Waffle Whiskers Ziggy Acorn Barley Bubbles Cinder Dandelion Ember
Fuzzy Hopper Jolly Maple Muffin""")

# species: (young home, food, sound verb, moving verb, body feature)
FOREST = {
    "fox": ("den", "berries", "yelped", "trotted", "bushy tail"),
    "rabbit": ("burrow", "clover", "squeaked", "hopped", "long ears"),
    "hedgehog": ("nest of leaves", "apples", "snuffled", "shuffled", "prickly back"),
    "squirrel": ("hollow tree", "acorns", "chattered", "scampered", "fluffy tail"),
    "badger": ("sett", "roots", "grunted", "plodded", "striped face"),
    "mouse": ("hole under the oak", "seeds", "squeaked", "scurried", "thin whiskers"),
    "otter": ("den by the river", "fish", "whistled", "slid along", "sleek fur"),
    "beaver": ("lodge", "bark", "grumbled", "waddled", "flat tail"),
    "mole": ("tunnel", "roots", "mumbled", "crept", "velvet coat"),
    "bear": ("cave", "honey", "growled", "lumbered", "thick fur"),
    "deer": ("thicket", "grass", "called", "bounded", "slender legs"),
    "frog": ("pond", "flies", "croaked", "leaped", "wide mouth"),
    "tortoise": ("hollow log", "lettuce", "hummed", "crawled", "hard shell"),
    "raccoon": ("old stump", "corn", "chirped", "climbed along", "ringed tail"),
    "weasel": ("pile of stones", "eggs", "hissed", "darted", "narrow nose"),
    "goose": ("reed bed", "grain", "honked", "waddled", "white wings"),
    "owl": ("barn loft", "beetles", "hooted", "glided", "round eyes"),
    "hare": ("meadow", "carrots", "whistled", "raced", "strong legs"),
}
# Animals that need help: (species, young or small word, pronoun is always "it")
NEEDY = items("""kitten, puppy, lamb, duckling, sparrow, young hedgehog, baby rabbit, little owl, foal, calf, gosling, robin,
swan, piglet, little goat, pigeon, small turtle, fawn, crow, donkey, goat, baby squirrel, old dog, grey cat""")
PETS = items("dog, cat, pony, parrot, hen, goat, donkey, rabbit, goose, duck, lamb, hamster, turtle, puppy, kitten")

COLORS = words("red blue green yellow orange purple pink white black brown grey golden silver violet crimson")
# things a child can own and lose: noun -> adjectives that fit
_metal = words("silver brass copper tin shiny rusty polished heavy tiny old")
_wood = words("wooden carved painted smooth little old polished new")
_cloth = words("woolen knitted soft striped warm patched red blue green yellow checkered spotted")
_paper = words("folded thin old yellow secret torn precious")
_toy = words("red blue green yellow painted little new old bright")
THINGS = {
    "kite": _toy, "ball": _toy, "drum": _toy + _wood, "doll": words("little old patched wooden rag"), "whistle": _metal + _wood,
    "marble": words("glass blue green striped lucky tiny round"), "ring": _metal, "key": _metal, "button": _metal + words("pearl blue"),
    "book": words("thick red old little picture blue leather"), "hat": _cloth + words("straw felt"), "scarf": _cloth, "mitten": _cloth,
    "lantern": _metal, "basket": words("woven little round straw brown new"), "bell": _metal, "coin": words("gold silver copper lucky old shiny"),
    "flute": _wood + words("silver bamboo"), "spoon": _metal + _wood, "comb": _wood + words("ivory pearl"), "cup": _metal + words("blue clay chipped"),
    "map": _paper, "compass": _metal, "ribbon": words("red blue silk yellow long shiny green"), "pencil": words("red blue short new yellow sharp"),
    "umbrella": words("red yellow striped big old spotted"), "purse": words("leather little velvet green beaded"), "watch": _metal,
    "harmonica": _metal, "mirror": words("little round silver cracked old"), "bucket": _metal + words("blue wooden"), "necklace": words("silver bead coral gold pretty"),
    "locket": _metal, "feather": words("white blue golden long speckled peacock"), "shell": words("pink spiral white tiny smooth speckled"),
    "teddy bear": words("old brown fluffy little worn"), "toy boat": _toy, "wooden horse": words("little painted old brown"),
    "music box": words("tiny silver painted old little"), "spyglass": _metal, "blanket": _cloth, "cap": _cloth, "glove": _cloth + words("leather"),
    "letter": _paper, "notebook": words("little blue thick secret leather"), "paintbrush": words("thin new long little fine"),
    "sled": _toy, "wagon": _toy, "puppet": _wood + words("funny"), "top": words("spinning wooden red painted little"),
    "yo-yo": _toy, "medal": words("gold silver bronze shiny"), "violin": words("little old brown fine polished"), "trumpet": _metal,
    "puzzle": words("wooden hard new big"), "pearl": words("white tiny shiny precious"), "crown": words("paper golden tin little"),
    "thimble": _metal, "toy train": _toy, "jump rope": words("long red new yellow"), "magnet": words("strong red little new"),
    "crayon": words("red green orange purple broken"), "backpack": words("blue heavy green little new"),
}
SMALL = [t for t in THINGS if t in items("""whistle, marble, ring, key, button, spoon, comb, coin, ribbon, pencil, purse, watch,
locket, feather, shell, map, letter, compass, necklace, harmonica, medal, pearl, thimble, crayon, magnet, flute, notebook""")]
MATERIAL_OF_OLD = words("grandmother grandfather aunt uncle")

# outdoor places with a preposition phrase for "where it was"
SPOTS = items("""under the old bridge, behind the barn, in the tall grass, beside the well, on the steps of the mill, under a bench
in the park, behind the bakery, in the apple orchard, near the duck pond, at the foot of the hill, inside a hollow log, under the
hay in the stable, between two rocks, on a low branch, in a patch of clover, behind the garden wall, next to the fountain, under a
pile of leaves, in the reeds by the river, on the windowsill of the school, under the porch, behind the woodpile, in an empty
flowerpot, near the railway station, at the edge of the forest, beside the scarecrow, among the tomato plants, under the wheelbarrow,
on the path to the lighthouse, in a puddle by the gate, behind the rain barrel, under the rose bush, at the bottom of the boat,
beside the beehives, in the sand near the harbor, under the market stall, on top of the stone wall, in the shade of the willow,
behind the chapel, near the crossroads, under the swing, in the wild garden, beside the henhouse, in the ditch by the road""")
INDOOR_SPOTS = items("""under the bed, behind the curtain, in the kitchen drawer, on the top shelf, inside an old boot, under the
rug, behind the clock, in the laundry basket, under the stairs, in the toy chest, behind the stove, on the piano, inside the
teapot, between two cushions, in the pocket of an old coat, under the table, in the attic, behind the bookcase, in the cellar,
beside the fireplace, in the pantry, on the coat hook, under the pillow""")
TOWNS = items("""a small village, a quiet town, a busy harbor town, a village by the sea, a valley full of orchards, a town on a hill,
a hamlet near the river, a village at the edge of the forest, a narrow street of tall houses, a mountain village,
a town with a tall clock tower, a village of fishermen, a lonely hamlet on the moor, a sunny town in the south, a windy village on
the coast, a valley between two mountains, a street behind the market""")
HOMES = items("""a small cottage, a white house, a brick house, a houseboat, a farmhouse, a tall narrow house, an old mill, a little
house with a green door, a stone cottage, a room above the bakery, a cabin, a house with a crooked chimney, a house full of cats,
a blue house with a porch, a lighthouse, an inn""")
FAR_PLACES = items("""the next village, the other side of the forest, the top of the hill, the harbor, the castle, the lighthouse,
the old mill, the monastery, the mountain hut, the island, the market town, the farm beyond the river, the school in the valley,
the cottage by the lake, the ferry house, the shepherd's hut, the great oak, the watchtower""")
OUTINGS = [("have a picnic", "by the lake", "picnic"), ("fly kites", "on the hill", "kite day"), ("pick berries", "in the forest", "berry picking"),
           ("go fishing", "at the river", "fishing trip"), ("swim", "in the bay", "swim"), ("ride their bikes", "along the canal", "bike ride"),
           ("build a sandcastle", "on the beach", "day at the beach"), ("camp", "in the meadow", "camping trip"),
           ("sail a little boat", "on the pond", "boat trip"), ("play football", "in the field", "game"), ("climb", "up the lookout rock", "climb"),
           ("watch the parade", "on the main street", "parade"), ("feed the ducks", "in the park", "walk"), ("hunt for shells", "on the shore", "shell hunt")]
INDOOR_FUN = [("built a tent from blankets", "tent"), ("baked ginger cookies", "cookies"), ("told ghost stories by candlelight", "stories"),
              ("played cards on the floor", "card game"), ("made paper boats and sailed them in the bathtub", "paper boats"),
              ("put on a puppet show", "puppet show"), ("painted a long picture of the sea", "picture"), ("danced to old records", "dance"),
              ("cooked a pot of thick soup", "soup"), ("learned a song on the piano", "song"), ("made masks out of cardboard", "masks"),
              ("read a book about pirates aloud", "book"), ("made a castle out of boxes", "castle"), ("roasted chestnuts in the fireplace", "chestnuts")]

WEATHER_GOOD = words("sunny bright warm clear mild golden fresh fine calm lovely")
WEATHER_BAD = words("rainy stormy windy cold foggy gloomy grey chilly wet misty snowy frosty")
TIMES = items("""morning, afternoon, evening, day, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday, spring morning,
summer day, autumn afternoon, winter morning, market day, April morning, May afternoon, June evening, October day, March morning,
August afternoon, September morning, November evening, December day, January morning, February afternoon, July day""")
TRAITS_GOOD = words("kind clever brave cheerful curious gentle patient honest careful friendly quiet thoughtful lively merry helpful")
TRAITS_MIXED = words("shy stubborn dreamy restless proud hasty messy forgetful noisy bold sleepy careless impatient nervous timid")
FEELINGS_SAD = words("sad upset worried unhappy miserable gloomy heartbroken disappointed")
FEELINGS_HAPPY = words("happy glad delighted thrilled joyful relieved grateful cheerful pleased")
FOODS = items("""bread, cheese, soup, apple pie, honey cake, plum jam, pancakes, carrots, potatoes, roast chestnuts, cookies, porridge,
warm milk, noodles, rice, dumplings, tomato soup, cherry tart, walnuts, gingerbread, pears, buttered toast, hot chocolate, raisin
buns, pumpkin soup, lemon cake, scrambled eggs, mushroom stew, oat biscuits, blueberry muffins, baked beans, fish pie""")
FRUITS = words("""apples pears plums cherries oranges lemons peaches grapes berries melons figs apricots strawberries bananas nuts
raspberries blueberries chestnuts walnuts carrots onions turnips cabbages potatoes tomatoes pumpkins beans""")
COUNTABLES = words("""apples pears plums marbles buttons stamps shells coins books pencils stones cookies balloons flowers eggs
candles nails ribbons cards stickers feathers beads crayons cups fish kites hats keys bells nuts lemons leaves muffins carrots
postcards acorns tickets drums dolls toys bricks boxes baskets chairs jars bottles lamps spoons plates roses tulips""")
SEEDS = words("""pumpkin sunflower carrot bean pea tomato radish cucumber lettuce strawberry melon corn turnip onion pepper cabbage""")
FLOWERS = words("roses daisies tulips poppies lilies violets daffodils bluebells sunflowers marigolds")
JOBS = {  # job -> (place, what he or she works at, gift)
    "baker": ("bakery", "kneading dough", "a warm loaf"), "blacksmith": ("forge", "hammering iron", "a strong hook"),
    "carpenter": ("workshop", "sawing planks", "a wooden spoon"), "miller": ("mill", "filling sacks with flour", "a bag of flour"),
    "fisherman": ("harbor", "mending nets", "a silver fish"), "shepherd": ("pasture", "counting sheep", "a ball of wool"),
    "gardener": ("garden", "watering the beds", "a bunch of roses"), "tailor": ("shop", "sewing a coat", "a velvet ribbon"),
    "potter": ("pottery", "turning clay", "a painted bowl"), "librarian": ("library", "sorting books", "a book of riddles"),
    "postman": ("post office", "stamping letters", "a rare stamp"), "clockmaker": ("workshop", "oiling tiny wheels", "a little clock"),
    "shoemaker": ("shop", "stitching boots", "a pair of laces"), "farmer": ("farm", "loading hay", "a basket of eggs"),
    "ferryman": ("landing", "coiling ropes", "a free ride"), "beekeeper": ("garden", "checking the hives", "a jar of honey"),
    "painter": ("studio", "mixing colors", "a small painting"), "doctor": ("clinic", "rolling bandages", "a box of mints"),
    "teacher": ("school", "wiping the blackboard", "a new pencil"), "innkeeper": ("inn", "stirring a big pot", "a bowl of stew"),
    "glassblower": ("workshop", "blowing glass", "a glass bird"), "basket weaver": ("hut", "weaving willow", "a little basket"),
    "lighthouse keeper": ("lighthouse", "polishing the lamp", "a big shell"), "musician": ("square", "tuning a fiddle", "a merry song"),
    "woodcutter": ("forest", "splitting logs", "a bundle of sticks"), "grocer": ("store", "stacking jars", "a bag of raisins"),
    "cook": ("kitchen", "chopping onions", "a slice of cake"), "sailor": ("harbor", "painting a hull", "a brass button"),
    "nurse": ("hospital", "folding sheets", "a paper star"), "mason": ("yard", "cutting stone", "a smooth pebble"),
}
RELATIVES = [("grandmother", "f"), ("grandfather", "m"), ("mother", "f"), ("father", "m"), ("aunt", "f"), ("uncle", "m"),
             ("older sister", "f"), ("older brother", "m")]
