// Topic names and topic filters: the one place in the pages where they are built and read.
// The same vectors as the service's run against this file (tests/contract/topics.json).

// Without the flag "m", "$" is the very end: JavaScript forgives no newline before it.
const TENANT = /^[a-z0-9][a-z0-9-]{0,19}$/;
const ROOM = /^[A-Z]{2,8}-[0-9]{4}$/;
const SUBJECT = /^[stvd]-[a-z0-9][a-z0-9-]{0,17}$/;

/** What is fixed for a leaf: its levels below the room or tenant, QoS, retain. */
export const SHAPES = Object.freeze({
  beat: { levels: ["beat"], qos: 0, retain: false, inRoom: true },
  tempo: { levels: ["tempo"], qos: 1, retain: true, inRoom: true },
  room: { levels: ["room"], qos: 1, retain: true, inRoom: true },
  member: { levels: ["member", "{sub}"], qos: 1, retain: true, inRoom: true },
  note: { levels: ["note", "{sub}"], qos: 0, retain: false, inRoom: true },
  midi: { levels: ["midi", "{sub}"], qos: 0, retain: false, inRoom: true },
  "clock/q": { levels: ["clock", "{sub}", "q"], qos: 0, retain: false, inRoom: true },
  "clock/r": { levels: ["clock", "{sub}", "r"], qos: 0, retain: false, inRoom: true },
  control: { levels: ["control", "{sub}"], qos: 1, retain: false, inRoom: true },
  "control/reply": { levels: ["control", "{sub}", "reply"], qos: 1, retain: false, inRoom: true },
  feedback: { levels: ["feedback", "{sub}"], qos: 0, retain: false, inRoom: true },
  limit: { levels: ["limit", "{sub}"], qos: 0, retain: false, inRoom: true },
  presence: { levels: ["presence", "{sub}"], qos: 1, retain: true, inRoom: false },
  "device/room": { levels: ["device", "{sub}", "room"], qos: 1, retain: true, inRoom: false },
});

const CLIENT_ID = new RegExp(`^(?:${TENANT.source.slice(1, -1)})_(?:${SUBJECT.source.slice(1, -1)})(?:_[0-9])?$`);
const USER_NAME = new RegExp(
  `^(?:${TENANT.source.slice(1, -1)})/(?:[stv]-[a-z0-9][a-z0-9-]{0,17}|d-[a-z0-9][a-z0-9-]{0,17}/[1-9][0-9]{0,8})$`,
);
const IDS = { tenant: TENANT, room: ROOM, subject: SUBJECT, client_id: CLIENT_ID, user_name: USER_NAME };

export class BadTopic extends Error {}

/** Whether `value` is an id of this kind: tenant, room (join codes too), subject, client_id, user_name. */
export function isId(kind, value) {
  return typeof value === "string" && IDS[kind].test(value) && !(kind === "tenant" && value === "bandroom");
}

function checked(kind, value) {
  if (!isId(kind, value)) {
    throw new BadTopic(`${JSON.stringify(value)?.slice(0, 60)} is not a ${kind}`);
  }
  return value;
}

function name(leaf, tenant, room, subject) {
  const shape = SHAPES[leaf];
  const levels = shape.levels.map((level) => (level === "{sub}" ? subject : level));
  const base = shape.inRoom ? ["tenant", tenant, "music_room", room] : ["tenant", tenant];
  return [...base, ...levels].join("/");
}

const hasSubject = (leaf) => SHAPES[leaf]?.levels.includes("{sub}") ?? false;

/** The topic name of a leaf. `room` and `subject` where the leaf has them; throws BadTopic otherwise. */
export function topic(leaf, { tenant, room = null, subject = null }) {
  if (!Object.hasOwn(SHAPES, leaf)) throw new BadTopic(`${String(leaf).slice(0, 40)} is no leaf`);
  return name(
    leaf,
    checked("tenant", tenant),
    SHAPES[leaf].inRoom ? checked("room", room) : null,
    hasSubject(leaf) ? checked("subject", subject) : null,
  );
}

/** The topic filter over a leaf: null stands for `+` at tenant, room or subject. */
export function filter(leaf, { tenant = null, room = null, subject = null }) {
  if (!Object.hasOwn(SHAPES, leaf)) throw new BadTopic(`${String(leaf).slice(0, 40)} is no leaf`);
  const one = (kind, value) => (value === null ? "+" : checked(kind, value));
  return name(
    leaf,
    one("tenant", tenant),
    SHAPES[leaf].inRoom ? one("room", room) : null,
    hasSubject(leaf) ? one("subject", subject) : null,
  );
}

/** QoS and retain that the leaf's messages are published with. */
export function publishOptions(leaf) {
  const { qos, retain } = SHAPES[leaf];
  return { qos, retain };
}

const BY_LEVELS = new Map(
  Object.entries(SHAPES).map(([leaf, shape]) => [`${shape.inRoom}|${shape.levels.join("/")}`, leaf]),
);

/** What a topic name spells: {leaf, tenant, room, subject}; throws BadTopic when it is none of the contract's. */
export function parseTopic(text) {
  const levels = typeof text === "string" ? text.split("/") : [];
  if (levels.length >= 3 && levels[0] === "tenant") {
    const inRoom = levels.length > 4 && levels[2] === "music_room";
    const rest = inRoom ? levels.slice(4) : levels.slice(2);
    const withSubject = rest.length > 1;
    const key = withSubject ? [rest[0], "{sub}", ...rest.slice(2)] : rest;
    const leaf = BY_LEVELS.get(`${inRoom}|${key.join("/")}`);
    if (leaf !== undefined) {
      return {
        leaf,
        tenant: checked("tenant", levels[1]),
        room: inRoom ? checked("room", levels[3]) : null,
        subject: withSubject ? checked("subject", rest[1]) : null,
      };
    }
  }
  throw new BadTopic(`${JSON.stringify(text)?.slice(0, 80)} is no topic of the contract`);
}

/** The client id of a subject's connection; `digit` 0 to 9 tells several apart. */
export function clientId(tenant, subject, digit) {
  if (!Number.isInteger(digit) || digit < 0 || digit > 9) throw new BadTopic(`${digit} is not a connection's digit`);
  return `${checked("tenant", tenant)}_${checked("subject", subject)}_${digit}`;
}
