"use strict";
(() => {
  const HEAD = 400, TAIL = 1600; // characters of a long text that are seen without unfolding it
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  let annotator = "", votes = {}, current = 0, unsaved = false;

  const storageKey = () => `side-by-side ${data.page} ${annotator}`;

  function recall() {
    try {
      return JSON.parse(localStorage.getItem(storageKey()) || "{}");
    } catch {
      return {};
    }
  }

  function keep() {
    unsaved = true;
    try {
      localStorage.setItem(storageKey(), JSON.stringify(votes));
    } catch {
      at("notice").textContent = "This browser keeps nothing: save your votes before you close the page.";
    }
  }

  const voted = (number) => Boolean(votes[number] && votes[number].choice);
  const count = () => data.examples.filter((_, number) => voted(number)).length;

  function element(kind, className, text) {
    const made = document.createElement(kind);
    made.className = className;
    made.textContent = text;
    return made;
  }

  function showText(place, text) {
    if (text.length <= HEAD + TAIL) {
      place.append(element("div", "text", text));
      return;
    }
    const fold = document.createElement("details");
    const whole = element("div", "text whole", text);
    whole.tabIndex = 0;
    fold.append(element("summary", "", `Show all ${text.length.toLocaleString("en")} characters`), whole);
    place.append(element("div", "text", text.slice(0, HEAD) + " …"), fold, element("div", "text", "… " + text.slice(-TAIL)));
  }

  function showProgress() {
    at("progress").max = data.examples.length;
    at("progress").value = count();
    at("count").textContent = `${annotator}: ${count()} of ${data.examples.length} judged`;
  }

  function show(number) {
    current = Math.max(0, Math.min(number, data.examples.length - 1));
    const example = data.examples[current], vote = votes[current] || {};
    at("title").textContent = `Example ${current + 1} of ${data.examples.length}`;
    at("prompt").replaceChildren();
    for (const turn of data.prompts[example.prompt]) {
      if (turn.role) at("prompt").append(element("div", "role", turn.role));
      showText(at("prompt"), turn.content);
    }
    for (const side of ["left", "right"]) at(side).textContent = example[side] || "(no words)";
    for (const radio of document.querySelectorAll("input[name=choice]")) radio.checked = radio.value === vote.choice;
    at("comment").value = vote.comment || "";
    at("previous").disabled = current === 0;
    at("next").disabled = current === data.examples.length - 1;
    showProgress();
    window.scrollTo(0, 0);
    at("title").focus({ preventScroll: true });
  }

  function change(part) {
    votes[current] = { choice: "", comment: "", ...votes[current], ...part };
    keep();
    showProgress();
  }

  function choose(choice) {
    document.querySelector(`input[name=choice][value=${choice}]`).checked = true;
    change({ choice });
  }

  function showUnvoted() {
    const all = data.examples.length;
    for (let step = 1; step <= all; step++) {
      if (!voted((current + step) % all)) return show((current + step) % all);
    }
    at("notice").textContent = "All are judged: save your votes.";
  }

  function save() {
    const saved = {
      format: 1,
      page: data.page,
      annotator,
      saved: new Date().toISOString(),
      votes: Object.keys(votes).map((number) => ({ example: Number(number), ...votes[number] })),
    };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(saved, null, 1)], { type: "application/json" }));
    link.download = `votes-${annotator.replace(/[^\p{L}\p{N}]+/gu, "-")}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    const missing = data.examples.length - count();
    at("notice").textContent = missing ? `Saved; ${missing} have no vote yet.` : "Saved, all of them.";
  }

  const KEYS = {
    1: () => choose("left"),
    2: () => choose("tie"),
    3: () => choose("right"),
    n: () => show(current + 1),
    p: () => show(current - 1),
    u: showUnvoted,
    s: save,
  };

  at("start").addEventListener("submit", (event) => {
    event.preventDefault();
    annotator = at("name").value.trim();
    if (!annotator) return;
    votes = recall();
    at("start").hidden = true;
    at("work").hidden = false;
    show(0);
    if (count() && count() < data.examples.length) showUnvoted();
  });
  for (const radio of document.querySelectorAll("input[name=choice]")) {
    radio.addEventListener("change", () => change({ choice: radio.value }));
  }
  at("comment").addEventListener("input", () => change({ comment: at("comment").value }));
  at("previous").addEventListener("click", KEYS.p);
  at("next").addEventListener("click", KEYS.n);
  at("unvoted").addEventListener("click", showUnvoted);
  at("save").addEventListener("click", save);
  document.addEventListener("keydown", (event) => {
    const typing = event.target.id === "comment" || event.target.id === "name";
    if (typing || at("work").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = KEYS[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  window.addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });
})();
