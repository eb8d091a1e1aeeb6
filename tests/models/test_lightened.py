import pytest

from famulus.core.errors import ContextOverflow, ModelError, ModelRejected, ModelUnavailable
from famulus.core.messages import Image, Message, Origin, Text
from famulus.core.protocols import Done, Request
from famulus.models.lightened import Lightened
from famulus.testing.scripted import Scripted

PICTURE = Image("b" * 64, "image/png", Origin.OUTSIDE, "cat.png")
ASKED = Request(
    system="",
    messages=(Message("user", (Text("What is this?", Origin.OWNER), PICTURE)),),
    media={PICTURE.blob: b"broken"},
)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "refusal",
    [ModelRejected("Could not read it.", status=400), ContextOverflow("Too large.", status=413)],
)
async def test_refused_picture_does_not_lock_the_conversation(refusal: ModelError) -> None:
    model = Scripted([refusal, "I could not see it."])
    chunks = [chunk async for chunk in Lightened(model).stream(ASKED)]
    assert isinstance(chunks[-1], Done)
    first, second = model.requests
    assert first.media == ASKED.media
    assert not second.media
    assert second.messages == ASKED.messages


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "media"),
    [
        (ModelRejected("No such model.", status=404), ASKED.media),
        (ContextOverflow("Too long.", status=400), ASKED.media),
        (ModelUnavailable("Away.", status=503), ASKED.media),
        (ModelRejected("Bad.", status=400), {}),
    ],
)
async def test_other_failures_are_not_about_the_picture(
    error: ModelError, media: dict[str, bytes]
) -> None:
    model = Scripted([error])
    request = Request(system="", messages=ASKED.messages, media=media)
    with pytest.raises(type(error)):
        [chunk async for chunk in Lightened(model).stream(request)]
    assert len(model.requests) == 1
