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
  playing_on: {
    title: "Playing on, waiting for the network",
    text: "The beat goes on from this device's own clock. The others hear you again as soon as the network is back, by itself.",
  },
  waiting: { title: "Waiting for the network", text: "It is tried again by itself; nothing to do for you." },
  refused: { title: "The room is not answering yet", text: "It may be starting up again. Trying by itself; nothing to do for you." },
  closed: { title: "The room is closed", text: "Your teacher has closed this room. Thank you for playing!" },
  put_out: { title: "You were put out of this room", text: "Ask your teacher if you may come back." },
  ended: { title: "Please join again", text: "The room is closed, or its code has changed. Ask your teacher for the code on the board." },
  dropped: { title: "Too many notes at once", text: "Some of your notes did not reach the others. Play a little less, and they will." },
  dead_link: {
    title: "This sign-in link does not work any more",
    text: "It was replaced by a newer one, or taken back. Ask whoever runs this band room for a new one.",
  },
  no_token: { title: "That is no teacher's token", text: "Ask whoever runs this band room for a sign-in link." },
  teacher_expired: {
    title: "Your sign-in has run out",
    text: "It lasts twelve hours. Open your sign-in link again; your rooms are as you left them, or resting for a day.",
  },
  teacher_revoked: {
    title: "Your sign-in was taken back",
    text: "This page can do nothing more in the rooms. Ask whoever runs this band room for a new sign-in link.",
  },
  no_screen: {
    title: "This screen shows no room any more",
    text: "Its link has run out, was ended, or the room is gone. Ask the teacher to show the room on the projector again.",
  },
  no_sound: { title: "No sound here", text: "This browser lets the page make no sound. The beat can still be seen; another browser may help." },
};

/** {title, text, field?} for a kind of trouble; an unknown kind shows the service's own words. */
export function words(kind, detail = "") {
  const known = TEXTS[kind];
  if (!known) return { title: "That did not work", text: detail || "Try again in a moment." };
  return { ...known, text: detail ? `${known.text} ${detail}` : known.text };
}
