package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/grammar"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/transport"
)

// maxControlBytes bounds a request on the control socket.
const maxControlBytes = 32 << 20

// openControl listens on the home's control socket. A member that runs in the
// home already is an error.
func (s *server) openControl() error {
	path := filepath.Join(s.app.home, controlFile)
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close() // it only asked whether somebody is there
		return hint(fmt.Errorf("a member runs in the home %s already", s.app.home), "stop it with `shardnode drain`, or give another folder with --home")
	}
	_ = os.Remove(path) // left behind by a member that was killed
	l, err := net.Listen("unix", path)
	if err != nil {
		return hint(fmt.Errorf("control socket %s: %w", path, err), "a home needs a path of at most 90 characters on a local disk: give another with --home")
	}
	s.control = l
	s.onClose(func() { _ = l.Close() }) // this removes the file as well
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("control socket %s: %w", path, err)
	}
	return nil
}

// serveControl answers other commands of this home.
func (s *server) serveControl() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ps", func(w http.ResponseWriter, _ *http.Request) { s.answerControl(w, s.status(), nil) })
	mux.HandleFunc("GET /use", func(w http.ResponseWriter, _ *http.Request) { s.answerControl(w, inUse(), nil) })
	mux.HandleFunc("GET /plan", func(w http.ResponseWriter, _ *http.Request) {
		res, took, err := s.member.Plan()
		s.answerControl(w, livePlanJSON{Result: res, PlanMS: millis(took)}, err)
	})
	mux.HandleFunc("GET /view", s.controlView)
	mux.HandleFunc("GET /swarm", func(w http.ResponseWriter, _ *http.Request) { s.answerControl(w, s.pictureNow(), nil) })
	mux.HandleFunc("GET /home", func(w http.ResponseWriter, _ *http.Request) { s.answerControl(w, s.homeNow(), nil) })
	mux.HandleFunc("GET /trace", func(w http.ResponseWriter, _ *http.Request) {
		t, err := s.drives.lastTrace()
		s.answerControl(w, t, err)
	})
	mux.HandleFunc("POST /invite", s.controlInvite)
	mux.HandleFunc("GET /invitations", s.controlInvitations)
	mux.HandleFunc("GET /removed", s.controlRemoved)
	mux.HandleFunc("POST /remove", s.controlRemove)
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, _ *http.Request) {
		s.drained.Do(func() { close(s.drain) })
		s.answerControl(w, struct{}{}, nil)
	})
	mux.HandleFunc("POST /generate", s.controlGenerate)
	s.serveHTTP(&http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}, s.control)
}

// controlError is a failure on the control socket.
type controlError struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	Usage bool   `json:"usage,omitempty"`
}

// answerControl answers with v, or with err.
func (s *server) answerControl(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		v = toControlError(err)
	}
	_ = json.NewEncoder(w).Encode(v) // the command may be gone
}

func toControlError(err error) controlError {
	e := controlError{Error: err.Error()}
	if h, ok := errors.AsType[*hintError](err); ok {
		e.Hint = h.hint
	}
	_, e.Usage = errors.AsType[*usageError](err)
	return e
}

// err returns e as the command that asked reports it.
func (e controlError) err() error {
	err := errors.New(e.Error)
	if e.Usage {
		err = &usageError{err}
	}
	if e.Hint != "" {
		return hint(err, "%s", e.Hint)
	}
	return err
}

type inviteJSON struct {
	Uses    int           `json:"uses"`
	Expires time.Duration `json:"expires_ns"`
	Role    uint32        `json:"role"`
	Revoke  string        `json:"revoke,omitempty"`
}

type invitedJSON struct {
	Invitation string    `json:"invitation"`
	ID         string    `json:"id"`
	Expires    time.Time `json:"expires"`
	Uses       int       `json:"uses"`
	Role       string    `json:"role"`
}

func (s *server) controlInvite(w http.ResponseWriter, r *http.Request) {
	var req inviteJSON
	if err := readControl(r, &req); err != nil {
		s.answerControl(w, nil, err)
		return
	}
	if req.Revoke != "" {
		id, err := transport.ParseInviteID(req.Revoke)
		if err == nil && s.admitter == nil {
			err = errors.New("this member did not found the swarm")
		}
		if err == nil {
			err = s.admitter.Revoke(id)
		}
		s.answerControl(w, invitedJSON{ID: req.Revoke}, err)
		return
	}
	inv, err := s.invite(transport.InviteSpec{Uses: req.Uses, Expires: req.Expires, Role: transport.Role(req.Role)})
	s.answerControl(w, invitedJSON{
		Invitation: inv.String(), ID: inv.ID.String(), Expires: inv.Expires, Uses: inv.Uses, Role: inv.Role.String(),
	}, err)
}

func readControl(r *http.Request, into any) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxControlBytes))
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return json.Unmarshal(b, into)
}

// A generateJSON asks a member for an answer.
type generateJSON struct {
	Model     string         `json:"model"`
	IDs       []shard.Token  `json:"ids,omitempty"`
	Raw       bool           `json:"raw,omitempty"`
	Prompt    string         `json:"prompt,omitempty"`
	Messages  []chat.Message `json:"messages,omitempty"`
	MaxTokens int            `json:"max_tokens"`
	Sampling  sample.Params  `json:"sampling"`
	Stop      []string       `json:"stop,omitempty"`

	Form generate.Constraint `json:"form,omitzero"`
}

