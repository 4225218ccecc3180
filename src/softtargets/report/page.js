// A click on the head of a column sorts its table: upwards, then downwards.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (row) => Number(row.cells[column].dataset.order);
      const rows = [...table.tBodies[0].rows];
      rows.sort((one, other) => (up ? 1 : -1) * (order(one) - order(other)));
      table.tBodies[0].append(...rows);
    });
  });
}

// A table that is cut off says so.
const watcher = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    target.classList.toggle("overflows", target.scrollWidth > target.clientWidth);
  }
});
for (const frame of document.querySelectorAll(".scroll")) watcher.observe(frame);
