// What this device remembers: settings and the last room's code; no token and no name, as the
// next pupil may sit at the same device.

const DEFAULTS = Object.freeze({
  calm: null, hearOthers: false, kit: "drums", volume: 80, latencyMs: 0, tenant: "", code: "", tab: 0,
});
const TABS = 5;
const STORE = "bandroom.settings";

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE)) ?? {};
    const known = Object.entries(DEFAULTS).filter(([name, value]) => value === null || typeof kept[name] === typeof value);
    return Object.fromEntries(known.filter(([name]) => name in kept).map(([name]) => [name, kept[name]]));
  } catch {
    return {};
  }
}

const current = { ...DEFAULTS, ...read() };

export const settings = Object.freeze({
  get: (name) => current[name],
  set(name, value) {
    current[name] = value;
    try {
      localStorage.setItem(STORE, JSON.stringify(current));
    } catch {
      // Storage may be forbidden: the settings then last as long as the page.
    }
  },
  /** A number from 0 to 4 that no other of this browser's last four tabs was given: they share one pupil's digits. */
  takeTab() {
    const tab = ((read().tab ?? current.tab) + 1) % TABS;
    this.set("tab", tab);
    return tab;
  },
  /** The picture is to keep still: chosen here, or else asked for in the device's own settings. */
  get isCalm() {
    return current.calm ?? matchMedia("(prefers-reduced-motion: reduce)").matches;
  },
});
