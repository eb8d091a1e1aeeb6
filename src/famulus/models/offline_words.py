"""What the offline model says, in the language of the question."""

# ruff: noqa: E501 - Han characters count twice

import re

import msgspec

from famulus.core.messages import ToolCall, ToolResult
from famulus.models.offline_rules import NOTES

_LONGEST = 1500
_HAN = re.compile(r"[\u3400-\u9fff]")
_GERMAN = re.compile(
    r"\b(?:ist|wie|was|wer|mir|meine|bitte|danke|hallo|notiz|notiere|zeige?|liste|schreibe?|uhr|und|"
    r"dateien|heute|mal|guten|führe|lies|öffne|tschüss|kannst|du)\b",
    re.IGNORECASE,
)
_REAL_MODEL = "ANTHROPIC_API_KEY, OPENAI_API_KEY, OPENROUTER_API_KEY"

_WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DAYS = {
    "de": dict(
        zip(
            _WEEK,
            ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"),
            strict=True,
        )
    ),
    "zh": {day: f"星期{name}" for day, name in zip(_WEEK, "一二三四五六日", strict=True)},
}
_PHRASES = {
    "en": {
        "greet": "Hello! {who}",
        "thanks": "You are welcome.",
        "bye": "Goodbye!",
        "who": "I am Famulus' built-in offline model: rules, no AI. I can {can}. To get a real "
        f"model, set {_REAL_MODEL.replace(', OPENR', ' or OPENR')}, or start Ollama.",
        "help": "{who}\n\nTry: {examples}",
        "remind": "I cannot remind you at a time: I have no tool for it here. I can keep a note: "
        '"make a note: …".',
        "unknown": "I do not understand “{text}”. {who}\n\nTry: {examples}",
        "missing": "I cannot do that here: the tool {tool} is not available.{why}",
        "why_shell": " Commands run only inside a sandbox, and there is none here or it is "
        "switched off; `famulus status` says more.",
        "failed": "{tool} did not work: {text}",
        "empty": "{path} is empty.",
        "noted": "Noted in {path}: {text}",
        "written": "I wrote to {path}.",
        "edited": "I changed {path}.",
        "here": "It is {text}.",
        "there": "In {place} it is {text}.",
        "files": "Files:\n{text}",
        "nothing": "There is nothing.",
        "idle": "only talk here, as I was given no tools",
        "cut": "… (cut; {count} characters in all)",
    },
    "de": {
        "greet": "Hallo! {who}",
        "thanks": "Gern geschehen.",
        "bye": "Auf Wiedersehen!",
        "who": "Ich bin das eingebaute Offline-Modell von Famulus: Regeln, keine KI. Ich kann "
        f"{{can}}. Für ein richtiges Modell {_REAL_MODEL.replace(', OPENR', ' oder OPENR')} setzen "
        "oder Ollama starten.",
        "help": "{who}\n\nZum Beispiel: {examples}",
        "remind": "Ich kann nicht zu einer Zeit erinnern: dafür habe ich hier kein Werkzeug. Ich "
        "kann etwas notieren: „Notiz: …“.",
        "unknown": "Ich verstehe „{text}“ nicht. {who}\n\nZum Beispiel: {examples}",
        "missing": "Das kann ich hier nicht: das Werkzeug {tool} ist nicht verfügbar.{why}",
        "why_shell": " Befehle laufen nur in einer Sandbox, und hier gibt es keine oder sie ist "
        "abgeschaltet; `famulus status` sagt mehr.",
        "failed": "{tool} hat nicht geklappt: {text}",
        "empty": "{path} ist leer.",
        "noted": "Notiert in {path}: {text}",
        "written": "Ich habe in {path} geschrieben.",
        "edited": "Ich habe {path} geändert.",
        "here": "Es ist {text}.",
        "there": "In {place} ist es {text}.",
        "files": "Dateien:\n{text}",
        "nothing": "Da ist nichts.",
        "idle": "hier nur reden, denn ich habe keine Werkzeuge",
        "cut": "… (gekürzt; insgesamt {count} Zeichen)",
    },
    "zh": {
        "greet": "你好！{who}",
        "thanks": "不客气。",
        "bye": "再见！",
        "who": f"我是 Famulus 内置的离线模型：只有规则，没有人工智能。我可以{{can}}。要使用真正的模型，请设置 "
        f"{_REAL_MODEL.replace(', OPENR', ' 或 OPENR')}，或启动 Ollama。",
        "help": "{who}\n\n试试：{examples}",
        "remind": "我不能按时提醒：这里没有这样的工具。我可以记笔记：“记一下：…”。",
        "unknown": "我不明白“{text}”。{who}\n\n试试：{examples}",
        "missing": "这里做不到：没有工具 {tool}。{why}",
        "why_shell": "命令只能在沙箱里运行，而这里没有沙箱或已关闭；`famulus status` 会说明。",
        "failed": "{tool} 失败：{text}",
        "empty": "{path} 是空的。",
        "noted": "已记入 {path}：{text}",
        "written": "已写入 {path}。",
        "edited": "已修改 {path}。",
        "here": "现在是 {text}。",
        "there": "{place} 现在是 {text}。",
        "files": "文件：\n{text}",
        "nothing": "什么也没有。",
        "idle": "聊几句，因为这里没有工具",
        "cut": "……（已截断，共 {count} 个字符）",
    },
}

