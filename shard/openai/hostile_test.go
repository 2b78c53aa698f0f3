package openai

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// bodies are one good body for each place that takes one.
var bodies = map[string]string{
	"/v1/chat/completions": `{"model":"story","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"get_weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a","content":"x"}],"tools":[` + weatherTool + `],"tool_choice":"auto","n":2,"stop":["x"],"logit_bias":{"5":1},"max_tokens":5,"stream":true,"stream_options":{"include_usage":true},"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","properties":{"a":{"type":"string","pattern":"^a+$"},"b":{"$ref":"#"}}}}}}`,
	"/v1/completions":      `{"model":"story","prompt":["Hi",[1,2]],"max_tokens":3,"logprobs":2,"echo":false,"grammar":"root ::= [a-z]+"}`,
	"/v1/responses":        `{"model":"story","input":[{"role":"user","content":[{"type":"input_text","text":"Hi"}]},{"type":"function_call","call_id":"a","name":"f","arguments":"{}"}],"tools":[` + flatTool + `],"max_output_tokens":5,"text":{"format":{"type":"json_object"}},"reasoning":{"effort":"none"}}`,
	"/v1/messages":         `{"model":"story","max_tokens":5,"system":[{"type":"text","text":"x"}],"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"x"}]}],"tool_choice":{"type":"auto"},"tools":[{"name":"f","input_schema":{"type":"object"}}],"stream":true}`,
	"/api/chat":            `{"model":"story","messages":[{"role":"user","content":"Hi"}],"format":{"type":"integer"},"options":{"num_predict":5,"temperature":0.5},"think":false}`,
	"/api/generate":        `{"model":"story","prompt":"Hi","system":"x","options":{"num_predict":5},"stream":false}`,
	"/tokenize":            `{"model":"story","content":"Hi","with_pieces":true}`,
	"/detokenize":          `{"tokens":[1,2,3]}`,
	"/api/show":            `{"model":"story"}`,
}

// spoil changes a good body: a value becomes another, a field goes or is new,
// or bytes are torn out.
func spoil(r *rand.Rand, body string) string {
	if r.IntN(4) == 0 {
		i := r.IntN(len(body))
		j := min(len(body), i+r.IntN(20))
		return body[:i] + string([]byte{byte(r.IntN(256))}) + body[j:]
	}
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	v = spoilValue(r, v)
	b, _ := json.Marshal(v) // it came from JSON
	return string(b)
}

func spoilValue(r *rand.Rand, v any) any {
	others := []any{nil, true, -1, 1.5, 1e300, "", "\x00\x7f", []any{}, map[string]any{}, strings.Repeat("a", 5000), map[string]any{"type": "x"}, []any{nil, 3, "x"}}
	if r.IntN(5) == 0 {
		return others[r.IntN(len(others))]
	}
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if r.IntN(len(v)+1) == 0 {
				v[k] = spoilValue(r, v[k])
			}
			if r.IntN(12) == 0 {
				delete(v, k)
			}
		}
		if r.IntN(12) == 0 {
			v["field"+fmt.Sprint(r.IntN(5))] = others[r.IntN(len(others))]
		}
		return v
	case []any:
		for i := range v {
			if r.IntN(2) == 0 {
				v[i] = spoilValue(r, v[i])
			}
		}
		return v
	}
	return others[r.IntN(len(others))]
}

func TestAThousandMalformedRequestsDoNoHarm(t *testing.T) {
	h := newHandler(t, newTalker(t, qwen, oneCall))
	r := rand.New(rand.NewPCG(*seed, 3))
	paths := []string{}
	for p := range bodies {
		paths = append(paths, p)
	}
	refused := 0
	for i := range 1500 {
		path := paths[r.IntN(len(paths))]
		body := bodies[path]
		for range r.IntN(3) + 1 {
			body = spoil(r, body)
		}
		w := do(t, h, "POST", path, body)
		if w.Code >= 500 && w.Code != 503 {
			t.Errorf("request %d of seed %d: %s %.500s: %d %s", i, *seed, path, body, w.Code, w.Body)
		}
		if w.Code >= 400 {
			refused++
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: an error that is no JSON: %s", path, w.Body)
			}
		}
	}
	if refused < 1000 {
		t.Errorf("%d requests were refused, want a thousand: the test spoils too little", refused)
	}
	if !h.turns.idle() || h.admitted.Load() != 0 || h.bodies.Load() != 0 {
		t.Error("something is still counted")
	}
	if w := do(t, h, "POST", "/v1/chat/completions", chatBody(`"temperature":0`)); w.Code != 200 {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}

