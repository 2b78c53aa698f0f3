//go:build linux

// Command compare measures shardnode beside llama.cpp and ik_llama.cpp on the
// same model files, in turn in one run, and prints a table of medians, ranges
// and ratios. `make compare` builds all three first.
//
//	go run ./tools/compare -cache DIR -models A.gguf,B.gguf
//
// One round is every engine with every number of threads once, in an order that
// is shuffled anew, so that a noisy minute hits all. A ratio is taken within a
// round, against the faster of the others; what is printed is the median.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// options are what is to be measured.
type options struct {
	cache            string
	self             string
	models           []string
	threads          []int
	rounds           int
	prompt, generate int
	loads            bool
	seed             uint64
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run() error {
	o := options{}
	models := flag.String("models", "", "model files, separated by commas")
	threads := flag.String("threads", "1,2", "numbers of threads")
	flag.StringVar(&o.cache, "cache", "", "folder that tools/compare/build.sh filled")
	flag.StringVar(&o.self, "shardnode", "", "the shardnode to measure")
	flag.IntVar(&o.rounds, "rounds", 5, "times that everything is measured")
	flag.IntVar(&o.prompt, "p", 512, "tokens of the prompt; 0 for none")
	flag.IntVar(&o.generate, "n", 64, "tokens to generate; 0 for none")
	flag.BoolVar(&o.loads, "load", false, "measure the time from start to the first token, and memory, instead")
	flag.Uint64Var(&o.seed, "seed", 1, "of the order")
	flag.Parse()
	if o.self == "" || *models == "" {
		return fmt.Errorf("-shardnode and -models are needed")
	}
	o.models = strings.Split(*models, ",")
	for part := range strings.SplitSeq(*threads, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return fmt.Errorf("-threads %q: want numbers from 1 up", *threads)
		}
		o.threads = append(o.threads, n)
	}
	engines := []engine{shardnode(o.self)}
	for _, e := range others(o.cache) {
		if _, err := os.Stat(e.path); err != nil {
			fmt.Fprintf(os.Stderr, "compare: without %s: %v\n", e.name, err)
			continue
		}
		engines = append(engines, e)
	}
	fmt.Println(machine())
	for _, m := range o.models {
		if _, err := os.Stat(m); err != nil {
			return err
		}
	}
	if o.loads {
		home, err := os.MkdirTemp("", "compare-*")
		if err != nil {
			return err
		}
		defer os.RemoveAll(home) //nolint:errcheck // the system clears what is left
		return o.measureLoads(append(engines, secondStart(o.self, home)))
	}
	return o.measureRates(engines)
}

// measureRates prints a table of tokens a second.
func (o *options) measureRates(engines []engine) error {
	fmt.Println("| model | test | threads | " + names(engines) + " | ratio to the faster of the others |")
	fmt.Println("|---|---|---|" + strings.Repeat("---|", len(engines)+1))
	rng := rand.New(rand.NewPCG(o.seed, 0))
	for _, model := range o.models {
		got := map[cell][]float64{}
		for range o.rounds {
			type turn struct {
				e       int
				threads int
			}
			var turns []turn
			for e := range engines {
				for _, t := range o.threads {
					turns = append(turns, turn{e, t})
				}
			}
			rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
			for _, t := range turns {
				rates, err := engines[t.e].rates(model, t.threads, o.prompt, o.generate)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", engines[t.e].name, model, err)
				}
				for test, v := range rates {
					c := cell{t.e, t.threads, test}
					got[c] = append(got[c], v)
				}
			}
		}
		for _, test := range []string{fmt.Sprintf("pp%d", o.prompt), fmt.Sprintf("tg%d", o.generate)} {
			for _, t := range o.threads {
				if row := rateRow(got, engines, t, test); row != "" {
					fmt.Printf("| %s | %s | %d | %s\n", modelName(model), test, t, row)
				}
			}
		}
	}
	return nil
}

// A cell is an engine's result of a test.
type cell struct {
	engine, threads int
	test            string
}

// rateRow returns the columns of engines in a row, "" if there is nothing.
func rateRow(got map[cell][]float64, engines []engine, threads int, test string) string {
	own := got[cell{0, threads, test}]
	if len(own) == 0 {
		return ""
	}
	var b strings.Builder
	best := make([]float64, len(own))
	for e := range engines {
		v := got[cell{e, threads, test}]
		b.WriteString(rangeText(v, "%.1f") + " | ")
		for i := range v {
			if e > 0 && i < len(best) {
				best[i] = max(best[i], v[i])
			}
		}
	}
	var ratios []float64
	for i, v := range own {
		if best[i] > 0 {
			ratios = append(ratios, v/best[i])
		}
	}
	return b.String() + rangeText(ratios, "%.2f") + " |"
}

// measureLoads prints a table of start-up times and memory.
func (o *options) measureLoads(engines []engine) error {
	fmt.Println("| model | engine | start to first token, s | memory, MiB (file: MiB) |")
	fmt.Println("|---|---|---|---|")
	for _, model := range o.models {
		info, err := os.Stat(model)
		if err != nil {
			return err
		}
		for _, e := range engines {
			if e.load == nil {
				continue
			}
			var took, mem []float64
			for range o.rounds {
				d, rss, err := e.load(model, o.threads[len(o.threads)-1])
				if err != nil {
					return fmt.Errorf("%s on %s: %w", e.name, model, err)
				}
				took = append(took, d.Seconds())
				mem = append(mem, float64(rss)/(1<<20))
			}
			fmt.Printf("| %s | %s | %s | %s (%d) |\n", modelName(model), e.name, rangeText(took, "%.2f"), rangeText(mem, "%.0f"), info.Size()>>20)
		}
	}
	return nil
}

func names(engines []engine) string {
	all := make([]string, len(engines))
	for i, e := range engines {
		all[i] = e.name
	}
	return strings.Join(all, " | ")
}

func modelName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".gguf") }

// patience is how long one measurement may take.
const patience = 10 * time.Minute
