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
        3,
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
        2.5,
        "this that these those it them he she they him above below previous earlier third",
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
        3,
        "run execute install uninstall download upload fetch browse scrape search google lookup "
        "file files folder folders directory directories path log logs csv pdf json shell terminal "
        "command sudo ls grep curl wget pip npm remind reminder reminders alarm timer schedule "
        "calendar appointment appointments meeting meetings todo todos note notes remember "
        "weather forecast temperature news headlines stock stocks price prices bitcoin score "
        "scores traffic flight flights train trains latest website webpage url screenshot inbox "
        "mail mails message send forward post tweet delete rename move save open disk cpu memory "
        "processes uptime server president minister chancellor ceo champion",
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
        3,
        "warum wieso weshalb erkläre erklär erklären analysiere analysieren vergleiche vergleichen "
        "vergleich unterschied unterschiede bewerte fasse zusammenfassung zusammenfassen schreib "
        "schreibe verfasse entwirf formuliere überarbeite korrigiere aufsatz gedicht brief "
        "bewerbung programmiere programm funktion fehler fehlermeldung optimiere entwickle plane "
        "planen strategie empfiehl empfehlen empfehlung vorschläge vorschlag ideen rat soll sollte "
        "sollten beweise beweis steuer steuern vertrag anwalt arzt symptome kündigung anleitung",
    ),
    Words(
        TOOL,
        3,
        "führe ausführen starte installiere lade lies öffne datei dateien ordner verzeichnis suche "
        "such finde wetter nachrichten erinnere erinnerung wecker termin termine kalender notiz "
        "notizen notiere merke merk schick schicke sende lösche speichere zeig zeige liste kurs "
        "aktienkurs webseite bundeskanzler mein meine meinen meinem meiner",
    ),
    # Spanish
    Words(
        COMPLEX,
        3,
        "explica explícame analiza compara diferencia resume resumen escribe redacta ensayo poema "
        "carta código función corrige mejora diseña planifica plan estrategia recomienda "
        "recomiendas consejo debería demuestra impuestos contrato abogado síntomas ayúdame",
    ),
    Words(
        TOOL,
        3,
        "ejecuta instala descarga busca archivo archivos carpeta clima pronóstico noticias "
        "recuérdame recordatorio alarma cita calendario nota notas recuerda envía manda borra "
        "guarda abre muestra lista precio mi mis",
    ),
    # French
    Words(
        COMPLEX,
        3,
        "pourquoi explique expliquez analyse compare différence résume résumé rédige écris "
        "rédaction poème lettre corrige améliore conçois planifie stratégie recommande conseil "
        "conseils devrais démontre impôts contrat avocat symptômes aide",
    ),
    Words(
        TOOL,
        3,
        "exécute lance installe télécharge cherche recherche fichier fichiers dossier météo "
        "actualités rappelle rappel réveil calendrier note notes souviens envoie supprime "
        "enregistre ouvre affiche liste prix mon ma mes",
    ),
)

