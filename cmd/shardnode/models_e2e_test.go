package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// until waits until what `ps --json` of a home says satisfies ok.
func until(t *testing.T, home, what string, ok func(statusJSON) bool) statusJSON {
	t.Helper()
	late := time.After(patience)
	var st statusJSON
	for {
		if out, _, code := command(t, "", "ps", "--json", "--home", home); code == exitDone {
			st = statusJSON{}
			if err := json.Unmarshal([]byte(out), &st); err != nil {
				t.Fatal(err)
			}
			if ok(st) {
				return st
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-late:
			t.Fatalf("never came: %s: %+v", what, st)
		}
	}
}

// TestTwoModelsAnswerFromEitherMember has two processes, each with a model of
// its own, and asks both for both.
func TestTwoModelsAnswerFromEitherMember(t *testing.T) {
	const toy = "llama3-tied-bf16"
	file, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "data", "zoo", "zoo", "llama3-tied", toy+".gguf"))
	if err == nil {
		_, err = os.Stat(file)
	}
	if err != nil {
		t.Skipf("no second model: %v", err)
	}
	homes := []string{newHome(t), newHome(t)}
	desk := startProc(t, "serve", "story", "--name", "desk", "--home", homes[0], "--threads", "1", "--api", "127.0.0.1:0")
	desk.answering() // the invitation
	until(t, homes[0], "desk serves", func(st statusJSON) bool { return len(st.Models) == 1 && st.Models[0].Covered })
	inv := inJSON[invitedJSON](t, "invite", "--json", "--home", homes[0])
	startProc(t, "join", inv.Invitation, "--model", file, "--name", "nuc", "--home", homes[1], "--threads", "1", "--api", "127.0.0.1:0")
	for i, home := range homes {
		st := until(t, home, "both models are covered", func(st statusJSON) bool {
			return len(st.Models) == 2 && st.Models[0].Covered && st.Models[1].Covered
		})
		if own := []string{"story", toy}[i]; st.Models[0].Model != own || st.Models[0].MinHolders != 1 || st.Models[1].MinHolders != 1 {
			t.Errorf("models %+v, want %s first, each with one holder", st.Models, own)
		}
		for _, p := range st.Peers {
			if want := map[string]string{"desk": "story", "nuc": toy}[p.Name]; p.Model != want {
				t.Errorf("%s serves %q, want %q", p.Name, p.Model, want)
			}
		}
		if text := mustCommand(t, "ps", "--home", home); !strings.Contains(text, "model story, 6 layers") || !strings.Contains(text, "model "+toy+", ") {
			t.Errorf("ps prints %q", text)
		}
	}
	for _, model := range []struct{ ref, name, by string }{{"story", "story", "desk"}, {file, toy, "nuc"}} {
		args := []string{"run", model.ref, "Once upon a time", "--raw", "--temperature", "0", "--max-tokens", "12", "--json"}
		alone := inJSON[answerJSON](t, args...)
		for _, home := range homes {
			got := inJSON[answerJSON](t, append(args, "--home", home)...)
			if alone.Text == "" || got.Text != alone.Text || !slices.Equal(got.IDs, alone.IDs) || len(got.Route) != 1 || got.Route[0].Name != model.by {
				t.Errorf("%s over %v: %q, alone %q", model.name, got.Route, got.Text, alone.Text)
			}
			if text := completed(t, home, model.name); text != alone.Text {
				t.Errorf("the API of %s answers %q with %s, alone %q", home, text, model.name, alone.Text)
			}
		}
	}
	status, body := ask(t, homes[0], "/models", "")
	if status != http.StatusOK || !strings.Contains(body, `"story"`) || !strings.Contains(body, `"`+toy+`"`) {
		t.Errorf("/v1/models: %d %s", status, body)
	}
	if status, body = ask(t, homes[0], "/completions", `{"model":"none","prompt":"x"}`); status != http.StatusNotFound || !strings.Contains(body, "story, "+toy) {
		t.Errorf("a model that is not there: %d %s, want 404 and those that are", status, body)
	}
}

// completed asks the API of a home's member to go on with a text.
func completed(t *testing.T, home, model string) string {
	t.Helper()
	status, body := ask(t, home, "/completions", `{"model":"`+model+`","prompt":"Once upon a time","temperature":0,"max_tokens":12}`)
	var got struct {
		Choices []struct {
			Text string `json:"text"`
		} `json:"choices"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK || len(got.Choices) != 1 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	return got.Choices[0].Text
}

// ask posts a body to the API of a home's member, or gets what is there
// without one.
func ask(t *testing.T, home, path, body string) (status int, answer string) {
	t.Helper()
	c, err := (&app{home: home}).dialControl()
	if err != nil {
		t.Fatal(err)
	}
	var at homeJSON
	if err := c.call(t.Context(), "GET", "/home", nil, &at); err != nil {
		t.Fatal(err)
	}
	key, err := apiKey(at.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), method, at.API+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
