"""What a plain sentence asks for, found by rules in English, German and Chinese.

A sentence becomes stages of requests: those of one stage are independent, a later stage uses what
the one before gave. Only what a rule understands whole becomes a tool call.
"""

# ruff: noqa: E501 - a pattern reads better unbroken, and Han characters count twice

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from famulus.models.zones import zone_of

NOTES = "notes.md"
RESULT = "{result}"
"""Stands in an argument for what the first request of the stage before gave."""

_LONGEST = 4000
_PIECES = 12
# Not `read_file`: a long file comes in part, and half a copy is worse than none.
_SAVED = frozenset(
    {"calculator", "current_datetime", "list_files", "find_in_files", "web_fetch", "shell"}
)


class Ask(NamedTuple):
    """`does` is a tool's name, or what to talk about: greet, thanks, bye, help, who, remind,
    unknown.
    """

    does: str
    arguments: dict[str, Any] = {}


Stages = list[list[Ask]]

Groups = dict[str, str]
_Build = Callable[[Groups], Ask | None]
_FLAGS = re.IGNORECASE | re.DOTALL
_QUOTES = "\"'`“”„‘’「」«»"
_PATH = r"(?P<path>[\"'`“][^\"'`”\n]{1,200}[\"'`”]|[\w./~-]*[\w-]\.\w{1,8}|[\w.-]+/[\w./-]*)"
_TEXT = r"(?P<text>.+?)"
_PLACE = r"(?P<place>[^\d,;:?!.]{2,40}?)"
_URL = r"(?P<url>https?://\S+)"
_COURTESY = re.compile(
    r"\A(?:(?:hi|hey|hello|ok|okay|so|well|please|pls|now|then|also|famulus|could you|can you|would you|"
    r"will you|i want you to|i'd like you to|tell me|do you know|hallo|bitte|kannst du|könntest du|"
    r"sag mir|und|你好|您好|请问|请|帮我|麻烦你?|然后|那)(?:[\s,:!，：！]+|(?<=[\u3400-\u9fff])))+(?=\S)",
    _FLAGS,
)
_ENDING = re.compile(
    r"(?:[\s,，]+(?:please|pls|thanks|thank you|famulus|bitte|danke|for me)|[\s.!?。！？;；,，])+$",
    _FLAGS,
)
_SEPARATOR = re.compile(
    r"[.!?;]+\s+|[。！？；\n]+|,?\s+(?:and then|and also|and|then|und dann|und|dann)\s+|[,，]\s*|\s*(?:然后|并且?|再|还有|和)\s*",
    _FLAGS,
)
_SAVE = re.compile(
    r"(?:write|save|put|store|note|add|append|copy|schreibe?|speichere?|notiere?|把|将)?\s*"
    r"(?:it|that|this|the (?:result|answer|page|output|content|list)|es|das(?: ergebnis)?|结果|它|答案)"
    r"(?: down| ab| auf)?\s*(?:写|存|保存|记)?\s*(?:(?:to|in|into|as|under|到|入|进|在)\s*"
    r"(?:the |my |die |meine )?(?:file |datei |文件)?(?:"
    + _PATH
    + r"|(?:notes|notizen|笔记)))?(?:里|中)?",
    _FLAGS,
)


def stages(text: str) -> Stages:
    """The stages of requests in a user's message; an `unknown` where no rule understands it."""
    if len(text) > _LONGEST:
        return [[Ask("unknown", {"text": text[:60] + "…"})]]
    asks = _parsed(text.strip(), _PIECES) or list(_by_sentence(text))
    saves = [ask for ask in asks if RESULT in ask.arguments.values()]
    first = [ask for ask in asks if ask not in saves]
    return [first, saves] if saves else [first]


def _parsed(text: str, pieces: int) -> list[Ask] | None:
    """The requests in `text` if every part of it is understood, else None."""
    text = _plain(text)
    if (ask := _one(text)) is not None:
        return [ask]
    for gap in islice(_SEPARATOR.finditer(text), pieces):
        left = _one(_plain(text[: gap.start()]))
        if left is None or left.does in ("greet", "remind"):
            continue
        rest = text[gap.end() :]
        if (save := _saved(rest, left)) is not None:
            return [left, save]
        right = _parsed(rest, pieces - 1)
        return [left, *right] if right else None
    return None


def _by_sentence(text: str) -> Iterator[Ask]:
    for sentence in re.split(r"(?<=[.!?;])\s+|(?<=[。！？；])|\n+", text):
        if sentence.strip():
            yield from _parsed(sentence, _PIECES) or [Ask("unknown", {"text": sentence.strip()})]


def _plain(text: str) -> str:
    text = _ENDING.sub("", text.strip().replace("’", "'"))
    return _COURTESY.sub("", text, count=1).strip()


