"""The schema as numbered, reversible steps. A step that has landed is never changed.

`{identity}`, `{bytes}` and `{real}` stand for the type's name on each driver; a statement may
also be given for one driver alone. Times are seconds since 1970 in UTC.
"""

from typing import NamedTuple


class Step(NamedTuple):
    """`up` and `down` are for both drivers; then come the statements for one of them."""

    number: int
    name: str
    up: tuple[str, ...]
    down: tuple[str, ...]
    sqlite_up: tuple[str, ...] = ()
    sqlite_down: tuple[str, ...] = ()
    postgres_up: tuple[str, ...] = ()
    postgres_down: tuple[str, ...] = ()


# What is referred to already: a part of a message as JSON has `"blob":"<hash>"`.
_HOLDS_BLOBS = (("message", "parts"), ("turn", "inbound"))
_SQLITE_USES = tuple(
    f"""insert or ignore into blob_use (hash, session)
        with recursive found (session, rest) as (
            select session, substr({column}, instr({column}, '"blob":"') + 8)
            from {table} where instr({column}, '"blob":"') > 0
            union all
            select session, substr(rest, instr(rest, '"blob":"') + 8)
            from found where instr(rest, '"blob":"') > 0)
        select substr(rest, 1, 64), session from found"""
    for table, column in _HOLDS_BLOBS
)
_POSTGRES_USES = tuple(
    f"""insert into blob_use (hash, session)
        select distinct (regexp_matches({column}, '"blob":"([0-9a-f]{{64}})"', 'g'))[1], session
        from {table} where strpos({column}, '"blob":"') > 0 on conflict do nothing"""
    for table, column in _HOLDS_BLOBS
)

