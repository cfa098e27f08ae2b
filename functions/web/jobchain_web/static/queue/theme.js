// Runs before the first paint: a late change of colours would flash.
try {
  document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";
} catch {
  // The page's default stays.
}
