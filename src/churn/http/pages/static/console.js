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
