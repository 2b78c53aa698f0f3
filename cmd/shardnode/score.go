package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/tensorio/vec"
)

type scoreFlags struct {
	placeFlags
	ids, file, logits string
	json              bool
}

func (a *app) scoreCommand() *cobra.Command {
	f := &scoreFlags{}
	cmd := &cobra.Command{
		Use:   "score MODEL",
		Short: "log-probability of given tokens, and perplexity",
		Long: `score feeds tokens to a model and says how likely each was after those before
it: nll is -log p(token | tokens before), perplexity is exp of the mean. Where
the model runs (--peers, --split, --threads) changes no bit of the output.`,
		Example: `  shardnode score story --ids 0,690,766,261
  shardnode score model.gguf --file text.txt --json
  shardnode score story --ids 0,690 --logits last --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.score(cmd.Context(), f, args[0]) },
	}
	f.placeFlags.add(cmd.Flags())
	cmd.Flags().StringVar(&f.ids, "ids", "", "token ids: 1,2,3")
	cmd.Flags().StringVar(&f.file, "file", "", "file with the text to score; - is standard input")
	cmd.Flags().StringVar(&f.logits, "logits", "", "with --json, add logits: after the last token (last) or after every one (all)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// scoreJSON is the answer of `score --json` but for the logits (CLI.md §3).
type scoreJSON struct {
	IDs        []shard.Token `json:"ids"`
	NLL        []*float64    `json:"nll"` // of the first token: null
	Perplexity *float64      `json:"perplexity"`
	KVType     string        `json:"kv_type,omitempty"` // absent: f16
}

const (
	// scoreChunk is how many tokens are scored in one step. Each of its rows
	// brings the logits of all next tokens, which must fit a frame's header.
	scoreChunk = 64
	// maxLogitBytes bounds the logits that are kept until they are printed.
	maxLogitBytes = 2 << 30
)

func (a *app) score(ctx context.Context, f *scoreFlags, ref string) error {
	switch {
	case (f.ids == "") == (f.file == ""):
		return usage("score needs --ids 1,2,3 or --file TEXT, and not both")
	case f.logits != "" && f.logits != "last" && f.logits != "all":
		return usage("--logits is %q, want last or all", f.logits)
	case f.logits != "" && !f.json:
		return usage("--logits goes with --json")
	}
	var text []byte
	if f.file != "" {
		var err error
		if text, err = a.readInput(f.file); err != nil {
			return err
		}
	}
	c, err := f.placeFlags.config(a.notify)
	if err != nil {
		return err
	}
	c.packs = a.packs(f.packed, a.notify)
	if c.kvBytes, err = scoreKV(ref, c.kv, max(len(text), strings.Count(f.ids, ",")+1)); err != nil {
		return err
	}
	p, err := openPlace(ctx, ref, c)
	if err != nil {
		return err
	}
	defer p.close()
	ids, err := p.scoreIDs(f, string(text))
	if err != nil {
		return err
	}
	s := &scorer{vocab: p.config.Vocab, ids: ids, logits: f.logits, out: scoreJSON{IDs: ids, NLL: make([]*float64, len(ids)), KVType: kvTypeName(p.kv)}}
	if err := s.run(ctx, p); err != nil {
		return err
	}
	if f.json {
		return s.printJSON(a.stdout)
	}
	return s.printTable(a.stdout, p.text.Tokenizer.Piece)
}

// manyTokens is from how many tokens on a session may not fit the KV cache that
// a model is loaded with by default.
const manyTokens = 2048

// scoreKV returns the KV cache to load a model with that is to score at most
// so many tokens, beside those that begin every prompt; 0 is the default.
func scoreKV(ref string, kv kvcache.Precision, tokens int) (int64, error) {
	if tokens <= manyTokens {
		return 0, nil
	}
	m, err := openPlanned(ref, kv)
	if err != nil {
		return 0, err
	}
	defer m.Close() //nolint:errcheck // it was only read
	return m.kvBytes(1, min(tokens+2, m.cfg.Context)), nil
}

// scoreIDs returns the tokens to score, which a session of the model can hold.
func (p *place) scoreIDs(f *scoreFlags, text string) ([]shard.Token, error) {
	ids := p.text.RawPrompt(text)
	if f.ids != "" {
		var err error
		if ids, err = parseIDs("ids", f.ids, p.config.Vocab); err != nil {
			return nil, err
		}
	}
	rows := 0
	switch f.logits {
	case "last":
		rows = 1
	case "all":
		rows = len(ids)
	}
	switch {
	case len(ids) == 0:
		return nil, usage("there is nothing to score: --file %s is empty", f.file)
	case len(ids) > p.config.Context:
		return nil, hint(fmt.Errorf("%d tokens to score, the model's context is %d", len(ids), p.config.Context),
			"score parts of the text, each on its own")
	case int64(rows)*int64(p.config.Vocab)*4 > maxLogitBytes:
		return nil, hint(fmt.Errorf("the logits of %d tokens have %s, want at most %s",
			rows, mib(int64(rows)*int64(p.config.Vocab)*4), mib(maxLogitBytes)), "score fewer tokens, or ask for --logits last")
	}
	return ids, nil
}

// A scorer scores one list of tokens.
type scorer struct {
	vocab  int
	ids    []shard.Token
	logits string // which are wanted: "", last or all
	out    scoreJSON
	rows   [][]float32 // the logits wanted, each [vocab]
}

// run feeds the tokens to the model at p.
func (s *scorer) run(ctx context.Context, p *place) error {
	feed := len(s.ids)
	if s.logits == "" {
		feed-- // what comes after the last token does not matter
	}
	if feed == 0 {
		return nil
	}
	sess, err := p.session(ctx, len(s.ids))
	if err != nil {
		return err
	}
	defer sess.Close(context.WithoutCancel(ctx))
	for lo := 0; lo < feed; lo += scoreChunk {
		if err := s.step(ctx, sess, lo, min(lo+scoreChunk, feed)); err != nil {
			return err
		}
	}
	if s.logits == "last" {
		row, err := sess.More(ctx, shard.Pos(feed-1))
		if err != nil {
			return err
		}
		s.rows = [][]float32{row}
	}
	return s.perplexity()
}

// step feeds the tokens [lo, hi) and scores those that follow each.
func (s *scorer) step(ctx context.Context, sess *pipeline.Session, lo, hi int) error {
	next := slices.Clone(s.ids[lo+1 : min(hi+1, len(s.ids))])
	slices.Sort(next)
	res, err := sess.Step(ctx, pipeline.Step{
		Pos: shard.Pos(lo), Tokens: s.ids[lo:hi], All: true, Full: s.logits == "all",
		Summary: sample.Request{Named: slices.Compact(next)},
	})
	if err != nil {
		return err
	}
	if len(res.Dists) != hi-lo {
		return fmt.Errorf("score: %d distributions for %d tokens", len(res.Dists), hi-lo)
	}
	s.rows = append(s.rows, res.Logits...)
	for i, d := range res.Dists {
		at := lo + i + 1
		if at == len(s.ids) {
			break
		}
		n := slices.IndexFunc(d.Named, func(n sample.Named) bool { return n.ID == s.ids[at] })
		if n < 0 {
			return fmt.Errorf("score: no logit of token %d at position %d", s.ids[at], at-1)
		}
		nll := d.LSE - float64(d.Named[n].Logit)
		if math.IsInf(nll, 0) || math.IsNaN(nll) {
			return fmt.Errorf("the model gives token %d at position %d no probability (log-sum-exp %g, logit %g): its weights may be damaged",
				s.ids[at], at, d.LSE, d.Named[n].Logit)
		}
		s.out.NLL[at] = &nll
	}
	return nil
}

// perplexity is exp of the mean of what was scored; none for one token.
func (s *scorer) perplexity() error {
	if len(s.ids) < 2 {
		return nil
	}
	sum := 0.0
	for _, nll := range s.out.NLL[1:] {
		sum += *nll
	}
	ppl := vec.ExpF64(sum / float64(len(s.ids)-1)) // the same bits on every machine
	if math.IsInf(ppl, 0) {
		return fmt.Errorf("the mean of -log p is %g: its exp is beyond a float64", sum/float64(len(s.ids)-1))
	}
	s.out.Perplexity = &ppl
	return nil
}

// printJSON prints the answer. The logits, which may be large, are encoded
// while they are written.
func (s *scorer) printJSON(w io.Writer) error {
	b, err := json.Marshal(s.out)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if s.logits == "" {
		return write(w, append(b, '\n'))
	}
	b = fmt.Appendf(b[:len(b)-1], `,"logits":{"shape":[%d,%d],"f32le":"`, len(s.rows), s.vocab)
	if err := write(w, b); err != nil {
		return err
	}
	enc := base64.NewEncoder(base64.StdEncoding, w)
	buf := make([]byte, 0, 4*s.vocab)
	for _, row := range s.rows {
		buf = buf[:0]
		for _, x := range row {
			buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
		}
		if err := write(enc, buf); err != nil {
			return err
		}
	}
	if err := enc.Close(); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return write(w, []byte("\"}}\n"))
}

// printTable prints a line for each token.
func (s *scorer) printTable(w io.Writer, piece func(shard.Token) string) error {
	b := fmt.Appendf(nil, "%6s %8s %10s  %s\n", "pos", "id", "nll", "token")
	for i, id := range s.ids {
		nll := "-"
		if s.out.NLL[i] != nil {
			nll = fmt.Sprintf("%.4f", *s.out.NLL[i])
		}
		b = fmt.Appendf(b, "%6d %8d %10s  %q\n", i, id, nll, piece(id))
	}
	if s.out.Perplexity != nil {
		b = fmt.Appendf(b, "perplexity %.4f over %d tokens\n", *s.out.Perplexity, len(s.ids)-1)
	}
	return write(w, b)
}

func write(w io.Writer, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}