def _one(text: str) -> Ask | None:
    for pattern, build in _RULES:
        if (match := pattern.fullmatch(text)) and (ask := build(_groups(match))) is not None:
            return ask
    return None


def _saved(text: str, source: Ask) -> Ask | None:
    """The request to write what `source` gives into a file."""
    match = _SAVE.fullmatch(_plain(text))
    if match is None or source.does not in _SAVED:
        return None
    if match["path"]:
        return Ask("write_file", {"path": _bare(match["path"]), "content": RESULT})
    return Ask("write_file", {"path": NOTES, "content": RESULT, "append": True})


def _bare(text: str) -> str:
    return text.strip().strip(_QUOTES).strip()


# ---------------------------------------------------------------- sums

_FUNCTIONS = r"sqrt|sin|cos|tan|log|ln|exp|abs|round|floor|ceil|pi|e|min|max|of"
_SUM = re.compile(rf"(?:[\d\s.+\-*/()%,]|\b(?:{_FUNCTIONS})\b)+")
_WORDS_OF_SUMS = (
    (r"(?<=\d),(?=\d{3}(?:\D|$))", ""),
    (r"×|·|(?<=[\d)])\s*x\s*(?=[\d(])|\b(?:times|multiplied by|mal)\b|乘以|乘", "*"),
    (r"÷|\b(?:divided by|over|geteilt durch|durch)\b|除以", "/"),
    (r"\bplus\b|加上?", "+"),
    (r"\bminus\b|−|减去?", "-"),
    (r"百分之([\d.]+)", r"\1%"),
    (r"([\d.]+)\s*的\s*([\d.]+)\s*%", r"\2% of \1"),
    (r"([\d.]+)\s*(?:%|\b(?:percent|per cent|prozent)\b)\s*(?:\bof\b|\bvon\b|的)\s*", r"\1% of "),
    (r"([\d.]+)\s*\b(?:percent|prozent)\b", r"\1%"),
    (r"([\d.]+)\s*的平方根", r"sqrt(\1)"),
    (r"(?:the )?(?:square root of|sqrt of|wurzel (?:aus|von))\s*([\d.]+)", r"sqrt(\1)"),
    (r"\bsqrt\s+([\d.]+)", r"sqrt(\1)"),
    (r"([\d.]+)\s*(?:\bsquared\b|的平方|²)", r"\1**2"),
    (r"([\d.]+)\s*(?:\bcubed\b|的立方|³)", r"\1**3"),
    (r"\^|\b(?:to the power of|hoch)\b|的(?=[\d.]+次方)", "**"),
    (r"次方|π", ""),
    (r"\bhalf of\b", "0.5*"),
)


def expression(text: str) -> str | None:
    """`text` as a calculator's expression, or None when it is not one."""
    sum_ = text.lower().rstrip("= ")
    for pattern, replacement in _WORDS_OF_SUMS:
        sum_ = re.sub(pattern, replacement, sum_)
    sum_ = re.sub(r"\s+", " ", sum_).strip()
    if not _SUM.fullmatch(sum_) or not re.search(r"\d", sum_):
        return None
    works = re.search(r"[\d)]\s*(?:\*\*|//|[+*/%-])\s*[\d(a-z-]|\b[a-z]+\(", sum_)
    # A date or a telephone number is no sum.
    return sum_ if works and not re.fullmatch(r"\+?\d+(?:[-/ ]\d+){2,}", sum_) else None


# ---------------------------------------------------------------- the rules


def _sum(found: Groups) -> Ask | None:
    sum_ = expression(found["text"])
    return Ask("calculator", {"expression": sum_}) if sum_ else None


def _time(found: Groups) -> Ask | None:
    place = (found.get("place", "")).strip()
    if not place or place.lower() in ("here", "hier", "现在", "now", "today", "heute"):
        return Ask("current_datetime")
    zone = zone_of(place)
    return Ask("current_datetime", {"timezone": zone}) if zone else None


def _note(found: Groups) -> Ask:
    text = " ".join(_bare(found["text"]).split())
    return Ask("write_file", {"path": NOTES, "content": f"- {text}\n", "append": True})


def _read(found: Groups) -> Ask:
    return Ask("read_file", {"path": _bare(found["path"])})


def _write(found: Groups) -> Ask | None:
    text = _bare(found["text"])
    if not text or _SAVE.fullmatch(text):
        return None
    arguments: dict[str, Any] = {"path": _bare(found["path"]), "content": f"{text}\n"}
    if found.get("append"):
        arguments["append"] = True
    return Ask("write_file", arguments)


def _edit(found: Groups) -> Ask:
    path, old, new = (_bare(found[name]) for name in ("path", "old", "new"))
    return Ask("edit_file", {"path": path, "old": old, "new": new})


