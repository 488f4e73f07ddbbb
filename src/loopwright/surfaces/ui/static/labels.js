// A queue worked with the keyboard: a number chooses, s says nothing, u goes back, n goes on.
addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat || document.querySelector("dialog[open]")) return;
  const asked = [...document.querySelectorAll("[data-press]")].find((each) => each.dataset.press === event.key);
  if (!asked || asked.disabled) return;
  event.preventDefault();
  asked.click();
});
