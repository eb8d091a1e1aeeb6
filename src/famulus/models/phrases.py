"""What people say when they want nothing: greetings, thanks, praise, goodbyes.

A message is small talk when it is made of these phrases and nothing else, so a greeting before a
request proves nothing. Phrases are lower case, one to a `|`; apostrophes do not count.
"""

# ruff: noqa: E501 - lists of words

import re
from typing import NamedTuple

# May be asked: `hello?` is small talk, while `it works?` wants an answer.
_ASKED = """
hi|hello|hey|hiya|yo|howdy|greetings|sup|wassup|whats up|hey there|hi there|hello there|gday|good day|good morning|morning|good afternoon|afternoon|good evening|evening|good night|goodnight|night night|gm|gn|welcome|welcome back|long time no see|nice to meet you|pleased to meet you|good to see you|good to see you again|nice to see you|im back|im home
how are you|how r u|how r you|how are u|how are you doing|how are you feeling|how are things|how are things going|how is it going|hows it going|how is life|hows life|hows everything|how is everything|hows your day|how is your day|hows your day going|how is your day going|hows your morning|hows your evening|hows your week|how was your day|how was your weekend|how was your night|how was your week|how have you been|how do you do|how you doing|are you ok|are you okay|u ok|you ok|are you well|hope you are well|hope youre well|hope youre doing well|i am fine|im fine|im good|im well|im doing well|im great
are you there|you there|r u there|anyone there|anybody there|anybody home|are you awake|are you up|are you online|are you alive|can you hear me|do you hear me|testing|testing 1 2 3|testing 123|test|ping|just testing|just a test
who are you|what are you|who made you|who built you|who created you|whats your name|what is your name|your name|do you have a name|are you a robot|are you a bot|are you an ai|are you ai|are you human|are you a human|are you real|are you a person|are you a machine|you a bot|how old are you|where are you from|where do you live|what can you do|what can you help me with|what do you do|what is your purpose|whats your purpose|introduce yourself|what is your favorite color|whats your favorite color|what is your favourite colour|whats your favourite colour|whats your favorite food|whats your favorite movie|do you sleep|do you dream|do you eat|do you sing|do you like me|do you love me|do you like music|do you like pizza|do you like cats|do you like dogs|can you sing|do you speak english|do you speak german|do you speak french|do you speak spanish|do you speak chinese|do you speak japanese|do you speak italian|can you speak english|can you speak german|can you speak french|can you speak spanish|can you speak chinese|can you understand english|can you understand german|can you understand french|can you understand spanish|can you understand chinese
hallo|moin|moin moin|servus|grüezi|grüß gott|grüß dich|guten morgen|guten tag|guten abend|gute nacht|mahlzeit|wie gehts|wie geht es dir|wie gehts dir|wie geht es ihnen|wie geht es euch|alles gut|alles klar bei dir|danke|dankeschön|danke schön|danke sehr|danke dir|danke ihnen|vielen dank|vielen lieben dank|lieben dank|herzlichen dank|besten dank|tausend dank|danke für die hilfe|danke für deine hilfe|vielen dank für die hilfe|vielen dank für deine hilfe|danke nochmal|gern geschehen|bitte schön|tschüss|tschüs|tschau|auf wiedersehen|bis später|bis bald|bis morgen|bis dann|schönen tag|schönen tag noch|schönen abend|schönen abend noch|schönen feierabend|schönes wochenende|schlaf gut|wer bist du|was bist du|was kannst du|was kannst du alles|wie heißt du|bist du da|bist du ein roboter|bist du ein bot|bist du ein mensch|bist du eine ki|bist du echt|sprichst du deutsch|sprichst du englisch|kannst du mich hören|super|toll|klasse|prima|perfekt|großartig|sehr gut|sehr schön|sehr nett|das war hilfreich|das ist nett|das ist toll|das ist super|verstehe|ich verstehe|verstanden|gut zu wissen|interessant|lustig|sehr lustig|schade|tut mir leid|es tut mir leid|entschuldigung|du bist toll|du bist super|du bist der beste|du bist lustig|gut gemacht|alles gute zum geburtstag|frohes neues jahr|frohes neues|frohe weihnachten|frohe ostern|herzlichen glückwunsch|kein problem|macht nichts
bonjour|salut|bonsoir|coucou|bonne nuit|ça va|ça va bien|comment ça va|comment vas-tu|comment allez-vous|comment vas tu|tu vas bien|vous allez bien|merci|merci beaucoup|merci bien|merci infiniment|mille mercis|merci à toi|merci à vous|merci pour tout|merci pour ton aide|merci pour votre aide|merci de ton aide|grand merci|de rien|je t'en prie|au revoir|à bientôt|à demain|à plus|à plus tard|à tout à l'heure|a demain|a plus|bonne journée|bonne soirée|bon week-end|bon weekend|bonne année|joyeux anniversaire|bon anniversaire|joyeux noël|qui es-tu|qui es tu|tu es qui|comment tu t'appelles|comment t'appelles-tu|que peux-tu faire|que sais-tu faire|tu es là|es-tu là|t'es là|tu es un robot|es-tu un robot|tu parles français|parles-tu français|super|génial|parfait|excellent|c'est parfait|c'est super|c'est génial|c'est gentil|très bien|très gentil|trop drôle|trop bien|mdr|ptdr|désolé|désolée|pardon|je comprends|je vois|pas de souci|pas de problème|pas grave|félicitations|bien joué|bravo
hola|buenos días|buenas tardes|buenas noches|buenas|buen día|qué tal|qué tal estás|cómo estás|cómo estás hoy|cómo te va|cómo va|gracias|muchas gracias|mil gracias|muchísimas gracias|gracias por todo|gracias por tu ayuda|gracias por la ayuda|de nada|adiós|chao|chau|hasta luego|hasta mañana|hasta pronto|nos vemos|buen fin de semana|que descanses|quién eres|cómo te llamas|qué puedes hacer|estás ahí|eres un robot|eres humano|eres real|hablas español|hablas inglés|genial|perfecto|excelente|estupendo|qué bueno|qué bien|muy bien|muy amable|qué gracioso|eres genial|eres el mejor|eres la mejor|bien hecho|buen trabajo|jaja|lo siento|perdón|disculpa|entiendo|ya veo|entendido|no pasa nada|no hay problema|feliz cumpleaños|feliz navidad|feliz año nuevo|felicidades
"""
_REMARKS = """
thanks|thank you|thank u|thankyou|thx|thnx|tnx|ty|tysm|cheers|many thanks|much appreciated|appreciated|appreciate it|i appreciate it|really appreciate it|thanks anyway|thanks again|thank you again|thanks for that|thanks for the help|thanks for your help|thanks for all your help|thanks for helping|thank you for your help|thank you for the help|thank you for everything|thanks for everything|thank you for helping me|thanks for the info|thanks in advance|no thanks needed|youre welcome|you are welcome|my pleasure|anytime|dont mention it
that helped|that helped a lot|this helped a lot|that helps|that helps a lot|that was helpful|that was very helpful|that was really helpful|that was great|that was perfect|that was fun|that was quick|that was fast|that worked|it worked|it works|works now|it works now|works great|works perfectly|very helpful|so helpful|super helpful|really helpful|helpful|thats helpful|thats great|thats awesome|thats amazing|thats perfect|thats nice|thats cool|thats wonderful|thats fantastic|thats lovely|thats good|thats very kind|thats very kind of you|thats kind of you|very kind|very kind of you|so kind|so kind of you|how kind|so sweet|thats so sweet|how nice|how lovely
you are the best|youre the best|you are great|youre great|you are awesome|youre awesome|you are amazing|youre amazing|you are funny|youre funny|you are so funny|you are cool|youre cool|you are nice|youre nice|you are so nice|you are sweet|youre sweet|you are smart|youre smart|you are so smart|youre so smart|you are so helpful|youre so helpful|you are very helpful|you are helpful|you are a star|youre a star|you are a lifesaver|youre a lifesaver|lifesaver|legend|what a legend|you rock|you rule|you made my day|i love you|i like you|love you|love ya|love it|i love it|loving it|like it|i like it|love this|good job|great job|nice job|good work|great work|nice work|good bot|nice bot|good one|nice one|great one|good point|great point|fair point|fair enough|well done|bravo|kudos|hats off|good stuff|great stuff
cool|great|nice|awesome|amazing|wow|whoa|woah|wonderful|fantastic|brilliant|excellent|superb|lovely|perfect|sweet|neat|impressive|very nice|very good|very cool|so cool|so good|so nice|so cute|cute|funny|hilarious|so funny|very funny|thats funny|thats hilarious|thats so funny|interesting|very interesting|thats interesting|how interesting|good to know|nice to know|yay|yeah cool|hooray|woohoo|oh wow|oh nice|oh cool|haha|hehe|hihi|lol|lmao|lmfao|rofl|xd|ha|made me laugh
got it|i got it|i see|oh i see|ah i see|i understand|understood|makes sense|that makes sense|noted|roger|roger that|copy that|gotcha|all good|all clear|no worries|no problem|no prob|np|nvm|never mind|nevermind|its fine|its ok|its okay|thats fine|thats ok|thats okay|dont worry|no need to worry
sorry|im sorry|i am sorry|so sorry|sorry about that|my bad|my mistake|my apologies|apologies|oops|whoops|oopsie|pardon me|excuse me|forgive me
bye|goodbye|good bye|bye bye|byebye|bye for now|bye now|see you|see ya|see u|see you later|see ya later|see you soon|see you tomorrow|see you around|see you then|see you next time|see you next week|see you on monday|see you monday|catch you later|catch you tomorrow|catch ya later|talk to you later|talk later|talk soon|talk to you soon|talk to you tomorrow|ttyl|cya|ciao|later alligator|farewell|so long|take care|gotta go|got to go|gtg|g2g|brb|im off|off to bed|going to bed|im going to bed|i go to bed|time for bed|sleep well|sleep tight|sweet dreams|have a good day|have a great day|have a nice day|have a lovely day|have a good night|have a great night|have a nice night|have a good evening|have a great evening|have a nice evening|have a lovely evening|have a good weekend|have a great weekend|have a nice weekend|have a lovely weekend|have a good one|have a great one|have a nice one|have a good week|have a great week|have fun|enjoy your day|enjoy your evening|enjoy your weekend|enjoy|good luck|same to you|you too
happy birthday|happy new year|happy easter|happy halloween|happy holidays|happy thanksgiving|happy christmas|happy anniversary|happy weekend|happy monday|happy tuesday|happy wednesday|happy thursday|happy friday|happy saturday|happy sunday|happy valentines day|merry christmas|merry xmas|congrats|congratulations
"""