// An eventJSON is one line of the answer: what is waited for, a token, an
// error, or the end.
type eventJSON struct {
	Waiting string          `json:"waiting,omitempty"`
	Token   *generate.Token `json:"token,omitempty"`
	Piece   string          `json:"piece,omitempty"`
	Answer  *answerJSON     `json:"answer,omitempty"`
	Failed  *controlError   `json:"failed,omitempty"`
}

// controlGenerate answers a prompt over the swarm, a line a token.
func (s *server) controlGenerate(w http.ResponseWriter, r *http.Request) {
	var req generateJSON
	if err := readControl(r, &req); err != nil {
		s.answerControl(w, nil, err)
		return
	}
	ctx, stop := context.WithTimeoutCause(r.Context(), s.flags.peerTimeout, fmt.Errorf("no route within %v", s.flags.peerTimeout))
	p, err := s.place(ctx, req.Model)
	stop()
	if err != nil {
		s.answerControl(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	emit := func(e eventJSON) error { return errors.Join(out.Encode(e), flush.Flush()) }
	ans, err := s.generate(r.Context(), p, req, emit)
	end := eventJSON{Answer: &ans}
	if err != nil {
		failed := toControlError(explainAnswer(err))
		end.Failed = &failed
	}
	_ = out.Encode(end) // the command may be gone
}

// place returns the swarm as a command sees where the model that it names runs.
func (s *server) place(ctx context.Context, name string) (*place, error) {
	m, err := s.member.Find(name)
	if err != nil {
		return nil, err
	}
	about, err := s.member.Learn(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	return &place{name: m.Name, text: about.Text, config: about.Config, self: s.identity.ID(), modelID: about.ID}, nil
}

// generate answers req in a session of its own. emit hears what is waited for
// and every token.
func (s *server) generate(ctx context.Context, p *place, req generateJSON, emit func(eventJSON) error) (answerJSON, error) {
	ids := req.IDs
	var err error
	switch {
	case len(ids) > 0:
		err = checkIDs(ids, p.config.Vocab)
	case req.Raw:
		ids = p.text.RawPrompt(req.Prompt)
	default:
		ids, err = p.chatIDs(req.Messages)
	}
	var form *grammar.Form
	if err == nil {
		form, err = p.text.Form(req.Form)
	}
	room := 0
	if err == nil {
		room, err = p.room(len(ids), req.MaxTokens)
	}
	if err != nil {
		return p.noAnswer(ids, req.Sampling.Seed), err
	}
	sess, route, err := s.openSession(ctx, p.name, member.SessionConfig{Model: p.modelID, Tokens: room, Prompt: ids, Waiting: func(what string) {
		_ = emit(eventJSON{Waiting: fmt.Sprintf("waiting up to %v: %s", s.flags.peerTimeout, what)}) // the command may be gone
	}})
	if err != nil {
		return p.noAnswer(ids, req.Sampling.Seed), err
	}
	tl := generate.NewTimeline(p.text, sess, room)
	tl.Holds(ids[:sess.Ready()])
	ans, err := tl.Run(ctx, generate.Request{
		Prompt: ids, MaxTokens: req.MaxTokens, Sampling: req.Sampling, Stop: req.Stop, Form: form,
	}, func(t generate.Token) error {
		piece := ""
		if t.ID >= 0 {
			piece = p.text.Tokenizer.Piece(t.ID)
		}
		return emit(eventJSON{Token: &t, Piece: piece})
	})
	stats := sess.Close(background(ctx))
	p.route, p.predicted = route.Stages, route.Predicted
	return p.answer(ids, ans, stats, req.Sampling.Seed), err
}

func checkIDs(ids []shard.Token, vocab int) error {
	for _, id := range ids {
		if id < 0 || int(id) >= vocab {
			return usage("--ids: token %d: the model has tokens 0 to %d", id, vocab-1)
		}
	}
	return nil
}

// A controlClient reaches the member that runs in a home.
type controlClient struct{ http *http.Client }

// errNoMember means that no member runs in the home.
var errNoMember = errors.New("no member runs in this home")

// dialControl returns a client of the home's member, or [errNoMember].
func (a *app) dialControl() (*controlClient, error) {
	path := filepath.Join(a.home, controlFile)
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil, hint(errNoMember, "start one with `shardnode serve MODEL`, or name its home with --home (this is %s)", a.home)
	}
	_ = conn.Close() // it only asked whether somebody is there
	return &controlClient{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}, nil
}

// call asks the member and reads one JSON answer.
func (c *controlClient) call(ctx context.Context, method, path string, req, into any) error {
	resp, err := c.send(ctx, method, path, req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// send asks the member. A failure that it reports is returned as it reported it.
func (c *controlClient) send(ctx context.Context, method, path string, req any) (*http.Response, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://member"+path, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, memberGone("does not answer", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var e controlError
	if err := json.NewDecoder(bufio.NewReader(resp.Body)).Decode(&e); err != nil || e.Error == "" {
		return nil, fmt.Errorf("the member of this home answered %s: is it of another version?", resp.Status)
	}
	return nil, e.err()
}

// memberGone is the error for a member that did something to a command and is
// gone, or nearly so.
func memberGone(what string, err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return hint(fmt.Errorf("the member of this home %s: %w", what, err),
		"does it still run? `shardnode ps` says so; while none runs, `shardnode run` uses this machine alone")
}
