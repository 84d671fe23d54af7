// How to join, to be read from the last row: code, address, QR.

import { here } from "./api.js";
import { setText, show } from "./view.js";

const $ = (id) => document.getElementById(id);

let shownLink = "";
let picture = "";

/** Show how a room is joined: {code, tenant, join_url}. */
export async function share({ code, tenant, join_url: link }) {
  show("share-panel");
  setText("share-code", code);
  setText("share-tenant", tenant);
  setText("share-address", link.split("#")[0].replace(/^https?:\/\//, "").replace(/\/join$/, ""));
  if (link === shownLink) return;
  const answer = await fetch(here("/qr"), {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ link }),
  }).catch(() => null);
  URL.revokeObjectURL(picture);
  if (!answer?.ok) return show("share-qr", false);
  shownLink = link;
  picture = URL.createObjectURL(await answer.blob());
  $("share-qr").src = picture;
  show("share-qr");
}
