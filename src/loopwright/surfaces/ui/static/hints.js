// Where a refusal names a command: a link to the page, or the form of a page, that does the same.
const LONGEST = 2000;

export async function lead(place) {
  const text = place.textContent;
  if (!/\bloopwright [a-z]/.test(text)) return;
  const answer = await fetch(`/hints?${new URLSearchParams({ text: text.slice(-LONGEST) })}`).catch(() => null);
  const told = answer?.ok ? await answer.json().catch(() => null) : null;
  if (!told || place.textContent !== text) return; // something else is said there by now
  const link = document.createElement("a");
  link.href = told.address;
  link.textContent = told.said;
  place.append(" ", link);
}