def _list(found: Groups) -> Ask:
    path = _bare(found.get("path", ""))
    return Ask("list_files", {"path": path} if path else {})


def _find(found: Groups) -> Ask:
    return Ask("find_in_files", {"pattern": _bare(found["text"])})


def _fetch(found: Groups) -> Ask:
    url = found["url"].rstrip(".,;!?)。，")
    return Ask("web_fetch", {"url": url if "://" in url else f"https://{url}"})


def _run(found: Groups) -> Ask:
    return Ask("shell", {"command": found["text"].strip().strip("`")})


def _talk(about: str) -> _Build:
    return lambda found: Ask(about)


_LISTED = r"(?:all )?(?:of )?(?:my |the )?(?:files|documents)"
_SOURCES: tuple[tuple[_Build, str], ...] = (
    (
        _talk("greet"),
        r"(?:hi+|hello|hey+|yo|howdy|good (?:morning|afternoon|evening|day)|how are you|what's up|"
        r"hallo|moin|servus|guten (?:morgen|tag|abend)|wie geht(?: es|')s?(?: dir)?|你好|您好|嗨|早上好|"
        r"晚上好|下午好|在吗)(?: there| famulus| zusammen|啊|呀)?",
    ),
    (
        _talk("thanks"),
        r"(?:many )?(?:thanks|thank you|thx|cheers|danke|vielen dank|dankeschön|谢谢|多谢|感谢)"
        r"(?: so much| a lot| very much| schön| sehr|你|您|了)?",
    ),
    (
        _talk("bye"),
        r"(?:good ?)?bye|see you(?: later| soon| tomorrow)?|good night|tschüss|auf wiedersehen|"
        r"gute nacht|bis (?:bald|später|morgen)|再见|拜拜|晚安",
    ),
    (
        _talk("help"),
        r"help(?: me)?|\?|(?:show )?(?:commands|options)|what (?:can|do) you (?:do|know|understand)|"
        r"what are you able to do|how do(?:es)? (?:you|this) work|hilfe|was kannst du(?: alles)?|帮助|"
        r"你(?:会|能)(?:做|干)?(?:些)?什么",
    ),
    (
        _talk("who"),
        r"(?:who|what) are you|what(?:'s| is) your name|are you (?:an? )?(?:ai|robot|bot|human|llm|"
        r"real|chatgpt|claude)|which model (?:are you|is this)|wer bist du|wie heißt du|你是谁|"
        r"你叫什么(?:名字)?|你是(?:机器人|人工智能|ai)吗?",
    ),
    (
        _note,
        r"(?:(?:make|take|add|write|leave) (?:a |an? new |me a )?note|note(?: down)?|write down|"
        r"remember|jot down|notiz|notiere?(?: dir)?|merke? dir|schreibe? auf|记一下|记下来?|记住|"
        r"做个笔记|笔记|备忘)(?: that| to|,? dass|一下)?\s*[:,：，]?\s*(?P<text>\S.*)",
    ),
    (_note, r"add (?P<text>.+?) to my (?:notes|list|shopping list|to-?do list)"),
    (_talk("remind"), r"(?:remind me|set an? (?:alarm|reminder|timer)|erinnere mich|提醒我?).*"),
    (
        lambda found: Ask("read_file", {"path": NOTES}),
        r"(?:show|read|open|list|see|display|what are|what's in)(?: me)?(?: all)?(?: of)?(?: my| the)? "
        r"notes|my notes|what did i note|(?:zeige?|lies)(?: mir)? (?:meine |die )?notizen|meine "
        r"notizen|(?:显示|看看|查看|打开|读)?(?:一下)?我?的?笔记(?:有哪些|是什么)?",
    ),
    (
        _find,
        r"(?:find|search(?: for)?|look for|grep(?: for)?)(?: the word)? " + _TEXT + r" in "
        r"(?:all )?(?:of )?(?:my |the )?(?:files|notes|workspace|documents)|"
        r"(?:suche?|finde)(?: nach)? (?P<text2>.+?) in (?:meinen |den |allen )?(?:dateien|notizen)|"
        r"(?:what did i (?:say|write|note|tell you)(?: down)? about|which files? "
        r"(?:mentions?|contains?)) (?P<text3>.+)|在?我?的?(?:文件|笔记)(?:里|中)(?:找|查找|搜索)(?P<text4>.+)|"
        r"(?:search|grep) (?:my |the )?(?:files|notes) for (?P<text5>.+)",
    ),
    (
        _edit,
        r"(?:replace|change|ersetze) (?P<old>.+?) (?:with|by|to|durch|mit) (?P<new>.+?) in "
        r"(?:the |my |der )?(?:file |datei )?" + _PATH,
    ),
    (
        _write,
        r"(?:write|save|put|(?P<append>append|add)|schreibe?) " + _TEXT + r" (?:to|into|in|zu) "
        r"(?:the |a |my |die )?(?:new )?(?:file |datei )?(?:called |named )?" + _PATH,
    ),
    (
        _write,
        r"(?:create|make|write) (?:a |the )?(?:new )?(?:file )?(?:called |named )?" + _PATH + r" "
        r"(?:with|containing)(?: the)?(?: content| text| words?)?:? (?P<text>.+)",
    ),
    (_write, r"[把将](?P<text>.+?)写(?:到|入|进|在)(?:文件)?\s*" + _PATH + r"(?:里|中)?"),
    (
        _list,
        r"(?:list|show|see|display|what are)(?: me)? " + _LISTED + r"(?: (?:in|of|under) (?:the )?"
        r"(?:folder |directory )?(?P<path>[\w./-]+))?|(?:what|which) files (?:do i have|are there)|"
        r"(?:ls|dir)|what's in (?:the |my )?(?:folder|directory|workspace)(?: (?P<path2>[\w./-]+))?|"
        r"(?:zeige?|liste)(?: mir)? (?:alle |meine |die )*dateien(?: auf)?|welche dateien (?:habe ich|"
        r"gibt es)|(?:列出|显示|查看|看看)(?:我的|所有|全部|一下)*(?:的)?文件|有(?:哪些|什么)文件",
    ),
    (
        _fetch,
        r"(?:(?:fetch|get|open|read|show|download|visit|browse|load|hole?|lade|öffne|lies|打开|抓取|"
        r"读取|访问|获取)(?: me)?(?: to)?(?: the| die)?(?: web)?(?: ?page| ?url| ?site| ?seite)?(?: at)?"
        r"\s*)?" + _URL + r"|(?:fetch|visit|browse|抓取|访问)(?: to)?\s*(?P<url2>(?:[\w-]+\.)+[a-z]{2,}"
        r"(?:/\S*)?)",
    ),
    (
        _read,
        r"(?:show|read|open|display|print|cat|view|see|what's in|what is in|zeige?|lies|öffne|打开|读取|"
        r"显示|查看|看看|读)(?: me| mir)?(?: the| my| die)?(?: contents? of)?(?: ?file| datei|文件)?\s*"
        + _PATH + r"(?:的内容)?|(?:show|read|open|display)(?: me)? (?:the )?file (?P<path2>\S{1,200})",
    ),
    (
        _run,
        r"(?:run|execute|运行|执行)(?: the)?(?: shell)?(?: command|命令)?[:：]?\s*(?P<text>\S.*)|"
        r"\$ (?P<text2>\S.*)|führe (?P<text3>.+?) aus",
    ),
    (
        _time,
        r"(?:what time is it|what's the time|what is the time|(?:what's |what is )?(?:the )?(?:current "
        r")?(?:local )?time|what's the date|what is the date|(?:what's |what is )?(?:the |today's )"
        r"(?:current )?date|date|what day is (?:it|today)|what(?:'s| is) today|what date is it|what "
        r"year is it|what's the day)(?: and (?:the )?(?:date|time))?(?: right now| now| today| "
        r"currently)?(?: (?:in|at|for) " + _PLACE + r")?(?: right now| now| today)?",
    ),
    (
        _time,
        r"wie ?(?:spät|viel uhr) ist es(?: jetzt| gerade)?(?: in " + _PLACE + r")?|uhrzeit"
        r"(?: in (?P<place2>[^\d,;:?!.]{2,40}))?|(?:welcher tag|welches datum) (?:ist|haben wir)"
        r"(?: heute)?|(?:der wievielte|was für ein tag) ist heute|今天(?:是)?(?:几号|几月几号|星期几|周几|"
        r"几月几日|什么日子)|(?:现在)?(?P<place3>[^\d，。]{0,10}?)(?:现在)?(?:是)?(?:几点|什么时间)了?",
    ),
    (
        _sum,
        r"(?:what(?:'s| is|s)|calculate|compute|how much is|work out|solve|eval(?:uate)?|was (?:ist|"
        r"sind|macht)|wie ?viel (?:ist|sind)|rechne|berechne|计算|算一下|算算|算)?[:：]?\s*"
        r"(?P<text>.{1,300}?)\s*(?:=|是多少|等于多少|等于几|得多少|=\s*\?)?",
    ),
)  # fmt: skip

_RULES = tuple((re.compile(pattern, _FLAGS), build) for build, pattern in _SOURCES)


def _groups(match: re.Match[str]) -> Groups:
    """What the pattern named. A name may occur once, so its alternatives are `text2`, `text3`."""
    groups: Groups = {}
    for name, value in match.groupdict().items():
        plain = name.rstrip("0123456789")
        groups[plain] = groups.get(plain) or value or ""
    return groups
