package tokenizer

import (
	"maps"
	"slices"

	"github.com/shardnode/shardnode/shard"
)

// endTexts are the spellings of tokens that end a generation (the list of
// llama.cpp, src/llama-vocab.cpp, special_eog_ids).
var endTexts = map[string]bool{
	"<|eot_id|>": true, "<|im_end|>": true, "<|end|>": true, "<|return|>": true, "<|call|>": true,
	"<|flush|>": true, "<|calls|>": true, "<end_of_turn>": true, "<|endoftext|>": true, "</s>": true,
	"<|eom_id|>": true, "<EOT>": true, "_<EOT>": true, "[EOT]": true, "[EOS]": true, "<|end_of_text|>": true,
	"<end_of_utterance>": true, "<eos>": true, "<turn|>": true, "<|tool_response>": true,
	"<｜end▁of▁sentence｜>": true, "[e~[": true,
}

// padTexts end a generation as well: a model that writes them has lost the
// thread (FIM padding, repository and file separators).
var padTexts = map[string]bool{
	"<|fim_pad|>": true, "<fim-pad>": true, "<fim_pad>": true, "<PAD>": true, "[PAD]": true,
	"<|fim_repo|>": true, "<|repo_name|>": true, "<fim-repo>": true, "<REPO>": true, "<reponame>": true,
	"<|file_sep|>": true,
}

// shownTexts are control tokens that carry the structure of an answer
// (harmony), so that a reader needs to see them.
var shownTexts = map[string]bool{"<|channel|>": true, "<|message|>": true, "<|start|>": true, "<|constrain|>": true}

// bosTexts and eosTexts are where to look when a file does not say.
var (
	bosTexts = []string{"<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<｜begin▁of▁sentence｜>"}
	eosTexts = []string{
		"</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "<｜end▁of▁sentence｜>", "<|im_end|>", "<|return|>",
	}
)

// findEnds fills ends, and bos and eos if they are not known, from the texts
// of the tokens. Only tokens that are cut out of a text count: in an old
// vocabulary "</s>" may be an ordinary row of characters.
func (t *Tokenizer) findEnds(more ...shard.Token) {
	byText, ends := t.namedEnds()
	t.bos, t.eos = pickNamed(t.bos, bosTexts, byText), pickNamed(t.eos, eosTexts, byText)
	for _, id := range append(more, t.eos) {
		if t.has(id) {
			ends[id] = true
		}
	}
	// In harmony, "<|end|>" ends a message, and the answer goes on.
	has := func(text string) bool { _, ok := byText[text]; return ok }
	if has("<|end|>") && (has("<|return|>") && has("<|call|>") || has("<|calls|>") && has("<|flush|>")) {
		id := byText["<|end|>"]
		delete(ends, id)
		t.kinds[id] = user
	}
	if has("<|tool_response>") && has("</s>") { // Gemma 4
		delete(ends, byText["</s>"])
	}
	t.ends = slices.Sorted(maps.Keys(ends))
}

// pickNamed returns known, or else the token of the first of texts that is one.
func pickNamed(known shard.Token, texts []string, byText map[string]shard.Token) shard.Token {
	for _, text := range texts {
		if id, ok := byText[text]; ok && known == none {
			known = id
		}
	}
	return known
}

// namedEnds returns the tokens that are cut out of a text, by theirs, and
// those of them whose text says that an answer ends.
func (t *Tokenizer) namedEnds() (byText map[string]shard.Token, ends map[shard.Token]bool) {
	byText, ends = map[string]shard.Token{}, map[shard.Token]bool{}
	for i, text := range t.texts {
		id := shard.Token(i) //nolint:gosec // at most maxVocab
		if t.kinds[i] != control && t.kinds[i] != user {
			continue
		}
		byText[text] = id
		switch {
		case text == "</s>" && t.kinds[i] == user: // a tag of HTML (Gemma)
		case endTexts[text]:
			ends[id] = true
			t.kinds[i] = control
		case padTexts[text]:
			ends[id] = true
		case shownTexts[text]:
			t.kinds[i] = user
		}
	}
	return byText, ends
}
