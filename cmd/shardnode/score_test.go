package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

// mia is the first prompt of the golden file of the embedded model.
const mia = "0,690,766,261,537,14,439,295,261,895,1155,357,887,16"

// scored is what `score --json` prints.
type scored struct {
	IDs        []shard.Token `json:"ids"`
	NLL        []*float64    `json:"nll"`
	Perplexity *float64      `json:"perplexity"`
	Logits     *struct {
		Shape []int  `json:"shape"`
		F32LE string `json:"f32le"`
	} `json:"logits"`
}

func parseScored(t *testing.T, text string) scored {
	t.Helper()
	var s scored
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("score printed %.200q: %v", text, err)
	}
	return s
}

// rows returns the logits of s.
func (s scored) rows(t *testing.T) [][]float32 {
	t.Helper()
	if s.Logits == nil || len(s.Logits.Shape) != 2 {
		t.Fatal("there are no logits of two dimensions")
	}
	b, err := base64.StdEncoding.DecodeString(s.Logits.F32LE)
	if err != nil {
		t.Fatal(err)
	}
	n, vocab := s.Logits.Shape[0], s.Logits.Shape[1]
	if len(b) != 4*n*vocab {
		t.Fatalf("logits of shape %v have %d bytes", s.Logits.Shape, len(b))
	}
	out := make([][]float32, n)
	for i := range out {
		for j := range vocab {
			out[i] = append(out[i], math.Float32frombits(binary.LittleEndian.Uint32(b[4*(i*vocab+j):])))
		}
	}
	return out
}

// distant returns the largest difference of two rows of logits.
func distant(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(float64(a[i])-float64(b[i])))
	}
	return worst
}

func idText(ids []shard.Token) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(parts, ",")
}

