import pytest

from famulus.core.clock import Clock
from famulus.core.config import Limits
from famulus.core.messages import File, Image, Origin
from famulus.gateway.attachments import Attachments, media_type_of
from famulus.state.blobs import Blobs
from famulus.store.sqlite import SQLite

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("data", "claimed", "found"),
    [
        (PNG, "text/plain", "image/png"),
        (b"%PDF-1.7", "", "application/pdf"),
        (b"no picture", "image/png", "application/octet-stream"),
        (b"no document", "application/pdf", "application/octet-stream"),
        (b"a,b", "text/csv; charset=utf-8", "text/csv"),
        (b"a", "text/html\r\nX: y", "application/octet-stream"),
    ],
)
def test_pictures_and_documents_are_known_by_their_bytes(
    data: bytes, claimed: str, found: str
) -> None:
    assert media_type_of(data, claimed) == found


@pytest.mark.anyio
async def test_files_of_this_machine_are_typed_by_their_bytes_or_their_name(tmp_path) -> None:
    async with SQLite(tmp_path / "famulus.db") as database:
        blobs = Blobs(database, clock=Clock())
        attachments = Attachments(blobs, Limits(), workspace=tmp_path / "workspace")
        (tmp_path / "notes.txt").write_bytes(b"hi")
        (tmp_path / "cat.txt").write_bytes(PNG)
        notes = await attachments.from_path(tmp_path / "notes.txt")
        cat = await attachments.from_path(tmp_path / "cat.txt")
    assert isinstance(notes, File)
    assert (notes.media_type, notes.origin) == ("text/plain", Origin.OUTSIDE)
    assert isinstance(cat, Image)
