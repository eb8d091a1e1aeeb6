// A spoken message: recorded between two presses of a button, then attached as a file.

import { byId } from "./dom.js";
import { icon } from "./icons.js";

export class Recorder {
  #recording = null;

  /** onFile(file); onProblem(words). */
  constructor({ onFile, onProblem }) {
    this.onFile = onFile;
    this.onProblem = onProblem;
    this.button = byId("record");
    // Browsers give the microphone only to pages served with TLS or from this machine.
    this.button.hidden = !(navigator.mediaDevices && window.MediaRecorder);
    this.button.addEventListener("click", () => (this.#recording ? this.#recording.stop() : this.#start()));
    this.#show(false);
  }

  async #start() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch {
      this.onProblem("The browser gives no access to the microphone.");
      return;
    }
    const pieces = [];
    const recording = new MediaRecorder(stream);
    recording.ondataavailable = (event) => pieces.push(event.data);
    recording.onstop = () => {
      for (const track of stream.getTracks()) track.stop();
      this.#recording = null;
      this.#show(false);
      const type = recording.mimeType.split(";")[0];
      const ending = type.split("/")[1] || "webm";
      this.onFile(new File(pieces, `voice.${ending}`, { type }));
    };
    recording.start();
    this.#recording = recording;
    this.#show(true);
  }

  #show(recording) {
    this.button.replaceChildren(icon(recording ? "stop" : "mic"));
    this.button.setAttribute("aria-label", recording ? "End the recording" : "Record a spoken message");
    this.button.classList.toggle("recording", recording);
  }
}