func readGolden(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(sharedFile(t, name))
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestScoreGivesTheGoldenLogitsOfTheStoryModel(t *testing.T) {
	var golden struct {
		Cases []struct {
			Text string        `json:"text"`
			IDs  []shard.Token `json:"ids"`
			F32  struct {
				Logits []float32 `json:"logits"`
			} `json:"f32"`
		} `json:"cases"`
	}
	readGolden(t, "kit/storymodel/golden.json", &golden)
	for _, c := range golden.Cases {
		got := parseScored(t, mustCommand(t, "score", "story", "--ids", idText(c.IDs), "--logits", "last", "--json"))
		// Hidden states are rounded to bfloat16 after every layer, the golden
		// ones are not.
		if d := distant(got.rows(t)[0], c.F32.Logits); d > 0.08 {
			t.Errorf("%q: logits differ by %g from the golden ones, want 0.08 at most", c.Text, d)
		}
	}
}

func TestScoreGivesTheGoldenLogitsOfStories260K(t *testing.T) {
	var golden struct {
		IDs    []shard.Token        `json:"ids"`
		Logits map[string][]float32 `json:"logits"`
	}
	readGolden(t, "data/models/stories260K-golden.json", &golden)
	file := sharedFile(t, "data/models/stories260K-f32.gguf")
	got := parseScored(t, mustCommand(t, "score", file, "--ids", idText(golden.IDs), "--logits", "all", "--json"))
	rows := got.rows(t)
	if len(rows) != len(golden.IDs) {
		t.Fatalf("%d rows of logits for %d tokens", len(rows), len(golden.IDs))
	}
	for step, want := range golden.Logits {
		n, err := strconv.Atoi(step)
		if err != nil {
			t.Fatal(err)
		}
		if d := distant(rows[n], want); d > 0.08 {
			t.Errorf("logits after token %d differ by %g from the golden ones, want 0.08 at most", n, d)
		}
	}
}

func TestScoreAgreesWithItsOwnLogits(t *testing.T) {
	got := parseScored(t, mustCommand(t, "score", "story", "--ids", mia, "--logits", "all", "--json"))
	rows := got.rows(t)
	if got.NLL[0] != nil {
		t.Errorf("nll of the first token is %g, want null", *got.NLL[0])
	}
	mean := 0.0
	for i, id := range got.IDs[1:] {
		sum := 0.0
		for _, x := range rows[i] {
			sum += math.Exp(float64(x))
		}
		want := math.Log(sum) - float64(rows[i][id])
		if nll := *got.NLL[i+1]; math.Abs(nll-want) > 1e-6 {
			t.Errorf("nll of token %d is %g, want %g", i+1, nll, want)
		}
		mean += *got.NLL[i+1] / float64(len(got.IDs)-1)
	}
	if want := math.Exp(mean); math.Abs(*got.Perplexity-want) > 1e-9*want {
		t.Errorf("perplexity is %g, want %g", *got.Perplexity, want)
	}
}

// manyIDs are so many tokens that they take several steps and frames.
func manyIDs(n int) string {
	ids := make([]shard.Token, n)
	for i := range ids {
		ids[i] = shard.Token(i * i * 7 % 2048)
	}
	return idText(ids)
}

func TestScoreIsTheSameBytesWhereverTheModelRuns(t *testing.T) {
	args := []string{"score", "story", "--ids", manyIDs(150), "--logits", "all", "--json"}
	alone := mustCommand(t, args...)
	for _, where := range [][]string{{"--threads", "1"}, {"--threads", "2"}, {"--peers", "2"}, {"--split", "1,4,1"}} {
		if got := mustCommand(t, append(args, where...)...); got != alone {
			t.Errorf("score %v prints other bytes than in one process", where)
		}
	}
}

func TestScoreReadsText(t *testing.T) {
	const text = "Once upon a time, there was a brave fox named Mia."
	file := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := mustCommand(t, "score", "story", "--ids", mia, "--json")
	if got := mustCommand(t, "score", "story", "--file", file, "--json"); got != want {
		t.Errorf("score --file prints %s, want what --ids prints, %s", got, want)
	}
	got, stderr, code := command(t, text, "score", "story", "--file", "-", "--json")
	if got != want || code != exitDone {
		t.Errorf("score --file - prints %s (exit status %d, %s), want %s", got, code, stderr, want)
	}
}

func TestScoreOfOneTokenHasNoPerplexity(t *testing.T) {
	const want = `{"ids":[5],"nll":[null],"perplexity":null}` + "\n"
	if got := mustCommand(t, "score", "story", "--ids", "5", "--json"); got != want {
		t.Errorf("score of one token prints %s, want %s", got, want)
	}
	got := parseScored(t, mustCommand(t, "score", "story", "--ids", "5", "--json", "--logits", "last"))
	if rows := got.rows(t); len(rows) != 1 || len(rows[0]) != 2048 {
		t.Errorf("logits of one token have the shape %v", got.Logits.Shape)
	}
}

func TestScorePrintsATableForPeople(t *testing.T) {
	got := mustCommand(t, "score", "story", "--ids", mia)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 16 || !strings.Contains(lines[2], `"Once"`) || !strings.HasPrefix(lines[15], "perplexity 4.0") {
		t.Errorf("score prints\n%s", got)
	}
}

func TestScoreSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"story"}, exitUsage, "--ids"},
		{[]string{"story", "--ids", "1", "--file", "x"}, exitUsage, "not both"},
		{[]string{"story", "--ids", "1,x"}, exitUsage, `"x"`},
		{[]string{"story", "--ids", "99999"}, exitUsage, "99999"},
		{[]string{"story", "--ids", "1", "--logits", "some", "--json"}, exitUsage, "last or all"},
		{[]string{"story", "--ids", "1", "--logits", "last"}, exitUsage, "--json"},
		{[]string{"story", "--ids", "1", "--split", "5,5"}, exitUsage, "10 layers"},
		{[]string{"stori", "--ids", "1"}, exitFailed, "hint"},
		{[]string{"story", "--file", "/no/such/file"}, exitFailed, "/no/such/file"},
		{[]string{"story", "--ids", manyIDs(5000)}, exitFailed, "context"},
	} {
		t.Run(fmt.Sprintf("%.40v", c.args), func(t *testing.T) {
			wantFailure(t, c.code, append([]string{"score"}, c.args...), c.text)
		})
	}
}