# Each beside a courtesy: alone they may well be an answer, or the beginning of a request.
_TRIMMINGS = """
ok|okay|oh|ah|aw|aww|well|so|and|um|uh|hmm|famulus|there|everyone|everybody|all|again|guys|buddy|mate|friend|my friend|friends|dude|man|bro|pal|partner|folks|bot|dear|sir|today|tonight|so much|a lot|very much|a bunch|a million|a ton|very|really|truly|to you|to you too|back|indeed|for now|everything|my dear
zusammen|alle|heute|na|sehr|noch|und|famulus|auch|à tous|tout le monde|mon ami|et|beaucoup|amigo|amiga|amigos|a todos|y|muy
"""

_HAN_ASKED = """
你好|您好|嗨|嘿|哈喽|哈罗|哈啰|早上好|早安|早|上午好|中午好|午安|下午好|晚上好|晚安|大家好|在吗|在不在|在么|你在吗|你还在吗|有人吗|你好吗|您好吗|最近怎么样|最近好吗|最近还好吗|你最近好吗|你最近怎么样|今天过得怎么样|今天好吗|你今天怎么样|你今天好吗|过得怎么样|吃了吗|吃了没|吃饭了吗|吃饭了没|好久不见|很高兴认识你|我回来了|我到家了|测试|测试一下
你是谁|你叫什么|你叫什么名字|你是机器人吗|你是真人吗|你是人吗|你是人类吗|你是ai吗|你是人工智能吗|你多大了|你几岁了|你几岁|你会什么|你会做什么|你能做什么|你会做些什么|你能做些什么|你能干什么|你可以做什么|你有什么功能|你有名字吗|你会说中文吗|你会说英语吗|你会说英文吗|你会说日语吗|你会唱歌吗|你会讲笑话吗|谁开发了你|谁创造了你|谁做的你|你是谁开发的|你从哪里来|你喜欢我吗|你喜欢音乐吗|你喜欢猫吗|介绍一下你自己|自我介绍一下
こんにちは|こんにちわ|こんばんは|こんばんわ|おはよう|おはようございます|やあ|もしもし|はじめまして|初めまして|ただいま|久しぶり|お久しぶりです|元気|元気ですか|お元気ですか|調子はどう|調子はどうですか
ありがとう|ありがとうございます|ありがとうございました|どうもありがとう|どうも|感謝します|感謝です|助かりました|助かった|助かります|どういたしまして|お疲れ様|お疲れ様です|お疲れさま|お疲れさまです|おつかれ
さようなら|さよなら|おやすみ|お休み|おやすみなさい|お休みなさい|じゃあね|じゃね|またね|また明日|また後で|また今度|バイバイ|よい一日を|良い一日を|良い週末を
すごい|すごいですね|すごいね|素晴らしい|素晴らしいですね|いいね|いいですね|面白い|面白いね|面白いですね|可愛い|かわいい|さすが|完璧|なるほど|そうなんだ|そうなんですね|わかりました|分かりました|わかった|分かった|了解|了解です|了解しました|笑|ははは|はは|ごめん|ごめんね|ごめんなさい|すみません|失礼しました|大丈夫です|おめでとう|おめでとうございます|お誕生日おめでとう|誕生日おめでとう|あけましておめでとう|あけましておめでとうございます|メリークリスマス
あなたは誰|あなたは誰ですか|君は誰|誰ですか|お名前は|名前は何ですか|お名前は何ですか|何ができますか|何ができるの|ロボットですか|人間ですか|日本語を話せますか|日本語できますか
"""
_HAN_REMARKS = """
谢谢|谢谢你|谢谢您|多谢|多谢你|感谢|感谢你|感谢您|非常感谢|非常谢谢|太感谢了|太谢谢了|太谢谢你了|十分感谢|谢啦|谢了|谢谢你的帮助|谢谢您的帮助|感谢你的帮助|谢谢帮忙|谢谢你帮忙|辛苦|辛苦了|辛苦啦|辛苦你了|您辛苦了|麻烦你了|麻烦了|不客气|不用谢|别客气
再见|拜拜|拜|回见|回头见|回头聊|明天见|下次见|下次聊|改天聊|改天见|明天聊|先这样|我先走了|我走了|我下了|我去睡了|我睡了|去睡觉了|好梦|做个好梦|早点休息|早点睡|周末愉快|周末快乐|假期愉快|一路平安|保重|祝你好运|祝好运
不错|真不错|很不错|棒|真棒|太棒了|很棒|好棒|厉害|真厉害|太厉害了|好厉害|很厉害|有趣|真有趣|很有趣|有意思|真有意思|很有意思|好玩|真好玩|可爱|真可爱|好可爱|太可爱了|酷|真酷|太酷了|搞笑|太搞笑了|好笑|真好笑|太好笑了|笑死|笑死我了|笑死了|牛|真牛|太牛了|牛逼|赞|点赞|太赞了|完美|太好了|真好|很好|漂亮|精彩|优秀|太优秀了|佩服|哈哈|嘿嘿|呵呵|嘻嘻|哇|哇塞|你真棒|你真好|你真可爱|你真聪明|你真厉害|你好棒|你好聪明|你好可爱|你太棒了|你太厉害了|你很棒|你最棒|我爱你|我喜欢你|爱你|干得好|干得漂亮|做得好|说得好
明白|明白了|我明白了|知道了|我知道了|了解|了解了|懂了|我懂了|收到|原来如此|原来是这样|这样啊|没事|没事的|没关系|没问题|不要紧|不好意思|抱歉|对不起|我错了|说错了|我说错了|打错了|恭喜|祝贺
生日快乐|祝你生日快乐|新年快乐|春节快乐|圣诞快乐|圣诞节快乐|中秋快乐|中秋节快乐|节日快乐|元旦快乐|国庆快乐|端午安康|新春快乐|恭喜发财
"""
_HAN_TRIMMINGS = "好的|呀|啊|哦|噢|啦|了|哈|呢|嗯|嗯嗯|哎|哎呀|你|您|大家|那|famulus|ね|よ|です|はい|わ|本当に|とても"

