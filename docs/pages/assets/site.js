// What scrolls sideways can be reached by keys, and only what leads through the site is called navigation, each part by its name.
const mend = () => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap")) box.tabIndex = 0;
  for (const bar of document.querySelectorAll("nav.md-code__nav")) bar.role = "none";
  for (const list of document.querySelectorAll("nav.md-nav[aria-labelledby]")) {
    list.setAttribute("aria-label", list.querySelector(".md-nav__title").textContent.trim());
    list.removeAttribute("aria-labelledby");
  }
};
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
mend();
