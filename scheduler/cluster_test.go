package scheduler

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

// sample is the example of CLI.md §4.
const sample = `{"name":"two laptops and a nuc",
 "model":{"name":"llama-2-70b","layers":80,"layer_bytes":1530000000,"embed_bytes":0,"head_bytes":0,
          "kv_bytes_per_token_layer":4096,"hidden_bytes":16384},
 "peers":[{"id":"a","memory_bytes":17179869184,"decode_ms":[[1,7.1],[16,7.8],[100,11.7]],"prefill_ms_per_token":0.064,
           "up_mbit":100,"down_mbit":100,"region":"eu","throughput":[5709,2434,1348,758]}],
 "links":{"default":{"latency_ms":1,"mbit":8000},"eu:us":{"latency_ms":50,"mbit":100},"a:b":{"latency_ms":0.3,"mbit":1000}}}`

const sampleYAML = `
name: two laptops and a nuc
model: {name: llama-2-70b, layers: 80, layer_bytes: 1.53e+9, embed_bytes: 0, head_bytes: 0,
        kv_bytes_per_token_layer: 4096, hidden_bytes: 16384}
peers:
  - id: a
    memory_bytes: 17179869184
    decode_ms: [[1, 7.1], [16, 7.8], [100, 11.7]]
    prefill_ms_per_token: 0.064
    up_mbit: 100
    down_mbit: 100
    region: eu
    throughput: [5709, 2434, 1348, 758]
links:
  default: {latency_ms: 1, mbit: 8000}
  "eu:us": {latency_ms: 50, mbit: 100}
  "a:b": {latency_ms: 0.3, mbit: 1000}
`

func TestClusterFilesAreReadInJSONAndYAML(t *testing.T) {
	c, err := ParseCluster([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	y, err := ParseCluster([]byte(sampleYAML))
	if err != nil || !reflect.DeepEqual(c, y) {
		t.Errorf("as YAML: %+v, %v, as JSON: %+v", y, err, c)
	}
	p := c.View.Peers[0]
	if c.View.Model.LayerBytes[0] != 1_530_000_000 || p.DecodeMS[2] != (Timing{100, 11.7}) || p.Region != "eu" ||
		c.View.Links.Pairs["eu:us"] != (Link{50, 100}) || c.View.Links.Default != (Link{1, 8000}) {
		t.Errorf("ParseCluster = %+v", c)
	}
}

func TestClusterFilesRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(*seedFlag, 4))
	for range 100 {
		c := Cluster{Name: "x", View: randomView(r, 6, 9)}
		c.View.Peers[0].Held, c.View.Peers[0].Role = shard.Span{Start: 0, End: 1}, Draining
		b, err := c.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCluster(b)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("seed %d: %s gives %+v, %v, want %+v", *seedFlag, b, got, err, c)
		}
	}
}

func TestBadClusterFilesSayWhatIsWrong(t *testing.T) {
	for _, tc := range []struct{ old, now, want string }{
		{`"layers":80`, `"layers":0`, "layers"},
		{`"layers":80`, `"layers":1e9`, "layers"},
		{`"layers":80`, `"layer":80`, `"layer"`},
		{`"id":"a"`, `"id":""`, "id"},
		{`"memory_bytes":17179869184`, `"memory_bytes":-1`, "bytes"},
		{`"memory_bytes":17179869184`, `"memory_bytes":0.5`, "bytes"},
		{`[16,7.8]`, `[16]`, "decode_ms"},
		{`[16,7.8]`, `[0.5,7.8]`, "decode_ms"},
		{`[16,7.8]`, `[16,-7.8]`, "decode_ms"},
		{`"up_mbit":100`, `"up_mbit":-100`, "up_mbit"},
		{`5709`, `0`, "throughput"},
		{`"latency_ms":50`, `"latency_ms":-50`, "link eu:us"},
		{`"region":"eu"`, `"role":"boss"`, "role"},
		{`"region":"eu"`, `"pinned":[70,90]`, "[70,90)"},
		{`"region":"eu"`, `"held":[7]`, "held"},
		{`1530000000`, `[1,2]`, "layer_bytes"},
		{`1530000000`, `[]`, "layer_bytes"},
		{`1530000000`, `null`, "null is no number of bytes"},
		{sample, sample + "{}", "after"},
		{sample, "", "empty"},
		{sample, "a: [", "yaml"},
		{sample, "- 1", "cluster file"},
	} {
		text := strings.Replace(sample, tc.old, tc.now, 1)
		if _, err := ParseCluster([]byte(text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("with %s for %.20s: %v, want an error that names %s", tc.now, tc.old, err, tc.want)
		}
	}
}

func FuzzParseCluster(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(sampleYAML))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCluster(b)
		if err != nil || len(c.View.Peers) > 6 || c.View.Model.Layers > 20 {
			return
		}
		// Whatever is accepted can be planned for, and written.
		if r, err := Plan(c.View, Params{}); err == nil {
			if err := checkLayout(c.View, r.Layout, 2048); err != nil {
				t.Error(err)
			}
		}
		if _, err := Route(c.View, Request{Tokens: 10}); err == nil && c.View.Model.Layers == 0 {
			t.Error("a route without layers")
		}
		text, err := c.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseCluster(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}