# A longer remark is small talk when one of its words is of the first list and all are of both.
_GRATEFUL = (
    "thanks thank thankful grateful gratitude appreciate appreciated",
    "i im am we you youre your youve have been was were for the a all so very much really truly deeply lot big great "
    "good huge sincere sincerest special of to and that did doing done help helped helping helpful assist assistance "
    "time today kind kindness advice glad happy",
)

_FRIENDLY = "👍👌🙏👋👏💪🤝✌🙌❤💕💖💗💙💚💛💜🧡♥😀😁😂🤣😃😄😅😆😉😊🙂😋😎😍🥰😘🤗😇🥳😺🎉🎊🎂🎄🎁🌹🌸🌞🌙☀⭐✨💯🔥🎈🍻🥂☕"
_JOINERS = "\ufe0f\u200d\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
_FACES = re.compile(f"[{_FRIENDLY}{_JOINERS}]+")
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_STRETCHED = re.compile(r"([^\W\d])\1{2,}")
_LAUGHTER = (
    (re.compile(r"\b(?:ha){2,60}h?\b"), "haha"),
    (re.compile(r"\b(?:he){2,60}\b"), "hehe"),
    (re.compile(r"\b(?:ja){2,60}\b"), "jaja"),
    (re.compile(r"\bl(?:ol)+\b"), "lol"),
    (re.compile(r"は{2,}"), "はは"),
    (re.compile(r"哈{2,}"), "哈哈"),
    (re.compile(r"呵{2,}"), "呵呵"),
    (re.compile(r"嘿{2,}"), "嘿嘿"),
    (re.compile(r"嘻{2,}"), "嘻嘻"),
)
_WORD = re.compile(r"\w+")
_SILENT = re.compile(r"[\s.,!?;:…~\"“”()¡¿。？！，、～☺-]*")