_X = r"[\w'’.\-]{1,24}"
_NAME = rf"(?:{_X} ){{0,4}}{_X}"
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
        4,
        "greeting",
        rf"(?:hi+|hello+|hey+|yo|hiya|howdy|greetings|gm|gn|sup|wass?up|what'?s up|g'?day|morning|evening|"
        rf"good (?:morning|afternoon|evening|night|day))(?: {_CHEERS}){{0,2}}",
    ),
    Pattern(
        SIMPLE,
        4,
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
        r"do you (?:like|love|have|know|eat|sleep|dream|speak|enjoy)(?: \w{1,14}){0,2}|"
        r"can you (?:speak|understand|hear|sing)(?: \w{1,14}){0,2}",
    ),
    Pattern(
        SIMPLE,
        4,
        "thanks",
        r"(?:many |ok |okay |great |cool |perfect |awesome |got it |no )?(?:thanks|thank you|thank u|"
        r"thx|ty|tysm|cheers|much appreciated|appreciate it|danke|merci|gracias)"
        r"(?: (?:so much|a lot|very much|again|a bunch|a million|for (?:your|the|all your) help|"
        r"for (?:that|everything)|buddy|mate|famulus|schön|sehr|dir|beaucoup))?",
    ),
    Pattern(
        SIMPLE,
        4,
        "goodbye",
        r"(?:good ?)?bye(?: bye)?(?: for now| now)?|see (?:you|ya)(?: (?:later|soon|tomorrow|around))"
        r"{0,2}|(?:talk to you |catch you )?later|cya|ttyl|take care|have a (?:good|great|nice|lovely) "
        r"(?:day|night|evening|one|weekend)|i'?m off|sleep well|sweet dreams|gotta go",
    ),
    Pattern(
        SIMPLE,
        3,
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
        5,
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
        r"antonym|synonym|colou?r|speed|height|length|(?:largest|biggest|smallest|tallest|longest|"
        r"highest|deepest|fastest|oldest) \w{1,14}(?: \w{1,14})?) "
        rf"(?:of|for|in|on) {_SHORT}|"
        r"(?:what|which)(?:'s| is) the (?:largest|biggest|smallest|tallest|longest|highest|deepest|"
        r"fastest|hottest|coldest|closest) \w{1,14}|"
        rf"(?:capital|currency|plural|synonym|antonym|opposite) (?:of|for) {_SHORT}|"
        rf"who (?:wrote|painted|invented|discovered|composed|directed|sang|sings|founded|played) "
        rf"{_NAME}|who was {_SHORT}|"
        rf"(?:when|what year|in what year) (?:was|were|did) {_NAME}|where (?:is|was|are) {_SHORT}|"
        rf"how (?:tall|high|long|deep|big|heavy|far|fast|large|hot|cold) (?:is|are|was) {_NAME}|"
        r"how many (?:\w{1,14} ){1,3}(?:are|does|do|did|has|have|in|on)(?: there)?(?: (?:in|on))?"
        rf"(?: {_SHORT})?|"
        rf"(?:is|are) (?:an? )?\w{{2,14}} (?:an?|vegan|edible|poisonous|toxic)(?: \w{{2,14}})?|"
        rf"what (?:language|currency|continent)s? (?:do|does|is|are) {_NAME}|"
        rf"what colou?r (?:is|are) {_SHORT}|what sound does {_SHORT} make",
    ),
    Pattern(
        SIMPLE,
        2,
        "definition",
        rf"what(?:'s| is| are) (?:an? (?:{_X} ){{0,2}}{_X}|[\w-]{{3,20}})|what does {_SHORT} (?:mean|"
        rf"stand for)|define {_SHORT}|(?:(?:what'?s|what is) )?(?:the )?(?:definition|meaning) of {_SHORT}"
        rf"|{_X} meaning|(?:what(?:'s| is) )?(?:another word|a synonym|an antonym|a word) for {_X}",
    ),
    Pattern(
        SIMPLE,
        4.5,
        "translation or spelling",
        rf"how (?:do|would|to|can) ?(?:you|i|we)? (?:say|spell|pronounce) {_NAME}|spell {_X}|"
        rf"(?:translate |say )['\"]?{_NAME}['\"]? (?:to|into|in) {_LANGUAGE}|"
        rf"(?:what(?:'s| is) )?(?:the )?(?:{_LANGUAGE} )?(?:word )?(?:for )?{_X} (?:in|for) {_LANGUAGE}|"
        rf"what(?:'s| is) (?:the )?{_LANGUAGE} (?:word )?for {_SHORT}",
    ),
    # German
    Pattern(
        SIMPLE,
        4,
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
        rf"wie heißt die hauptstadt von {_SHORT}|hauptstadt von {_SHORT}|wer (?:hat|war) {_NAME}"
        rf"(?: (?:erfunden|geschrieben|gemalt|entdeckt|komponiert))?|wie (?:hoch|lang|groß|tief|weit|"
        rf"schwer|schnell) (?:ist|sind) {_NAME}|was (?:bedeutet|heißt) {_SHORT}(?: auf \w{{3,14}})?|"
        rf"wie viele \w{{2,16}} (?:hat|haben|sind in) {_SHORT}|was ist (?:ein|eine) {_SHORT}|"
        rf"wo liegt {_SHORT}|wann wurde {_NAME}|wie (?:sagt|schreibt) man {_SHORT}(?: auf \w{{3,14}})?",
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
        rf"cuántos \w{{2,16}} tiene {_SHORT}|dónde está {_SHORT}|feliz cumpleaños",
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
        rf"combien de \w{{2,16}} (?:a|dans) {_SHORT}|où se trouve {_SHORT}",
    ),
)

