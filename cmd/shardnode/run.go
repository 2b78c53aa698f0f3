package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/kvcache"
)

// placeFlags are the flags that say where a model runs.
type placeFlags struct {
	peers   int
	split   string
	threads int
	memory  sizeFlag
	link    string
	kvType  kvTypeFlag
	quant   quantFlag
	packed  packedFlag
}

func (p *placeFlags) add(f *pflag.FlagSet) {
	f.IntVar(&p.peers, "peers", 0, "start this many members as processes on loopback, for this command alone")
	f.StringVar(&p.split, "split", "auto", "layers of each stage, for example 10,10,10; auto lets the planner decide")
	f.IntVar(&p.threads, "threads", 0, "threads that compute, of each member (default: one a processor)")
	f.Var(&p.memory, "memory", "bytes for weights and KV cache together, of each member, for example 4GiB")
	p.kvType.add(f)
	p.quant.add(f)
	p.packed.add(f)
	f.StringVar(&p.link, "link", "", "make hops between members behave like a link: latency=20ms,rate=100mbit,loss=0.5%,jitter=2ms")
}

// config returns the flags as openPlace takes them.
func (p *placeFlags) config(notify func(string, ...any)) (placeConfig, error) {
	if p.threads < 0 || p.threads > maxThreads {
		return placeConfig{}, usage("--threads is %d, want 1 to %d", p.threads, maxThreads)
	}
	if _, err := parseLink(p.link); err != nil {
		return placeConfig{}, err
	}
	return placeConfig{
		peers: p.peers, split: p.split, threads: p.threads, memory: int64(p.memory), link: p.link, notify: notify,
		kv: kvcache.Precision(p.kvType), quant: p.quant.Quant,
	}, nil
}

// maxThreads bounds --threads.
const maxThreads = 1024

// promptFlags are the flags that say what a model is given.
type promptFlags struct {
	system string
	raw    bool
	ids    string
}

func (p *promptFlags) add(f *pflag.FlagSet) {
	f.StringVar(&p.system, "system", "", "system message of the chat")
	f.BoolVar(&p.raw, "raw", false, "send the prompt as it is, without the chat template")
	f.StringVar(&p.ids, "ids", "", "send these token ids: 1,2,3")
}

// An outputFlags says how an answer is printed.
type outputFlags struct {
	json, stream bool
}

type runFlags struct {
	placeFlags
	promptFlags
	samplingFlags
	outputFlags
}

