package openai

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/grammar"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/reply"
	"github.com/shardnode/shardnode/shard/sample"
)

// A prompt is one prompt of a request.
type prompt struct {
	ids  []shard.Token
	echo string // text that comes before the answer
}

// A job is a request that has been read and whose model is known.
type job struct {
	settings
	target Model
	// prepare encodes the prompts; it may take a while.
	prepare func() ([]prompt, error)
	// form, if prepare set it, is what an answer must be a text of.
	form *grammar.Form
	// parser, if prepare set it, makes the parser of a choice.
	parser func() *reply.Parser
	// oneCall ends an answer after its first call of a tool.
	oneCall bool

	format format
	key    int  // of the client
	asked  bool // for the shardnode object
	empty  bool // nothing is to be generated, see ollamaRequest
	// promptTokens is known once the prompts are.
	promptTokens int
	waiting      waitingOn // for the client's eyes
}

// A piece is what one choice of an answer grows by.
type piece struct {
	choice    int
	text      string
	reasoning string
	call      *callPiece
	tokens    []tokenLogprob // only if asked for
	finish    string         // set on the last piece of a choice
	stop      string         // the stop string that ended the choice
	prompt    int            // tokens of all prompts
}

// A callPiece is what a call of a tool grows by.
type callPiece struct {
	index    int
	id, name string // of the first piece alone
	args     string
}

// The reasons of an answer's end, as OpenAI names them.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishCalls  = "tool_calls"
)

// A tokenLogprob is a token of an answer with its log-probability.
type tokenLogprob struct {
	bytes   string
	logprob float64
	top     []tokenLogprob // without top
	// offset is the number of characters of the choice before the token.
	offset int
}

// An outcome is what a job did.
type outcome struct {
	promptTokens, cachedTokens, answerTokens, reasoningTokens int

	times  generate.Times // of the first choice
	stats  pipeline.Stats
	queued time.Duration
}

// waitingOn says what a request waits for. It is written by the goroutine that
// generates and read by the one that writes.
type waitingOn struct{ what atomic.Pointer[string] }

func (w *waitingOn) set(what string) { w.what.Store(&what) }

func (w *waitingOn) String() string {
	if p := w.what.Load(); p != nil {
		return *p
	}
	return ""
}

