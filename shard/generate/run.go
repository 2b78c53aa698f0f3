package generate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/grammar"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
)

// driver is what a timeline needs of a session; [pipeline.Session] has it.
type driver interface {
	Step(ctx context.Context, st pipeline.Step) (pipeline.Result, error)
	More(ctx context.Context, pos shard.Pos) ([]float32, error)
}

// A Request says what to generate.
type Request struct {
	Prompt    []shard.Token
	MaxTokens int // at most that many new tokens
	Sampling  sample.Params
	Stop      []string
	// IgnoreEnd goes on past end tokens.
	IgnoreEnd bool
	// Form, if set, is what the answer must be a text of: no token comes that
	// leads elsewhere, and the answer ends where it is complete.
	Form *grammar.Form
	// Progress, if set, is called while a long prompt is worked on.
	Progress func(done, total int)
}

// A Finish is why an answer ended.
type Finish string

// The reasons of an answer's end.
const (
	Stopped  Finish = "stop"   // an end token or a stop string
	AtLength Finish = "length" // MaxTokens or the session's room were used up
	Failed   Finish = "error"  // an error, returned beside the answer
)

// A Token is one new token of an answer.
type Token struct {
	ID shard.Token
	// Text is what the token adds to the answer. It may be empty: a part of a
	// character, text that may yet become a stop string, or a control token,
	// before which nothing is held back.
	Text     string
	Logprobs sample.Logprobs
}

// An Answer is what a request gave, whole or up to an error.
type Answer struct {
	IDs    []shard.Token
	Text   string
	Finish Finish
	Stop   string // the stop string that ended it, "" if none did
	Times  Times
}

// Times says how long an answer took.
type Times struct {
	TTFT         time.Duration // from the request to the first token
	PromptTokens int           // computed now, not those kept from before
	CachedTokens int           // of the prompt, kept from before
	Prompt       time.Duration
	DecodeTokens int // tokens after the first
	Decode       time.Duration
}

// A Timeline is the token history of one session. It belongs to one goroutine.
type Timeline struct {
	text *Text
	sess driver
	room int // positions that the session has
	seen []shard.Token
}

// NewTimeline returns the empty timeline of sess, which has room positions.
func NewTimeline(text *Text, sess driver, room int) *Timeline {
	return &Timeline{text: text, sess: sess, room: room}
}

// Holds says that the session begins with tokens, which its stages computed
// before. The timeline must be empty.
func (tl *Timeline) Holds(tokens []shard.Token) { tl.seen = append(tl.seen, tokens...) }

// Run answers req. emit is called with every token as it comes; an error of it
// ends the answer. Positions that req's prompt shares with what the session has
// seen are not computed again. When ctx ends or a stage fails, Run returns what
// there is of the answer and the error.
func (tl *Timeline) Run(ctx context.Context, req Request, emit func(Token) error) (Answer, error) {
	a := &answering{tl: tl, req: req, began: time.Now(), decoder: tl.text.Tokenizer.NewDecoder(req.Prompt...)}
	err := a.run(ctx, emit)
	out := a.out
	out.Text = a.text.String()
	if a.stops != nil {
		out.Stop = a.stops.Stopped()
	}
	if err != nil {
		out.Finish = Failed
	}
	return out, err
}

// An answering is one call of Run.
type answering struct {
	tl      *Timeline
	req     Request
	began   time.Time
	sampler *sample.Sampler
	matcher *grammar.Matcher // nil: any text
	stops   *sample.Stops
	decoder interface {
		Push(id shard.Token) string
		Flush() string
	}
	text strings.Builder
	out  Answer
}

func (a *answering) run(ctx context.Context, emit func(Token) error) error {
	tl, req := a.tl, a.req
	if len(req.Prompt) == 0 {
		return errors.New("the prompt is empty: give at least one token")
	}
	if len(req.Prompt) >= tl.room {
		return fmt.Errorf("the prompt has %d tokens and the session room for %d: shorten it", len(req.Prompt), tl.room)
	}
	var err error
	req.Sampling.PromptTokens = len(req.Prompt)
	if a.sampler, err = sample.New(req.Sampling); err != nil {
		return err
	}
	if a.stops, err = sample.NewStops(req.Stop); err != nil {
		return err
	}
	if req.Form != nil {
		a.matcher = req.Form.Start()
	}
	limit := min(req.MaxTokens, tl.room-len(req.Prompt))
	history := append(make([]shard.Token, 0, len(req.Prompt)+max(0, limit)), req.Prompt...)
	pos := tl.shared(req.Prompt)
	a.out.Times.PromptTokens, a.out.Times.CachedTokens = len(req.Prompt)-pos, pos
	for a.out.Finish = AtLength; len(a.out.IDs) < limit; {
		tok, lp, err := a.next(ctx, history, pos)
		if err != nil {
			return err
		}
		pos = len(history)
		history = append(history, tok)
		a.out.IDs = append(a.out.IDs, tok)
		a.clock()
		complete, err := a.follow(tok)
		if err != nil {
			return err
		}
		done, text := a.say(tok)
		if complete && !done {
			done, text = true, text+a.rest()
		}
		if err := emit(Token{ID: tok, Text: text, Logprobs: lp}); err != nil {
			return err
		}
		if done {
			a.out.Finish = Stopped
			return nil
		}
	}
	if rest := a.rest(); rest != "" && len(a.out.IDs) > 0 {
		return emit(Token{ID: -1, Text: rest})
	}
	return nil
}

