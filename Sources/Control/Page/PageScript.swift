// Written by tools/embed-page from assets/page.js; change that one.

enum PageScript {
  static let text = ##"""
// Draws what /page/data.json says. Text goes into the page by textContent only, so a name is never
// markup, and nothing is loaded from elsewhere.
"use strict";

const everyMs = 2000;
const byId = (id) => document.getElementById(id);
let paused = false;
let data = null;
let timer = 0;

// ---- text ------------------------------------------------------------------------------------

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const count = (n) => (n >= 10 || Number.isInteger(n) ? whole : fine).format(n);

function compact(n) {
  for (const [unit, name] of [[1e9, " G"], [1e6, " M"], [1e4, " k"]])
    if (n >= unit) return fine.format(n / (name === " k" ? 1e3 : unit)) + name;
  return count(n);
}

function bytes(n) {
  const names = ["B", "kB", "MB", "GB", "TB", "PB"];
  let place = 0;
  while (n >= 1000 && place < names.length - 1) {
    n /= 1000;
    place += 1;
  }
  return (n >= 100 ? whole : fine).format(n) + " " + names[place];
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
}

function clock(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? text : time.toLocaleString();
}

// Control characters and those that turn text around are shown, not obeyed.
const unseen = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
const visible = (text) =>
  String(text).replace(unseen, (c) =>
    "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

// ---- elements --------------------------------------------------------------------------------

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = visible(text);
  return element;
}

// Keeps the place of focus and scrolling: rows are exchanged inside a table that stays.
function table(id, heads, rows, none) {
  const body = document.createElement("tbody");
  const head = document.createElement("thead");
  if (rows.length === 0) {
    const cell = make("td", "none", none);
    body.append(make("tr"));
    body.firstChild.append(cell);
  } else {
    const line = make("tr");
    for (const [text, className] of heads) {
      const cell = make("th", className, text);
      cell.scope = "col";
      line.append(cell);
    }
    head.append(line);
    for (const row of rows) body.append(row);
  }
  byId(id).replaceChildren(head, body);
}

function row(cells, className) {
  const line = make("tr", className);
  for (const cell of cells) {
    if (cell instanceof Node) line.append(cell);
    else line.append(make("td", cell[1], cell[0]));
  }
  return line;
}

function withState(text, kind, reason) {
  const cell = make("td");
  cell.append(make("span", "state " + kind, text));
  if (reason) cell.append(make("span", "soft", " " + reason));
  return cell;
}

function withBar(text, share) {
  const cell = make("td", "number", text);
  const bar = make("span", "bar");
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", "0 0 100 4");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("aria-hidden", "true");
  const part = document.createElementNS(space, "rect");
  part.setAttribute("height", "4");
  part.setAttribute("width", String(Math.max(0, Math.min(100, share * 100))));
  picture.append(part);
  bar.append(picture);
  cell.append(bar);
  return cell;
}

// ---- tiles, notes ----------------------------------------------------------------------------

const last = (list) => (list.length ? list[list.length - 1] : 0);

function tile(name, value, more, kind) {
  const box = make("div", "tile" + (kind ? " " + kind : ""));
  box.append(make("dt", "", name), make("dd", "", value), make("dd", "more", more));
  return box;
}

function showTiles() {
  const server = data.server;
  const rejected = data.rejections.reduce((sum, item) => sum + item.lastMinute, 0);
  const share = server.descriptorLimit ? server.descriptors / server.descriptorLimit : 0;
  byId("tiles").replaceChildren(
    tile("Connections", compact(server.connections), "of " + compact(server.maxConnections),
      server.connections >= 0.9 * server.maxConnections ? "bad" : ""),
    tile("New", count(last(data.history.accepted)) + "/s", compact(server.accepted) + " so far"),
    tile("Up", bytes(last(data.history.up)) + "/s", bytes(server.bytesUp) + " so far", "up"),
    tile("Down", bytes(last(data.history.down)) + "/s", bytes(server.bytesDown) + " so far",
      "down"),
    tile("Turned away", compact(rejected), "in the last minute", rejected > 0 ? "bad" : ""),
    tile("Descriptors", compact(server.descriptors), "of " + compact(server.descriptorLimit),
      share > 0.9 ? "bad" : ""));
}

function showFacts() {
  const server = data.server;
  byId("facts").textContent = visible([
    "version " + server.version, "up " + duration(server.uptimeSeconds),
    server.workers + (server.workers === 1 ? " worker" : " workers") + " on " + server.events,
    "configuration " + server.generation,
  ].join(" · "));
  const notes = [];
  if (server.phase === "draining") notes.push(["", "No new connections: it is draining."]);
  if (server.silentWorkers.length)
    notes.push(["bad", "Workers that do not answer: " + server.silentWorkers.join(", ") + "."]);
  if (server.logDropped)
    notes.push(["", count(server.logDropped) + " lines of the connection log were lost."]);
  const refused = data.reloads.length ? data.reloads[data.reloads.length - 1] : null;
  if (refused && refused.outcome === "refused")
    notes.push(["bad", "The last reload was refused: " + (refused.problem || "")]);
  const texts = notes.map((note) => note.join()).join("\n");
  if (byId("notes").dataset.texts === texts) return;
  byId("notes").dataset.texts = texts;
  byId("notes").replaceChildren(
    ...notes.map(([kind, text]) => make("p", "note " + kind, text)));
}

// ---- tables ----------------------------------------------------------------------------------

function showListeners() {
  const rows = data.listeners.map((item) => {
    const rejected = Object.values(item.rejected).reduce((sum, n) => sum + n, 0);
    return row([
      [item.name, "name"],
      withState(item.state, item.state === "serving" ? "good" : ""),
      [item.binds.join(", "), "text soft"], [item.type, "soft"],
      [item.backend === null || item.backend === undefined ? "by rule" : item.backend, "text"],
      [count(item.connections), "number"], [compact(item.accepted), "number"],
      [compact(rejected), "number"], [bytes(item.bytesUp), "number"],
      [bytes(item.bytesDown), "number"],
    ]);
  });
  table("listeners", [["Name"], ["State"], ["Address"], ["Type"], ["Backend"], ["Open", "number"],
    ["Accepted", "number"], ["Turned away", "number"], ["Up", "number"], ["Down", "number"]],
  rows, "There are no listeners.");
}

function showServers() {
  const rows = [];
  for (const backend of data.backends) {
    const most = Math.max(1, ...backend.servers.map((server) => server.connections));
    const head = make("th", "name", backend.name);
    head.scope = "rowgroup";
    rows.push(row([head, withState(backend.state, backend.state === "serving" ? "good" : ""),
      [backend.balance, "soft"], [""], [""], [""], [""], [""]], "group"));
    for (const server of backend.servers) {
      rows.push(row([
        [server.name, "text inner"],
        withState(server.state, { up: "good", down: "bad" }[server.state] || "", server.reason),
        [server.name === server.address ? "" : server.address, "soft"],
        [count(server.weight), "number"],
        withBar(count(server.connections), server.connections / most),
        [compact(server.dials), "number"], [compact(server.dialFailures), "number"],
        [bytes(server.bytesUp) + " / " + bytes(server.bytesDown), "number"],
      ]));
    }
  }
  table("servers", [["Name"], ["State"], [""], ["Weight", "number"], ["Open", "number"],
    ["Dials", "number"], ["Failed", "number"], ["Up / down", "number"]],
  rows, "There are no backends.");
}

function showClients() {
  const clients = data.topClients;
  const most = Math.max(1, ...(clients || []).map((client) => client.connections));
  table("clients", [["Address"], ["Connections lately", "number"], ["Bytes lately", "number"]],
    (clients || []).map((client) => row([
      [client.address, "text"],
      withBar(count(client.connections), client.connections / most),
      [bytes(client.bytes), "number"],
    ])),
    clients ? "Nobody lately." : "No track of clients is kept (top-clients: off).");
}

function showRejections() {
  table("rejections",
    [["Listener"], ["Reason"], ["Last minute", "number"], ["In all", "number"]],
    data.rejections.map((item) => row([
      [item.listener, "name"], [item.reason, "text"], [count(item.lastMinute), "number"],
      [compact(item.total), "number"],
    ])), "Nobody was turned away.");
}

function showReloads() {
  const kinds = { applied: "good", refused: "bad" };
  table("reloads", [["Time"], ["Outcome"], ["Configuration", "number"], ["Changes", "number"]],
    data.reloads.slice().reverse().map((item) => row([
      [clock(item.time), "soft"], withState(item.outcome, kinds[item.outcome] || "", item.problem),
      [count(item.generation), "number"], [count(item.changes), "number"],
    ])), "None since the start.");
}

function showDrains() {
  const rows = data.drains.map((item) => row([
    [item.what, "text"], [count(item.connections) + " left", "number"],
    [duration(item.remainingSeconds), "number"]]));
  for (const change of data.runtimeChanges) rows.push(row([[change, "text"], [""], [""]]));
  table("drains", [["What"], ["Connections", "number"], ["Time left", "number"]], rows,
    "Nothing drains, and nothing differs from the file.");
}

// ---- charts ----------------------------------------------------------------------------------

// A scale that ends at 1, 2 or 5 times a power of ten.
function ceiling(most) {
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  for (const step of [1, 2, 5, 10]) if (most <= step * power) return step * power;
  return most;
}

function chart(id, lines, write) {
  const canvas = byId(id);
  const state = { at: -1 };
  const move = (at) => {
    const points = lines()[0].values.length;
    state.at = at < 0 ? -1 : Math.min(points - 1, at);
    draw();
  };
  const draw = () => {
    const box = canvas.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.max(1, Math.round(box.width * scale));
    canvas.height = Math.max(1, Math.round(box.height * scale));
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    paint(pen, box.width, box.height, lines(), write, state.at);
    key(id, lines(), write, state.at);
  };
  const pointed = (event) => {
    const box = canvas.getBoundingClientRect();
    const points = lines()[0].values.length;
    move(Math.round((event.clientX - box.left) / box.width * (points - 1)));
  };
  canvas.addEventListener("pointermove", pointed);
  canvas.addEventListener("pointerdown", pointed);
  canvas.addEventListener("pointerleave", () => move(-1));
  canvas.addEventListener("blur", () => move(-1));
  canvas.addEventListener("keydown", (event) => {
    const points = lines()[0].values.length;
    const now = state.at < 0 ? points - 1 : state.at;
    const target = { ArrowLeft: Math.max(0, now - 1), ArrowRight: now + 1, Home: 0,
      End: points - 1, Escape: -1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    move(target);
  });
  return draw;
}

function paint(pen, width, height, lines, write, at) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const top = 8;
  const bottom = height - 18;
  const most = ceiling(Math.max(...lines.map((line) => Math.max(0, ...line.values))));
  const points = lines[0].values.length;
  const x = (i) => (points < 2 ? width : i / (points - 1) * width);
  const y = (value) => bottom - value / most * (bottom - top);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px system-ui, sans-serif";
  pen.lineWidth = 1;
  for (const part of [0, 0.5, 1]) {
    pen.strokeStyle = colour("--line");
    pen.beginPath();
    pen.moveTo(0, Math.round(y(most * part)) + 0.5);
    pen.lineTo(width, Math.round(y(most * part)) + 0.5);
    pen.stroke();
  }
  for (const line of lines) {
    pen.strokeStyle = pen.fillStyle = colour(line.colour);
    pen.beginPath();
    line.values.forEach((value, i) => {
      if (i === 0) pen.moveTo(x(0), y(value));
      else pen.lineTo(x(i), y(value));
    });
    pen.lineWidth = 1.8;
    pen.lineJoin = "round";
    pen.stroke();
    pen.lineTo(x(points - 1), bottom);
    pen.lineTo(x(0), bottom);
    pen.globalAlpha = 0.12;
    pen.fill();
    pen.globalAlpha = 1;
  }
  // Above the curves, with a rim of the card's colour around each letter.
  const label = (text, left, line) => {
    pen.lineWidth = 3;
    pen.strokeStyle = colour("--card");
    pen.strokeText(text, left, line);
    pen.fillStyle = colour("--soft");
    pen.fillText(text, left, line);
  };
  pen.textAlign = "left";
  for (const part of [0.5, 1]) label(write(most * part), 2, y(most * part) + 12);
  label(duration((points - 1) * data.history.stepSeconds) + " ago", 2, height - 4);
  pen.textAlign = "right";
  label("now", width - 2, height - 4);
  if (at < 0) return;
  pen.strokeStyle = colour("--soft");
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(x(at), top);
  pen.lineTo(x(at), bottom);
  pen.stroke();
}

function key(id, lines, write, at) {
  const points = lines[0].values.length;
  const index = at < 0 ? points - 1 : at;
  const parts = lines.map((line) =>
    make("span", line.className, line.name + " " + write(line.values[index] || 0)));
  const ago = (points - 1 - index) * data.history.stepSeconds;
  if (at >= 0) parts.push(make("span", "when", ago ? duration(ago) + " ago" : "now"));
  byId(id + "-key").replaceChildren(...parts);
  byId(id).setAttribute("aria-label", parts.map((part) => part.textContent).join(", "));
}

const charts = [
  chart("throughput", () => [
    { name: "down", values: data.history.down, colour: "--down", className: "down" },
    { name: "up", values: data.history.up, colour: "--up", className: "up" },
  ], (n) => bytes(n) + "/s"),
  chart("connections", () => [
    { name: "open", values: data.history.connections, colour: "--up", className: "up" },
    { name: "new per second", values: data.history.accepted, colour: "--down",
      className: "down" },
  ], (n) => compact(n)),
];

// ---- the loop --------------------------------------------------------------------------------

function show() {
  for (const part of [showFacts, showTiles, showListeners, showServers, showClients,
    showRejections, showReloads, showDrains, ...charts]) part();
  document.body.dataset.shown = "yes";
}

function say(text, kind) {
  byId("dot").className = "dot " + kind;
  if (byId("live").textContent !== text) byId("live").textContent = text;
}

async function look() {
  clearTimeout(timer);
  if (paused) return;
  try {
    const answer = await fetch("/page/data.json", { cache: "no-store", credentials: "omit" });
    if (!answer.ok) throw new Error("status " + answer.status);
    data = await answer.json();
    show();
    say("live", "on");
  } catch (error) {
    say(error instanceof TypeError ? "no connection" : "no data: " + error.message, "off");
  }
  if (!document.hidden) timer = setTimeout(look, everyMs);
}

function pause(wanted) {
  paused = wanted;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) say("paused", "");
  else look();
}

byId("pause").addEventListener("click", () => pause(!paused));
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "p" || event.ctrlKey || event.metaKey || event.altKey) return;
  pause(!paused);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
window.addEventListener("resize", () => { if (data) for (const draw of charts) draw(); });
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (data) for (const draw of charts) draw();
});
look();

"""##
}
