// The join page: a code typed or a link followed, and then the room.

import { ApiError } from "./api.js";
import { RoomPage } from "./room.js";
import { Session, typedCode } from "./session.js";
import { settings } from "./settings.js";
import { isId } from "./topics.js";
import { notice, setText, show } from "./view.js";
import { words } from "./words.js";

document.documentElement.dataset.started = "";

const $ = (id) => document.getElementById(id);
const page = new RoomPage();

/** What a join link says behind '#', or null. That part of an address is never sent to a server. */
function readLink() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const link = { tenant: parts.get("t") ?? "", code: parts.get("c") ?? "", key: parts.get("k") ?? "" };
  return isId("tenant", link.tenant) && isId("room", link.code) ? link : null;
}

let link = null;

function showForm() {
  link = readLink();
  show("join-view");
  show("tenant-field", !link);
  show("code-field", !link);
  $("tenant").value = link?.tenant ?? settings.get("tenant");
  $("code").value = link?.code ?? settings.get("code");
  setText("join-title", link ? `Join ${link.code}` : "Join the band");
  setText("join-lead", link
    ? `At ${link.tenant}. One beat for the whole class: play along.`
    : "One beat for the whole class. Type the code from the board and play along.");
  document.title = "Bandroom: play together, in time";
}

function fieldTrouble(kind) {
  const message = words(kind);
  notice(message);
  const field = $(message.field);
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

function troubleOf(error) {
  if (error.status === 0 && error.code === "unreachable") return words("unreachable");
  if (error.status === 429) {
    const wait = error.retryAfterS ? `(${Math.ceil(error.retryAfterS)} seconds.)` : "";
    return words("limit", wait);
  }
  if ([403, 404].includes(error.status)) return words("not_found");
  return words("other", error.text);
}

async function join() {
  const tenant = $("tenant").value.trim().toLowerCase();
  const code = typedCode($("code").value);
  const nickname = $("nickname").value.trim();
  for (const id of ["tenant", "code", "nickname"]) $(id).removeAttribute("aria-invalid");
  if (!isId("tenant", tenant)) return fieldTrouble("bad_tenant");
  if (code === null) return fieldTrouble("bad_code");
  notice(null);
  const button = $("join-button");
  button.disabled = true;
  setText("join-button", "Joining…");
  try {
    const session = await Session.join({ tenant, code, nickname, key: link?.key ?? "" });
    settings.set("tenant", tenant);
    settings.set("code", code);
    page.enter(session);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    notice(troubleOf(error));
  } finally {
    button.disabled = false;
    setText("join-button", "Join and play");
  }
}

function start() {
  $("join-form").addEventListener("submit", (event) => {
    event.preventDefault();
    // Here, within the tap: a browser lets a page sound only after one.
    void page.enableSound();
    void join();
  });

  page.addEventListener("left", (event) => {
    const { why, detail } = event.detail;
    Session.forget();
    if (["put_out", "ended", "closed"].includes(why)) notice(words(why, detail));
    else notice(null);
    // The next pupil may sit at the same device.
    $("nickname").value = "";
    showForm();
    $("join-title").focus();
  });

  addEventListener("hashchange", () => { if (!page.client) showForm(); });

  const kept = Session.restore();
  const fresh = readLink();
  // A reload comes back into the room; a link to another room goes before it.
  if (kept?.role === "student" && (!fresh || (fresh.tenant === kept.tenant && fresh.code === kept.code))) page.enter(kept);
  else showForm();
}

if (location.pathname.endsWith("/teacher")) {
  const { TeacherPage } = await import("./teacher.js");
  new TeacherPage(page).start();
} else if (location.pathname.endsWith("/screen")) {
  const { ScreenPage } = await import("./screen.js");
  new ScreenPage(page).start();
} else {
  start();
}