# Tool → what it lets us do, and an example with words that point to it.
_ABILITIES = {
    "en": {
        "calculator": (
            "calculate",
            "what is 17.5% of 230",
            "sum number percent plus math how many",
        ),
        "current_datetime": (
            "tell the time",
            "what time is it in Tokyo",
            "time date day clock hour",
        ),
        "write_file": (
            "keep notes",
            "make a note: buy milk",
            "note write save remember remind list",
        ),
        "read_file": ("show files", "show my notes", "notes read open show file content"),
        "list_files": ("list files", "list my files", "files folder directory documents"),
        "find_in_files": ("search files", "find milk in my files", "find search where look"),
        "web_fetch": ("fetch web pages", "fetch https://example.com", "web page site url internet"),
        "shell": ("run commands", "run uname -a", "run command execute shell program"),
    },
    "de": {
        "calculator": ("rechnen", "was ist 17 mal 23", "rechne zahl prozent mal plus"),
        "current_datetime": ("die Zeit sagen", "wie spät ist es in Tokio", "uhr zeit datum tag"),
        "write_file": (
            "Notizen machen",
            "Notiz: Milch kaufen",
            "notiz notiere merke schreib erinnere",
        ),
        "read_file": ("Dateien zeigen", "zeig mir meine Notizen", "zeig lies notizen datei öffne"),
        "list_files": ("Dateien auflisten", "zeig mir meine Dateien", "dateien ordner verzeichnis"),
        "find_in_files": ("suchen", "suche Milch in meinen Dateien", "suche finde wo"),
        "web_fetch": ("Webseiten holen", "öffne https://example.com", "web seite internet"),
        "shell": ("Befehle ausführen", "führe uname -a aus", "befehl ausführen"),
    },
    "zh": {
        "calculator": ("计算", "12乘以8等于多少", "算 加 减 乘 除 多少"),
        "current_datetime": ("报时", "东京现在几点", "时 几 点 日 今"),
        "write_file": ("记笔记", "记一下：买牛奶", "记 写 存 提醒"),
        "read_file": ("显示文件", "我的笔记", "笔 看 读 打开"),
        "list_files": ("列出文件", "列出所有文件", "文件 目录"),
        "find_in_files": ("查找", "在我的文件里找牛奶", "找 搜"),
        "web_fetch": ("打开网页", "打开 https://example.com", "网"),
        "shell": ("运行命令", "运行 uname -a", "运行 执行 命令"),
    },
}


def language_of(text: str) -> str:
    """`zh`, `de` or `en`."""
    if _HAN.search(text):
        return "zh"
    return "de" if _GERMAN.search(text) else "en"


def said(language: str, about: str, tools: set[str], text: str = "") -> str:
    """The answer to a greeting, a question about us, or what we do not understand."""
    able = {tool: entry for tool, entry in _ABILITIES[language].items() if tool in tools}
    join, quote = ("、", "“{}”") if language == "zh" else (", ", '"{}"')
    can = join.join(does for does, _, _ in able.values()) or _PHRASES[language]["idle"]
    lower = text.lower()
    near = sorted(able.values(), key=lambda entry: -sum(word in lower for word in entry[2].split()))
    examples = join.join(quote.format(example) for _, example, _ in near[:3])
    phrases = _PHRASES[language]
    who = phrases["who"].format(can=can)
    if about == "who":
        return who
    return phrases[about].format(who=who, examples=examples, text=text)


def missing(language: str, tool: str) -> str:
    phrases = _PHRASES[language]
    why = phrases["why_shell"] if tool == "shell" else ""
    return phrases["missing"].format(tool=tool, why=why)


def worded(language: str, call: ToolCall, result: ToolResult) -> str:
    """A tool's result as an answer; a failure is told as what it is."""
    phrases = _PHRASES[language]
    text = _trimmed(result.text.strip(), phrases["cut"])
    if not result.ok:
        return phrases["failed"].format(tool=call.name, text=text)
    arguments = msgspec.json.decode(call.arguments or b"{}", type=dict[str, object])
    path = str(arguments.get("path", ""))
    match call.name:
        case "calculator":
            expression = str(arguments.get("expression", ""))
            sign = "" if text.startswith("≈") else "= "
            return text if "=" in text else f"{expression} {sign}{text}"
        case "current_datetime":
            zone = str(arguments.get("timezone", ""))
            place = zone.rpartition("/")[2].replace("_", " ")
            key = "there" if zone else "here"
            return phrases[key].format(place=place, text=_day(text.rstrip("."), language))
        case "write_file":
            content = str(arguments.get("content", ""))
            if path == NOTES and arguments.get("append"):
                return phrases["noted"].format(path=path, text=content.strip().removeprefix("- "))
            return phrases["written"].format(path=path)
        case "edit_file":
            return phrases["edited"].format(path=path)
        case "read_file":
            return f"{path}:\n\n{text}" if text else phrases["empty"].format(path=path)
        case "list_files":
            return phrases["files"].format(text=text) if text else phrases["nothing"]
        case "shell":
            return f"```\n{text}\n```"
    return text or phrases["nothing"]


def _day(text: str, language: str) -> str:
    """A time as the clock tells it, with the day of the week in the language of the answer."""
    day, comma, rest = text.partition(", ")
    names = _DAYS.get(language, {})
    return f"{names[day]}{comma}{rest}" if day in names else text


def _trimmed(text: str, note: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST].rstrip()}\n{note.format(count=len(text))}"
