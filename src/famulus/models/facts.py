"""What a small model answers as well as a large one: sums, units, times, well-known facts.

A pattern must be the whole message without its courtesies. Where a name stands, the names are
listed: an open place would take `who wrote the invoice` for a question about a book.
"""

# ruff: noqa: E501 - a pattern reads better unbroken

from famulus.models.rules import SIMPLE, Pattern

_ONE = r"[^\W\d_][\w'-]{0,19}"
_TWO = rf"{_ONE}(?: {_ONE})?"
_QUOTED = r"['\"“‘][^'\"”’\n]{1,40}['\"”’]"
_WHAT = r"(?:(?:what|wat|which)(?:'?s| is| are| was)? )?(?:the )?"

_COUNTRY = (
    "(?:the )?(?:afghanistan|albania|algeria|andorra|angola|argentina|armenia|australia|austria|azerbaijan|bahrain|bangladesh|belarus|"
    "belgium|belize|bhutan|bolivia|bosnia|botswana|brazil|bulgaria|cambodia|cameroon|canada|chad|chile|china|colombia|congo|costa rica|croatia|"
    "cuba|cyprus|czech republic|czechia|denmark|ecuador|egypt|el salvador|england|eritrea|estonia|ethiopia|fiji|finland|france|gabon|georgia|germany|ghana|"
    "great britain|greece|guatemala|haiti|honduras|hungary|iceland|india|indonesia|iran|iraq|ireland|israel|italy|ivory coast|jamaica|japan|jordan|"
    "kazakhstan|kenya|kuwait|laos|latvia|lebanon|libya|liechtenstein|lithuania|luxembourg|madagascar|malaysia|maldives|mali|malta|mexico|moldova|monaco|mongolia|"
    "montenegro|morocco|mozambique|myanmar|namibia|nepal|netherlands|new zealand|nicaragua|niger|nigeria|north korea|norway|oman|pakistan|panama|paraguay|peru|"
    "philippines|poland|portugal|qatar|romania|russia|rwanda|saudi arabia|scotland|senegal|serbia|singapore|slovakia|slovenia|somalia|south africa|"
    "south korea|spain|sri lanka|sudan|sweden|switzerland|syria|taiwan|tanzania|thailand|tunisia|turkey|uganda|uk|ukraine|united arab emirates|uae|"
    "united kingdom|united states|uruguay|us|usa|uzbekistan|venezuela|vietnam|wales|yemen|zambia|zimbabwe|california|michigan|ohio|arizona|hawaii|alaska|colorado|nevada|texas|florida|bavaria|africa|asia|europe|"
    "north america|south america|antarctica)"
)
_CITY = (
    "(?:new york(?: city)?|nyc|london|paris|berlin|tokyo|beijing|shanghai|hong kong|singapore|sydney|melbourne|moscow|rome|madrid|barcelona|lisbon|"
    "vienna|munich|hamburg|zurich|geneva|amsterdam|brussels|copenhagen|stockholm|oslo|helsinki|dublin|edinburgh|prague|warsaw|budapest|athens|istanbul|"
    "cairo|dubai|mumbai|delhi|new delhi|bangkok|jakarta|seoul|osaka|kyoto|taipei|manila|hanoi|toronto|vancouver|montreal|chicago|boston|seattle|"
    "los angeles|la|san francisco|sf|houston|miami|denver|las vegas|mexico city|lima|bogota|buenos aires|rio(?: de janeiro)?|sao paulo|santiago|"
    "nairobi|lagos|cape town|johannesburg|casablanca|tel aviv|timbuktu|utc|gmt|est|pst|cet|(?:the )?(?:pacific|eastern|central|mountain)(?: standard)?(?: time(?: ?zone)?)?)"
)
_THING = (
    "(?:the )?(?:moon|sun|earth|mars|venus|jupiter|saturn|mercury|neptune|uranus|pluto|equator|eiffel tower|nile|amazon|mount everest|mt everest|everest|k2|"
    "mont blanc|kilimanjaro|mount fuji|great wall(?: of china)?|titanic|statue of liberty|grand canyon|pacific(?: ocean)?|atlantic(?: ocean)?|mariana trench|sahara|"
    "colosseum|pyramids|big ben|burj khalifa|empire state building|golden gate bridge|leaning tower of pisa|marathon|football field|blue whale|elephant|giraffe|"
    "speed of light|speed of sound|light|sound|rhine|danube|thames|mississippi|yangtze|taj mahal|berlin wall|golden gate)"
)
_ANIMAL = (
    "(?:spider|dog|cat|cow|horse|pig|sheep|goat|chicken|duck|bird|fish|frog|snake|lion|tiger|bear|elephant|giraffe|zebra|monkey|octopus|squid|ant|bee|"
    "butterfly|fly|insect|crab|lobster|shark|whale|dolphin|penguin|ostrich|camel|rabbit|mouse|rat|turtle|snail|worm|starfish|human|person|owl|wolf|fox|deer|"
    "kangaroo|koala|panda|bat|scorpion|centipede|cheetah|crocodile)s?"
)
_WORK = (
    "(?:the )?(?:hamlet|macbeth|othello|king lear|romeo (?:and|&) juliet|faust|1984|nineteen eighty-four|animal farm|brave new world|war and peace|anna karenina|crime and punishment|"
    "don quixote|moby dick|odyssey|iliad|divine comedy|harry potter|lord of the rings|hobbit|pride and prejudice|jane eyre|wuthering heights|great gatsby|"
    "to kill a mockingbird|catcher in the rye|alice in wonderland|peter pan|dracula|frankenstein|sherlock holmes|les mis[eé]rables|little prince|metamorphosis|"
    "trial|oliver twist|a christmas carol|great expectations|tom sawyer|huckleberry finn|jungle book|pinocchio|ulysses|origin of species|bible|"
    "mona lisa|last supper|starry night|sunflowers|the scream|scream|guernica|sistine chapel(?: ceiling)?|girl with (?:a|the) pearl earring|night watch|birth of venus|the kiss|water lilies|"
    "magic flute|moonlight sonata|fifth symphony|ninth symphony|ode to joy|four seasons|swan lake|nutcracker|carmen|la traviata|bolero|imagine|yesterday|thriller|bohemian rhapsody|"
    "light ?bulb|telephone|radio|television|airplane|aeroplane|steam engine|printing press|dynamite|internet|world wide web|www|car|bicycle|computer|"
    "penicillin|gravity|radium|america|oxygen|electricity|dna|x-rays|theory of relativity|vaccine|insulin|"
    "apple|microsoft|google|facebook|amazon|tesla|wikipedia|red cross|linux|python)"
)
_SUBSTANCE = (
    "(?:water|salt|table salt|ice|gold|silver|iron|copper|lead|tin|zinc|mercury|oxygen|hydrogen|nitrogen|carbon|carbon dioxide|co2|helium|neon|sodium|potassium|"
    "calcium|magnesium|aluminium|aluminum|chlorine|sulfur|sulphur|sulfuric acid|ammonia|methane|ethanol|alcohol|sugar|glucose|ozone|uranium|platinum|"
    "nickel|titanium|tungsten|silicon|phosphorus|iodine|lithium|argon|butter|chocolate|steel|glass|diamond|milk)"
)
_MOST = (
    "(?:largest|biggest|smallest|tallest|longest|highest|deepest|fastest|hottest|coldest|oldest|heaviest) (?:mountain|"
    "river|ocean|planet|animal|land animal|country|city|building|lake|desert|island|continent|bird|fish|"
    "mammal|star|bridge|tower|volcano|waterfall|dog|insect|snake|tree|sea|organ)"
)
_COLOURED = (
    "(?:sky|sun|grass|snow|blood|moon|sea|ocean|milk|coal|gold|silver|ruby|emerald|sapphire|bananas?|lemons?|oranges?|tomato(?:es)?|carrots?|apples?|strawberr(?:y|ies)|"
    "cherr(?:y|ies)|limes?|grapes|roses?|sunflowers?|ravens?|flamingos?|polar bears?|elephants?|frogs?|mars|leaves|school buses|taxis)"
)
_DAY = (
    "(?:christmas(?: eve| day)?|xmas|new year(?:'?s)?(?: eve| day)?|easter(?: sunday)?|halloween|thanksgiving|valentine'?s(?: day)?|"
    "(?:next |this )?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)|the weekend|summer|winter|spring|autumn|"
    "(?:the )?\\d{1,2}(?:st|nd|rd|th)? ?(?:of )?(?:january|february|march|april|may|june|july|august|september|october|november|december)|"
    "(?:january|february|march|april|may|june|july|august|september|october|november|december) \\d{1,2}(?:st|nd|rd|th)?)"
)
_MONTH = "(?:january|february|march|april|may|june|july|august|september|october|november|december|a leap year|a year|a decade|a century|a week|a fortnight)"
_LANGUAGE = (
    "(?:english|german|french|spanish|italian|chinese|mandarin|japanese|korean|portuguese|russian|"
    "cantonese|danish|norwegian|finnish|thai|vietnamese|dutch|latin|arabic|hindi|turkish|polish|swedish|greek|hebrew)"
)
_UNIT = (
    "(?:kilometers?|kilometres?|kms?|miles?|mi|meters?|metres?|m|centimet(?:er|re)s?|millimet(?:er|re)s?|cm|mm|in|inch(?:es)?|feet|foot|ft|yards?|light years?|"
    "kilograms?|kilos?|kgs?|grams?|g|mg|milligrams?|pounds?|lbs?|ounces?|oz|tons?|tonnes?|stones?|lit(?:er|re)s?|l|millilit(?:er|re)s?|ml|gallons?|pints?|quarts?|cups?|"
    "tablespoons?|tbsp|teaspoons?|tsp|celsius|fahrenheit|kelvin|c|f|k|degrees? (?:celsius|fahrenheit|c|f)|acres?|hectares?|mph|km/h|kph|knots?|"
    "seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|decades?|centur(?:y|ies)|bits?|bytes?|kb|mb|gb|tb|kilobytes?|megabytes?|gigabytes?|terabytes?|dozens?)"
)
_NUMBER = r"-?\d{1,12}(?:[.,]\d{1,9}){0,3}"
_DIGIT = "(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:[ -](?:one|two|three|four|five|six|seven|eight|nine))?|(?:a |one )?hundred|(?:a |one )?thousand)"
_VALUE = rf"(?:{_NUMBER}|{_DIGIT})"
_OPERATOR = (
    r"(?:[+\-*/x×÷^–]|\*\*|plus|minus|times|over|divided by|multiplied by|to the power of|mod|modulo|% of|percent of|per ?cent of|"
    r"mal|geteilt durch|prozent von|% von|por|entre|más|menos|dividido (?:por|entre)|% de|por ciento de|fois|divisé par|moins|plus|pour ?cent de)"
)
_EVERYDAY = "(?:hello|hi|goodbye|good ?bye|good (?:morning|evening|night|day|afternoon)|see you(?: later| soon| tomorrow)?|thank you(?: very much)?|dinner|breakfast|lunch|thanks|please|sorry|excuse me|yes|no|cheers|i love you|cat|dog|house|water|bread|apple|tree|friend|love|beer|coffee|milk|book|school|mother|father|sun|moon)"
_NO_SUM = r"(?!\d{4}[-/]\d{1,2}[-/]\d|\d{1,2}/\d{1,2}/\d|24/7|50/50|9/11|\d{3,}-\d{3,})"
_SUM = rf"{_NO_SUM}[( ]{{0,4}}{_VALUE}[)² ]{{0,4}}(?: ?{_OPERATOR} ?[( ]{{0,4}}{_VALUE}[)² ]{{0,4}}){{1,12}}"
_ASK_SUM = (
    r"(?:(?:what|wat)(?:'?s| is)?|calculate|compute|calc|how much(?: is|'?s)?|work out|solve|was (?:ist|sind|macht|ergibt)|wie ?viel (?:ist|sind|macht|ergibt)|berechne|"
    r"rechne|cuánto (?:es|son|da)|cuanto es|calcula|combien (?:font|fait)|calcule) "
)

