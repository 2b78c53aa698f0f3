package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard/chat"
)

type templateFlags struct {
	messages, tools, vars, now string
	noGenerationPrompt, json   bool
}

func (a *app) templateCommand() *cobra.Command {
	f := &templateFlags{}
	cmd := &cobra.Command{
		Use:   "template MODEL --messages FILE",
		Short: "the prompt that a model's chat template makes of messages",
		Long: `template prints what the chat template of MODEL makes of messages, exactly.

MODEL is "story", a .gguf file, a .jinja file, or a folder with
chat_template.jinja or tokenizer_config.json. --messages holds a JSON array of
messages, as in the OpenAI API; - is standard input.`,
		Example: `  shardnode template model.gguf --messages chat.json
  echo '[{"role":"user","content":"Hi"}]' | shardnode template story --messages -
  shardnode template chat.jinja --messages chat.json --vars '{"bos_token":"<s>","enable_thinking":false}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.template(f, args[0]) },
	}
	cmd.Flags().StringVar(&f.messages, "messages", "", "JSON file with the messages (needed)")
	cmd.Flags().StringVar(&f.tools, "tools", "", "JSON file with the tools that the model may call")
	cmd.Flags().StringVar(&f.vars, "vars", "", "JSON object of further variables; they win over all else")
	cmd.Flags().BoolVar(&f.noGenerationPrompt, "no-generation-prompt", false, "do not begin an answer at the end")
	cmd.Flags().StringVar(&f.now, "now", "", "the time that the template is told, 2006-01-02 or 2006-01-02T15:04:05 (default: now)")
	cmd.Flags().BoolVar(&f.json, "json", false, `print {"prompt":"..."}`)
	return cmd
}

func (a *app) template(f *templateFlags, ref string) error {
	if f.messages == "" {
		return usage("--messages is missing: give a JSON file of messages, or - for standard input")
	}
	if f.messages == "-" && f.tools == "-" {
		return usage("--messages and --tools are both standard input: give a file for one of them")
	}
	now, err := parseNow(f.now)
	if err != nil {
		return err
	}
	v := chat.Vars{AddGenerationPrompt: !f.noGenerationPrompt, Now: now}
	if v.Messages, err = a.readList("messages", f.messages, &v.Tools); err != nil {
		return err
	}
	if f.tools != "" {
		if v.Tools, err = a.readList("tools", f.tools, nil); err != nil {
			return err
		}
	}
	vars := &chat.Dict{}
	if f.vars != "" {
		if vars, err = chat.DictFromJSON([]byte(f.vars)); err != nil {
			return usage("--vars: %v", err)
		}
	}
	t, err := openTemplate(ref, v.Tools.Len() > 0)
	if err != nil {
		return err
	}
	v.Extra = t.vars
	for _, name := range vars.Keys() {
		value, _ := vars.Get(name)
		v.Extra.Set(name, value)
	}
	tmpl, err := chat.Parse(t.source)
	if err != nil {
		return err
	}
	text, err := tmpl.Render(v)
	if err != nil {
		return err
	}
	if f.json {
		return a.printJSON(struct {
			Prompt string `json:"prompt"`
		}{text})
	}
	_, err = io.WriteString(a.stdout, text)
	return err
}

// readList reads a JSON array from a file. An object with the array under
// name will do as well, as a request of the OpenAI API has it; then its tools
// go to tools.
func (a *app) readList(name, file string, tools **chat.List) (*chat.List, error) {
	b, err := a.readInput(file)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", name, err)
	}
	value, err := chat.FromJSON(b)
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", name, file, err)
	}
	if d, ok := value.(*chat.Dict); ok {
		value, _ = d.Get(name)
		if l, ok := d.Get("tools"); ok && tools != nil {
			*tools, _ = l.(*chat.List)
		}
	}
	list, ok := value.(*chat.List)
	if !ok {
		return nil, fmt.Errorf("--%s %s: want a JSON array", name, file)
	}
	return list, nil
}

// parseNow reads --now; the time of now when it is not given.
func parseNow(text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("--now: %q: want for example 2026-03-05 or 2026-03-05T07:08:09", text)
}
