// The page: a conversation with the proxy's model, what each answer takes, and what the server saw of it.
// Nothing is loaded from elsewhere. The token comes behind # in the address, which no request carries.

const byId = (id) => document.getElementById(id);
const SIDE = 64;
let messages = [];  // of the conversation on screen; a new chat has another array
let token = "", status = null, answering = null;

function takeToken() {
  if (location.hash.length > 1) {
    sessionStorage.setItem("token", decodeURIComponent(location.hash.slice(1)));
    history.replaceState(null, "", location.pathname);
  }
  token = sessionStorage.getItem("token") ?? "";
}

async function call(path, init = {}) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const response = await fetch(path, { ...init, headers });
  if (!response.ok) {
    const said = await response.json().catch(() => null);
    throw new Error(said?.error?.message ?? `${response.status} ${response.statusText}`);
  }
  return response;
}

// -- numbers -------------------------------------------------------------------------------------------

function bytes(count) {
  const units = ["B", "kB", "MB", "GB"];
  let at = 0;
  while (count >= 1000 && at < units.length - 1) { count /= 1000; at += 1; }
  return `${at && count < 100 ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

const seconds = (s) => (s < 10 ? `${s.toFixed(2)} s` : s < 120 ? `${s.toFixed(1)} s` : `${(s / 60).toFixed(1)} min`);

// Computing as measured here, a latency a round, and the larger direction's bytes over the bandwidth.
function modelled(bill, network) {
  const most = Math.max(bill.online_bytes_to_server, bill.online_bytes_to_client);
  const transfer = network.bytes_per_s === null ? 0 : most / network.bytes_per_s;
  return (bill.seconds ?? 0) + bill.rounds * network.latency_s + transfer;
}

let lastBill = null;
function showBill(bill) {
  lastBill = bill;
  const offline = bill.offline_bytes_to_server + bill.offline_bytes_to_client;
  byId("rounds").textContent = bill.rounds.toLocaleString("en");
  byId("sent").textContent = bytes(bill.online_bytes_to_server);
  byId("received").textContent = bytes(bill.online_bytes_to_client);
  byId("offline").textContent = bytes(offline);
  byId("measured").textContent = bill.seconds === null ? "–" : seconds(bill.seconds);
  showModelled();
}

function showModelled() {
  const network = status?.networks.find((each) => each.name === byId("network").value);
  byId("modelled").textContent = lastBill && network ? seconds(modelled(lastBill, network)) : "–";
}

// -- pictures ------------------------------------------------------------------------------------------

// Bytes as grey, over and over where there are fewer than pixels.
function draw(canvas, data) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  for (let at = 0; at < SIDE * SIDE; at += 1) {
    const grey = data.length ? data[at % data.length] : 0;
    image.data.set([grey, grey, grey, 255], at * 4);
  }
  context.putImageData(image, 0, 0);
}

async function showSeen(typed) {
  draw(byId("typed"), new TextEncoder().encode(typed));
  const { bytes: first } = await (await call("v1/private/seen")).json();
  draw(byId("seen"), Uint8Array.from(atob(first), (each) => each.charCodeAt(0)));
  byId("seen-says").textContent = first
    ? "What the server saw first: masked, every byte as likely as any other"
    : "In the clear: there is no server";
}

// -- conversation --------------------------------------------------------------------------------------

function add(role, text = "") {
  const item = document.createElement("li");
  item.className = role;
  const span = document.createElement("span");
  span.textContent = text;
  item.append(span);
  byId("messages").append(item);
  item.scrollIntoView({ block: "end" });
  return item;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    let end;
    while ((end = held.indexOf("\n\n")) >= 0) {
      const line = held.slice(0, end);
      held = held.slice(end + 2);
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
}

function note(item, text) {
  const small = document.createElement("small");
  small.textContent = text;
  item.append(small);
}

function busy(is) {
  byId("send").hidden = is;
  byId("stop").hidden = !is;
}

async function ask(text) {
  const conversation = messages;
  messages.push({ role: "user", content: text });
  add("user", text);
  const item = add("assistant");
  item.classList.add("coming");
  byId("trouble").hidden = true;
  busy(true);
  answering = new AbortController();
  let said = "", usage = null, reason = "stopped";
  try {
    const [path, asked] = status.chat
      ? ["v1/chat/completions", { messages }]
      : ["v1/completions", { prompt: text, max_tokens: 48 }];
    const stream = { stream: true, stream_options: { include_usage: true, include_bill: true } };
    const body = JSON.stringify({ model: status.model, ...asked, ...stream });
    const response = await call(path, { method: "POST", body, signal: answering.signal });
    let tokens = 0;
    for await (const event of events(response)) {
      if (event.error) throw new Error(event.error.message);
      if (event.bill) showBill(event.bill);
      if (event.usage) usage = event.usage;
      const choice = event.choices?.[0];
      if (choice?.finish_reason) reason = choice.finish_reason;
      const piece = choice?.delta?.content ?? choice?.text;
      if (piece) {
        said += piece;
        tokens += 1;
        item.firstChild.textContent = said;
        byId("last").textContent = `${tokens} tokens`;
        item.scrollIntoView({ block: "end" });
      }
    }
  } catch (error) {
    if (error.name !== "AbortError") trouble(error);
  }
  item.classList.remove("coming");
  if (said) conversation.push({ role: "assistant", content: said });
  else { conversation.pop(); item.remove(); }
  if (usage?.bill) showBill(usage.bill);
  if (said && reason !== "stop") note(item, reason === "length" ? "cut off: the longest answer" : "stopped");
  answering = null;
  busy(false);
  byId("text").focus();
  await showSeen(text).catch(trouble);
  await refresh().catch(trouble);
}

function trouble(error) {
  byId("trouble").textContent = error.message;
  byId("trouble").hidden = false;
}

// -- around it -----------------------------------------------------------------------------------------

async function refresh() {
  status = await (await call("v1/private/status")).json();
  byId("model").textContent = status.model;
  const how = byId("how");
  how.textContent = status.plan ? `private · plan ${status.plan}` : "in the clear, without privacy";
  how.classList.toggle("clear", !status.plan);
  if (!status.plan) byId("learns").textContent = "Nothing is sent anywhere: the model runs in this process.";
  const { bill } = status;
  byId("all").textContent = bytes(bill.online_bytes_to_server + bill.online_bytes_to_client);
  byId("text").placeholder = status.chat ? "Ask something" : "A text for the model to continue";
  const select = byId("network");
  if (!select.options.length) {
    for (const network of status.networks) select.add(new Option(network.name, network.name));
    select.value = "lan-1g";
  }
  document.title = `${status.model} · mpcinfer`;
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* not kept */ }
}

function connect() {
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("text").value.trim();
    if (!text || answering || !status) return;
    byId("text").value = "";
    ask(text);
  });
  byId("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      byId("ask").requestSubmit();
    }
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") answering?.abort(); });
  byId("stop").addEventListener("click", () => answering?.abort());
  byId("fresh").addEventListener("click", () => {
    answering?.abort();
    messages = [];
    byId("messages").replaceChildren();
    byId("text").focus();
  });
  byId("network").addEventListener("change", showModelled);
  byId("theme").addEventListener("click", () =>
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* none */ }
  document.documentElement.dataset.theme = kept ?? dark;
  if (matchMedia("(max-width: 52rem)").matches) byId("meter").open = false;
}

takeToken();
connect();
refresh().catch(trouble);
