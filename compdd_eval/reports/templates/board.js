"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const places = (names) => new Map(names.map((name, place) => [name, place]));
  const views = {
    results: { at: places(data.fields), rows: data.rows, table: "table", region: "by-result", drawn },
    methods: { at: places(data.method_fields), rows: data.methods, table: "methods", region: "by-method", drawn: drawnMethod },
  };
  for (const view of Object.values(views)) view.sort = { key: "", descending: false };
  let view = views.results;
  const of = (row, name) => row[view.at.get(name)];
  const $ = (id) => document.getElementById(id);
  const chosen = ["subset", "ipc", "student", "resolution"];
  const down = new Set(["mean", "n", "interval", "over_random", "recovery"]);
  const texts = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const PAGE = 100;
  let limit = PAGE;
  let under = []; // rows of the protocol

  function element(name, text, look) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (look) made.className = look;
    return made;
  }

  function cell(content, number) {
    const made = element("td", typeof content === "string" ? content : undefined, number ? "number" : "");
    if (typeof content !== "string") made.append(...content);
    return made;
  }

  function link(address, words, outside) {
    const made = element("a");
    made.append(element("bdi", words));
    made.href = address;
    if (outside) {
      made.rel = "noopener nofollow";
      made.target = "_blank";
    }
    return made;
  }

  function set(row) {
    const address = of(row, "set_link");
    if (address && /^https?:\/\//.test(address)) return link(address, of(row, "set_name") || "source", true);
    return element("code", of(row, "set_digest"));
  }

  function drawn(row) {
    const made = element("tr");
    const marks = of(row, "marks");
    if (marks.length) made.className = "doubtful";
    const method = element("th", undefined, "method");
    method.scope = "row";
    method.append(link(of(row, "page"), of(row, "method"), false));
    if (marks.length) method.append(element("span", "not canonical: " + marks.join("; "), "note"));
    const [mean, spread, interval, points, recovery] = of(row, "texts"); // rounded once, for everybody
    const over = [points];
    const verdict = of(row, "verdict");
    if (verdict) over.push(" ", element("span", verdict, "verdict " + verdict));
    made.append(
      method,
      cell([mean, " ", element("span", spread, "soft")], true),
      cell(of(row, "subset")),
      cell(String(of(row, "ipc")), true),
      cell(of(row, "student")),
      cell(String(of(row, "resolution")), true),
      cell(String(of(row, "n")), true),
      cell(interval, true),
      cell(over, true),
      cell(recovery, true),
      cell(of(row, "teacher") || "–"),
      cell([set(row)]),
    );
    return made;
  }

  function drawnMethod(row) {
    const made = element("tr");
    const method = element("th", undefined, "method");
    method.scope = "row";
    method.append(element("bdi", of(row, "method")));
    made.append(
      method,
      cell(String(of(row, "ipc")), true),
      cell(of(row, "student")),
      cell(String(of(row, "resolution")), true),
      cell(of(row, "teacher") || "–"),
    );
    for (const found of row.slice(view.at.get("teacher") + 1)) {
      if (found === null || ($("canonical").checked && found[3])) {
        made.append(cell("–", true));
        continue;
      }
      const [, words, page, marked] = found;
      const shown = cell(page ? [link(page, words, false)] : words, true);
      if (marked) {
        shown.classList.add("doubtful");
        shown.append(element("span", " not canonical", "hidden"));
      }
      made.append(shown);
    }
    return made;
  }

  const plain = (value) => (Array.isArray(value) ? value[0] : value);

  function compare(one, other) {
    const { sort } = view;
    const [a, b] = [plain(of(one, sort.key)), plain(of(other, sort.key))];
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" ? a - b : texts.compare(a, b);
    return sort.descending ? -order : order;
  }

  function matching() {
    const words = $("method").value.trim().toLowerCase();
    const teacher = $("teacher").value;
    const found = under.filter(
      (row) =>
        chosen.every((name) => !view.at.has(name) || !$(name).value || String(of(row, name)) === $(name).value) &&
        (teacher === "both" || (of(row, "teacher") !== null) === (teacher === "with")) &&
        (!words || of(row, "method").toLowerCase().includes(words)) &&
        (!$("canonical").checked || !view.at.has("marks") || !of(row, "marks").length),
    );
    return view.sort.key ? found.sort(compare) : found;
  }

  function show() {
    const found = matching();
    const shown = found.slice(0, limit);
    const table = $(view.table);
    table.tBodies[0].replaceChildren(...shown.map(view.drawn));
    for (const each of Object.values(views)) $(each.region).hidden = each !== view;
    $("subset").disabled = !view.at.has("subset");
    const whole = (count) => count.toLocaleString("en");
    const part = shown.length < found.length ? `; the first ${whole(shown.length)} are shown` : "";
    $("count").textContent = `${whole(found.length)} of ${whole(under.length)} ${$("view").value}${part}`;
    table.caption.textContent = `Protocol: ${$("protocol").value}`;
    $("more").hidden = shown.length === found.length;
    for (const button of table.querySelectorAll("thead button[data-key]")) {
      const by = button.dataset.key === view.sort.key;
      button.parentNode.setAttribute("aria-sort", by ? (view.sort.descending ? "descending" : "ascending") : "none");
    }
  }

  function fill() {
    const place = data.protocols.indexOf($("protocol").value);
    under = view.rows.filter((row) => of(row, "protocol") === place);
    for (const name of chosen.filter((name) => view.at.has(name))) {
      const before = $(name).value;
      const values = [...new Set(under.map((row) => of(row, name)))];
      values.sort((a, b) => (typeof a === "number" ? a - b : texts.compare(a, b)));
      const options = values.map((value) => new Option(name === "resolution" ? `${value} px` : value, value));
      $(name).replaceChildren(new Option("all", ""), ...options);
      $(name).value = before;
      if ($(name).selectedIndex < 0) $(name).value = "";
    }
  }

  const usual = () => (under.some((row) => of(row, "teacher") === null) ? "without" : "with");

  function remember() {
    const state = new URLSearchParams();
    if (view !== views.results) state.set("view", $("view").value);
    if ($("protocol").selectedIndex > 0) state.set("protocol", $("protocol").value);
    for (const name of [...chosen, "method"]) if ($(name).value) state.set(name, $(name).value);
    if ($("teacher").value !== usual()) state.set("teacher", $("teacher").value);
    if ($("canonical").checked) state.set("canonical", "1");
    if (view.sort.key) state.set("sort", view.sort.key + (view.sort.descending ? "-" : "+"));
    const address = location.href.split("#")[0];
    history.replaceState(null, "", state.size ? `${address}#${state}` : address);
  }

  function choose(id, value, fallback) {
    $(id).value = value === null ? fallback : value;
    if ($(id).selectedIndex < 0) $(id).value = fallback;
  }

  function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    choose("view", state.get("view"), "results");
    view = views[$("view").value];
    choose("protocol", state.get("protocol"), data.protocols[0]);
    fill();
    for (const name of chosen) choose(name, state.get(name), "");
    choose("teacher", state.get("teacher"), usual());
    $("method").value = (state.get("method") || "").slice(0, 60);
    $("canonical").checked = state.get("canonical") === "1";
    const by = state.get("sort") || "";
    const known = view.at.has(by.slice(0, -1));
    view.sort = known ? { key: by.slice(0, -1), descending: by.endsWith("-") } : { key: "", descending: false };
    limit = PAGE;
    show();
  }

  function changed() {
    limit = PAGE;
    show();
    remember();
  }

  $("view").addEventListener("change", () => {
    view = views[$("view").value];
    fill();
    changed();
  });
  $("protocol").addEventListener("change", () => {
    fill();
    $("teacher").value = usual();
    changed();
  });
  for (const name of [...chosen, "teacher", "canonical"]) $(name).addEventListener("change", changed);
  $("method").addEventListener("input", changed);
  $("reset").addEventListener("click", () => {
    history.replaceState(null, "", location.href.split("#")[0]);
    recall();
  });
  for (const { table } of Object.values(views)) {
    $(table).tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-key]");
      if (!button) return;
      const { key } = button.dataset;
      const numbers = down.has(key) || (view === views.methods && !["method", "student", "teacher", "ipc", "resolution"].includes(key));
      view.sort = { key, descending: view.sort.key === key ? !view.sort.descending : numbers };
      changed();
    });
  }
  $("next").addEventListener("click", () => {
    limit += PAGE;
    show();
  });
  $("all").addEventListener("click", () => {
    limit = Infinity;
    show();
  });
  addEventListener("hashchange", recall);
  recall();
})();
