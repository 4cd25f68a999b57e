// What scrolls sideways can be reached by keys, and only what leads through the site is called navigation.
const mend = () => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap")) box.tabIndex = 0;
  for (const bar of document.querySelectorAll("nav.md-code__nav")) bar.role = "group";
};
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
mend();