func FuzzRequest(f *testing.F) {
	for p, b := range bodies {
		f.Add(p, b)
	}
	b := newTalker(f, qwen, oneCall)
	h := newHandler(f, b)
	f.Fuzz(func(t *testing.T, path, body string) {
		if _, ok := bodies[path]; !ok {
			return
		}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		w := httptest.NewRecorder()
		began := time.Now()
		h.ServeHTTP(w, request(ctx, "POST", path, body))
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("%s %q took %v", path, body, took)
		}
		if w.Code >= 500 && w.Code != 503 {
			t.Errorf("%s %q: %d %s", path, body, w.Code, w.Body)
		}
	})
}

func TestGoodBodiesAreGood(t *testing.T) {
	h := newHandler(t, newTalker(t, qwen, oneCall))
	for path, body := range bodies {
		if w := do(t, h, "POST", path, body); w.Code != 200 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestSlowAndLargeClientsDoNotKeepOthersOut holds a server with clients that
// send a byte now and then, bodies of 10 MB, and idle connections.
func TestSlowAndLargeClientsDoNotKeepOthersOut(t *testing.T) {
	b := newBackend(t, tale)
	h := newHandler(t, b)
	ts := httptest.NewUnstartedServer(h)
	ts.Config = NewServer(h, zerolog.Nop())
	ts.Start()
	defer ts.Close()
	addr := ts.Listener.Addr().String()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + testKey + "\r\nContent-Type: application/json\r\n"
	for i := range 300 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		switch i % 3 {
		case 0: // idle
		case 1: // in the midst of the head
			_, err = io.WriteString(c, head)
		case 2: // in the midst of a small body
			_, err = io.WriteString(c, head+"Content-Length: 200\r\n\r\n{")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			body := chatBody(`"user":"` + strings.Repeat("x", 10<<20) + `"`)
			resp, err := ts.Client().Do(remote(t, ts.URL, body))
			if err == nil { // it may be cut off while it sends
				_ = resp.Body.Close()
				if resp.StatusCode != 413 {
					t.Errorf("10 MB: status %d, want 413", resp.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 300<<20 {
		t.Errorf("%d MiB are in use", m.HeapAlloc>>20)
	}
	resp, err := ts.Client().Do(remote(t, ts.URL, chatBody(`"temperature":0`)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("a good request among them: status %d", resp.StatusCode)
	}
}

func TestKeysTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, "Hi.")
		b.stepTime = time.Second
		h := newHandler(t, b, func(c *Config) {
			c.Key, c.MaxRunning, c.MaxQueued = testKey+"\nsk-other\n", 1, 20
		})
		var mu sync.Mutex
		var order []string
		status := map[int]int{}
		var wg sync.WaitGroup
		ask := func(key string) {
			wg.Go(func() {
				r := request(context.Background(), "POST", "/v1/chat/completions", chatBody(""))
				r.Header.Set("Authorization", "Bearer "+key)
				w := record(h, r)
				mu.Lock()
				defer mu.Unlock()
				if status[w.Code]++; w.Code == 200 {
					order = append(order, key)
				}
			})
			synctest.Wait()
		}
		for range 12 {
			ask(testKey)
		}
		ask("sk-other")
		wg.Wait()
		if status[200] != 11 || status[429] != 2 {
			t.Errorf("statuses %v, want 10 of the first key and 1 of the other, and 2 of 429", status)
		}
		if len(order) < 3 || order[2] != "sk-other" && order[1] != "sk-other" {
			t.Errorf("order %v, want the other key's request second or third", order)
		}
		if w := do(t, h, "GET", "/v1/models", ""); w.Code != 200 {
			t.Errorf("the first key: %d", w.Code)
		}
	})
}
