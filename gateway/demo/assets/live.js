"use strict";

const byId = (id) => document.getElementById(id);

function show(id, text, good) {
  const tag = byId(id);
  tag.textContent = text;
  tag.classList.toggle("good", good);
  tag.classList.toggle("warn", !good);
}

const clock = new EventSource("/clock");
clock.addEventListener("open", () => show("clock-state", "connected", true));
clock.addEventListener("tick", (event) => { byId("clock").textContent = JSON.parse(event.data).time; });
clock.addEventListener("error", () => show("clock-state", "ended", false));

const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
const lines = byId("echoes");
function line(text, kind) {
  const item = document.createElement("li");
  item.textContent = text;
  item.className = kind;
  lines.append(item);
  while (lines.children.length > 6) lines.firstElementChild.remove();
}
socket.addEventListener("open", () => show("echo-state", "connected", true));
socket.addEventListener("message", (event) => line(event.data, "theirs"));
socket.addEventListener("close", () => show("echo-state", "ended", false));
byId("echo").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("echo-text").value.trim();
  if (!text || socket.readyState !== WebSocket.OPEN) return;
  lines.querySelector(".hint")?.remove();
  line(text, "ours");
  socket.send(text);
  byId("echo-text").value = "";
});
