// Start of the page: logs in when needed, then shows the chat until the login ends, and again.

import { history, login, NotLoggedIn } from "./api.js";
import { Chat } from "./chat.js";
import { drawIcons } from "./icons.js";
import { askLogin, takeToken } from "./login.js";

const token = takeToken();
drawIcons();
followKeyboard();
await start();

async function start() {
  let words = "";
  if (token) await login({ token }).catch((failure) => (words = failure.message));
  const chat = new Chat();
  for (;;) {
    let first = null;
    try {
      first = await history();
    } catch (failure) {
      if (failure instanceof NotLoggedIn) {
        await askLogin(words);
        words = "";
        continue;
      }
    }
    words = await chat.run(first);
  }
}

// Safari lays its keyboard over the page, so the height follows what is really visible.
function followKeyboard() {
  const view = window.visualViewport;
  if (!view) return;
  const fit = () => {
    if (view.scale === 1) document.documentElement.style.setProperty("--height", `${view.height}px`);
  };
  view.addEventListener("resize", fit);
  fit();
}