// run waits for j's turn, opens a session and generates all choices, one after
// another. emit gets every piece as it comes; an error of it ends the job.
func (h *Handler) run(ctx context.Context, j *job, emit func(piece) error) (out outcome, err error) {
	began := time.Now()
	j.waiting.set("its turn")
	release, err := h.turns.enter(ctx, j.key)
	if err != nil {
		return out, err
	}
	defer release()
	out.queued = time.Since(began)
	prompts, err := j.prepare()
	if err != nil {
		return out, err
	}
	longest := 0
	for _, p := range prompts {
		longest = max(longest, len(p.ids))
		out.promptTokens += len(p.ids)
	}
	j.promptTokens = out.promptTokens
	most := j.target.ContextTokens
	if longest >= most {
		return out, invalid(j.format.promptField(), "context_length_exceeded",
			"the prompt has %d tokens, the model's context is %d with the answer: shorten it", longest, most)
	}
	tokens := j.maxTokens
	if tokens == 0 {
		tokens = h.cfg.DefaultTokens
	}
	room := longest + min(tokens, most-longest)
	j.waiting.set("a route")
	sess, err := h.cfg.Backend.Open(ctx, OpenRequest{
		Model: j.target.ID, Tokens: room, Prompt: prompts[0].ids, Waiting: j.waiting.set,
	})
	if err != nil {
		return out, err
	}
	defer func() {
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer stop()
		out.stats = sess.Close(ctx)
	}()
	j.waiting.set("the first token")
	tl := generate.NewTimeline(j.target.Text, sess, room)
	tl.Holds(prompts[0].ids[:sess.Ready()])
	for i, p := range prompts {
		for k := range j.choices {
			c := &choice{job: j, index: i*j.choices + k, emit: emit}
			if err := c.run(ctx, tl, p, uint64(k), tokens, &out); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// A choice is one answer under way.
type choice struct {
	job    *job
	index  int
	emit   func(piece) error
	parser *reply.Parser // nil: all is text
	chars  int           // emitted so far

	reasoning int // tokens of it
}

// errEnough ends an answer that has all that it may.
var errEnough = errors.New("the answer has what it may")

// run generates the choice. Choices of one prompt differ by their seed.
func (c *choice) run(ctx context.Context, tl *generate.Timeline, p prompt, seed uint64, tokens int, out *outcome) error {
	j := c.job
	if p.echo != "" {
		if err := c.add(piece{text: p.echo}); err != nil {
			return err
		}
	}
	if j.parser != nil {
		c.parser = j.parser()
	}
	params := j.sampling
	params.Seed += seed
	answer, err := tl.Run(ctx, generate.Request{
		Prompt: p.ids, MaxTokens: tokens, Sampling: params, Stop: j.stop, IgnoreEnd: j.ignoreEnd, Form: j.form,
		Progress: j.progress,
	}, c.token)
	out.answerTokens += len(answer.IDs)
	if c.index == 0 {
		out.times = answer.Times
		out.cachedTokens = answer.Times.CachedTokens
	}
	out.reasoningTokens += c.reasoning
	if errors.Is(err, errEnough) {
		answer.Finish, err = generate.Stopped, nil
	}
	if err != nil {
		return err
	}
	finish := string(answer.Finish)
	if c.parser != nil {
		if err := c.parts(c.parser.End(), nil); err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if c.parser.Calls() > 0 && finish == finishStop {
			finish = finishCalls
		}
	}
	return c.add(piece{finish: finish, stop: answer.Stop})
}

// token takes one token of the answer.
func (c *choice) token(t generate.Token) error {
	j := c.job
	var tokens []tokenLogprob
	// An end token is no part of the text, and -1 is no token.
	if j.sampling.Logprobs && t.ID >= 0 && (j.ignoreEnd || !j.target.Text.Tokenizer.IsEnd(t.ID)) {
		tokens = []tokenLogprob{c.logprobs(t.Logprobs)}
	}
	if c.parser != nil {
		return c.parse(t, tokens)
	}
	if t.Text == "" && len(tokens) == 0 {
		return nil
	}
	return c.add(piece{text: t.Text, tokens: tokens})
}

// parse takes a token of an answer that has more parts than text.
func (c *choice) parse(t generate.Token, tokens []tokenLogprob) error {
	parts := c.parser.Text(t.Text)
	tok := c.job.target.Text.Tokenizer
	if t.ID >= 0 && tok.IsControl(t.ID) && !tok.IsEnd(t.ID) {
		// Text before it, held back until now, was parsed above.
		parts = append(parts[:len(parts):len(parts)], c.parser.Control(tok.Piece(t.ID))...)
	}
	if t.ID >= 0 && c.parser.Thinking() {
		c.reasoning++
	}
	return c.parts(parts, tokens)
}

// parts emits what a parser found. The tokens go with the first.
func (c *choice) parts(parts []reply.Part, tokens []tokenLogprob) error {
	if len(parts) == 0 && len(tokens) > 0 {
		return c.add(piece{tokens: tokens})
	}
	for _, p := range parts {
		out := piece{tokens: tokens}
		tokens = nil
		switch p.Kind {
		case reply.Content:
			out.text = p.Text
		case reply.Reasoning:
			out.reasoning = p.Text
		case reply.Call:
			out.call = &callPiece{index: p.Index, name: p.Name, args: p.Text}
			if p.Name != "" {
				out.call.id = "call_" + rand.Text()
			}
		}
		if err := c.add(out); err != nil {
			return err
		}
	}
	if c.job.oneCall && c.parser.Complete() > 0 {
		return errEnough
	}
	return nil
}

func (c *choice) add(p piece) error {
	p.choice, p.prompt = c.index, c.job.promptTokens
	c.chars += utf8.RuneCountInString(p.text)
	return c.emit(p)
}

// progress tells the client how far a long prompt is.
func (j *job) progress(done, total int) {
	if total > 1 {
		j.waiting.set("the prompt, " + itoa(done) + " of " + itoa(total) + " tokens")
	}
}

func (c *choice) logprobs(l sample.Logprobs) tokenLogprob {
	out := c.logprob(l.Chosen)
	for _, t := range l.Top {
		out.top = append(out.top, c.logprob(t))
	}
	return out
}

// leastLogprob stands for minus infinity, which JSON has not; OpenAI's value.
const leastLogprob = -9999

func (c *choice) logprob(l sample.Logprob) tokenLogprob {
	p := max(l.Logprob, leastLogprob)
	if math.IsNaN(p) {
		p = leastLogprob
	}
	return tokenLogprob{bytes: c.job.target.Text.Tokenizer.Piece(l.ID), logprob: p, offset: c.chars}
}