_Z = r"[^\s，。？！?!,]"
# Chinese has no blanks between words, so its evidence is found by patterns.
CHINESE_SIMPLE = (
    Pattern(
        SIMPLE,
        4,
        "问候",
        r"(?:你好|您好|嗨|哈[喽罗啰]|hi|hello|早上好|早安|早|中午好|下午好|晚上好|晚安|大家好|在吗|在不在|"
        r"在么)(?:[呀啊哦]|famulus)?|你好吗|最近(?:怎么样|好吗|还好吗)|(?:你)?吃(?:饭|了|晚饭|早饭|午饭)了?[吗嘛没]?",
    ),
    Pattern(
        SIMPLE,
        4,
        "感谢、告别或应声",
        r"(?:非常|太|好的)?(?:谢谢|多谢|感谢|谢啦|谢了|辛苦)(?:你|您|了|啦|你的帮助|您的帮助|啊)?|不客气|"
        r"再见|拜拜|回见|回头见|明天见|下次见|(?:哈|嘿|呵){2,8}|(?:真|太|很|好)?(?:不错|棒|厉害|有趣|有意思|"
        r"好玩|可爱|酷|搞笑|好笑)(?:了|啊|呀)?|明白了?|知道了|了解了?|懂了|原来如此|没事|没关系|太好了|"
        r"(?:祝你)?(?:生日|新年|春节|中秋节?|圣诞节?|周末|节日)快乐",
    ),
    Pattern(
        SIMPLE,
        5,
        "闲聊",
        r"(?:给我|再)?(?:讲|说|来)(?:一)?个(?:冷|小|好笑的)?(?:笑话|谜语|段子)(?:吧|听听)?|你是谁|"
        r"你叫什么(?:名字)?|你(?:会|能)(?:做|干)?(?:什么|些什么|说中文|唱歌|做什么)|你(?:多大|几岁)了?|"
        r"你(?:是)?(?:机器人|真人|人类|人)[吗么]?|你喜欢"
        + _Z
        + r"{1,6}|我(?:好|有点|很)?(?:无聊|困|累|饿|开心)"
        r"了?|(?:抛|掷|扔)(?:个|一个|一次)?(?:硬币|骰子)|我(?:回来|到家)了|我爱你|你真(?:棒|可爱|聪明)",
    ),
    Pattern(
        SIMPLE,
        5,
        "时间或日期",
        r"(?:请问)?(?:现在|此刻)?(?:是)?(?:"
        + _Z
        + r"{2,6})?(?:现在)?(?:是)?(?:几点|什么时间|几点钟)了?|"
        r"今天(?:是)?(?:几号|几月几号|几月几日|星期几|周几|礼拜几|什么日子|什么日期)|现在是(?:哪一年|几月)|"
        r"今年是(?:哪一年|什么年)|现在时间",
    ),
    Pattern(
        SIMPLE,
        5,
        "算术",
        r"(?:请|帮我)?(?:计算|算一下|算算|算)?(?:一下)?[\d\s.+\-*/×÷x()（）%加减乘除以的平方根开百分之点万千]{2,40}"
        r"(?:是多少|等于多少|等于几|得多少|是几|=)?|\d[\d.]*(?:公里|英里|米|英尺|厘米|英寸|公斤|千克|磅|斤|"
        r"摄氏度|华氏度|升|加仑)(?:是|等于|换算成|转成)(?:多少)?(?:公里|英里|米|英尺|厘米|英寸|公斤|千克|磅|斤|"
        r"摄氏度|华氏度|升|加仑)",
    ),
    Pattern(
        SIMPLE,
        4,
        "简短常识",
        _Z
        + r"{1,10}(?:的)?(?:首都|货币|人口|省会|反义词|近义词|同义词|化学符号|化学式)(?:是(?:哪里|哪儿|哪个|"
        r"哪座城市|什么|多少|啥)|有多少)?|"
        + _Z
        + r"{1,12}(?:是)?什么意思|什么是"
        + _Z
        + r"{1,8}|"
        + _Z
        + r"{1,10}是谁(?:写|发明|画|发现|建|唱|导演)的|谁(?:写|发明|画|发现|创作)了?"
        + _Z
        + r"{1,10}|"
        r"(?:世界|中国|地球|太阳系|全球)(?:上|里|中)?最(?:高|长|大|小|深|远|快|冷|热)的?"
        + _Z
        + r"{1,8}?"
        r"(?:是(?:什么|哪个|哪座|哪条|哪里|谁))?|一(?:年|天|小时|个?星期|周|公斤|公里|分钟|个月|打|吨|米)(?:有|等于|是)"
        r"(?:多少|几)"
        + _Z
        + r"{1,3}|"
        + _Z
        + r"{1,8}(?:有|是)多(?:高|长|远|大|重|深|快)|"
        + _Z
        + r"{1,10}(?:在哪里|在哪儿|在哪个(?:国家|洲|省))|"
        + _Z
        + r"{1,8}是什么(?:颜色|动物|语言)|"
        + _Z
        + r"{1,10}是哪一?年(?:"
        + _Z
        + r"{1,6})?",
    ),
    Pattern(
        SIMPLE,
        5,
        "翻译词语",
        r"[‘“\"「]?"
        + _Z
        + r"{1,12}[’”\"」]?(?:用|的)?(?:英语|英文|日语|日文|法语|德语|西班牙语|韩语|中文)"
        r"(?:怎么说|怎么写|是什么|怎么讲|怎么读)|(?:把|将)?[‘“\"「]?"
        + _Z
        + r"{1,12}?[’”\"」]?(?:翻译|译)成"
        r"(?:英语|英文|日语|日文|法语|德语|西班牙语|韩语|中文)|" + _Z + r"{1,6}怎么(?:读|念)",
    ),
)

