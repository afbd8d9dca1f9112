// Everything here is a convenience: each page works without it.
"use strict";

// Times stand in UTC in the page; here they are written in the reader's own time zone, with UTC beside them.
for (const element of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(element.dateTime);
  if (!Number.isNaN(moment.getTime())) {
    element.title = element.textContent;
    element.textContent = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
}
