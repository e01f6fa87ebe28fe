/* See tools/light.py.

   The theme asks of every piece of code, when the page has been loaded, whether it is too wide, so
   that those which are can be scrolled with the keyboard. That takes a telephone as long as everything else, at once.
   This does the same in moments in which the browser has nothing else to do. */
{
  const listen = window.addEventListener;
  window.addEventListener = function (type, ...rest) {
    const script = document.currentScript?.src ?? "";
    if (type !== "load" || !script.includes("pydata-sphinx-theme.js")) {
      listen.call(this, type, ...rest);
    }
  };

  const places =
    "pre, .cell_output > .output, .jp-RenderedHTMLCommon, .pst-scrollable-table-container";
  const later = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));
  let waiting = [];

  function work(deadline) {
    do {
      const place = waiting.shift();
      if (!place) return;
      const scrolls =
        place.scrollWidth > place.clientWidth || place.scrollHeight > place.clientHeight;
      place.tabIndex = scrolls ? 0 : -1;
    } while (deadline?.timeRemaining() > 40); // of the 50 ms that there are at most
    later(work);
  }

  function begin() {
    if (!waiting.length) later(work);
    waiting = [...document.querySelectorAll(places)];
  }

  let pause;
  function again() {
    clearTimeout(pause);
    pause = setTimeout(begin, 300);
  }

  listen.call(window, "load", begin);
  listen.call(window, "resize", again);
  document.addEventListener("toggle", again, true); // code in a box that is opened
}

/* The theme's library for menus has 80 KB. These are the two things that the pages need of it. */
{
  function close(menu) {
    const button = menu.previousElementSibling;
    menu.classList.remove("show");
    button.classList.remove("show");
    button.setAttribute("aria-expanded", "false");
  }

  const opened = () => document.querySelectorAll(".dropdown-menu.show");

  document.addEventListener("click", (event) => {
    const button = event.target.closest('[data-bs-toggle="dropdown"]');
    const menu = button?.nextElementSibling;
    const opens = menu && !menu.classList.contains("show");
    opened().forEach(close);
    if (opens) {
      menu.classList.add("show");
      button.classList.add("show");
      button.setAttribute("aria-expanded", "true");
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of opened()) {
      close(menu);
      menu.previousElementSibling.focus();
    }
  });

  // A reader who turns back may want to go to the top.
  const upwards = document.getElementById("pst-back-to-top");
  let before = 0;
  upwards?.addEventListener("click", () => window.scrollTo(0, 0));
  window.addEventListener("scroll", () => {
    const now = window.scrollY;
    if (upwards && now !== before) {
      upwards.style.display = 0 < now && now < before ? "block" : "none";
    }
    before = now;
  });
}

/* The theme's dialogs: when one closes, the button that opened it has the focus again; and it closes when a reader has
   chosen a place on the page. */
{
  let opener;

  document.addEventListener(
    "click",
    (event) => {
      const button = event.target.closest(".sidebar-toggle, .search-button");
      if (button) opener = button;
      const dialog = event.target.closest('a[href^="#"]')?.closest("dialog");
      if (dialog) {
        opener = undefined;
        dialog.close();
      }
    },
    true,
  );

  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("close", () => {
      const button = opener;
      opener = undefined;
      setTimeout(() => button?.focus());
    });
  }
}
