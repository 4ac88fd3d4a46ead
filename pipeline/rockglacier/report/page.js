"use strict";
(() => {
  const box = document.getElementById("map-view");
  if (box) map(box);
  for (const table of document.querySelectorAll("table")) sortable(table);

  function map(svg) {
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const whole = { x: 0, y: 0, w: width, h: height };
    const least = Math.min(width, height, 200);
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    const told = document.getElementById("map-told"), hatch = document.getElementById("hatch");
    let most = fit(whole);
    let view = { ...whole }, moving = 0, across = svg.clientWidth;

    function fit(v) {
      const side = svg.clientWidth / svg.clientHeight || 1;
      let { x, y, w, h } = v;
      const grown = w / h < side ? { w: h * side, h } : { w, h: w / side };
      x -= (grown.w - w) / 2;
      y -= (grown.h - h) / 2;
      return { x, y, ...grown };
    }
    function show(v) {
      view = v;
      svg.setAttribute("viewBox", [v.x, v.y, v.w, v.h].map((n) => n.toFixed(1)).join(" "));
      hatch.setAttribute("patternTransform", `rotate(45) scale(${(v.w / most.w).toFixed(4)})`);
      scale();
    }
    function limited(v) {
      const w = Math.min(Math.max(v.w, least), most.w), h = w * (v.h / v.w);
      const x = Math.min(Math.max(v.x + (v.w - w) / 2, -w / 2), width - w / 2);
      const y = Math.min(Math.max(v.y + (v.h - h) / 2, -h / 2), height - h / 2);
      return { x, y, w, h };
    }
    function go(to) {
      cancelAnimationFrame(moving);
      const from = view, start = performance.now();
      if (calm.matches) return show(to);
      const step = (now) => {
        const t = Math.min(1, (now - start) / 350), e = t * (2 - t);
        const mix = (a, b) => a + (b - a) * e;
        show({ x: mix(from.x, to.x), y: mix(from.y, to.y), w: mix(from.w, to.w), h: mix(from.h, to.h) });
        if (t < 1) moving = requestAnimationFrame(step);
      };
      moving = requestAnimationFrame(step);
    }
    function zoom(by, at = { x: view.x + view.w / 2, y: view.y + view.h / 2 }, calmly = false) {
      const to = limited({
        x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by, w: view.w * by, h: view.h * by,
      });
      return calmly ? show(to) : go(to);
    }
    function scale() {
      const bar = document.getElementById("map-scale"), perPixel = view.w / (svg.clientWidth || 1);
      const wanted = 110 * perPixel, power = 10 ** Math.floor(Math.log10(wanted));
      const metres = [5, 2, 1].map((n) => n * power).find((n) => n <= wanted);
      bar.querySelector("i").style.width = `${metres / perPixel}px`;
      bar.querySelector("span").textContent = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
    }
    function place(event) {
      const rect = svg.getBoundingClientRect();
      return {
        x: view.x + ((event.clientX - rect.left) / rect.width) * view.w,
        y: view.y + ((event.clientY - rect.top) / rect.height) * view.h,
      };
    }
    function choose(id, { follow = false } = {}) {
      for (const old of svg.querySelectorAll("path.on")) old.classList.remove("on");
      for (const old of document.querySelectorAll("tr[aria-current]")) old.removeAttribute("aria-current");
      const name = CSS.escape(id), path = svg.querySelector(`path[data-id="${name}"]`);
      const row = document.querySelector(`tr[data-id="${name}"]`);
      if (path) {
        path.classList.add("on");
        told.textContent = path.querySelector("title").textContent;
      }
      if (row) {
        row.setAttribute("aria-current", "true");
        if (follow) {
          const wide = row.closest(".wide");
          wide.scrollTop = row.offsetTop - wide.clientHeight / 2;
        }
      }
    }
    function reveal(id, [x, y, w, h]) {
      const room = Math.max(w, h) * 0.6 + 60;
      go(limited(fit({ x: x - room, y: y - room, w: w + 2 * room, h: h + 2 * room })));
      const group = svg.querySelector(`path[data-id="${CSS.escape(id)}"]`)?.parentNode;
      const toggle = group && document.querySelector(`input[value="${group.dataset.layer}"]`);
      if (toggle && !toggle.checked) toggle.click();
      choose(id);
    }

    for (const input of document.querySelectorAll(".layers input")) {
      input.addEventListener("change", () => {
        for (const one of document.querySelectorAll(".layers input")) {
          const layer = svg.querySelector(`[data-layer="${one.value}"]`);
          if (layer) layer.style.display = one.checked ? "" : "none";
        }
      });
    }
    for (const button of document.querySelectorAll("[data-box]")) {
      button.addEventListener("click", () => {
        reveal(button.closest("tr").dataset.id, button.dataset.box.split(" ").map(Number));
        svg.closest("figure").scrollIntoView({ block: "nearest" });
      });
    }
    const acts = { in: () => zoom(0.5), out: () => zoom(2), all: () => go(fit(whole)) };
    for (const button of document.querySelectorAll("[data-act]")) {
      button.addEventListener("click", () => acts[button.dataset.act]());
    }
    svg.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const step = steps[event.key];
      if (step) go(limited({ ...view, x: view.x + step[0] * view.w / 6, y: view.y + step[1] * view.h / 6 }));
      else if (event.key === "+" || event.key === "=") acts.in();
      else if (event.key === "-") acts.out();
      else if (event.key === "0") acts.all();
      else return;
      event.preventDefault();
    });
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== svg) return;
      event.preventDefault();
      zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 150), place(event), true);
    }, { passive: false });
    const held = new Map();
    let moved = 0;
    svg.addEventListener("pointerdown", (event) => {
      held.set(event.pointerId, event);
      moved = 0;
    });
    svg.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const [one, other] = [...held.values()];
      held.set(event.pointerId, event);
      moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
      if (moved > 4) svg.setPointerCapture(event.pointerId);
      const unit = view.w / svg.clientWidth;
      if (held.size === 1) {
        show(limited({
          ...view,
          x: view.x - (event.clientX - before.clientX) * unit,
          y: view.y - (event.clientY - before.clientY) * unit,
        }));
      } else if (held.size === 2) {
        const [a, b] = [...held.values()];
        const far = (p, q) => Math.hypot(p.clientX - q.clientX, p.clientY - q.clientY) || 1;
        const middle = { clientX: (a.clientX + b.clientX) / 2, clientY: (a.clientY + b.clientY) / 2 };
        zoom(far(one, other) / far(a, b), place(middle), true);
      }
    });
    for (const end of ["pointerup", "pointercancel"]) {
      svg.addEventListener(end, (event) => {
        held.delete(event.pointerId);
        const id = moved <= 4 && end === "pointerup" && event.target.dataset?.id;
        if (id) choose(id, { follow: true });
      });
    }
    addEventListener("resize", () => {
      const isWhole = view.w >= most.w, unit = view.w / (across || 1);
      most = fit(whole);
      across = svg.clientWidth;
      const w = unit * across, h = w * (svg.clientHeight / (across || 1));
      const kept = { x: view.x + (view.w - w) / 2, y: view.y + (view.h - h) / 2, w, h };
      show(isWhole ? most : limited(kept));
    });
    show(fit(whole));
  }

  function sortable(table) {
    const body = table.tBodies[0];
    if (!body || body.rows.length < 2) return;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
        const isNumber = head.classList.contains("n");
        const value = (row) => {
          const text = row.cells[column].textContent.trim();
          return isNumber ? (text ? Number(text.replaceAll(",", "")) : NaN) : text;
        };
        const order = (a, b) => {
          const [x, y] = [value(a), value(b)];
          if (!isNumber) return down * x.localeCompare(y);
          return Number.isNaN(x) - Number.isNaN(y) || down * (x - y);
        };
        body.append(...[...body.rows].sort(order));
      });
    });
  }
})();
