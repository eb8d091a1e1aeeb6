"""The built-in evidence of `classify`: words and patterns with a class and a weight.

A word counts wherever it stands. Everything is lower case, and every repeat is bounded or over
one character class, so that no input makes a pattern slow.
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
