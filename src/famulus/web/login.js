// The login form, and the one-time link `/#login=TOKEN`.

import { login } from "./api.js";
import { byId } from "./dom.js";

/** Takes the token out of the address bar and the browser's history before anything else runs. */
export function takeToken() {
  const found = /^#login=(.+)$/.exec(location.hash);
  if (!found) return "";
  history.replaceState(null, "", location.pathname + location.search);
  return decodeURIComponent(found[1]);
}

/** Shows the form until the password is right. `message`: why it is shown, if there is something to say. */
export function askLogin(message = "") {
  const form = byId("login-form");
  const password = byId("password");
  const error = byId("login-error");
  const button = form.querySelector("button");
  byId("login").hidden = false;
  error.textContent = message;
  password.value = "";
  password.focus();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      error.textContent = "";
      try {
        await login({ password: password.value });
        byId("login").hidden = true;
        password.value = "";
        resolve();
      } catch (failure) {
        error.textContent = failure.message;
        password.select();
      } finally {
        button.disabled = false;
      }
    };
  });
}
