//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// An engine is a program to measure.
type engine struct {
	name string
	path string
	// rates returns tokens a second by test, ppN and tgN.
	rates func(model string, threads, prompt, generate int) (map[string]float64, error)
	// load returns the time from the start of a process to its first token and
	// the most memory that it had; nil if it can't be told.
	load func(model string, threads int) (time.Duration, int64, error)
}

// shardnode is what this project builds.
func shardnode(path string) engine {
	return engine{
		name: "shardnode",
		path: path,
		rates: func(model string, threads, prompt, generate int) (map[string]float64, error) {
			out, err := output(path, "bench", model, "--json", "-r", "1", "--threads", strconv.Itoa(threads),
				"-p", strconv.Itoa(prompt), "-n", strconv.Itoa(generate))
			if err != nil {
				return nil, err
			}
			rates := map[string]float64{}
			for dec := json.NewDecoder(bytes.NewReader(out)); ; {
				var line struct {
					Test string `json:"test"`
					TokS struct {
						Median float64 `json:"median"`
					} `json:"tok_s"`
				}
				if err := dec.Decode(&line); errors.Is(err, io.EOF) {
					return rates, nil
				} else if err != nil {
					return nil, err
				}
				rates[line.Test] = line.TokS.Median
			}
		},
		load: firstToken(path, "--packed-cache", "off"),
	}
}

// firstToken returns how shardnode starts, with some flags.
func firstToken(path string, flags ...string) func(model string, threads int) (time.Duration, int64, error) {
	return func(model string, threads int) (time.Duration, int64, error) {
		began := time.Now()
		cmd := exec.Command(path, append([]string{
			"run", model, "--raw", "Hello", "--json", "--stream", "--max-tokens", "2", "--threads", strconv.Itoa(threads),
		}, flags...)...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return 0, 0, err
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			return 0, 0, err
		}
		_, err = io.ReadFull(out, make([]byte, 1))
		took := time.Since(began)
		_, _ = io.Copy(io.Discard, out)
		if err := errors.Join(err, cmd.Wait()); err != nil {
			return 0, 0, fmt.Errorf("%w: %s", err, stderr.Bytes())
		}
		return took, most(cmd.ProcessState), nil
	}
}

// secondStart is shardnode when the home has what an earlier start packed.
func secondStart(path, home string) engine {
	flags := []string{"--home", home, "--packed-cache", "8GiB"}
	return engine{name: "shardnode, second start", path: path, load: func(model string, threads int) (time.Duration, int64, error) {
		// The first one: it packs, and has time to write while it generates.
		cmd := exec.Command(path, append([]string{"run", model, "--raw", "Hello", "--max-tokens", "200", "--temperature", "1"}, flags...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, 0, fmt.Errorf("%w: %s", err, out)
		}
		return firstToken(path, flags...)(model, threads)
	}}
}

// others are the engines that build.sh put into a cache.
func others(cache string) []engine {
	e := engine{name: "llama.cpp", path: filepath.Join(cache, "llama.cpp-build/bin/llama-bench")}
	e.rates = llamaBench(e.path)
	e.load = llamaServer(filepath.Join(cache, "llama.cpp-build/bin/llama-server"))
	ik := engine{name: "ik_llama.cpp", path: filepath.Join(cache, "ik_llama.cpp-build/bin/llama-bench")}
	ik.rates = llamaBench(ik.path)
	return []engine{e, ik}
}

// llamaBench returns the rates of a llama-bench.
func llamaBench(path string) func(model string, threads, prompt, generate int) (map[string]float64, error) {
	return func(model string, threads, prompt, generate int) (map[string]float64, error) {
		out, err := output(path, "-m", model, "-t", strconv.Itoa(threads), "-p", strconv.Itoa(prompt),
			"-n", strconv.Itoa(generate), "-r", "1", "-o", "json")
		if err != nil {
			return nil, err
		}
		// The fork may print a line about the machine before the array.
		if i := bytes.IndexByte(out, '['); i > 0 {
			out = out[i:]
		}
		var lines []struct {
			Prompt   int     `json:"n_prompt"`
			Generate int     `json:"n_gen"`
			Rate     float64 `json:"avg_ts"`
		}
		if err := json.Unmarshal(out, &lines); err != nil {
			return nil, fmt.Errorf("%w in %.200q", err, out)
		}
		rates := map[string]float64{}
		for _, l := range lines {
			if l.Prompt > 0 {
				rates["pp"+strconv.Itoa(l.Prompt)] = l.Rate
			} else {
				rates["tg"+strconv.Itoa(l.Generate)] = l.Rate
			}
		}
		return rates, nil
	}
}

// llamaServer returns how a llama-server loads.
func llamaServer(path string) func(model string, threads int) (time.Duration, int64, error) {
	return func(model string, threads int) (time.Duration, int64, error) {
		port, err := freePort()
		if err != nil {
			return 0, 0, err
		}
		began := time.Now()
		cmd := exec.Command(path, "-m", model, "-t", strconv.Itoa(threads), "--host", "127.0.0.1", "--port", port, "-np", "1", "-c", "1024")
		if err := cmd.Start(); err != nil {
			return 0, 0, err
		}
		defer cmd.Wait()         //nolint:errcheck // it is killed
		defer cmd.Process.Kill() //nolint:errcheck // it may have ended
		url := "http://127.0.0.1:" + port + "/completion"
		for time.Since(began) < patience {
			resp, err := http.Post(url, "application/json", strings.NewReader(`{"prompt":"Hello","n_predict":1}`))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				err = errors.Join(err, resp.Body.Close())
				if err == nil && resp.StatusCode == http.StatusOK {
					took := time.Since(began)
					rss, err := peak(cmd.Process.Pid)
					return took, rss, err
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		return 0, 0, fmt.Errorf("no token within %v", patience)
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// output runs a program and returns what it prints.
func output(path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %.400s", strings.Join(cmd.Args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// peak returns the most memory that a process had (VmHWM).
func peak(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: no VmHWM", pid)
}
