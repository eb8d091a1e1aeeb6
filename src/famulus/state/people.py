"""People, and the accounts on channels by which they are known."""

from msgspec import Struct

from famulus.core.clock import Clock
from famulus.store.database import Database, statement

OWNER = "owner"


class Person(Struct, frozen=True):
    """`role` is `owner` or `guest`."""

    id: str
    name: str
    role: str


class People:
    """Who is behind an account. The owner's own channels need no account."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[tuple[str, str], Person] = {}

    async def of_account(self, channel: str, sender_id: str, name: str = "") -> Person:
        """The person of an account that was let in; a new one is a guest of that channel."""
        key = (channel, sender_id)
        if person := self._known.get(key):
            return person
        rows = await self._database.fetch(
            "select p.id, p.name, p.role from account a join person p on p.id = a.person"
            " where a.channel = :channel and a.sender_id = :sender",
            channel=channel,
            sender=sender_id,
        )
        if rows:
            person = Person(rows[0]["id"], rows[0]["name"], rows[0]["role"])
        else:
            person = Person(f"{channel}:{sender_id}", name or sender_id, "guest")
            await self._add(person, channel, sender_id)
        self._known[key] = person
        return person

    async def _add(self, person: Person, channel: str, sender_id: str) -> None:
        await self._database.transaction(
            [
                statement(
                    "insert into person (id, name, role, created)"
                    " values (:id, :name, :role, :now) on conflict (id) do nothing",
                    id=person.id,
                    name=person.name,
                    role=person.role,
                    now=self._clock.now().timestamp(),
                ),
                statement(
                    "insert into account (channel, sender_id, person)"
                    " values (:channel, :sender, :person) on conflict do nothing",
                    channel=channel,
                    sender=sender_id,
                    person=person.id,
                ),
            ]
        )