_TRIMMING, _REMARK, _QUESTION = 0, 1, 2


class _Vocabulary(NamedTuple):
    """What each phrase may be, and the length of the longest, in words or in characters."""

    phrases: dict[str, int]
    longest: int


def _split(phrases: str) -> list[str]:
    return re.split(r"[|\n]", phrases.strip().replace("'", "").replace("-", " "))


def _vocabulary(trimmings: str, remarks: str, asked: str, *, blank: str) -> _Vocabulary:
    phrases = (
        dict.fromkeys(_split(trimmings), _TRIMMING)
        | dict.fromkeys(_split(remarks), _REMARK)
        | dict.fromkeys(_split(asked), _QUESTION)
    )
    return _Vocabulary(phrases, max(len(p.split(blank) if blank else p) for p in phrases))


_THANKS = frozenset(_GRATEFUL[0].split())
_KIND = _THANKS.union(_GRATEFUL[1].split())
_WORDS = _vocabulary(_TRIMMINGS, _REMARKS, _ASKED, blank=" ")
_CHARACTERS = _vocabulary(_HAN_TRIMMINGS, _HAN_REMARKS, _HAN_ASKED, blank="")


def without_faces(text: str) -> str:
    """`text` without friendly emoji. Others stay: a sad or an odd one may mean anything."""
    return text if text.isascii() else _FACES.sub(" ", text)