// shared returns how many positions of prompt need not be computed again: at
// most all but one, for the last gives the logits.
func (tl *Timeline) shared(prompt []shard.Token) int {
	n := 0
	for n < len(tl.seen) && n < len(prompt)-1 && tl.seen[n] == prompt[n] {
		n++
	}
	return n
}

// next computes history from pos on and chooses the token after it.
func (a *answering) next(ctx context.Context, history []shard.Token, pos int) (shard.Token, sample.Logprobs, error) {
	tl := a.tl
	tl.seen = tl.seen[:min(pos, len(tl.seen))]
	if err := a.constrain(); err != nil {
		return 0, sample.Logprobs{}, err
	}
	want := a.sampler.Request(history)
	step := pipeline.Step{Pos: shard.Pos(pos), Tokens: history[pos:], Summary: want, Full: want.Full}
	if len(history) == len(a.req.Prompt) {
		step.Progress = a.req.Progress
	}
	res, err := tl.sess.Step(ctx, step)
	if err != nil {
		return 0, sample.Logprobs{}, err
	}
	tl.seen = append(tl.seen, history[pos:]...)
	d, err := a.dist(res, want)
	if err != nil {
		return 0, sample.Logprobs{}, err
	}
	tok, lp, err := a.sampler.Next(d, history)
	if !errors.Is(err, sample.ErrNeedFull) {
		return tok, lp, err
	}
	logits, err := tl.sess.More(ctx, shard.Pos(len(history)-1))
	if err != nil {
		return 0, lp, err
	}
	want.Full = true
	return a.sampler.Next(sample.Summarize(logits, want), history)
}

// constrain tells the sampler what may come next.
func (a *answering) constrain() error {
	if a.matcher == nil {
		return nil
	}
	mask, err := a.matcher.Mask()
	if err == nil {
		a.sampler.Allow(sample.MaskOf(mask))
	}
	return err
}

// follow tells the matcher what came, and returns whether the answer is
// complete with it.
func (a *answering) follow(tok shard.Token) (complete bool, err error) {
	if a.matcher == nil {
		return false, nil
	}
	if err := a.matcher.Accept(tok); err != nil {
		return false, fmt.Errorf("token %d after a mask that must forbid it: %w", tok, err)
	}
	return a.matcher.Complete(), nil
}

// dist returns what the sampler needs of a step's result.
func (a *answering) dist(res pipeline.Result, want sample.Request) (sample.Dist, error) {
	if want.Full && len(res.Logits) == 1 {
		return sample.Summarize(res.Logits[0], want), nil
	}
	if len(res.Dists) != 1 {
		return sample.Dist{}, fmt.Errorf("the last stage gave logits of %d positions, want one", len(res.Dists))
	}
	return res.Dists[0], nil
}

// clock updates the times after a token.
func (a *answering) clock() {
	t, since := &a.out.Times, time.Since(a.began)
	if len(a.out.IDs) == 1 {
		t.TTFT, t.Prompt = since, since
		return
	}
	t.DecodeTokens, t.Decode = len(a.out.IDs)-1, since-t.TTFT
}

// say returns the text that tok adds, and whether it ends the answer.
func (a *answering) say(tok shard.Token) (done bool, text string) {
	if a.tl.text.Tokenizer.IsEnd(tok) && !a.req.IgnoreEnd {
		return true, a.rest()
	}
	text, done = a.stops.Push(a.decoder.Push(tok))
	if !done && a.tl.text.Tokenizer.IsControl(tok) {
		text += a.stops.Flush() // what comes later is not of the same text
	}
	a.text.WriteString(text)
	return done, text
}

// rest returns the text that was held back, at the end.
func (a *answering) rest() string {
	text, stopped := a.stops.Push(a.decoder.Flush())
	if !stopped {
		text += a.stops.Flush()
	}
	a.text.WriteString(text)
	return text
}
