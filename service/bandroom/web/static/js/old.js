// Runs where the modules cannot (so: no modules, nothing newer than 2009), and says so instead of showing nothing.
setTimeout(function () {
  if (document.documentElement.hasAttribute("data-started")) return;
  document.getElementById("notice-title").textContent = "This page could not start";
  document.getElementById("notice-text").textContent =
    "The browser may be too old: please update it, or use a current Chrome, Edge, Firefox or Safari (15.4 or newer). " +
    "If it is new enough, load the page again.";
  document.getElementById("notice").hidden = false;
}, 8000);
