// Small pieces of the page, made by hand. Texts go in as text, never as markup.

/** How long a button that asks "sure?" waits for its second press, in ms. */
const SURE_MS = 4_000;

export function span(className, text = "") {
  const node = document.createElement("span");
  node.className = className;
  node.textContent = text;
  return node;
}

export function button(label, action, className = "quiet small") {
  const node = document.createElement("button");
  node.type = "button";
  node.className = className;
  node.textContent = label;
  node.addEventListener("click", action);
  return node;
}

/** `action` only after a second press: the first asks `question` on the button itself. */
export function onceSure(node, question, action) {
  let timer = null;
  const label = node.textContent;
  const calm = () => {
    clearTimeout(timer);
    timer = null;
    node.textContent = label;
    node.classList.remove("asking");
  };
  node.addEventListener("click", () => {
    if (timer === null) {
      node.textContent = question;
      node.classList.add("asking");
      timer = setTimeout(calm, SURE_MS);
    } else {
      calm();
      action();
    }
  });
  node.addEventListener("blur", calm);
}

/** What is kept in this tab; storage may be forbidden (private mode), and then nothing is. */
export const tab = Object.freeze({
  get(name) {
    try {
      return sessionStorage.getItem(name);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      if (value === null) sessionStorage.removeItem(name);
      else sessionStorage.setItem(name, value);
    } catch {
      // It then lives in memory and ends with a reload.
    }
  },
});

/** Who a token speaks for: {tenant, sub, role, room}, or null. Only read here; the service is what checks it. */
export function claimsOf(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(part));
  } catch {
    return null;
  }
}
