package web

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// serve serves h until the test ends, and cuts off pages that are still open.
func serve(t *testing.T, h *Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv
}

// widths are the screens that pages are looked at on.
var widths = []struct{ width, height int }{{390, 844}, {820, 1100}, {1360, 900}}

func TestBrowserShowsASwarmThatChanges(t *testing.T) {
	b := openBrowser(t)
	f := newStageSet(scene("joining"))
	h := newHandler(t, f, time.Millisecond)
	h.Note(KindPlan, "layers [0,12): desk has the memory for them, and the head is nuc's")
	srv := serve(t, h)
	b.size(1360, 900, "dark")
	b.open(srv.URL, "/swarm#key="+testKey)
	if hash := b.eval("location.hash"); hash != "" {
		t.Errorf("the key stays in the address bar: %v", hash)
	}
	b.until(`document.body.innerText.includes("170 MiB of 280 MiB · 45 MiB/s")`)
	b.until(`document.querySelector("#log").innerText.includes("desk has the memory")`)
	for _, state := range []string{"joining", "serving", "draining", "lost"} {
		f.set(scene(state))
		switch state {
		case "serving":
			b.until(`document.querySelector("#state").textContent === "answers" && document.querySelectorAll("#flow .mote").length === 2`)
			b.until(`document.querySelector("#links").innerText.includes("desk → nuc")`)
		case "draining":
			b.until(`document.querySelector(".peer.draining .who").innerText.includes("2 sessions to finish")`)
		case "lost":
			b.until(`document.querySelector(".peer.gone small").textContent.startsWith("lost")`)
			b.until(`document.querySelector("#state").textContent.includes("[12,20)")`)
			b.until(`document.querySelector("#log").innerText.includes("nuc is lost")`)
		}
		for _, scheme := range []string{"light", "dark"} {
			for _, w := range widths {
				b.size(w.width, w.height, scheme)
				b.until("document.documentElement.scrollWidth <= innerWidth")
				b.eval("new Promise(r => setTimeout(r, 900))") // what moves arrives
				b.shoot(fmt.Sprintf("swarm-%s-%s-%d", state, scheme, w.width))
				b.contrast()
			}
		}
	}
	f.set(scene("serving")) // it is back
	b.until(`document.querySelector("#log").innerText.includes("nuc is here")`)
	b.eval(`new MutationObserver(() => { if (document.querySelector("#state").textContent.includes("does not answer")) window.wasLost = true; }).observe(document.querySelector("#state"), { childList: true, characterData: true, subtree: true })`)
	srv.CloseClientConnections() // the member restarts
	b.until(`window.wasLost && document.querySelector("#state").textContent === "answers"`)
	b.clean()
}

func TestBrowserPlansAndInvites(t *testing.T) {
	b := openBrowser(t)
	srv := serve(t, newHandler(t, newStageSet(scene("serving")), time.Millisecond))
	b.size(1360, 900, "light")
	b.open(srv.URL, "/swarm#key="+testKey)
	b.until(`document.querySelector('[data-chip="nuc"]') !== null`)
	b.eval(`document.querySelector('[data-chip="nuc"]').focus()`)
	b.press(" ", "Space", 32, " ")
	b.until(`document.querySelector("#whatif .plan-bar")?.innerText.includes("attic [18,30)")`)
	b.until(`document.querySelector("#whatif .got").innerText.includes("−11 %")`)
	b.until(`document.activeElement.dataset.chip === "nuc" && document.activeElement.getAttribute("aria-pressed") === "false"`)
	b.shoot("swarm-whatif")
	b.eval(`document.querySelector("#invite").focus()`)
	b.press("Enter", "Enter", 13, "\r")
	b.until(`document.querySelector("dialog[open]") !== null`)
	b.press("Enter", "Enter", 13, "\r")
	b.until(`document.querySelector("dialog .code")?.textContent.startsWith("shardnode join shard1")`)
	b.shoot("swarm-invite")
	b.contrast()
	b.press("Escape", "Escape", 27, "")
	b.until(`document.querySelector("dialog") === null && document.activeElement.id === "invite"`)
	b.clean()
}