STEPS = (
    Step(
        1,
        "turns",
        up=(
            # A lane is what keeps its order: a session, or the commands of a chat.
            """create table turn (
                seq {identity}, id text not null unique, lane text not null,
                session text not null, person text not null, channel text not null,
                status text not null, attempt integer not null default 0,
                strikes integer not null default 0,
                format integer not null, parent text not null default '',
                joined_to text not null default '', inbound text not null,
                answer text not null default '', created {real} not null,
                updated {real} not null)""",
            "create index turn_open on turn (seq) where status in ('waiting', 'running')",
            "create index turn_joined on turn (joined_to) where joined_to <> ''",
            "create index turn_session on turn (session, seq)",
            """create table step (
                turn_id text not null, n integer not null, name text not null,
                status text not null, payload text not null, created {real} not null,
                primary key (turn_id, n))""",
            """create table outbox (
                id text primary key, turn_id text not null, channel text not null,
                chat_id text not null, payload text not null, status text not null,
                attempts integer not null default 0, not_before {real} not null,
                expires {real} not null, receipt text not null default '',
                created {real} not null)""",
            "create index outbox_open on outbox (created) where status in ('pending', 'sending')",
            "create table timer (id text primary key, due {real} not null, inbound text not null)",
            "create index timer_due on timer (due)",
            """create table blob (
                hash text primary key, media_type text not null, name text not null,
                size integer not null, data {bytes} not null, created {real} not null)""",
        ),
        down=tuple(f"drop table {t}" for t in ("blob", "timer", "outbox", "step", "turn")),
    ),
    Step(
        2,
        "conversations",
        up=(
            """create table person (
                id text primary key, name text not null, role text not null,
                created {real} not null)""",
            """create table account (
                channel text not null, sender_id text not null,
                person text not null references person (id), primary key (channel, sender_id))""",
            """create table session (
                key text primary key, channel text not null, chat_id text not null,
                dialog_id text not null, person text not null, title text not null default '',
                model text not null default '', archived integer not null default 0,
                window_start integer not null default 0, created {real} not null,
                updated {real} not null)""",
            "create index session_chat on session (channel, chat_id, updated)",
            """create table chat (
                channel text not null, chat_id text not null, dialog_id text not null,
                primary key (channel, chat_id))""",
            # `terms` is the text cut for the index: words, and bigrams where there are no spaces.
            """create table message (
                id {identity}, session text not null, person text not null,
                turn_id text not null, n integer not null, role text not null,
                parts text not null, terms text not null, created {real} not null,
                unique (turn_id, n))""",
            "create index message_session on message (session, id)",
        ),
        down=tuple(f"drop table {t}" for t in ("message", "chat", "session", "account", "person")),
        sqlite_up=(
            "create virtual table message_index using fts5"
            " (terms, content='message', content_rowid='id', tokenize='unicode61')",
            """create trigger message_added after insert on message begin
                insert into message_index (rowid, terms) values (new.id, new.terms); end""",
            """create trigger message_removed after delete on message begin
                insert into message_index (message_index, rowid, terms)
                values ('delete', old.id, old.terms); end""",
        ),
        sqlite_down=(
            "drop trigger message_removed",
            "drop trigger message_added",
            "drop table message_index",
        ),
        postgres_up=(
            "alter table message add column words tsvector"
            " generated always as (to_tsvector('simple', terms)) stored",
            "create index message_words on message using gin (words)",
        ),
    ),
    Step(
        3,
        "logins",
        up=(
            """create table login (
                hash text primary key, created {real} not null, expires {real} not null)""",
            """create table token (
                hash text primary key, name text not null unique, created {real} not null,
                used {real} not null default 0)""",
        ),
        down=("drop table token", "drop table login"),
    ),
    Step(
        4,
        "spending",
        up=(
            # A row with the outcome `open` is a call on its way and holds what it could cost.
            # Costs are in billionths of a dollar. `day` is that of the configured time zone.
            """create table spending (
                id text primary key, at {real} not null, day text not null, session text not null,
                turn_id text not null, person text not null, agent text not null,
                channel text not null, job text not null, kind text not null,
                provider text not null, model text not null, reason text not null,
                outcome text not null, estimated integer not null default 0,
                input_tokens bigint not null default 0, output_tokens bigint not null default 0,
                cached_tokens bigint not null default 0,
                cache_write_tokens bigint not null default 0,
                reasoning_tokens bigint not null default 0,
                audio_tokens bigint not null default 0, cost_nano bigint not null default 0,
                price text not null)""",
            "create index spending_day on spending (day)",
            "create index spending_open on spending (at) where outcome = 'open'",
            # What a limit has left: sums over `spending` that a call can be booked on atomically.
            """create table allowance (
                scope text not null, period text not null, cost_nano bigint not null default 0,
                tokens bigint not null default 0, held_nano bigint not null default 0,
                held_tokens bigint not null default 0, warned integer not null default 0,
                primary key (scope, period))""",
        ),
        down=("drop table allowance", "drop table spending"),
    ),
    Step(
        5,
        "summaries",
        # What stands for all before the window. Each summary is in `message` too, as what was
        # said then, with the role `summary`.
        up=("alter table session add column summary text not null default ''",),
        down=(
            "delete from message where role = 'summary'",
            "alter table session drop column summary",
        ),
    ),
    Step(
        6,
        "uses",
        # Which conversations refer to a received file, so that the last one takes it along.
        up=(
            """create table blob_use (
                hash text not null, session text not null, primary key (hash, session))""",
            "create index blob_use_session on blob_use (session)",
            # Large payloads of steps stand in `blob`; the row says `@` and the hash.
            "create index step_blob on step (payload) where substr(payload, 1, 1) = '@'",
        ),
        down=("drop index step_blob", "drop table blob_use"),
        sqlite_up=(
            # FTS5 only marks what is deleted, until its segments are merged. The first merge takes
            # along what older versions left.
            "create table sweep (n integer not null)",
            "insert into sweep values (1)",
            "drop trigger message_removed",
            """create trigger message_removed after delete on message begin
                insert into message_index (message_index, rowid, terms)
                values ('delete', old.id, old.terms);
                update sweep set n = n + 1; end""",
            *_SQLITE_USES,
        ),
        sqlite_down=(
            "drop trigger message_removed",
            """create trigger message_removed after delete on message begin
                insert into message_index (message_index, rowid, terms)
                values ('delete', old.id, old.terms); end""",
            "drop table sweep",
        ),
        postgres_up=_POSTGRES_USES,
    ),
    Step(
        7,
        "private",
        # What a rule kept on this machine when it was said, and what was made of it.
        up=(
            "alter table message add column private integer not null default 0",
            "alter table session add column summary_private integer not null default 0",
        ),
        down=(
            "alter table session drop column summary_private",
            "alter table message drop column private",
        ),
    ),
)
