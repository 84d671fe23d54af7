// The school's instruments beside a room: which of them play in it, and bringing them in or taking them out.

import { button, span } from "./dom.js";
import { setText, show } from "./view.js";

const REFRESH_MS = 10_000;
const $ = (id) => document.getElementById(id);

/** Where an instrument is, and what a press does, seen from `room`. */
export function placeOf(device, room) {
  if (device.room === room) return { where: "in this room", label: "Take out", away: true };
  if (device.room) return { where: `in ${device.room}`, label: "Bring in from there", away: false };
  return { where: "in no room", label: "Bring in", away: false };
}

export class Instruments {
  /** `ask(method, path, body)`: the API, null for trouble that has been told. `command(cmd, more)`: of the room. */
  constructor({ ask, command }) {
    this.ask = ask;
    this.command = command;
  }

  #tenant = "";
  #room = "";
  #timer = null;

  open(tenant, room) {
    this.#tenant = tenant;
    this.#room = room;
    show("devices-panel");
    setText("devices-said", "");
    this.refresh();
  }

  close() {
    clearTimeout(this.#timer);
    this.#room = "";
    show("devices-panel", false);
  }

  async refresh() {
    clearTimeout(this.#timer);
    if (!this.#room) return;
    const devices = await this.ask("GET", `/api/tenants/${this.#tenant}/devices`);
    if (!this.#room) return;
    if (devices) this.#show(devices.filter((device) => device.revoked_at === null));
    this.#timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  #show(devices) {
    show("no-devices", devices.length === 0);
    const rank = (device) => (device.room === this.#room ? 0 : 1);
    devices.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
    const focused = document.activeElement?.closest?.("#devices li")?.dataset.sub;
    const lines = devices.map((device) => this.#line(device));
    $("devices").replaceChildren(...lines);
    // The list is made anew under the finger: the focus stays where it was.
    lines.find((line) => line.dataset.sub === focused)?.querySelector("button").focus();
  }

  #line(device) {
    const line = document.createElement("li");
    line.dataset.sub = device.sub;
    const { where, label, away } = placeOf(device, this.#room);
    const move = button(label, async () => {
      const reply = await this.command("assign_device", { device: device.sub, away });
      if (reply) setText("devices-said", `${device.name} is ${away ? "out" : "in"}.`);
      await this.refresh();
    });
    move.setAttribute("aria-label", `${label}: ${device.name}`);
    if (away) line.classList.add("here");
    const what = [device.sub, device.instrument, where].filter(Boolean).join(" · ");
    line.append(span("name", device.name), span("what", what), move);
    return line;
  }
}