func (a *app) runCommand() *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run MODEL [PROMPT]",
		Short: "one answer, or a chat when no prompt is given",
		Long: `run answers PROMPT with MODEL: "story" (embedded) or the path of a .gguf file.
Without PROMPT it reads one from standard input, or keeps a chat on a terminal.
It uses the swarm of this home when a member of it runs here, else this machine.`,
		Example: `  shardnode run story "Tell me about a fox."
  shardnode run model.gguf --peers 3 --temperature 0 "Why is the sky blue?"
  echo "Once upon a time" | shardnode run story --raw --json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), f, args) },
	}
	f.placeFlags.add(cmd.Flags())
	f.promptFlags.add(cmd.Flags())
	f.samplingFlags.add(cmd.Flags())
	cmd.Flags().BoolVar(&f.json, "json", false, "print the answer as one JSON object")
	cmd.Flags().BoolVar(&f.stream, "stream", false, "with --json, print a line for every token first")
	return cmd
}

func (a *app) run(ctx context.Context, f *runFlags, args []string) error {
	if f.stream && !f.json {
		return hint(usage("--stream goes with --json"), "without --json the answer is streamed anyway")
	}
	params, err := f.params()
	if err != nil {
		return err
	}
	form, err := f.constraint()
	if err != nil {
		return err
	}
	c, err := f.placeFlags.config(a.notify)
	if err != nil {
		return err
	}
	c.packs = a.packs(f.packed, a.notify)
	if len(args) == 1 && f.ids == "" && a.stdinIsTerminal() {
		return a.chat(ctx, f, args[0], c)
	}
	prompt, err := a.promptText(f, args[1:])
	if err != nil {
		return err
	}
	if used, err := a.runInSwarm(ctx, f, params, form, args[0], prompt); used {
		return err
	}
	return a.runHere(ctx, f, c, generate.Request{MaxTokens: f.maxTokens, Sampling: params, Stop: f.stop}, form, args[0], prompt)
}

// runHere answers prompt with the model ref on members of this command alone.
func (a *app) runHere(ctx context.Context, f *runFlags, c placeConfig, req generate.Request, form generate.Constraint, ref, prompt string) error {
	p, err := openPlace(ctx, ref, c)
	if err != nil {
		return err
	}
	defer p.close()
	ids, err := p.promptIDs(f.promptFlags, prompt)
	if err != nil {
		return err
	}
	ready, err := p.text.Form(form)
	if err != nil {
		return err
	}
	req.Prompt, req.Form = ids, ready
	res, err := a.answerOnce(ctx, p, req, f.outputFlags, nil)
	if !f.json && err == nil {
		a.summary(res)
	}
	return err
}

// promptText returns the prompt of the command line, else of standard input.
func (a *app) promptText(f *runFlags, args []string) (string, error) {
	switch {
	case f.ids != "" && (len(args) > 0 || f.raw || f.system != ""):
		return "", usage("--ids is the whole prompt: give no PROMPT, --raw or --system beside it")
	case f.ids != "":
		return "", nil
	case f.raw && f.system != "":
		return "", usage("--system needs the chat template, and --raw leaves it out")
	case len(args) > 0:
		return args[0], nil
	}
	b, err := io.ReadAll(io.LimitReader(a.stdin, maxPromptBytes+1))
	if err != nil {
		return "", fmt.Errorf("read the prompt from standard input: %w", err)
	}
	if len(b) > maxPromptBytes {
		return "", fmt.Errorf("the prompt on standard input has more than %d bytes", maxPromptBytes)
	}
	text := strings.TrimSuffix(string(b), "\n")
	if text == "" {
		return "", hint(usage("there is no prompt"), "give one as an argument or on standard input")
	}
	return text, nil
}

// maxPromptBytes bounds a prompt from standard input.
const maxPromptBytes = 16 << 20

// promptIDs returns the tokens of a prompt.
func (p *place) promptIDs(f promptFlags, prompt string) ([]shard.Token, error) {
	switch {
	case f.ids != "":
		return parseIDs("ids", f.ids, p.config.Vocab)
	case f.raw:
		return p.text.RawPrompt(prompt), nil
	}
	var messages []chat.Message
	if f.system != "" {
		messages = append(messages, chat.Message{Role: "system", Content: f.system})
	}
	return p.chatIDs(append(messages, chat.Message{Role: "user", Content: prompt}))
}

// chatIDs returns the tokens of a conversation that waits for an answer.
func (p *place) chatIDs(messages []chat.Message) ([]shard.Token, error) {
	ids, err := p.text.ChatPrompt(generate.Chat{Messages: chat.FromMessages(messages), Now: time.Now()})
	if err != nil {
		return nil, hint(err, "the model's chat template refuses this; --raw sends the prompt without it")
	}
	return ids, nil
}

// answerOnce answers req in a session of its own and prints the answer.
// onToken, if set, hears of every token.
func (a *app) answerOnce(ctx context.Context, p *place, req generate.Request, out outputFlags, onToken func(n int) error) (answerJSON, error) {
	room, err := p.room(len(req.Prompt), req.MaxTokens)
	if err != nil {
		return answerJSON{}, err
	}
	p.predict(len(req.Prompt))
	pr := &printer{app: a, flags: out, onToken: onToken, tokens: p.text.Tokenizer.Piece}
	sess, err := p.session(ctx, room)
	if err != nil {
		res := p.noAnswer(req.Prompt, req.Sampling.Seed)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if res.Error = err.Error(); out.json {
			err = errors.Join(err, pr.end(res))
		}
		return res, explainAnswer(err)
	}
	ans, err := generate.NewTimeline(p.text, sess, room).Run(ctx, req, pr.token)
	stats := sess.Close(context.WithoutCancel(ctx))
	if ctx.Err() != nil && err != nil {
		err = context.Cause(ctx)
	}
	res := p.answer(req.Prompt, ans, stats, req.Sampling.Seed)
	res.Logprobs = pr.logprobs
	if err != nil {
		res.Error = err.Error()
	}
	return res, errors.Join(explainAnswer(err), pr.end(res))
}

// A printer prints tokens as they come.
type printer struct {
	app      *app
	flags    outputFlags
	onToken  func(n int) error
	tokens   func(shard.Token) string
	n        int
	logprobs []logprobJSON
	broken   bool // nothing more can be printed
}

// token prints one token.
func (p *printer) token(t generate.Token) error {
	if t.ID >= 0 {
		p.n++
		p.keepLogprobs(t)
	}
	var err error
	switch {
	case p.flags.json && p.flags.stream && t.ID >= 0:
		err = p.app.printJSON(struct {
			ID   shard.Token `json:"id"`
			Text string      `json:"text"`
		}{t.ID, t.Text})
	case !p.flags.json:
		_, err = io.WriteString(p.app.stdout, t.Text)
	}
	if err != nil {
		p.broken = true
		return fmt.Errorf("print the answer: %w", err)
	}
	if p.onToken != nil && t.ID >= 0 {
		return p.onToken(p.n)
	}
	return nil
}

func (p *printer) keepLogprobs(t generate.Token) {
	if len(t.Logprobs.Top) == 0 {
		return
	}
	lp := logprobJSON{ID: t.ID, Text: p.tokens(t.ID), Logprob: t.Logprobs.Chosen.Logprob}
	for _, top := range t.Logprobs.Top {
		lp.Top = append(lp.Top, topLogprob{ID: top.ID, Logprob: top.Logprob})
	}
	p.logprobs = append(p.logprobs, lp)
}

// end prints what follows the last token.
func (p *printer) end(res answerJSON) error {
	switch {
	case p.broken:
		return nil // that is said already
	case p.flags.json:
		return p.app.printJSON(res)
	}
	_, err := io.WriteString(p.app.stdout, "\n")
	return err
}

// summary says on standard error how fast an answer was.
func (a *app) summary(res answerJSON) {
	t := res.Timings
	fmt.Fprintf(a.stderr, "%d tokens, %s; first after %.0f ms, then %.1f tok/s (predicted %.1f); prompt %d tokens at %.0f tok/s; loaded in %.0f ms\n",
		len(res.IDs), finishText(res.FinishReason), t.TTFTms, t.DecodeTokS, res.Predicted.DecodeTokS, t.PromptTokens, t.PromptTokS, t.LoadMS)
}

func finishText(reason string) string {
	switch generate.Finish(reason) {
	case generate.Stopped:
		return "ended by the model"
	case generate.AtLength:
		return "cut at --max-tokens or the context"
	case generate.Failed:
		return "failed"
	}
	return reason
}

// notify tells a person something on standard error.
func (a *app) notify(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// stdinIsTerminal reports whether a person types at standard input.
func (a *app) stdinIsTerminal() bool { return isTerminal(a.stdin) && isTerminal(a.stdout) }