CHINESE_PATTERNS = (
    Pattern(
        COMPLEX,
        3,
        "要求解释、分析或写作",
        r"为什么|为啥|为何|解释|分析|比较|对比|区别|差异|优缺点|利弊|评价|评估|总结|概括|归纳|润色|改写|修改|校对|"
        r"写(?:一|个|篇|首|段|封|份|出|代码|作文|程序|脚本)|帮我写|作文|论文|文章|报告|演讲|诗|小说|信件|简历|"
        r"代码|函数|程序|编程|算法|报错|错误|调试|重构|优化|数据库|架构|接口|部署|异常|正则|"
        r"设计|方案|计划|规划|策略|攻略|行程|建议|推荐|应该|该不该|要不要|怎么办|怎样|如何|怎么(?!样|说|写|讲|读|念)|"
        r"步骤|详细|证明|推导|求解|方程|合同|法律|律师|起诉|离婚|症状|头疼|发烧|吃药|治疗|投资|理财|贷款|税|"
        r"焦虑|抑郁|难过|压力|想法|点子|头脑风暴|面试|谈判|教我|影响|原因|意义|看法",
    ),
    Pattern(
        TOOL,
        3,
        "要求动手或查询",
        r"运行|执行|安装|卸载|打开|启动|关闭|重启|文件|目录|文件夹|日志|命令|终端|脚本|截图|"
        r"搜索|搜一下|查一下|查查|查询|查找|找一下|上网|网上|网页|网站|网址|链接|下载|上传|抓取|"
        r"查看|提醒|闹钟|定时|日程|日历|预约|会议|待办|记一下|记下|记住|记录|备忘|笔记|保存|存到|列出|读取|删除|"
        r"重命名|移动到|复制到|发送|发给|发邮件|发消息|邮箱|邮件|天气|气温|下雨|新闻|头条|股价|股票|汇率|"
        r"金价|油价|房价|比分|航班|火车|车票|快递|最新|最近的|现任|总统|订(?:一|票|餐|酒店)|买(?:票|一)|我的|我们的",
    ),
    Pattern(COMPLEX, 2, "指代上文", r"这个|那个|这段|那段|上面|下面|刚才|之前|第[一二三四五\d]|它|他们|继续|接着"),
)  # fmt: skip

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
