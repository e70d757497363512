const find = document.getElementById("find"), wrong = document.getElementById("wrong");
const videos = [...document.querySelectorAll("section.video")];
function filter() {
  const part = find.value.trim().toLowerCase();
  for (const one of videos) one.hidden = !one.dataset.name.includes(part) || (wrong.checked && !one.dataset.wrong);
  const left = videos.filter(one => !one.hidden).length;
  document.getElementById("shown").textContent = `${left} of ${videos.length} videos`;
}
find.addEventListener("input", filter);
wrong.addEventListener("change", filter);
addEventListener("hashchange", () => {
  const one = document.querySelector(location.hash);
  if (one && one.hidden) { find.value = ""; wrong.checked = false; filter(); one.scrollIntoView(); }
});
for (const head of document.querySelectorAll(".sortable thead th")) head.addEventListener("click", () => {
  const body = head.closest("table").tBodies[0], up = head.dataset.up = head.dataset.up === "1" ? "0" : "1";
  const value = row => row.cells[head.cellIndex].textContent;
  const rows = [...body.rows].sort((a, b) => value(a).localeCompare(value(b), "en", { numeric: true }));
  body.append(...(up === "1" ? rows : rows.reverse()));
});
filter();
