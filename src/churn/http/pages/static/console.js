// What the pages of the console do beyond what works without: local times, sliders that answer as they move.
const language = document.documentElement.lang;

const moment = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
for (const time of document.querySelectorAll("time[datetime]")) {
  time.title = time.textContent;
  time.textContent = moment.format(new Date(time.dateTime));
}

const number = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
for (const form of document.querySelectorAll("form[data-live]")) live(form);

function live(form) {
  const target = document.getElementById(form.dataset.live);
  let timer, pending;

  function show() {
    for (const output of form.querySelectorAll("output")) {
      const value = form.querySelector(`#${output.htmlFor[0]}`).valueAsNumber;
      const { words, unit } = output.dataset;
      output.textContent = words
        ? `${words.split("|")[value - 1]} (${value}/4)`
        : `${number.format(value)}\u00a0${unit}`;
    }
    for (const box of form.querySelectorAll("input[data-sets]")) {
      form.querySelector(`input[name="${box.dataset.sets}"]`).value = box.checked ? "Oui" : "Non";
    }
  }

  async function ask() {
    pending?.abort();
    pending = new AbortController();
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
        signal: pending.signal,
      });
      // The session has ended: the page itself will lead to the sign-in.
      if (answer.redirected) return location.reload();
      if (answer.ok) target.innerHTML = await answer.text();
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  }

  function changed() {
    show();
    clearTimeout(timer);
    timer = setTimeout(ask, 80);
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", changed);
  // The values are back only after the event.
  form.addEventListener("reset", () => setTimeout(changed));
  show();
}

for (const form of document.querySelectorAll("form[data-file]")) upload(form);

function upload(form) {
  const input = form.querySelector("input[type=file]");
  const preview = form.querySelector("[data-preview]");
  const progress = form.querySelector("[data-progress]");
  const button = form.querySelector("button");
  // Enough for the titles and the first rows, whatever the size of the file.
  const beginning = 64 * 1024;

  function send(address, file) {
    const body = new FormData(form);
    body.set("file", file, file.name || "file.csv");
    return fetch(address, { method: "POST", body });
  }

  async function look() {
    preview.replaceChildren();
    progress.replaceChildren();
    const file = input.files[0];
    if (!file) return;
    let part = file;
    if (file.size > beginning) {
      const bytes = new Uint8Array(await file.slice(0, beginning).arrayBuffer());
      // Whole lines only.
      part = new File([bytes.slice(0, bytes.lastIndexOf(10) + 1)], file.name);
    }
    const answer = await send("/console/file/preview", part);
    if (answer.redirected) return location.reload();
    if (answer.ok) preview.innerHTML = await answer.text();
  }

  async function score() {
    button.disabled = true;
    const bar = document.createElement("progress");
    const label = document.createElement("p");
    bar.setAttribute("aria-label", form.dataset.reading);
    progress.replaceChildren(label, bar);
    try {
      const answer = await send("/console/file/progress", input.files[0]);
      if (answer.redirected) return location.reload();
      for await (const event of events(answer.body)) {
        if (event.done) {
          bar.max = event.total;
          bar.value = event.done;
          label.textContent = `${form.dataset.reading}${language === "fr" ? "\u00a0:" : ":"} ${number.format(event.done)} / ${number.format(event.total)}`;
        } else if (event.location) {
          location.assign(event.location);
        } else if (event.html) {
          preview.replaceChildren();
          progress.innerHTML = event.html;
        } else {
          const wrong = document.createElement("p");
          wrong.className = "wrong";
          wrong.textContent = event.wrong;
          progress.replaceChildren(wrong);
        }
      }
    } finally {
      button.disabled = false;
    }
  }

  input.addEventListener("change", look);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    score();
  });
}

// The JSON objects that come a line each.
async function* events(stream) {
  let rest = "";
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}
