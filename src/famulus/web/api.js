// The gateway's HTTP endpoints that the page needs. Every failure is an Error with words to show.

export class NotLoggedIn extends Error {}

async function call(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { signal: AbortSignal.timeout(20_000), ...options });
  } catch {
    throw new Error("Famulus does not answer. Is it running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const words = answer.error ?? `Famulus answered ${response.status}.`;
  throw response.status === 401 ? new NotLoggedIn(words) : new Error(words);
}

function post(path, body) {
  return call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

/** `proof`: `{password}` or `{token}` of a one-time link. */
export const login = (proof) => post("/api/login", proof);

export const logout = () => post("/api/logout", {});

/** Without a session id: the chat's current conversation. */
export function history(sessionId = "") {
  const query = sessionId ? `?${new URLSearchParams({ session_id: sessionId })}` : "";
  return call(`/api/history${query}`);
}

/** → `{id, name, media_type, size}`. A large file on a slow line may take minutes. */
export function upload(file) {
  const form = new FormData();
  form.append("file", file, file.name);
  return call("/api/upload", { method: "POST", body: form, signal: AbortSignal.timeout(600_000) });
}
