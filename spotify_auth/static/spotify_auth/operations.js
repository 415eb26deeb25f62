/* The operations page: asks for nothing while nobody looks, and says so when nothing comes. */
(function () {
  "use strict";
  const figures = document.getElementById("figures");
  const lost = document.getElementById("lost");
  let lostSince = null;
  let askedAt = 0;
  let quietUntil = 0;
  let opened = [];
  let scrolled = [];

  const clock = (moment) => moment.toISOString().slice(11, 19) + " UTC";

  function failed(what) {
    lostSince = lostSince || new Date();
    const asOf = figures.querySelector(".as-of time").textContent;
    const said = `${what} since ${clock(lostSince)}. What you see is as of ${asOf}.`;
    if (lost.textContent !== said) lost.textContent = said;
    lost.hidden = false;
    figures.classList.add("old");
  }

  function works() {
    lostSince = null;
    lost.hidden = true;
    lost.textContent = "";
    figures.classList.remove("old");
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    /* A database that is slow, in trouble, is not asked all the time; who comes back is answered. */
    const returned = event.detail.requestConfig.triggeringEvent?.type === "shown";
    if (document.hidden || (!returned && Date.now() < quietUntil)) event.preventDefault();
    else askedAt = Date.now();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) window.htmx.trigger(figures, "shown");
  });
  document.addEventListener("htmx:sendError", () => failed("The server cannot be reached"));
  document.addEventListener("htmx:timeout", () => failed("The server has not answered"));
  document.addEventListener("htmx:responseError", (event) => {
    failed(`The server answers with an error (${event.detail.xhr.status})`);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const now = Date.now();
    quietUntil = now + 4 * (now - askedAt);
    if (event.detail.successful) works();
  });
  /* Tables that were opened stay open, and where they were scrolled to. */
  document.addEventListener("htmx:beforeSwap", () => {
    opened = Array.from(figures.querySelectorAll("details[open]"), (each) => each.id);
    scrolled = Array.from(figures.querySelectorAll(".scrolls"), (each) => [each.id, each.scrollTop]);
  });
  document.addEventListener("htmx:afterSwap", () => {
    opened.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    scrolled.forEach(([id, top]) => { document.getElementById(id).scrollTop = top; });
  });
})();
