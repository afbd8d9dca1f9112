// Everything here is a convenience: each page works without it.
"use strict";

// Times stand in UTC in the page; here they are written in the reader's own time zone, with UTC beside them.
function writeTimes(within) {
  for (const element of within.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    if (!Number.isNaN(moment.getTime())) {
      element.title = element.textContent;
      element.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: element.closest(".moment") ? "medium" : "short" });
    }
  }
}

// What the gateway sends is a part of this page, as it would be after a reload. It waits while the reader is in it, or has paused it.
function renew(element) {
  let paused = false;
  let waiting = null;
  const show = () => {
    const busy = element.contains(document.activeElement) || !document.getSelection().isCollapsed;
    if (waiting === null || paused || busy) return;
    element.innerHTML = waiting;
    waiting = null;
    writeTimes(element);
  };
  const button = document.createElement("button");
  button.type = "button";
  button.className = "pause quiet";
  button.textContent = "Pause updates";
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on with updates" : "Pause updates";
    show();
  });
  element.before(button);
  new EventSource(location.href).addEventListener("message", (event) => { waiting = event.data; show(); });
  element.addEventListener("focusout", () => setTimeout(show));
}

writeTimes(document);
document.querySelectorAll("[data-live]").forEach(renew);
