"""The built-in evidence of `classify`: words and patterns with a class and a weight.

A word counts wherever it stands. A pattern of class `simple` must be the whole message without
its courtesies, so that a greeting before a request proves nothing. Everything is lower case, and
every repeat is bounded or over one character class, so that no input makes a pattern slow.
"""

# ruff: noqa: E501 - a pattern reads better unbroken, and Han characters count twice

from typing import NamedTuple

COMPLEX, TOOL, SIMPLE = "complex", "tool", "simple"


class Words(NamedTuple):
    """Single words in any language, separated by blanks."""

    class_: str
    weight: float
    words: str


class Pattern(NamedTuple):
    """`reason` is what a person reads, `pattern` a regular expression."""

    class_: str
    weight: float
    reason: str
    pattern: str


WORDS = (
    # English
    Words(
        COMPLEX,
        6,
        "why explain explains analyze analyse analysis compare comparison evaluate assess critique "
        "review summarize summarise summary outline draft rewrite rephrase proofread paraphrase "
        "essay article blog poem lyrics novel letter email report proposal presentation speech "
        "code function class script program algorithm regex sql query bug debug refactor optimize "
        "optimise implement compile unittest traceback exception stacktrace python javascript "
        "typescript java rust golang kotlin swift html css bash docker kubernetes git database "
        "api architecture design strategy roadmap plan itinerary schema tradeoffs prove proof "
        "derive integral derivative theorem equation brainstorm recommend recommendation suggest "
        "suggestions advice advise should pros cons difference differences diagnose symptoms "
        "medicine dosage doctor treatment lawsuit legal contract lawyer tax taxes invest "
        "investment mortgage negotiate interview resume troubleshoot fix broken error errors "
        "failing fails failed crash crashes ideas detailed essays thesis strategies steps",
    ),
    Words(
        COMPLEX,
        6,
        "this that these those it them he she they him above below previous earlier third we "
        "happening next wrong possible left priority risk options option reason catch "
        "status issue problem case",
    ),
    Words(COMPLEX, 1, "i me us"),
    Words(
        COMPLEX,
        1.5,
        "first second last both either write create generate make build develop describe discuss argue "
        "improve change edit update help need want feel feeling worried depressed anxious pain "
        "because although however if unless better best worst instead another alternative how "
        "continue more again your",
    ),
    Words(
        TOOL,
        6,
        "run execute install uninstall download upload fetch browse scrape search google lookup "
        "file files folder folders directory directories path log logs csv pdf json shell terminal "
        "command sudo ls grep curl wget pip npm remind reminder reminders alarm timer schedule "
        "calendar appointment appointments meeting meetings todo todos note notes remember "
        "weather forecast temperature news headlines stock stocks price prices bitcoin score "
        "scores traffic flight flights train trains latest website webpage url screenshot inbox "
        "mail mails message send forward post tweet delete rename move save open disk cpu memory "
        "processes uptime server servers users emails tasks task keys key nearest nearby closest pharmacy airport deadline meeting boss client colleague package parcel order invoice config configuration build deployment release branch project team yesterday president minister chancellor ceo champion",
    ),
    Words(
        TOOL,
        1.5,
        "my our mine ours current currently today tonight tomorrow yesterday now recent "
        "recently list show find check delete add book order buy pay set turn start stop cancel",
    ),
    # German
    Words(
        COMPLEX,
        6,
        "warum wieso weshalb erkläre erklär erklären analysiere analysieren vergleiche vergleichen "
        "vergleich unterschied unterschiede bewerte fasse zusammenfassung zusammenfassen schreib "
        "schreibe verfasse entwirf formuliere überarbeite korrigiere aufsatz gedicht brief "
        "bewerbung programmiere programm funktion fehler fehlermeldung optimiere entwickle plane "
        "planen strategie empfiehl empfehlen empfehlung vorschläge vorschlag ideen rat soll sollte "
        "sollten beweise beweis steuer steuern vertrag anwalt arzt symptome kündigung anleitung",
    ),
    Words(
        TOOL,
        6,
        "führe ausführen starte installiere lade lies öffne datei dateien ordner verzeichnis suche "
        "such finde wetter nachrichten erinnere erinnerung wecker termin termine kalender notiz "
        "notizen notiere merke merk schick schicke sende lösche speichere zeig zeige liste kurs "
        "aktienkurs webseite bundeskanzler mein meine meinen meinem meiner datenbank server paket schlüssel besprechung projekt rechnung",
    ),
    # Spanish
    Words(
        COMPLEX,
        6,
        "explica explícame analiza compara diferencia resume resumen escribe redacta ensayo poema "
        "carta código función corrige mejora diseña planifica plan estrategia recomienda "
        "recomiendas consejo debería demuestra impuestos contrato abogado síntomas ayúdame",
    ),
    Words(
        TOOL,
        6,
        "ejecuta instala descarga busca archivo archivos carpeta clima pronóstico noticias "
        "recuérdame recordatorio alarma cita calendario nota notas recuerda envía manda borra "
        "guarda abre muestra lista precio mi mis",
    ),
    # French
    Words(
        COMPLEX,
        6,
        "pourquoi explique expliquez analyse compare différence résume résumé rédige écris "
        "rédaction poème lettre corrige améliore conçois planifie stratégie recommande conseil "
        "conseils devrais démontre impôts contrat avocat symptômes aide",
    ),
    Words(
        TOOL,
        6,
        "exécute lance installe télécharge cherche recherche fichier fichiers dossier météo "
        "actualités rappelle rappel réveil calendrier note notes souviens envoie supprime "
        "enregistre ouvre affiche liste prix mon ma mes",
    ),
)

