"use strict";
// Without this script every table is whole and readable; with it, a reader can sort and filter the long ones.

function valueOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text);
  return text !== "" && Number.isFinite(number) ? number : text;
}

function compare(first, second) {
  if (first === "" || second === "") return (first === "") - (second === ""); // what is not there comes last
  if (typeof first === "number" && typeof second === "number") return first - second;
  return String(first).localeCompare(String(second));
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const figures = heading.classList.contains("right");
      const before = heading.getAttribute("aria-sort");
      const order = before ? (before === "ascending" ? "descending" : "ascending") : figures ? "descending" : "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
      rows.sort(([first], [second]) =>
        first === "" || second === "" ? compare(first, second) : sign * compare(first, second));
      body.append(...rows.map(([, row]) => row));
    });
  });
}

function makeSearchable(table) {
  const rows = [...table.tBodies[0].rows];
  // a blank at a token's border is drawn as U+2423; whoever looks for one types a blank
  const plain = (text) => text.toLowerCase().replaceAll("\u2423", " ");
  const texts = rows.map((row) => plain(row.textContent));
  const search = document.createElement("p");
  search.className = "search";
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = "search";
  input.autocomplete = "off";
  input.spellcheck = false;
  label.append("Filter ", input);
  const count = document.createElement("output");
  search.append(label, count);
  const say = (shown) => { count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`; };
  input.addEventListener("input", () => {
    const wanted = plain(input.value);
    let shown = 0;
    rows.forEach((row, place) => {
      row.hidden = !texts[place].includes(wanted);
      shown += row.hidden ? 0 : 1;
    });
    say(shown);
  });
  say(rows.length);
  table.closest(".scroll").before(search);
}

for (const table of document.querySelectorAll("table[data-searchable]")) {
  makeSortable(table);
  makeSearchable(table);
}

for (const button of document.querySelectorAll("button.copy")) {
  if (!navigator.clipboard) continue; // a page from a file has none in some browsers
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

// what a new token is, is shown while it is pointed at or focused; Escape takes it away
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement?.classList.contains("token")) document.activeElement.blur();
});
