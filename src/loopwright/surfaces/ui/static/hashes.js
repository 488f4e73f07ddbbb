// Addresses that MLflow's clients print (`/#/experiments/7/runs/3f…`) lead to the page of what they are about.
const [, kind, name, part, of] = /^#\/([a-z]+)\/([^/?]+)(?:\/([a-z]+)\/([^/?]+))?/.exec(location.hash) ?? [];
const known = { models: () => `/assets/model/${name}`, prompts: () => `/prompts/${name}` };
async function experiment() {
  const answer = await fetch(`/api/v1/experiments?${new URLSearchParams({ filter: `experiment_id = '${decodeURIComponent(name).replaceAll("'", "''")}'`, lifecycle: "all" })}`);
  const found = answer.ok ? (await answer.json()).items[0] : null;
  return found ? `/experiments/${encodeURIComponent(found.name)}` : "/experiments";
}
if (part === "runs") location.replace(`/runs/${of}`);
else if (kind === "experiments") experiment().then((to) => location.replace(to));
else if (known[kind]) location.replace(known[kind]());
