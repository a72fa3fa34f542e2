// Notes and marks that people put on the run.

import { ask, send } from "./server.js";
import { element, number } from "./words.js";

const byId = (id) => document.getElementById(id);

/** Shows notes and takes new ones; `now` gives the frame that is shown, `open` shows one. */
export class NoteBook {
  constructor(now, open, complain) {
    Object.assign(this, { open, complain });
    byId("note").addEventListener("submit", async (event) => {
      event.preventDefault();
      const told = { text: byId("note-text").value, mark: byId("note-mark").value };
      if (byId("note-frame").checked) told.frame = now();
      await this.change("/api/notes", "POST", told);
    });
  }

  async change(path, method, told) {
    try {
      this.show((await send(path, method, told)).notes);
      byId("note").reset();
      this.complain("");
    } catch (error) { this.complain(`The note is not kept: ${error.message}`); }
  }

  async read() {
    try { this.show((await ask("/api/notes")).notes); } catch (error) { this.complain(error.message); }
  }

  show(notes) {
    const items = notes.toReversed().map((note) => {
      const parts = [];
      if (note.mark) parts.push(element("span", { class: `mark ${note.mark}` }, note.mark));
      if (note.frame !== null) parts.push(element("button", { onclick: () => this.open(note.frame) }, `frame ${number(note.frame)}`));
      parts.push(element("p", {}, note.text, " ", element("time", {}, note.time)));
      parts.push(element("button", { "aria-label": "Delete the note", title: "Delete the note", onclick: () => this.change(`/api/notes/${note.id}`, "DELETE") }, "×"));
      return element("li", {}, ...parts);
    });
    byId("note-list").replaceChildren(...items);
  }
}
