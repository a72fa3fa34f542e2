"""What is seen on the page in a browser."""

import re

from waiting import wait_for

PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Comes true when what has changed is drawn, which is before the next frame but one."""

SHOWN = "document.querySelector('#about-frame b') && !document.querySelector('.stage.busy')"


def wait_until(page, condition):
    """Wait until something holds; the page's policy lets no text become a function that waits."""
    what = f"does not come true: {condition}"
    wait_for(lambda: page.evaluate(condition), what, lambda: page.wait_for_timeout(50))


def tiles(page):
    """Return the numbers in large type by what is said of them."""
    pair = "[t.querySelector('b').innerText, t.querySelector('span').innerText]"
    found = page.eval_on_selector_all(".tile", f"all => all.map(t => {pair})")
    return {label.split("\n")[0]: re.sub(r"\s", "", value) for value, label in found}


def frame_shown(page):
    wait_until(page, SHOWN)
    return int(page.input_value("#number"))


def brightest_near(page, x, y, radius):
    """Return where the brightest point of the canvas around a place is, in CSS pixels."""
    return page.evaluate(
        """([x, y, r]) => {
          const canvas = document.getElementById('canvas');
          const dots = canvas.width / canvas.clientWidth;
          const size = Math.round(2 * r * dots);
          const [left, top] = [Math.round((x - r) * dots), Math.round((y - r) * dots)];
          const { data } = canvas.getContext('2d').getImageData(left, top, size, size);
          let most = -1, at = [];
          for (let k = 0; k < size * size; k++) {
            const light = data[4 * k] + data[4 * k + 1] + data[4 * k + 2];
            if (light > most) { most = light; at = []; }
            if (light === most) at.push([left + k % size + 0.5, top + Math.floor(k / size) + 0.5]);
          }
          const mean = (i) => at.reduce((sum, p) => sum + p[i], 0) / at.length / dots;
          return [mean(0), mean(1)];
        }""",
        [x, y, radius],
    )


def circles(page):
    wait_until(page, SHOWN)
    page.evaluate(PAINTED)
    place = "[c.cx.baseVal.value, c.cy.baseVal.value]"
    return page.eval_on_selector_all(".peak", f"all => all.map(c => {place})")
