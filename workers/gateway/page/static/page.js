"use strict";
// Keeps the page as the gateway would render it now, and sends what an operator confirms.
(() => {
  // The gateway keeps findings for two seconds: what a decision changes in them shows after that.
  const AT_MOST_EVERY_MS = 1000, ANYWAY_MS = 15000, FINDINGS_MS = 2100;
  const live = document.getElementById("live"), dialog = document.getElementById("confirm");
  const part = (name) => document.getElementById("confirm-" + name);
  let due = 0, fetching = false, connected = false, last = 0;

  const time = () => new Date().toISOString().slice(11, 19);
  const say = () => { live.textContent = connected ? "live, " + time() + " UTC" : "not live; as of " + live.dataset.at + " UTC"; };

  async function refresh() {
    due = 0;
    if (fetching || dialog.open || document.hidden) { later(fetching ? AT_MOST_EVERY_MS : ANYWAY_MS); return; }
    fetching = true;
    try {
      const reply = await fetch(location.pathname + location.search, {headers: {"X-Scaleout": "page"}});
      if (reply.redirected) { location.reload(); return; }
      if (reply.ok) {
        replace(new DOMParser().parseFromString(await reply.text(), "text/html"));
        live.dataset.at = time();
      }
    } catch { connected = false; }
    fetching = false;
    last = Date.now();
    say();
    later(ANYWAY_MS);
  }

  function replace(next) {
    const active = document.activeElement, key = active && active.id, typed = active && active.tagName === "INPUT";
    for (const section of next.querySelectorAll("main > section")) {
      const here = document.getElementById(section.id);
      if (!here || here.innerHTML === section.innerHTML || (typed && here.contains(active))) continue;
      for (const open of here.querySelectorAll("details[open][id]")) {
        const twin = section.querySelector("#" + open.id);
        if (twin) twin.open = true;
      }
      const at = buttonOf(active, here);
      here.replaceWith(document.adoptNode(section));
      const again = key ? document.getElementById(key) : at && section.querySelector(at);
      if (again && document.activeElement !== again) again.focus();
    }
    document.title = next.title;
  }

  function buttonOf(element, section) {
    if (!element || !section.contains(element) || !element.dataset.path) return null;
    return '[data-path="' + CSS.escape(element.dataset.path) + '"]';
  }

  function later(ms) {
    const at = Date.now() + ms;
    if (due && due.at <= at) return;
    if (due) clearTimeout(due.timer);
    due = {at, timer: setTimeout(refresh, ms)};
  }
  const soon = () => later(Math.max(50, last + AT_MOST_EVERY_MS - Date.now()));

  function follow() {
    const source = new EventSource("/v1/events");
    source.onopen = () => { connected = true; say(); };
    source.onerror = () => { connected = false; say(); if (source.readyState === 2) setTimeout(follow, 5000); };
    for (const kind of ["status", "outcome", "late_nodes"]) source.addEventListener(kind, soon);
  }

  function ask(title, text, reason, act) {
    part("title").textContent = title;
    part("text").textContent = text;
    part("reason").hidden = !reason;
    part("problem").textContent = "";
    const field = part("reason").querySelector("input");
    field.value = "";
    dialog.returnValue = "";
    dialog.onclose = () => { later(50); setTimeout(soon, FINDINGS_MS); };
    part("back").onclick = () => dialog.close();
    part("yes").onclick = async (event) => {
      event.preventDefault();
      part("yes").disabled = true;
      const problem = await act(field.value.trim());
      part("yes").disabled = false;
      if (problem) part("problem").textContent = problem; else dialog.close();
    };
    dialog.showModal();
  }

  async function send(method, path, body) {
    try {
      const headers = {"X-Scaleout": "page", "Content-Type": "application/json"};
      const reply = await fetch(path, {method, headers, body: body === null ? undefined : JSON.stringify(body)});
      if (reply.ok) return "";
      const said = await reply.json();
      return said.detail || reply.statusText;
    } catch { return "The gateway did not answer. Look whether it was done before you try again."; }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.act");
    if (!button) return;
    const {method = "POST", path, body, title, text = ""} = button.dataset;
    ask(title, text, "reason" in button.dataset, (reason) => {
      const content = body ? JSON.parse(body) : {};
      if (reason) content.reason = reason;
      return send(method, path, method === "DELETE" ? null : content);
    });
  });

  document.addEventListener("submit", (event) => {
    if (event.target.id !== "pause-form") return;
    event.preventDefault();
    const scope = event.target.scope, hours = event.target.hours, name = scope.selectedOptions[0].text;
    const lasting = hours.selectedOptions[0].text;
    const until = hours.value ? lasting : "until it is resumed";
    ask("Pause " + name, "Nothing new is sent " + (hours.value ? "for " : "") + until + ". What was sent goes on.", true, (reason) => {
      const content = reason ? {reason} : {};
      if (hours.value) content.until = new Date(Date.now() + 3600000 * Number(hours.value)).toISOString();
      return send("PUT", "/v1/pauses/" + scope.value, content);
    });
  });

  document.documentElement.classList.add("js");
  live.dataset.at = live.textContent.slice(6, 14);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });
  follow();
  later(ANYWAY_MS);
})();