_X = r"[\w'’.\-]{1,24}"
_NAME = rf"(?:{_X} ){{0,4}}{_X}"
_THING = (
    "the (?:moon|sun|earth|ocean|sea|equator|solar system|milky way|universe|eiffel tower|nile|amazon|"
    "great wall(?: of china)?|titanic|statue of liberty|grand canyon|pacific|atlantic|sahara|alps|"
    "himalayas|vatican|colosseum|pyramids|louvre|white house|big ben|human body|alphabet|world|netherlands|philippines|united states|usa|"
    "united kingdom|uk|uae|bahamas|maldives|czech republic)"
)
_KNOWN = rf"(?:{_THING}|(?!(?:the|an?|my|your|our|his|her|their|this|that|it|i|you|we)\b)(?:{_X} ){{0,3}}{_X})"
_MOST = (
    "(?:largest|biggest|smallest|tallest|longest|highest|deepest|fastest|hottest|coldest|oldest) (?:mountain|"
    "river|ocean|planet|animal|land animal|country|city|building|lake|desert|island|continent|bird|fish|"
    "mammal|star|bridge|tower|volcano|waterfall|dog|insect|snake|tree|sea)"
)
_SHORT = rf"(?:{_X} ){{0,2}}{_X}"
_LANGUAGE = (
    "(?:english|german|french|spanish|italian|chinese|mandarin|japanese|korean|portuguese|russian|"
    "dutch|latin|arabic|hindi|turkish|polish|swedish|greek|hebrew)"
)
_UNIT = (
    "(?:kilometers?|kilometres?|km|miles?|meters?|metres?|m|cm|mm|inch(?:es)?|feet|foot|ft|yards?|"
    "kilograms?|kilos?|kg|grams?|g|pounds?|lbs?|ounces?|oz|lit(?:er|re)s?|l|ml|gallons?|cups?|"
    "tablespoons?|teaspoons?|celsius|fahrenheit|kelvin|c|f|degrees? (?:celsius|fahrenheit)|"
    "seconds?|minutes?|hours?|days?|weeks?|months?|years?|bytes?|kb|mb|gb|tb)"
)
_NUMBER = r"\d{1,12}(?:[.,]\d{1,9}){0,3}"
_SUM = (
    r"(?:[\d\s.,+\-*/x×÷()^%]|plus|minus|times|over|divided by|multiplied by|squared|cubed|"
    r"percent of|percent|of|square root|sqrt|to the power of|mal|geteilt durch|prozent von|"
    r"wurzel aus|por|entre|más|menos|fois|divisé par|moins)"
)
_CHEERS = "(?:there|famulus|everyone|everybody|all|again|buddy|mate|friend|friends|bot|you|guys)"

