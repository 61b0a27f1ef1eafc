// The showcase's page. Plain modules and DOM, nothing loaded from elsewhere: live.js draws what the server sends,
// actions.js has what the cards do; here are what is left, and the start.

import "/actions.js";
import { watch } from "/live.js";
import { $ } from "/text.js";

for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", async () => {
    const path = button.dataset.show, shown = $("shown"), title = $("shown-title");
    try {
      const answer = await fetch(path, { cache: "no-store" });
      title.textContent = `GET ${path}\n${answer.status} ${answer.statusText}, ${answer.headers.get("Content-Type")}`;
      shown.textContent = await answer.text();
      shown.hidden = false;
    } catch (e) {
      title.textContent = `GET ${path}\n${e.message}`;
    }
  });
}

for (const item of $("commands").children) {
  const code = item.querySelector("code");
  code.textContent = code.textContent.replace("{origin}", location.origin);
  if (!navigator.clipboard) continue;  // only on localhost and over https
  const copy = document.createElement("button");
  copy.className = "quiet";
  copy.textContent = "Copy";
  copy.setAttribute("aria-label", `Copy: ${item.querySelector("span").textContent}`);
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  item.append(copy);
}

watch();
