package openai

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

const oneCall = "<think>\nHm.\n</think>\n\nLet me see.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"unit\": \"c\", \"days\": 2}}\n</tool_call>"

// TestClientsThatPeopleHave runs programs that use the clients of npm and of
// PyPI. SHARDNODE_TEST_NODE_MODULES names the folder in which
// testdata/clients/package.json was installed, SHARDNODE_TEST_PYTHON a Python
// that has openai.
func TestClientsThatPeopleHave(t *testing.T) {
	modules, python := os.Getenv("SHARDNODE_TEST_NODE_MODULES"), os.Getenv("SHARDNODE_TEST_PYTHON")
	if modules == "" && python == "" {
		t.Skip("SHARDNODE_TEST_NODE_MODULES and SHARDNODE_TEST_PYTHON are not set: no clients to test with")
	}
	h := newHandler(t, newTalker(t, qwen, oneCall))
	ts := httptest.NewUnstartedServer(h)
	ts.Config = NewServer(h, zerolog.Nop())
	ts.Start()
	defer ts.Close()
	if modules != "" {
		// A program finds its modules above where it lies.
		b, err := os.ReadFile("testdata/clients/clients.mjs")
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.CreateTemp(modules, "clients-*.mjs")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(f.Name())
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		runClient(t, "node", f.Name(), ts.URL, testKey)
	}
	if python != "" {
		runClient(t, python, "testdata/clients/clients.py", ts.URL, testKey)
	}
}

func runClient(t *testing.T, name string, args ...string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("content")) {
		t.Errorf("%s %v: %v\n%.4000s", name, args[0], err, out)
	}
}
