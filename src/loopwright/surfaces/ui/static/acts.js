// Forms that act: their fields become the arguments of an operation, its refusal is told where it was asked for.
import { lead } from "/static/hints.js";

const ENDED = new Set(["done", "failed", "cancelled"]);

function parsed(text) {
  try { return JSON.parse(text); } catch (error) { throw new Error(`This is no JSON: ${error.message}`); }
}
const value = (input) => ("json" in input.dataset ? parsed(input.value) : input.type === "checkbox" ? input.checked : input.type === "number" || "number" in input.dataset ? Number(input.value) : input.value);

function given(form) {
  const body = {};
  for (const input of form.elements) {
    if (!input.name) continue;
    if ("many" in input.dataset) { body[input.name] ??= []; if (input.checked) body[input.name].push(input.value); } // several of one name are a list
    else if ("lines" in input.dataset) body[input.name] = input.value.split("\n").map((each) => each.trim()).filter(Boolean);
    else if ("words" in input.dataset) body[input.name] = input.value.split(/\s+/).filter(Boolean);
    else if (input.value !== "" || input.type === "checkbox" || "empty" in input.dataset) body[input.name] = value(input);
  }
  return body;
}

function tell(form, text, isBad) {
  let place = form.querySelector(".told");
  if (!place) { place = document.createElement("p"); place.className = "told small"; place.setAttribute("role", isBad ? "alert" : "status"); form.append(place); }
  place.classList.toggle("bad", Boolean(isBad));
  place.textContent = text;
  if (isBad) lead(place);
}

async function answered(answer) {
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  const error = told.error ?? told;
  throw new Error([error.message ?? "The server refused it.", error.hint].filter(Boolean).join(": "));
}

async function whole(told) {
  let job = told;
  while (job.operation && job.state && !ENDED.has(job.state)) {
    await new Promise((go) => setTimeout(go, 250));
    job = await answered(await fetch(`/api/v1/jobs/${encodeURIComponent(job.id)}`));
  }
  if (job.operation && job.state !== "done") throw new Error(job.error || `the job ${job.state}`);
  return job;
}

addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.dataset?.act) return;
  event.preventDefault();
  const by = { ...form.dataset, ...event.submitter?.dataset }; // a form may have several buttons that do different things
  if (by.sure && form.dataset.asked !== by.act) {
    form.dataset.asked = by.act;
    event.submitter?.classList.add("danger");
    tell(form, by.sure, false);
    setTimeout(() => { delete form.dataset.asked; event.submitter?.classList.remove("danger"); }, 6000);
    return;
  }
  const buttons = [...form.querySelectorAll("button")];
  for (const each of buttons) each.disabled = true;
  try {
    const body = { ...given(form), ...JSON.parse(by.with ?? "{}") };
    const named = by.named && `/${encodeURIComponent(form.elements[by.named].value)}`; // a field that is the end of the address
    if (named) delete body[by.named];
    const answer = await fetch(by.act + (named ?? ""), {
      method: by.method ?? "POST",
      ...(by.method !== "DELETE" && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
    const told = await whole(await answered(answer));
    if (by.tells === "trial") {
      tell(form, told.ok ? `The receiver answered ${told.receipt.status}.` : told.error || `The receiver answered ${told.receipt.status}.`, !told.ok);
      for (const each of buttons) each.disabled = false;
    } else if (by.tells) {
      form.querySelector(".told")?.remove();
      form.dispatchEvent(new CustomEvent("acted", { bubbles: true, detail: { what: by.tells, told } }));
      for (const each of buttons) each.disabled = false;
    } else if (by.next) location.assign(by.next);
    else location.reload();
  } catch (error) {
    tell(form, error.message, true);
    for (const each of buttons) each.disabled = false;
  }
});