def is_small_talk(text: str) -> bool:
    """Whether all of `text`, in lower case, is one line of courtesies and friendly emoji."""
    if "\n" in text:
        return False
    bare = without_faces(text)
    for pattern, short in _LAUGHTER:
        bare = pattern.sub(short, bare)
    bare = _STRETCHED.sub(r"\1", bare).replace("'", "")
    if not (letters := _SILENT.sub("", bare)):
        return bare != text and "?" not in text
    wanted = _QUESTION if "?" in bare or "？" in bare else _REMARK
    if _HAN.search(bare):
        return _meaning(_CHARACTERS, list(letters), blank="") >= wanted
    if _SILENT.sub("", _WORD.sub("", bare)):
        return False  # a sign that is no punctuation
    words = _WORD.findall(bare)
    if _meaning(_WORDS, words, blank=" ") >= wanted:
        return True
    return wanted == _REMARK and _KIND.issuperset(words) and not _THANKS.isdisjoint(words)


def _meaning(vocabulary: _Vocabulary, units: list[str], *, blank: str) -> int:
    """The most that a phrase in `units` is; -1 when they are not all phrases, longest first."""
    at, most = 0, _TRIMMING
    while at < len(units):
        for length in range(min(vocabulary.longest, len(units) - at), 0, -1):
            meaning = vocabulary.phrases.get(blank.join(units[at : at + length]))
            if meaning is not None:
                at += length
                most = max(most, meaning)
                break
        else:
            return -1
    return most