# A simple pattern is matched against the message without courtesies and final punctuation.
SIMPLE_PATTERNS = (
    Pattern(
        SIMPLE,
        10,
        "greeting",
        rf"(?:hi+|hello+|hey+|yo|hiya|howdy|greetings|gm|gn|sup|wass?up|what'?s up|g'?day|morning|evening|"
        rf"good (?:morning|afternoon|evening|night|day))(?: {_CHEERS}){{0,2}}",
    ),
    Pattern(
        SIMPLE,
        10,
        "small talk",
        r"how (?:are|r) (?:you|u|things)(?: (?:doing|feeling|today|going|tonight)){0,2}|"
        r"how(?:'s| is) (?:it going|life|everything|your (?:day|morning|evening|week)(?: going)?)|"
        r"how was your (?:day|weekend|night|morning|week)|(?:are )?you (?:there|ok|okay|awake|up|"
        r"online|busy|ready|real|human|alive|an? (?:robot|bot|ai|human|person|machine))|"
        r"(?:are|r) (?:you|u) (?:there|ok|awake)|nice to meet you|i(?:'m| am) (?:bored|back|home|"
        r"tired|happy|hungry|sleepy)|i (?:love|like) you|you(?:'re| are) (?:so )?(?:great|awesome|"
        r"funny|the best|cool|nice|sweet|smart|welcome)|good (?:job|bot|work|one)|well done|"
        r"happy (?:birthday|new year|easter|halloween|friday|monday|holidays)|merry christmas|"
        r"who (?:are|made|created|built) you|what(?:'s| is) your (?:name|favou?rite \w{1,12})|"
        r"what can you do|how old are you|where are you from|"
        r"do you (?:like|love|eat|sleep|dream|enjoy)(?: \w{1,14})?|(?:do|can) you (?:speak|sing)(?: \w{1,14})?|"
        r"can you hear me",
    ),
    Pattern(
        SIMPLE,
        10,
        "thanks",
        r"(?:many |ok |okay |great |cool |perfect |awesome |got it |no )?(?:thanks|thank you|thank u|"
        r"thx|ty|tysm|cheers|much appreciated|appreciate it|danke|merci|gracias)"
        r"(?: (?:so much|a lot|very much|again|a bunch|a million|for (?:your|the|all your) help|"
        r"for (?:that|everything)|buddy|mate|famulus|schön|sehr|dir|beaucoup))?",
    ),
    Pattern(
        SIMPLE,
        10,
        "goodbye",
        r"(?:good ?)?bye(?: bye)?(?: for now| now)?|see (?:you|ya)(?: (?:later|soon|tomorrow|around))"
        r"{0,2}|(?:talk to you |catch you )?later|cya|ttyl|take care|have a (?:good|great|nice|lovely) "
        r"(?:day|night|evening|one|weekend)|i'?m off|sleep well|sweet dreams|gotta go",
    ),
    Pattern(
        SIMPLE,
        8,
        "acknowledgement",
        r"(?:oh |ah |that'?s |haha |very |so |really |lol )?(?:cool|great|nice|awesome|amazing|wow|"
        r"(?:ha){2,8}h?|(?:he){2,8}|lo+l|lmao|rofl|got it|i see|makes sense|interesting|good to know|"
        r"never ?mind|no worries|no problem|np|funny|hilarious|good one|sweet|brilliant|wonderful|"
        r"fantastic|lovely)",
    ),
    Pattern(
        SIMPLE,
        5,
        "joke or game",
        r"(?:tell me |give me |got |know |do you know |say |make )?(?:a|an|another|one more|any|some|"
        r"me a|me another)?(?: (?:good|short|funny|quick|random|silly|dad|bad|kids?))?"
        r" ?(?:jokes?|riddles?|puns?|fun facts?|random facts?|tongue twister|knock knock joke)"
        r"(?: about (?:[\w'-]{1,16} ?){1,2})?|make me (?:laugh|smile)|flip a coin|toss a coin|heads or "
        r"tails|roll (?:a|the) (?:die|dice)|pick a (?:number|color|colour)(?: (?:between|from) \d+ "
        r"(?:and|to) \d+)?|(?:say|tell me) something (?:nice|funny)",
    ),
    Pattern(
        SIMPLE,
        10,
        "time or date",
        rf"(?:what(?:'s| is) the |what |tell me the )?(?:current )?(?:time|date|day)(?: is it)?"
        rf"(?: (?:right )?now| today| currently)?(?: in {_SHORT})?(?: (?:right )?now)?|"
        r"what(?:'s| is)? (?:today'?s date|the date today|today|day (?:of the week )?is (?:it|today)"
        r"(?: today)?|date is (?:it|today)(?: today)?|year is (?:it|this)|month is it|week is it)|"
        r"is it (?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)(?: today)?",
    ),
    Pattern(
        SIMPLE,
        5,
        "arithmetic",
        rf"(?:what(?:'s| is)|calculate|compute|how much is|work out|solve|was ist|was sind|wie ?viel "
        rf"(?:ist|sind)|berechne|cuánto es|combien font|combien fait)?[ (]*(?:the )?"
        rf"(?:square root of |sqrt ?\(? ?|wurzel aus |\d|-\d|\(){_SUM}{{0,60}}(?: equal| =|=)?",
    ),
    Pattern(
        SIMPLE,
        5,
        "unit conversion",
        rf"(?:convert |what(?:'s| is) |how (?:many|much) is )?{_NUMBER} ?°? ?{_UNIT} (?:to|in|into|as) "
        rf"{_UNIT}|how many {_UNIT} (?:are |is )?(?:there )?(?:in|is|are|make) (?:an?|one|{_NUMBER}) "
        rf"(?:leap )?{_UNIT}",
    ),
    Pattern(
        SIMPLE,
        3,
        "short fact",
        r"(?:what|which)(?:'s|s| is| was| are) the (?:capital(?: city)?|currency|population|(?:official|"
        r"national) (?:language|animal|flower|anthem|bird|dish)|(?:chemical )?(?:symbol|formula)|"
        r"(?:boiling|melting|freezing) point|atomic number|plural|past tense|past participle|opposite|"
        rf"antonym|synonym|colou?r|speed|height|length|{_MOST}) "
        rf"(?:of|for|in|on) {_KNOWN}|(?:(?:what|which)(?:'s| is) )?(?:the )?{_MOST}"
        r"(?: (?:in|on) (?:the world|earth))?|"
        rf"(?:capital|currency|plural|synonym|antonym|opposite) (?:of|for) {_KNOWN}|"
        rf"who (?:wrote|painted|invented|discovered|composed|directed|sang|sings|founded|played) "
        rf"{_KNOWN}|"
        rf"(?:when|what year|in what year) (?:(?:was|were) {_KNOWN} (?:born|founded|built|invented|discovered|"
        rf"written|released|painted)|did {_KNOWN} (?:die|end|start|begin|fall|sink|happen))|"
        rf"how (?:tall|high|long|deep|big|heavy|far|fast|large|hot|cold) (?:is|are|was) {_KNOWN}|"
        rf"how many (?:\w{{1,14}} ){{1,2}}(?:(?:does|do|has|have) an? {_X}(?: have)?|"
        rf"(?:are )?(?:there )?(?:in|on) (?:{_THING}|an? {_X}))|"
        rf"(?:is|are) (?:an? )?\w{{2,14}} (?:an? (?:fruit|vegetable|mammal|bird|fish|insect|planet|metal|nut|"
        r"reptile|berry)|(?:fruits|vegetables|mammals|birds|insects|vegan|edible|poisonous))|"
        rf"what (?:language|currency|continent)s? (?:do|does|is|are) {_NAME}|"
        rf"what colou?r (?:is|are) {_SHORT}|what sound does {_SHORT} make",
    ),
    Pattern(
        SIMPLE,
        2,
        "definition",
        rf"what(?:'s| is| are) (?:an? (?:{_X} ){{0,2}}{_X}|(?!new\b)[\w-]{{3,20}})|what does {_SHORT} (?:mean|"
        rf"stand for)|define (?!the\b){_SHORT}|(?:(?:what'?s|what is) )?(?:the )?(?:definition|meaning) of {_SHORT}"
        rf"|{_X} meaning|(?:what(?:'s| is) )?(?:another word|a synonym|an antonym|a word) for {_X}",
    ),
    Pattern(
        SIMPLE,
        4.5,
        "translation or spelling",
        rf"how (?:do|would|can) (?:you|i|we) (?:say ['\"]?{_SHORT}['\"]? in {_LANGUAGE}|(?:spell|pronounce) {_X})|"
        rf"spell {_X}|"
        rf"(?:translate |say )['\"]?{_NAME}['\"]? (?:to|into|in) {_LANGUAGE}|"
        rf"(?:what(?:'s| is) )?(?:the )?(?:{_LANGUAGE} )?(?:word )?(?:for )?{_X} (?:in|for) {_LANGUAGE}|"
        rf"what(?:'s| is) (?:the )?{_LANGUAGE} (?:word )?for {_SHORT}",
    ),
    # German
    Pattern(
        SIMPLE,
        10,
        "Gruß, Dank, Abschied",
        r"(?:hallo|hi|hey|moin(?: moin)?|servus|grüezi|grüß (?:gott|dich)|na|guten (?:morgen|tag|abend)|"
        r"gute nacht|mahlzeit)(?: (?:zusammen|famulus|alle|du))?|(?:hallo )?wie geht(?:'s|s| es)(?: dir|"
        r" euch| ihnen)?(?: heute)?|(?:danke|dankeschön|vielen dank|besten dank|danke schön|danke sehr)"
        r"(?: dir| für (?:die|deine) hilfe)?|tschüss|tschüs|ciao|auf wiedersehen|bis (?:später|bald|"
        r"morgen|dann)|schönen (?:tag|abend|feierabend)(?: noch)?|wer bist du|was kannst du(?: alles)?|"
        r"wie heißt du|cool|super|toll|klasse|prima|verstehe|alles klar danke|haha|schade|"
        r"erzähl(?:e)?(?: mir)? (?:einen|noch einen|nen) (?:witz|kurzen witz)|alles gute zum geburtstag|"
        r"frohes neues jahr|frohe weihnachten|schlaf gut",
    ),
    Pattern(
        SIMPLE,
        4,
        "kurze Frage",
        rf"wie ?(?:spät|viel uhr) ist es(?: (?:jetzt|gerade))?(?: in {_SHORT})?|(?:welcher tag|welches "
        rf"datum|der wievielte) ist heute|wie viel uhr ist es|was ist die hauptstadt von {_SHORT}|"
        rf"wie heißt die hauptstadt von {_SHORT}|hauptstadt von {_SHORT}|wer hat {_NAME} "
        rf"(?:erfunden|geschrieben|gemalt|entdeckt|komponiert)|wie (?:hoch|lang|groß|tief|weit|"
        rf"schwer|schnell) (?:ist|sind) {_NAME}|was (?:bedeutet|heißt) (?!das\b|dies){_SHORT}(?: auf \w{{3,14}})?|"
        rf"wie viele \w{{2,16}} (?:hat|haben|sind in) {_SHORT}|was ist (?:ein|eine) {_SHORT}|"
        rf"wo liegt (?!der |die |das |mein){_SHORT}|wann wurde {_NAME} (?:geboren|gegründet|gebaut|erfunden)|wie (?:sagt|schreibt) man {_SHORT}(?: auf \w{{3,14}})?",
    ),
    # Spanish
    Pattern(
        SIMPLE,
        4,
        "saludo, gracias o pregunta corta",
        r"hola(?: (?:famulus|amigo|a todos|qué tal))?|buen(?:os|as) (?:días|tardes|noches)|qué tal"
        r"(?: estás)?|cómo estás(?: hoy)?|(?:muchas |mil )?gracias(?: por (?:todo|tu ayuda))?|adiós|"
        r"hasta (?:luego|mañana|pronto)|chao|nos vemos|quién eres|cómo te llamas|qué puedes hacer|"
        r"cuéntame un chiste|qué hora es(?: en [\w ]{2,24})?|qué día es(?: hoy)?|genial|jaja(?:ja)*|"
        rf"cuál es la capital de {_SHORT}|quién (?:escribió|pintó|inventó|descubrió) {_NAME}|"
        rf"qué (?:significa|es una?) {_SHORT}|cómo se dice {_SHORT} en \w{{3,14}}|cuánto mide {_SHORT}|"
        rf"cuántos \w{{2,16}} tiene {_SHORT}|feliz cumpleaños",
    ),
    # French
    Pattern(
        SIMPLE,
        4,
        "salut, merci ou question courte",
        r"(?:bonjour|salut|bonsoir|coucou|bonne nuit)(?: (?:famulus|à tous|tout le monde))?|(?:comment )?"
        r"ça va(?: bien)?|comment (?:vas[- ]tu|allez[- ]vous)|merci(?: (?:beaucoup|bien|infiniment))?|"
        r"au revoir|à (?:bientôt|demain|plus|plus tard)|bonne (?:journée|soirée)|qui es[- ]tu|"
        r"comment tu t'appelles|que (?:peux|sais)[- ]tu faire|raconte(?:[- ]moi)? une (?:blague|petite "
        r"blague)|quelle heure est[- ]il(?: à [\w ]{2,24})?|quel jour (?:sommes[- ]nous|est[- ]on)|"
        rf"quelle est la capitale d(?:e la |e l'|u |es |e |')\s?{_SHORT}|qui a (?:écrit|peint|inventé|"
        rf"découvert|composé) {_NAME}|que (?:signifie|veut dire) {_SHORT}|c'est quoi une? {_SHORT}|"
        rf"comment dit[- ]on {_SHORT} en \w{{3,14}}|joyeux (?:anniversaire|noël)|super|génial|"
        rf"combien de \w{{2,16}} (?:a|dans) {_SHORT}",
    ),
)

# What shows in any language.
SHAPES = (
    Pattern(
        COMPLEX, 4, "looks like code", r"```|=>|\(\)|\w\(\w|[{};<]\s*$|[{}]|</|\bdef \w|Traceback \("
    ),
    Pattern(COMPLEX, 3, "several lines", r"\n"),
    Pattern(COMPLEX, 2.5, "several questions", r"[?？][^?？]{2,2000}[?？]"),
    Pattern(TOOL, 4, "a web address", r"https?://|www\.\w"),
    Pattern(
        TOOL, 3, "a file or a path", r"(?:^|\s)[~.]?/\w|\w\.(?:md|txt|py|json|csv|pdf|log|toml|ya?ml|"
        r"html|js|docx?|xlsx?|png|jpe?g|zip|sh|ini)\b|(?:^|\s)[a-z]:\\",
    ),
    Pattern(TOOL, 2, "a mail address", r"\w@\w"),
)  # fmt: skip
