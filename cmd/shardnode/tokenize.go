package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

type tokenizeFlags struct {
	text, file, ids                   string
	special, decode, lines, bos, json bool
}

func (a *app) tokenizeCommand() *cobra.Command {
	f := &tokenizeFlags{}
	cmd := &cobra.Command{
		Use:   "tokenize MODEL",
		Short: "the tokens of a text, or the text of tokens",
		Long: `tokenize prints the tokens that MODEL makes of a text: of --text, --file, or
standard input. Special tokens in the text are plain text unless --special is
given. No begin token is added unless --bos is given.

MODEL is a model, a tokenizer.json or tokenizer.model, or a folder with one (or with
vocab.json and merges.txt).`,
		Example: `  shardnode tokenize story --text "Once upon a time"
  shardnode tokenize model.gguf --decode --ids 1,2,3 --json
  jq -c .text texts.jsonl | shardnode tokenize tokenizer.json --lines`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.tokenize(f, args[0], cmd.Flags().Changed)
		},
	}
	cmd.Flags().StringVar(&f.text, "text", "", "the text")
	cmd.Flags().StringVar(&f.file, "file", "", "read the text from this file; - is standard input")
	cmd.Flags().BoolVar(&f.special, "special", false, "parse special tokens in the text")
	cmd.Flags().BoolVar(&f.bos, "bos", false, "put the model's begin token first, if it wants one")
	cmd.Flags().BoolVar(&f.decode, "decode", false, "turn --ids into text, special tokens as their text")
	cmd.Flags().StringVar(&f.ids, "ids", "", "with --decode: token ids, 1,2,3")
	cmd.Flags().BoolVar(&f.lines, "lines", false,
		"answer every line: a JSON string each, or with --decode a JSON array of ids each")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// The answers of `tokenize`.
type (
	tokensJSON struct {
		IDs    []shard.Token `json:"ids"`
		Pieces []string      `json:"pieces"`
	}
	textJSON struct {
		Text string `json:"text"`
	}
)

// check returns a usage error for flags that make no sense together.
func (f *tokenizeFlags) check(given func(string) bool) error { //nolint:gocyclo // one flat case a pair of flags
	switch {
	case given("text") && given("file"):
		return usage("--text and --file are both given: give one of them")
	case f.lines && (given("text") || given("ids")):
		return usage("--lines reads standard input or --file: give no --text or --ids beside it")
	case f.decode && given("text"):
		return usage("--decode takes --ids, not --text")
	case f.decode && (f.special || f.bos):
		return usage("--special and --bos are for turning text into tokens, not for --decode")
	case given("ids") && !f.decode:
		return hint(usage("--ids is given without --decode"), "give --text for tokens, --decode --ids for text")
	case f.decode && !f.lines && !given("ids"):
		return usage("--decode needs --ids 1,2,3, or --lines")
	}
	return nil
}

func (a *app) tokenize(f *tokenizeFlags, ref string, given func(string) bool) error {
	if err := f.check(given); err != nil {
		return err
	}
	tok, err := openTokenizer(ref)
	if err != nil {
		return err
	}
	switch {
	case f.lines:
		return a.tokenizeLines(f, tok)
	case f.decode:
		return a.detokenize(f, tok)
	}
	text := f.text
	if !given("text") {
		b, err := a.readInput(f.file)
		if err != nil {
			return err
		}
		text = string(b)
	}
	answer := encodeText(f, tok, text)
	if f.json {
		return a.printJSON(answer)
	}
	out := bufio.NewWriter(a.stdout)
	for i, id := range answer.IDs {
		fmt.Fprintf(out, "%d\t%s\n", id, strconv.Quote(answer.Pieces[i]))
	}
	return out.Flush()
}

// detokenize prints the text of --ids.
func (a *app) detokenize(f *tokenizeFlags, tok *tokenizer.Tokenizer) error {
	var ids []shard.Token
	if f.ids != "" {
		var err error
		if ids, err = parseIDs("ids", f.ids, tok.Len()); err != nil {
			return err
		}
	}
	text := tok.DecodeSpecial(ids)
	if f.json {
		return a.printJSON(textJSON{text})
	}
	if isTerminal(a.stdout) {
		text += "\n"
	}
	_, err := io.WriteString(a.stdout, text)
	return err
}

// encodeText returns the tokens of text as f asks for them.
func encodeText(f *tokenizeFlags, tok *tokenizer.Tokenizer, text string) tokensJSON {
	how := tokenizer.PlainText
	if f.special {
		how = tokenizer.ParseSpecials
	}
	out := tokensJSON{IDs: []shard.Token{}, Pieces: []string{}}
	if f.bos {
		out.IDs = append(out.IDs, tok.Prefix()...)
	}
	out.IDs = append(out.IDs, tok.Encode(text, how)...)
	for _, id := range out.IDs {
		out.Pieces = append(out.Pieces, tok.Piece(id))
	}
	return out
}

// maxTextBytes bounds a text, and a line of --lines.
const maxTextBytes = 64 << 20

// tokenizeLines answers every line of the input with one JSON object.
func (a *app) tokenizeLines(f *tokenizeFlags, tok *tokenizer.Tokenizer) error {
	in := a.stdin
	if f.file != "" && f.file != "-" {
		file, err := os.Open(f.file)
		if err != nil {
			return err
		}
		defer file.Close()
		in = file
	}
	lines, out := bufio.NewReaderSize(in, 1<<16), bufio.NewWriter(a.stdout)
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return out.Flush()
		}
		if err == nil {
			err = answerLine(f, tok, line, out)
		}
		if err == nil && lines.Buffered() == 0 {
			err = out.Flush() // whoever asks one line at a time waits for this
		}
		if err != nil {
			return errors.Join(out.Flush(), fmt.Errorf("line %d: %w", n, err))
		}
	}
}

// readLine returns the next line without its end; io.EOF after the last.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > maxTextBytes {
			return nil, fmt.Errorf("it has more than %d bytes", maxTextBytes)
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		default:
			return nil, err
		}
	}
}

// answerLine answers one line.
func answerLine(f *tokenizeFlags, tok *tokenizer.Tokenizer, line []byte, out *bufio.Writer) error {
	if !f.decode {
		var text *string
		if err := json.Unmarshal(line, &text); err != nil || text == nil {
			return fmt.Errorf("%.40q is no JSON string", line)
		}
		return writeLine(out, encodeText(f, tok, *text))
	}
	var ids []shard.Token
	if err := json.Unmarshal(line, &ids); err != nil || !bytes.ContainsRune(line, '[') {
		return fmt.Errorf("%.40q is no JSON array of token ids", line)
	}
	for _, id := range ids {
		if id < 0 || int(id) >= tok.Len() {
			return fmt.Errorf("token %d: the model has tokens 0 to %d", id, tok.Len()-1)
		}
	}
	return writeLine(out, textJSON{tok.DecodeSpecial(ids)})
}

// writeLine writes v as one line of JSON.
func writeLine(out *bufio.Writer, v any) error {
	b, err := jsonLine(v)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

// readInput returns what the file holds; standard input for "" and "-".
func (a *app) readInput(name string) ([]byte, error) {
	if name == "" || name == "-" {
		b, err := io.ReadAll(io.LimitReader(a.stdin, maxTextBytes+1))
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		if len(b) > maxTextBytes {
			return nil, fmt.Errorf("standard input has more than %d bytes", maxTextBytes)
		}
		return b, nil
	}
	return readBounded(name, maxTextBytes)
}

// readBounded returns what the file name holds, at most limit bytes of it.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, nil
}