func TestBrowserChats(t *testing.T) {
	b := openBrowser(t)
	srv := serve(t, newHandler(t, newStageSet(scene("serving")), 25*time.Millisecond))
	b.size(1360, 900, "light")
	b.open(srv.URL, "/")
	// Without a key it asks for one, with the keyboard alone.
	b.until(`document.querySelector("dialog[open] input[type=password]") === document.activeElement`)
	b.shoot("chat-key")
	b.write(testKey)
	b.press("Enter", "Enter", 13, "\r")
	b.until(`document.querySelector("#model").value.startsWith("smollm2")`)
	b.shoot("chat-empty")
	b.eval(`document.querySelector("#input").focus()`)
	b.write("How does a token travel?")
	b.press("Enter", "Enter", 13, "\r")
	b.until(`document.querySelector(".wait")?.textContent.includes("61 %")`)
	b.until(`document.querySelector(".answer .md")?.innerText.includes("machines")`)
	b.press("Escape", "Escape", 27, "")
	b.until(`document.querySelector(".stopped")?.textContent === "Stopped."`)
	// Again: a second version of the answer.
	b.eval(`document.querySelector('[aria-label="Answer again"]').click()`)
	b.until(`document.querySelector("details.time") !== null`)
	b.until(`document.querySelector(".answer .acts").innerText.includes("2/2")`)
	text := b.eval(`document.querySelector(".answer .md").innerText`).(string)
	for _, want := range []string{"How a token travels", "func reverse", "<b>no HTML</b> <img src=x onerror=alert(1)>"} {
		if !strings.Contains(text, want) {
			t.Errorf("the answer lacks %q:\n%s", want, text)
		}
	}
	if n := b.eval(`document.querySelectorAll(".md img, .md b, .md a[href^=javascript]").length`); n != 0.0 {
		t.Errorf("the answer's own HTML or script became elements")
	}
	b.eval(`document.querySelector("details.time").open = true; document.querySelector("#scroll").scrollTop = 1e6`)
	for _, scheme := range []string{"light", "dark"} {
		for _, w := range widths {
			b.size(w.width, w.height, scheme)
			b.until("document.documentElement.scrollWidth <= innerWidth")
			b.eval("new Promise(r => setTimeout(r, 300))")
			b.shoot(fmt.Sprintf("chat-%s-%d", scheme, w.width))
			b.contrast()
		}
	}
	b.size(1360, 900, "light")
	// Editing the question makes a branch, and the first is still there.
	b.eval(`document.querySelector('[aria-label="Edit and ask anew"]').click()`)
	b.until(`document.activeElement.getAttribute("aria-label") === "Your message"`)
	b.write(" And back?")
	b.press("Enter", "Enter", 13, "\r")
	b.until(`document.querySelector(".user .acts")?.innerText.includes("2/2")`)
	b.press("Escape", "Escape", 27, "")
	b.until(`document.querySelector(".stopped") !== null`)
	b.eval(`document.querySelector('.user [aria-label="Version before"]').click()`)
	b.until(`document.querySelector(".user .body").innerText === "How does a token travel?"`)
	// It is there after the page was loaded anew.
	b.open(srv.URL, "/")
	b.until(`document.querySelector("#chats .open")?.textContent === "How does a token travel?"`)
	b.eval(`document.querySelector("#chats .open").click()`)
	b.until(`document.querySelector(".answer .md")?.innerText.includes("func reverse")`)
	b.eval(`document.querySelector('[aria-label="Settings"]').click()`)
	b.until(`document.querySelector("dialog[open] textarea") !== null`)
	b.shoot("chat-settings")
	b.contrast()
	b.mu.Lock()
	kept := b.console[:0]
	for _, line := range b.console {
		if !strings.Contains(line, "401") { // the key was asked for
			kept = append(kept, line)
		}
	}
	b.console = kept
	b.mu.Unlock()
	b.clean()
}

// contrast fails the test for text that stands out from its background by less
// than 4.5, or 3 where it is large (WCAG 2.2, 1.4.3).
func (b *browser) contrast() {
	b.t.Helper()
	got := b.eval(`(() => {
	const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgba = (c) => { paint.clearRect(0, 0, 1, 1); paint.fillStyle = c; paint.fillRect(0, 0, 1, 1); const d = paint.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
	const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3]));
	const lum = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const bad = [];
	const walk = document.createTreeWalker(document.querySelector("dialog[open]") || document.body, NodeFilter.SHOW_TEXT);
	for (let n; (n = walk.nextNode()); ) {
		const el = n.parentElement, st = getComputedStyle(el);
		if (!n.data.trim() || !el.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || el.closest(".unseen, .skip, [disabled], option, noscript, .peer.draining .span")) continue;
		let back = [], opaque = false;
		for (let e = el; e && !opaque; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 0) { back.unshift(c); opaque = c[3] === 1; } }
		let at = rgba("Canvas"); for (const c of back) at = [...over(c, at), 1];
		const fore = over(rgba(st.color), at), a = lum(fore), z = lum(at), ratio = (Math.max(a, z) + 0.05) / (Math.min(a, z) + 0.05);
		const size = parseFloat(st.fontSize), large = size >= 24 || size >= 18.66 && parseInt(st.fontWeight) >= 700;
		if (ratio < (large ? 3 : 4.5)) bad.push(n.data.trim().slice(0, 30) + " " + ratio.toFixed(2) + " " + st.color);
	}
	return [...new Set(bad)].slice(0, 12).join("; ");
})()`)
	if got != "" {
		b.t.Errorf("too little contrast: %v", got)
	}
}
