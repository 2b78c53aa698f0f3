package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/scheduler"
)

// clusterText is three peers for a model of 12 layers of 1 GB: a is twice as
// fast as b and c, and all of them together have just enough memory to lose
// one.
const clusterText = `
name: three
model: {name: twelve, layers: 12, layer_bytes: 1.0e9, embed_bytes: 0, head_bytes: 0, kv_bytes_per_token_layer: 1024, hidden_bytes: 2048}
peers:
  - {id: a, memory_bytes: 8.1e9, decode_ms: [[1, 1]]}
  - {id: b, memory_bytes: 8.1e9, decode_ms: [[1, 2]]}
  - {id: c, name: carla, memory_bytes: 8.1e9, decode_ms: [[1, 2]]}
links: {default: {latency_ms: 1, mbit: 1000}}
`

// clusterFile writes clusterText to a file.
func clusterFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(path, []byte(clusterText), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func planned(t *testing.T, args ...string) planJSON {
	t.Helper()
	var got planJSON
	if err := json.Unmarshal([]byte(mustCommand(t, append([]string{"plan", "--json"}, args...)...)), &got); err != nil {
		t.Fatal(err)
	}
	at := got.Layout[0].Start
	for _, s := range got.Layout {
		if s.Start != at || s.End <= s.Start {
			t.Fatalf("the layout %v has a gap", got.Layout)
		}
		at = s.End
	}
	return got
}

// peersOf returns the peers of a layout, in the order of the layers.
func peersOf(l []assignmentJSON) string {
	var names []string
	for _, s := range l {
		names = append(names, string(s.Peer))
	}
	return strings.Join(names, " ")
}

func TestPlanOfAClusterFile(t *testing.T) {
	got := planned(t, "--cluster", clusterFile(t))
	if len(got.Layout) != 3 || got.Layout[2].End != 12 {
		t.Errorf("plan = %v, want 12 layers on three peers", got.Layout)
	}
	for _, s := range got.Layout {
		if want := map[scheduler.ID]int{"a": 6, "b": 3, "c": 3}[s.Peer]; int(s.End-s.Start) != want {
			t.Errorf("peer %s gets %d layers, want %d: layers in proportion to speed", s.Peer, s.End-s.Start, want)
		}
	}
	p := got.Predicted
	if p.TokSMany <= 0 || p.TokSOne <= 0 || p.TokSOne > p.TokSMany || p.TTFTms <= 0 || p.Bottleneck == "" || got.PlanMS <= 0 {
		t.Errorf("plan predicts %+v in %g ms", p, got.PlanMS)
	}
	if len(got.Rejected) == 0 || got.Rejected[0].Why == "" || got.Reasons != nil {
		t.Errorf("plan rejects %+v and gives reasons %q, want one rejected at least and no reasons", got.Rejected, got.Reasons)
	}
	if got := planned(t, "--cluster", clusterFile(t), "--explain"); len(got.Reasons) < 3 {
		t.Errorf("plan --explain gives the reasons %q, want one a peer", got.Reasons)
	}
}

func TestPlanHasTheKeysOfTheContract(t *testing.T) {
	var got map[string]json.RawMessage
	if err := json.Unmarshal([]byte(mustCommand(t, "plan", "--cluster", clusterFile(t), "--json")), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"layout", "predicted", "rejected", "plan_ms"} {
		if got[key] == nil {
			t.Errorf("plan --json has no %q", key)
		}
		delete(got, key)
	}
	if len(got) != 0 {
		t.Errorf("plan --json has more keys: %v", got)
	}
}

func TestPlanWithAPeerKilledOrAdded(t *testing.T) {
	file := clusterFile(t)
	for _, kill := range []string{"c", "carla"} {
		if got := peersOf(planned(t, "--cluster", file, "--kill", kill).Layout); strings.Contains(got, "c") || len(got) != 3 {
			t.Errorf("plan --kill %s = %s, want a and b", kill, got)
		}
	}
	for _, spec := range []string{
		"id=x,memory_bytes=8.1e9,decode_ms=2", "id=x,decode_ms=2", "id = x", `{"id":"x","memory_bytes":8.1e9,"decode_ms":[[1,2]]}`,
	} {
		if got := peersOf(planned(t, "--cluster", file, "--kill", "b", "--kill", "c", "--add", spec).Layout); !strings.Contains(got, "x") {
			t.Errorf("plan --add %s = %s, want x in it", spec, got)
		}
	}
	wantFailure(t, exitFailed, []string{"plan", "--cluster", file, "--kill", "a", "--kill", "b"}, "short of", "hint: ")
	wantFailure(t, exitUsage, []string{"plan", "--cluster", file, "--kill", "aa"}, `did you mean "a"?`)
	wantFailure(t, exitUsage, []string{"plan", "--cluster", file, "--kill", "a", "--kill", "b", "--kill", "c"}, "leaves no peer")
	for spec, text := range map[string]string{
		"id": "KEY=VALUE", "id=a": `"a"`, "id=x,id=y": "twice", "id=x,memory_bytes=much": "512MiB", "id=x,speed=1": "speed",
		"id=x,decode_ms=-1": "decode_ms", "id=x,up_mbit=fast": "fast", `{"id":`: "JSON", "": "KEY=VALUE",
	} {
		wantFailure(t, exitUsage, []string{"plan", "--cluster", file, "--add", spec}, "--add", text)
	}
}

func TestPlanForPeople(t *testing.T) {
	file := clusterFile(t)
	got := mustCommand(t, "plan", "--cluster", file)
	for _, text := range []string{"twelve: 12 layers on 3 peers", "  a            layers [", "bottleneck ", "why: ", "not: ", "planned in "} {
		if !strings.Contains(got, text) {
			t.Errorf("plan says\n%s\nwant it to mention %q", got, text)
		}
	}
	got, _, code := command(t, clusterText, "plan", "--cluster", "-", "--kill", "c")
	if code != exitDone || !strings.Contains(got, "on 2 peers") {
		t.Errorf("plan of standard input says\n%s", got)
	}
}

func TestPlanOfAModelHere(t *testing.T) {
	got := planned(t, "story")
	if len(got.Layout) != 1 || got.Layout[0].Peer != "this-machine" || got.Layout[0].End != 6 || len(got.Rejected) != 0 {
		t.Errorf("plan of a small model here = %+v, want all layers on this machine", got)
	}
	if got := planned(t, "story", "--peers", "3", "--goal", "spread", "--link", "latency=1ms"); len(got.Layout) != 3 {
		t.Errorf("plan on three machines uses %s", peersOf(got.Layout))
	}
	if got := planned(t, "story", "--peers", "2", "--memory", "8MiB"); len(got.Layout) != 2 {
		t.Errorf("plan on two machines too small for the model uses %s", peersOf(got.Layout))
	}
	wantFailure(t, exitFailed, []string{"plan", "story", "--memory", "8MiB"}, "short of", "hint: ")
	if got := planned(t, "story", "--cluster", clusterFile(t)); got.Layout[len(got.Layout)-1].End != 6 {
		t.Errorf("plan of a model on a cluster = %v, want the model's 6 layers", got.Layout)
	}
}

func TestPlanSaysWhatIsWrong(t *testing.T) {
	file := clusterFile(t)
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{nil, exitUsage, "--cluster"},
		{[]string{"story", "--goal", "few"}, exitUsage, "many, one or spread"},
		{[]string{"story", "--peers", "0"}, exitUsage, "--peers is 0"},
		{[]string{"story", "--context-tokens", "0"}, exitUsage, "--context-tokens is 0"},
		{[]string{"--cluster", file, "--peers", "2"}, exitUsage, "--peers"},
		{[]string{"--cluster", file + "x"}, exitFailed, "cluster.yamlx"},
		{[]string{"nomodel"}, exitFailed, "story"},
	} {
		wantFailure(t, c.code, append([]string{"plan"}, c.args...), c.text)
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"model":{"layers":0}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, exitFailed, []string{"plan", "--cluster", bad}, "bad.json", "layers")
}

func FuzzAddPeer(f *testing.F) {
	for _, spec := range []string{"id=x,memory_bytes=1GiB", `{"id":"x","decode_ms":[[1,2]]}`, "id=x,decode_ms=1e300", "{}", "=,"} {
		f.Add(spec)
	}
	cluster, err := scheduler.ParseCluster([]byte(clusterText))
	if err != nil {
		f.Fatal(err)
	}
	a := &app{stderr: io.Discard}
	f.Fuzz(func(t *testing.T, spec string) {
		with, err := a.editCluster(cluster, nil, []string{spec})
		if err != nil {
			return
		}
		if len(with.View.Peers) != 4 || len(cluster.View.Peers) != 3 {
			t.Fatalf("%q gives %d peers, want 4", spec, len(with.View.Peers))
		}
	})
}
