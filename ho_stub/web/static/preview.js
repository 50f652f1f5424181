// Keeps the preview in step with the form. Without this file the button "Count again" does the same.

const WAIT_MS = 250;

const form = document.getElementById("settings");
const preview = document.getElementById("preview");
let timer = 0;
let asked = null;

async function count() {
  asked?.abort();
  asked = new AbortController();
  const fields = new URLSearchParams(new FormData(form));
  fields.delete("csrf");
  fields.delete("seen");
  try {
    const answer = await fetch(`/promotions/settings/preview-query/?${fields}`, {
      headers: { Accept: "text/html" },
      redirect: "error", // signed out: what stands there stays
      signal: asked.signal,
    });
    if (answer.ok) preview.innerHTML = await answer.text();
    preview.toggleAttribute("data-old", !answer.ok);
  } catch (error) {
    if (error.name !== "AbortError") preview.setAttribute("data-old", "");
  }
}

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(count, WAIT_MS);
});
document.getElementById("count").addEventListener("click", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  count();
});