SIMPLE_PATTERNS = (
    Pattern(
        SIMPLE,
        10,
        "time or date",
        rf"(?:what(?:'?s| is) |what |tell me |do you have )?(?:the )?(?:current |local )?(?:time(?: in (?:{_CITY}|{_COUNTRY}))|(?:time|date|day)(?: (?:and|&) (?:time|date))? "
        rf"(?:is it|it is|please|now|right now|today))(?: (?:right )?now| today| please| currently| in (?:{_CITY}|{_COUNTRY})){{0,2}}|"
        rf"what(?:'?s| is) the (?:current )?(?:time|date)|(?:the )?(?:current |exact )?(?:time|date)(?= )(?: (?:please|now|today))|(?:the )?(?:current|exact) (?:time|date)|(?:tell|give) me the (?:time|date)|what time'?s it|(?:what time|what the time|what today'?s date|what the date|what day|what day of the week|what year)(?: it)? is(?: it)?(?: now| today| right now| in (?:{_CITY}|{_COUNTRY}))?|what (?:hour|time of day) is it(?: in (?:{_CITY}|{_COUNTRY}))?|what'?s the clock say|got the time|"
        rf"what (?:date|day) (?:will it be |is it |is |it will be )(?:in )?{_VALUE} days?(?: from now)?|in {_VALUE} days?,? what (?:date|day) will it be|(?:the )?date (?:it will be |in )?{_VALUE} days(?: from now)?|"
        rf"(?:what(?:'?s| is) )?today'?s date|(?:what(?:'?s| is) )?(?:the )?date (?:today|is it(?: today)?)|"
        r"(?:what|which)(?:'?s| is)? (?:today|(?:day|weekday)(?: of the week)?(?: is)?(?: it| today){1,2}|year is (?:it|this)|month is (?:it|this)|week (?:number )?is (?:it|this))|"
        r"(?:what|which) day of the week are we on|is (?:it|today) (?:a )?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)(?: today)?|"
        rf"how (?:many days|many weeks|long) (?:(?:is it |are left |left )?(?:un)?till?|to|before) {_DAY}|days until {_DAY}",
    ),
    Pattern(
        SIMPLE,
        10,
        "arithmetic",
        rf"(?:{_ASK_SUM})?{_SUM}(?: ?(?:=|equals?|ist|is))?|"
        rf"(?:{_ASK_SUM})?(?:the )?(?:square root of|cube root of|sqrt(?: of)?|root of|wurzel aus|raíz cuadrada de|racine(?: carrée)? de|half of|a third of|a quarter of|twice|double|triple|"
        rf"die hälfte von|das doppelte von|la mitad de|la moitié de) ?\(? ?{_NUMBER} ?\)?|"
        rf"(?:{_ASK_SUM})?{_NUMBER} ?(?:squared|cubed|factorial|!)|"
        rf"(?:{_ASK_SUM})?(?:a )?{_NUMBER} ?(?:%|percent|per ?cent) (?:off|tip on|tip for|discount on) [$€£]?{_NUMBER}(?: (?:dollars|euros|pounds|bucks))?|"
        rf"add (?:up )?{_VALUE} (?:and|to|plus) {_VALUE}|subtract {_VALUE} from {_VALUE}|multiply {_VALUE} (?:by|and|with|times) {_VALUE}|divide {_VALUE} by {_VALUE}|"
        rf"(?:{_ASK_SUM})?(?:the )?(?:sum|product|average|mean) of {_NUMBER}(?:(?:,| and|, and) {_NUMBER}){{1,9}}|"
        rf"is {_NUMBER} (?:a )?(?:prime(?: number)?|even|odd|divisible by {_NUMBER})",
    ),
    Pattern(
        SIMPLE,
        10,
        "unit conversion",
        rf"(?:convert |what(?:'?s| is) |how (?:many|much) is |what(?:'?s| is) the equivalent of )?{_VALUE} ?°? ?{_UNIT} (?:to|in|into|as|is how many) "
        rf"°?{_UNIT}|(?:how many|(?:what(?:'?s| is) )?the (?:total |correct )?(?:number|amount) of) {_UNIT}(?:'s)? (?:are |is |do |make )?(?:there )?(?:in|is|are|make|to|up in|equivalent to)? ?(?:an?|the|half (?:of )?an?|{_VALUE}(?: and (?:a )?half)?)? ?"
        rf"(?:leap )?{_UNIT}|how many days (?:are |does |has )?(?:there )?(?:in )?{_MONTH}(?: have)?",
    ),
    Pattern(
        SIMPLE,
        5,
        "joke or game",
        r"(?:(?:please )?(?:tell|give) (?:me|us) |got |do you know |know |say )?(?:a|an|another|one more|any|some)"
        r"(?: (?:good|short|funny|quick|random|silly|dad|bad|little|knock[- ]knock)){0,2} (?:jokes?|riddles?|puns?|fun facts?|tongue[- ]twister)"
        r"|tell me (?:jokes|something (?:nice|funny))|(?:dad )?jokes?|make me (?:laugh|smile)|(?:flip|toss) (?:a |the |me a )?(?:normal |heads or tails )?coin(?:,? ?-? ?i (?:pick|choose|call|say) (?:heads|tails))?(?: now| again)?|heads or "
        r"tails|roll (?:me )?(?:an?|the|two|some) (?:\d{1,3}[ -]sided )?(?:die|dice|d\d{1,2})(?: with \d{1,3} sides)?(?: now| again)?|(?:pick|give me|choose|think of|say) a (?:random )?(?:number|color|colour|letter)"
        r"(?: (?:between|from) \d+ (?:and|to) \d+)?|random number(?: (?:between|from) \d+ (?:and|to) \d+)?|say something (?:nice|funny)|rock paper scissors|"
        r"(?:tell me )?(?:a|another) joke about (?:cats?|dogs?|cows?|pirates?|elephants?|robots?|computers?|programmers?|penguins?|chickens?|fish|food|cheese|animals?|math|school|teachers?|doctors?|space|ducks?)",
    ),
    Pattern(
        SIMPLE,
        8,
        "well-known fact",
        rf"{_WHAT}(?:capital(?: city)?|currency|population|continent|(?:official |national )?(?:language|animal|flower|anthem|bird|dish|flag)) (?:of|in|for) {_COUNTRY}|"
        rf"{_WHAT}(?:(?:chemical|element|elemental) )?(?:symbol|formula|boiling point|melting point|freezing point|atomic (?:number|mass|weight)|density) (?:of|for) {_SUBSTANCE}|"
        rf"{_WHAT}{_MOST}(?: (?:in|on|of) (?:the world|the solar system|the human body|earth|{_COUNTRY}))?|"
        rf"{_WHAT}(?:speed of (?:light|sound)|(?:first|last|\d{{1,2}}(?:st|nd|rd|th)) (?:letter of the alphabet|month of the year)|value of pi|number pi|planet closest to the sun)|"
        rf"who (?:wrote|painted|invented|discovered|composed|directed|founded|created|sang|made) {_WORK}|"
        rf"how (?:tall|high|long|deep|big|heavy|far|fast|large|hot|cold|old)(?: away)? (?:is|are|was|does) {_THING}(?: travel| away)?|"
        rf"how (?:fast|long|tall|high) (?:can|does|do|is) an? {_ANIMAL}(?: (?:run|fly|swim|live|jump))?|"
        rf"how many (?:legs|eyes|arms|hearts|wings|teeth|stomachs|feet|bones|lives|toes|fingers|noses) (?:does|do|has|have) (?:an? |the )?{_ANIMAL}(?: have| got)?|"
        rf"how many (?:continents|oceans|planets|countries|seasons|colou?rs|letters|keys|strings|players|cards|bones|teeth|sides|moons|states|time zones)"
        rf"(?: (?:are|does|do|has|have))?(?: there)?(?: (?:in|on))?(?: (?:the (?:world|earth|solar system|rainbow|alphabet|english alphabet|human body|us|usa|year)|a (?:year|rainbow|piano|guitar|violin|football team|soccer team|deck(?: of cards)?|human|triangle|square|pentagon|hexagon|octagon|cube)|earth|mars|jupiter|saturn|{_COUNTRY}))?(?: (?:have|got))?|"
        rf"what (?:languages?|currency) (?:do|does|is|are) (?:they|people|{_COUNTRY}) ?(?:speak|spoken|use|used)?(?: in {_COUNTRY})?|(?:where|what continent|which continent) is {_COUNTRY}(?: in)?|where is {_CITY}|"
        rf"what country is {_CITY} in|what colou?r (?:is|are) (?:the |a |an )?{_COLOURED}|what (?:sound|noise) does an? {_ANIMAL} make|"
        rf"(?:is|are) (?:an? )?{_ONE} (?:an? (?:fruit|vegetable|mammal|bird|fish|insect|planet|metal|reptile|berry)|(?:fruits|vegetables|mammals|birds|insects))|"
        r"(?:when|what year|in what year) did (?:the )?(?:(?:world war|ww) ?(?:1|2|i|ii|one|two)|first world war|second world war|cold war|berlin wall|titanic|american civil war|roman empire)(?: \w{3,6})? ?(?:start|begin|end|fall|sink|happen)?|"
        r"(?:when|what year|in what year) (?:was|were) (?:albert einstein|einstein|isaac newton|newton|mozart|beethoven|shakespeare|leonardo da vinci|napoleon|gandhi|marie curie|"
        r"(?:the )?(?:eiffel tower|berlin wall|titanic|telephone|internet|first moon landing|moon landing|french revolution))(?: (?:born|built|invented|discovered|sunk))?",
    ),
    Pattern(
        SIMPLE,
        5,
        "one word",
        rf"what does (?:the word )?(?:{_QUOTED}|(?!(?:it|he|she|this|that|they|one)\b){_ONE}) (?:mean|stand for)|(?:what(?:'?s| is) )?(?:the )?(?:meaning|definition) of the word (?:{_QUOTED}|{_ONE})|"
        rf"define (?:the word )?{_QUOTED}|"
        rf"{_WHAT}(?:plural(?: form)?|past tense|past participle|opposite|antonym|synonym|rhyme) (?:of|for) (?:the word )?(?:{_QUOTED}|(?!(?:it|this|that|my|the)\b){_ONE})|"
        rf"(?:an?|another) (?:synonym|antonym|rhyme|word) for {_ONE}|how (?:do|would|to) (?:you |i |we )?(?:spell|pronounce) (?:the word )?(?:{_QUOTED}|{_ONE})|spell (?:the word )?(?:{_QUOTED}|{_ONE})|"
        rf"how (?:do|would|can|to) (?:you |i |we )?say (?:{_QUOTED}|{_TWO}) in {_LANGUAGE}|"
        rf"(?:how (?:do|would|can|to) (?:you |i |we )?)?(?:translate|say) (?:{_QUOTED}|{_EVERYDAY}) (?:to|into|in) (?:{_LANGUAGE}|{_COUNTRY})|"
        rf"(?:what(?:'?s| is) )(?:the )?(?:{_LANGUAGE} (?:word )?for (?:{_QUOTED}|{_ONE})|(?:the word for )?(?:{_QUOTED}|{_ONE}) in {_LANGUAGE})|{_EVERYDAY} in {_LANGUAGE}",
    ),
    Pattern(
        SIMPLE,
        8,
        "kurze Frage",
        rf"wie ?(?:spät|viel uhr) (?:ist es|haben wir)(?: (?:jetzt|gerade))?(?: in {_TWO})?|(?:welcher (?:wochen)?tag|welches datum|der wievielte|was für ein tag) (?:ist|haben wir)(?: heute)?|"
        rf"(?:was|wie) (?:ist|heißt|lautet) die hauptstadt (?:von|der) {_ONE}|hauptstadt (?:von|der) {_ONE}|"
        rf"wer hat {_WORK} (?:erfunden|geschrieben|gemalt|entdeckt|komponiert)|wer hat (?:das telefon|die glühbirne|den buchdruck|das auto|amerika|die zauberflöte|die mona lisa|das penicillin|die relativitätstheorie|romeo und julia) (?:erfunden|geschrieben|gemalt|entdeckt|komponiert)|"
        r"wie (?:hoch|lang|groß|tief|weit|schwer|schnell|alt) (?:ist|sind) (?:der |die |das )?(?:eiffelturm|mount everest|zugspitze|mond|sonne|erde|rhein|donau|nil|amazonas|kölner dom|chinesische mauer|licht|lichtgeschwindigkeit|blauwal|elefant|giraffe)|"
        rf"was heißt (?!das\b|dies|es\b|er\b){_ONE} auf \w{{3,14}}|was bedeutet (?!das\b|dies|es\b|er\b){_ONE}|wie (?:sagt|schreibt) man (?!das\b|es\b){_ONE}(?: auf \w{{3,14}})?|"
        rf"(?:wie ?viele? )?{_NUMBER}? ?(?:kilometer|meter|zentimeter|gramm|kilo|kilogramm|pfund|liter|sekunden|minuten|stunden|tage|wochen|monate|km|cm|m|kg|g|meilen|grad) (?:sind|hat|ist|in) (?:eine?n?m?r? |{_NUMBER} ?)?(?:kilometern?|metern?|zentimetern?|gramm|kilo|kilogramm|pfund|litern?|sekunden?|minuten?|stunden?|tage?n?|wochen?|monate?n?|jahr|km|cm|m|kg|g|meilen?|grad)|"
        r"wie viele (?:beine|augen|tage|kontinente|planeten|bundesländer) (?:hat|haben|gibt es)(?: (?:ein|eine|das|deutschland|die erde|der februar|das jahr|die welt))?(?: (?:spinne|hund|katze|jahr|sonnensystem))?|"
        r"(?:erzähl|sag)e?(?: mir| uns)? (?:einen|noch einen|nen) (?:kurzen |guten )?witz|(?:noch )?(?:ein|einen) witz|wirf eine münze",
    ),
    Pattern(
        SIMPLE,
        8,
        "question courte",
        rf"quelle heure (?:est[- ]il|il est)(?: (?:maintenant|à {_TWO}))?|il est quelle heure|quel jour (?:sommes[- ]nous|est[- ]on|on est|est-ce)(?: aujourd'hui)?|quelle est la date(?: (?:d'|du |de )?aujourd'?hui)?|on est quel jour|"
        rf"(?:quelle est )?la capitale d(?:e la |e l'|u |es |e |'){_ONE}|qui a (?:écrit|peint|inventé|découvert|composé) (?:le |la |les |l')?(?:{_WORK}|misérables|petit prince|joconde|téléphone|radio|cid|étranger|pénicilline)|"
        rf"que (?:signifie|veut dire) (?:le mot )?(?!ça\b|ce\b|cela\b){_ONE}|comment (?:dit|écrit)[- ]on {_ONE}(?: en \w{{3,14}})?|comment dire {_ONE} en \w{{3,14}}|"
        rf"combien (?:de |d')(?:jours|heures|minutes|secondes|semaines|mois|mètres|centimètres|grammes|kilos|litres|kilomètres) (?:y a-t-il )?(?:a|dans|il y a dans|font) (?:une?|{_NUMBER}) (?:an|année|jour|journée|heure|minute|semaine|mois|mètre|kilo|kilogramme|kilomètre|litre|mile|livre)s?|"
        r"raconte(?:[- ]moi)? une (?:petite )?blague|(?:encore )?une blague|pile ou face",
    ),
    Pattern(
        SIMPLE,
        8,
        "pregunta corta",
        rf"qu[eé] (?:hora es|horas son)(?: (?:ahora|en {_TWO}))?|qu[eé] (?:día es|día es hoy|fecha es(?: hoy)?|día de la semana es(?: hoy)?)|"
        rf"(?:cuál es )?la capital de {_ONE}|qui[eé]n (?:escribió|pintó|inventó|descubrió|compuso) (?:el |la |los |las )?(?:{_WORK}|don quijote|quijote|mona lisa|guernica|teléfono|américa|penicilina|meninas|cien años de soledad|hamlet|bombilla)|"
        rf"qué significa (?!eso\b|esto\b|lo\b){_ONE}|cómo se (?:dice|escribe) (?!eso\b|esto\b){_ONE}(?: en \w{{3,14}})?|"
        rf"cuántos? ?(?:días|horas|minutos|segundos|semanas|meses|metros|centímetros|gramos|kilos|litros) (?:tiene|hay en|son) (?:una?|{_NUMBER}) (?:año|día|hora|minuto|semana|mes|metro|kilo|kilómetro|litro|milla|libra)s?|"
        r"(?:cuéntame|dime) (?:un|otro) chiste|(?:un|otro) chiste|cara o cruz",
    ),
)
