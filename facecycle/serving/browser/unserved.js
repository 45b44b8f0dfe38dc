// Says so at once where the page was opened as a file: browsers load none of its modules then. This file is none.

if (location.protocol === "file:") {
  addEventListener("DOMContentLoaded", () => {
    document.getElementById("alert").textContent = "This page was opened as a file, and has to be served. " +
      "Open http://127.0.0.1:8000/ after this command in its folder: python -m http.server";
    document.getElementById("origin").textContent = "are not loaded";
    document.getElementById("start").remove(); // its buttons would do nothing
  });
}
