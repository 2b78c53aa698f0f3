//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A swarm is a few members on loopback, each a process of its own with a home
// of its own. The first founded it and drives the sessions.
type swarm struct {
	cfg     config
	dir     string
	members []*member
	invite  string
}

// A member is one place in the swarm, whoever fills it.
type member struct {
	name, home string
	args       []string // of serve or join
	ready      string   // file that says that it serves
	cmd        *exec.Cmd
	exited     chan struct{} // closed when the process is gone
	starts     int
}

// status is what `ps --json` says, as far as it is used here.
type status struct {
	Peers []struct {
		Name  string `json:"name"`
		State string `json:"state"`
		Alive bool   `json:"alive"`
	} `json:"peers"`
	Models []struct {
		Covered bool `json:"covered"`
	} `json:"models"`
	Sessions []struct {
		Route []string `json:"route"`
	} `json:"sessions"`
}

// Limits of the harness's own patience.
const (
	startPatience = 90 * time.Second
	pollEvery     = 150 * time.Millisecond
)

// newSwarm starts all members and waits until they serve.
func newSwarm(ctx context.Context, cfg config, layers int) (*swarm, error) {
	dir, err := os.MkdirTemp("", "snkill")
	if err != nil {
		return nil, err
	}
	s := &swarm{cfg: cfg, dir: dir}
	for i := range cfg.members {
		m := &member{name: fmt.Sprintf("m%d", i), home: filepath.Join(dir, strconv.Itoa(i)), ready: filepath.Join(dir, fmt.Sprintf("m%d.ready", i))}
		m.args = []string{
			"--name", m.name, "--home", m.home, "--api", "127.0.0.1:0", "--threads", "1",
			"--log-format", "json", "--ready-file", m.ready, "--memory", cfg.memory, "--peer-timeout", cfg.patience.String(),
		}
		if span := cfg.span(i, layers); span != "" {
			m.args = append(m.args, "--layers", span)
		}
		if cfg.link != "" {
			m.args = append(m.args, "--link", cfg.link)
		}
		s.members = append(s.members, m)
	}
	for i := range s.members {
		if err := s.start(i); err != nil {
			return s, err
		}
		if i == 0 {
			if err := s.waitFor(ctx, func(st status) bool { return len(st.Peers) == 1 && st.Peers[0].State != "joining" }); err != nil {
				return s, err
			}
			out, err := s.command(ctx, 0, "invite", "--uses", "100", "--json")
			if err != nil {
				return s, err
			}
			var inv struct {
				Invitation string `json:"invitation"`
			}
			if err := json.Unmarshal(out, &inv); err != nil {
				return s, err
			}
			s.invite = inv.Invitation
		}
	}
	return s, s.waitWhole(ctx)
}

// start starts the process of member i.
func (s *swarm) start(i int) error {
	m := s.members[i]
	args := []string{"serve", s.cfg.model}
	if i > 0 {
		args = []string{"join", s.invite, "--model", s.cfg.model}
		if s.cfg.model == storyModel {
			args = args[:2] // it is fetched from the others
		}
	}
	_ = os.Remove(m.ready) // of the process before
	log, err := os.OpenFile(filepath.Join(s.dir, m.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.cfg.shardnode, append(args, m.args...)...) //nolint:gosec // it is what this tool is for
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this tool, which ends them
	if err := cmd.Start(); err != nil {
		return err
	}
	m.cmd, m.exited = cmd, make(chan struct{})
	m.starts++
	exited := m.exited
	go func() {
		_ = cmd.Wait() // how it ended is seen in what it did
		close(exited)
	}()
	return nil
}

// alive reports whether the process of m runs.
func (m *member) alive() bool {
	select {
	case <-m.exited:
		return false
	default:
		return true
	}
}

// signal sends sig to the process of member i, and waits for its end if it is
// SIGKILL.
func (s *swarm) signal(i int, sig syscall.Signal) {
	m := s.members[i]
	_ = m.cmd.Process.Signal(sig) // one that is gone needs none
	if sig == syscall.SIGKILL {
		<-m.exited
	}
}

// index returns the place of the member called name, -1 if there is none.
func (s *swarm) index(name string) int {
	for i, m := range s.members {
		if m.name == name {
			return i
		}
	}
	return -1
}

// command runs a verb in the home of member i.
func (s *swarm) command(ctx context.Context, i int, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, s.cfg.shardnode, append(args, "--home", s.members[i].home)...) //nolint:gosec // it is what this tool is for
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("shardnode %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// look returns the swarm as the driver sees it.
func (s *swarm) look(ctx context.Context) (status, error) {
	out, err := s.command(ctx, 0, "ps", "--json")
	if err != nil {
		return status{}, err
	}
	var st status
	return st, json.Unmarshal(out, &st)
}

// waitFor waits until the driver sees what is wanted.
func (s *swarm) waitFor(ctx context.Context, want func(status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		st, err := s.look(ctx)
		if err == nil && want(st) {
			return nil
		}
		if !s.members[0].alive() {
			return fmt.Errorf("the driver has ended; its log: %s", filepath.Join(s.dir, s.members[0].name+".log"))
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the swarm does not get whole"), err)
		case <-time.After(pollEvery):
		}
	}
}

// settleTime is how long it takes until all have heard what one says of itself.
const settleTime = time.Second

// waitWhole waits until every member serves, every layer is held, and all know
// it: what is seen of a member may be of its process before.
func (s *swarm) waitWhole(ctx context.Context) error {
	defer time.Sleep(settleTime)
	return s.waitFor(ctx, func(st status) bool {
		for _, m := range s.members {
			if _, err := os.Stat(m.ready); err != nil {
				return false
			}
		}
		serving := 0
		for _, p := range st.Peers {
			if p.Alive && p.State == "serving" {
				serving++
			}
		}
		return serving == len(s.members) && len(st.Models) > 0 && st.Models[0].Covered
	})
}

// close ends every process. The folder stays when keep says so.
func (s *swarm) close(keep bool) {
	for i, m := range s.members {
		if m.cmd != nil && m.alive() {
			s.signal(i, syscall.SIGKILL)
		}
	}
	if !keep {
		_ = os.RemoveAll(s.dir)
	}
}
