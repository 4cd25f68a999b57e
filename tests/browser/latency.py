"How long the threshold panel takes from a move of the hand to the frame that shows it, in a headless Chromium."

import shutil

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
QUIET += " --disable-component-update --disable-sync"
LISTEN = """canvas => {
    const root = canvas.closest(".tm-panel"), told = [], painted = [];
    let before = null, began = 0;
    canvas.addEventListener("pointermove", () => { began = performance.now(); before = root.dataset.threshold; }, true);
    canvas.addEventListener("pointermove", () => {
        const start = began;
        if (root.dataset.threshold !== before) told.push(performance.now() - start);
        requestAnimationFrame(() => {
            const after = new MessageChannel();
            after.port1.onmessage = () => painted.push(performance.now() - start);
            after.port2.postMessage(0);
        });
    });
    window.latency = [told, painted];
}"""


def find_chromium() -> str | None:
    "The path of the system's Chromium; None without one."
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


def follow(
    page,  # Playwright's, of the synchronous API
    canvas,  # a locator: the upper picture of a threshold panel
    *,
    moves: int = 60,  # of the mouse, one every 30 ms
) -> tuple[list[float], list[float]]:  # ms from each move to the labels, and to the frame after it
    "Drags the threshold over the picture."
    canvas.scroll_into_view_if_needed()
    canvas.evaluate(LISTEN)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    page.mouse.down()
    for i in range(moves):
        page.mouse.move(box["x"] + 203 + 5 * (i % 100), box["y"] + 60)
        page.wait_for_timeout(30)
    page.mouse.up()
    told, painted = page.evaluate("window.latency")
    if len(told) < 0.95 * moves:
        raise RuntimeError(f"the labels followed {len(told)} of {moves} moves")
    return told, painted
