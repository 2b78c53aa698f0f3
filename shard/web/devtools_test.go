package web

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A browser is a headless Chromium that a test drives over a pipe, in the
// DevTools protocol.
type browser struct {
	t       *testing.T
	out     *os.File
	session string

	mu      sync.Mutex // guards what follows
	id      int
	waits   map[int]chan reply
	console []string // errors that pages wrote
	foreign []string // requests to other hosts
	host    string
}

type reply struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// patience bounds what a browser on a busy machine may take.
const patience = 25 * time.Second

// openBrowser starts Chromium, or skips the test: `make pages` names one.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	path := os.Getenv("SHARDNODE_CHROMIUM")
	if path == "" {
		t.Skip("SHARDNODE_CHROMIUM names no browser: `make pages` does")
	}
	toR, toW, err1 := os.Pipe()
	fromR, fromW, err2 := os.Pipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	profile, err := os.MkdirTemp("", "shardnode-browser-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
		"--disable-extensions", "--disable-background-networking", "--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{toR, fromW} // 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = toR.Close(), fromW.Close()
	b := &browser{t: t, out: toW, waits: map[int]chan reply{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.read(fromR)
	}()
	t.Cleanup(func() {
		b.session = ""
		b.call("Browser.close", map[string]any{}, nil)
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		_ = toW.Close()
		<-ended
		_ = os.RemoveAll(profile) // children of the browser may still end
	})
	var made struct {
		TargetID string `json:"targetId"`
	}
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &made)
	var joined struct {
		SessionID string `json:"sessionId"`
	}
	b.call("Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &joined)
	b.session = joined.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", map[string]any{}, nil)
	}
	return b
}

// read takes what the browser says.
func (b *browser) read(from *os.File) {
	in := bufio.NewReader(from)
	for {
		line, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var r reply
		if json.Unmarshal(line[:len(line)-1], &r) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.waits[r.ID]; c != nil && r.ID > 0 {
			delete(b.waits, r.ID)
			c <- r
		}
		b.note(&r)
		b.mu.Unlock()
	}
}

// note keeps what no page may do. The caller holds the lock.
func (b *browser) note(r *reply) {
	var p struct {
		Type  string `json:"type"`
		Entry struct {
			Level, Text, URL string
		} `json:"entry"`
		ExceptionDetails struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
	}
	if r.Method == "" || json.Unmarshal(r.Params, &p) != nil {
		return
	}
	switch r.Method {
	case "Runtime.exceptionThrown":
		b.console = append(b.console, p.ExceptionDetails.Text+" "+p.ExceptionDetails.Exception.Description)
	case "Runtime.consoleAPICalled":
		if p.Type == "error" || p.Type == "assert" {
			b.console = append(b.console, string(r.Params))
		}
	case "Log.entryAdded":
		if p.Entry.Level == "error" && !strings.Contains(p.Entry.Text, "net::ERR_") { // members come and go
			b.console = append(b.console, p.Entry.Text+" "+p.Entry.URL)
		}
	case "Network.requestWillBeSent":
		if u := p.Request.URL; b.host != "" && !strings.HasPrefix(u, b.host) && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "about:") {
			b.foreign = append(b.foreign, u)
		}
	}
}

// call asks the browser and reads its answer into into.
func (b *browser) call(method string, params any, into any) {
	b.t.Helper()
	b.mu.Lock()
	b.id++
	id, c := b.id, make(chan reply, 1)
	b.waits[id] = c
	b.mu.Unlock()
	msg := map[string]any{"id": id, "method": method, "params": params}
	if b.session != "" {
		msg["sessionId"] = b.session
	}
	line, err := json.Marshal(msg)
	if err == nil {
		_, err = b.out.Write(append(line, 0))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	select {
	case r := <-c:
		if r.Error != nil {
			b.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(r.Result, into); err != nil {
				b.t.Fatal(err)
			}
		}
	case <-time.After(patience):
		b.t.Fatalf("the browser does not answer %s", method)
	}
}

// open goes to a page.
func (b *browser) open(host, path string) {
	b.t.Helper()
	b.mu.Lock()
	b.host = host
	b.mu.Unlock()
	b.call("Page.navigate", map[string]any{"url": host + path}, nil)
	b.until("document.documentElement.dataset.ready !== undefined")
}

// eval returns what an expression gives; promises are waited for.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	var got struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		ExceptionDetails *struct {
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &got)
	if got.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, got.ExceptionDetails.Exception.Description)
	}
	return got.Result.Value
}

// until waits until an expression holds.
func (b *browser) until(expression string) {
	b.t.Helper()
	wait := fmt.Sprintf(`new Promise((ok, no) => { const end = Date.now() + %d; (function look() {
		let v = false; try { v = %s } catch {}
		if (v) ok(true); else if (Date.now() > end) ok(false); else setTimeout(look, 20) })() })`, patience.Milliseconds()-5000, expression)
	if b.eval(wait) != true {
		b.t.Fatalf("never: %s\nconsole: %q\npage: %v", expression, b.console, b.eval("document.body.innerText.slice(0, 2000)"))
	}
}

// size sets what a screen shows.
func (b *browser) size(width, height int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// shoot keeps a picture in the folder SHARDNODE_SHOTS, if that is set.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("SHARDNODE_SHOTS")
	if dir == "" {
		return
	}
	var got struct {
		Data string `json:"data"`
	}
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &got)
	png, err := base64.StdEncoding.DecodeString(got.Data)
	if err == nil {
		err = os.WriteFile(dir+"/"+name+".png", png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// press sends a key as a keyboard does.
func (b *browser) press(key, code string, vk int, text string) {
	b.t.Helper()
	b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyDown", "key": key, "code": code, "windowsVirtualKeyCode": vk, "text": text}, nil)
	b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": code, "windowsVirtualKeyCode": vk}, nil)
}

// write types text.
func (b *browser) write(text string) {
	b.t.Helper()
	b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// clean fails the test when a page did what none may do.
func (b *browser) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.console) > 0 {
		b.t.Errorf("errors in the console: %q", b.console)
	}
	if len(b.foreign) > 0 {
		b.t.Errorf("requests to other hosts: %q", b.foreign)
	}
}
