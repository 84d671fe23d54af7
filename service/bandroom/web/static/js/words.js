// What is said when something is wrong: what happened, and what to do about it.

const TEXTS = {
  not_found: {
    title: "That did not open a room",
    text: "The code may be wrong, or the room may be locked or closed. Check it against the board, letter by letter, or ask your teacher.",
  },
  bad_code: {
    title: "That is not a room code",
    text: "A code is a word and four digits, as MUSIC-1234. Look at the board again.",
    field: "code",
  },
  bad_tenant: {
    title: "That is not a school's short name",
    text: "It has small letters, digits and dashes only, as lincoln. It stands on the board beside the code.",
    field: "tenant",
  },
  bad_nickname: { title: "That nickname does not work", text: "Take a shorter one, or leave it empty.", field: "nickname" },
  limit: { title: "Too many wrong codes from here", text: "Wait a moment, then try again." },
  unreachable: {
    title: "The band room does not answer",
    text: "Check that this device is on the right WiFi. Then try again.",
  },
  blocked: {
    title: "This network blocks live connections",
    text: "The page loads, but WebSockets do not get through. Show this to whoever looks after the network: allow WebSocket connections to",
  },
  reconnecting: { title: "Connection lost", text: "Trying again by itself. The beat goes on meanwhile." },
  refused: { title: "The room is not answering yet", text: "It may be starting up again. Trying by itself; nothing to do for you." },
  closed: { title: "The room is closed", text: "Your teacher has closed this room. Thank you for playing!" },
  put_out: { title: "You were put out of this room", text: "Ask your teacher if you may come back." },
  ended: { title: "Please join again", text: "The room is closed, or its code has changed. Ask your teacher for the code on the board." },
  dropped: { title: "Too many notes at once", text: "Some of your notes did not reach the others. Play a little less, and they will." },
  no_sound: { title: "No sound here", text: "This browser lets the page make no sound. The beat can still be seen; another browser may help." },
};

/** {title, text, field?} for a kind of trouble; an unknown kind shows the service's own words. */
export function words(kind, detail = "") {
  const known = TEXTS[kind];
  if (!known) return { title: "That did not work", text: detail || "Try again in a moment." };
  return { ...known, text: detail ? `${known.text} ${detail}` : known.text };
}
