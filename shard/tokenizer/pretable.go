package tokenizer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard/nearest"
)

// A preset is what the name in tokenizer.ggml.pre stands for. GGUF files carry
// only the name; the patterns are those of the models' own tokenizer.json,
// and the flags are llama.cpp's (src/llama-vocab.cpp, llama_vocab::impl::load).
type preset struct {
	split        []stage
	ignoreMerges bool
	addBOS       bool
	nfc          bool // the model's tokenizer.json normalizes, which llama.cpp leaves out
	// meta: the vocabulary is of SentencePiece's kind, with '▁' for spaces and
	// "<0x0A>" for bytes, though it has merges.
	meta bool
}

// A stage is a pattern whose matches become pieces, or the mark letters.
type stage string

// letterStage spells bytes as letters, for the stages behind it.
const letterStage stage = "\x00letters"

// Parts that many patterns share.
const (
	contractions = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	endings      = `\s*[\r\n]+|\s+(?!\S)|\s+`
	upper        = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	lower        = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	noWord       = `[^\r\n\p{L}\p{N}]?`
	marks        = ` ?[^\s\p{L}\p{N}]+`
	asciiWord    = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
	deepseekMain = asciiWord + `|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|` + endings
	cjkKana      = `[一-龥぀-ゟ゠-ヿ]+`
	lines        = `[^\n]+|[\n]+`
)

// llama3Like is Llama 3's pattern with digits as given.
func llama3Like(digits string) stage {
	return stage(contractions + `|` + noWord + `\p{L}+|` + digits + `|` + marks + `[\r\n]*|` + endings)
}

// cased is the pattern of o200k and its kin, which splits at changes of case.
func cased(tail, digits, lineEnd string) stage {
	return stage(noWord + upper + `*` + lower + `+` + tail + `|` + noWord + upper + `+` + lower + `*` + tail +
		`|` + digits + `|` + marks + lineEnd + `|` + endings)
}

const (
	gpt2Stage      stage = gpt2Pattern
	digitStage     stage = `\p{N}`
	upTo3          stage = `\p{N}{1,3}`
	bloomStage     stage = ` ?[^(\s|.,!?…。，、।۔،)]+`
	deepseekLetter stage = `\s?[` +
		`A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF\u0370-` +
		`\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1\u03A3-\u03F5\u03F7-` +
		`\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF` +
		`\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-` +
		`\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC` +
		`\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115` +
		`\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149\u214E` +
		`\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D\uA680-\uA69B\uA722-` +
		`\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A` +
		`\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}` +
		`\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}` +
		`]+`
)

// lonePresets returns the presets that one name has for itself.
func lonePresets() map[string]preset {
	gpt4o := cased(contractions+`?`, `\p{N}{1,3}`, `[\r\n/]*`)
	threes := stage(`[0-9][0-9][0-9]`)
	return map[string]preset{
		"default": {split: []stage{"[\\p{P}\\$\\+<=>\\^~\\|]+", gpt2Stage, `\p{N}+`, threes}},
		"falcon": {split: []stage{
			punctuation + "+", gpt2Stage, letterStage, `\p{N}+`, threes,
		}},
		"deepseek-llm":   {split: []stage{`[\r\n]`, deepseekLetter, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`, `[一-龥ࠀ-一가-퟿]+`, `\p{N}+`}},
		"deepseek-coder": {split: []stage{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, `[一-龥ࠀ-一가-퟿]+`, digitStage}},
		"spark2_5":       {split: []stage{upTo3, cjkKana, asciiWord + `|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+`, digitStage}},
		"youtu": {ignoreMerges: true, split: []stage{
			`[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+`,
			cased(contractions+`?`, `\p{N}`, `[\r\n/]*`),
		}},
		"jais-2": {split: []stage{contractions + `|` + noWord + `\p{L}+|\p{N}{1,3}|` + marks + `[\r\n]*|\s*[\r\n]+|` +
			`\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`}},
		"qwen35": {nfc: true, split: []stage{contractions + `|` + noWord + `[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|` + endings}},
		"viking": {split: []stage{bloomStage, digitStage}},
		"tekken": {split: []stage{cased("", `\p{N}`, `[\r\n/]*`)}, ignoreMerges: true, addBOS: true},
		"chameleon": {addBOS: true, split: []stage{
			`<sentinel:[0-9]+>`, `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`, `([\t\n]|    |  )`, digitStage, "[\\p{P}!-/:-@\\[-`{-~]", gpt2Stage,
		}},
		"granite-embed-multi-97m": {split: []stage{gpt4o}, ignoreMerges: true},
		"kimi-k2": {split: []stage{`[\p{Han}]+|` + noWord + `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+` + contractions + `?|` +
			noWord + `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*` + contractions + `?|\p{N}{1,3}|` + marks + `[\r\n]*|` + endings}},
		"superbpe":   {split: []stage{`\p{N}+`, `\d{1,3}(?=(?:\d{3})*(?!\d))`}},
		"seed-coder": {split: []stage{contractions + `|` + noWord + `\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|` + endings}},
		"ufakzeka":   {split: []stage{noWord + `\p{L}+|\p{N}|` + marks + `[\r\n]*|` + endings}},
		"afmoe": {split: []stage{
			`\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`,
			`[\u4E00-\u9FFF\u3400-\u4DBF\uF900-\uFAFF\u3040-\u309F\u30A0-\u30FF\uFF65-\uFF9F\u2F00-\u2FDF\u0E40-\u0E7F` + `\u0E80-\u0EFF\u1780-\u17FF\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF\uAC00-\uD7AF\u1100-\u11FF]+`, deepseekMain,
		}},
		"laguna":     {split: []stage{lines, llama3Like(`\p{N}`)}},
		"exaone-moe": {split: []stage{contractions + `|` + noWord + `(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|` + marks + `[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`}},
		"minicpm5":   {split: []stage{upTo3, llama3Like(`\p{N}+`)}, ignoreMerges: true},
	}
}

// presets returns the preset of every name, and of "default".
func presets() map[string]preset {
	llama3 := preset{split: []stage{llama3Like(`\p{N}{1,3}`)}}
	llama3BOS := preset{split: llama3.split, ignoreMerges: true, addBOS: true}
	qwen2 := preset{split: []stage{llama3Like(`\p{N}`)}}
	qwen2NFC := preset{split: qwen2.split, nfc: true}
	gpt2 := preset{split: []stage{gpt2Stage}}
	digits := preset{split: []stage{digitStage, gpt2Stage}}
	deepseek3 := preset{split: []stage{upTo3, cjkKana, deepseekMain}}
	bloom := preset{split: []stage{bloomStage}}
	gpt4o := preset{split: []stage{cased(contractions+`?`, `\p{N}{1,3}`, `[\r\n/]*`)}}
	bailing := preset{split: []stage{`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`}}
	lineMeta := preset{split: []stage{lines}, meta: true}
	ayaDigits := stage(`\d{1,3}(?=(?:\d{3})*\b)`)
	m := lonePresets()
	alias := func(p preset, names string) {
		for name := range strings.FieldsSeq(names) {
			m[name] = p
		}
	}
	alias(llama3BOS, "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano")
	alias(llama3, "dbrx smaug-bpe glm4 chatglm-bpe")
	alias(qwen2NFC, "qwen2 megrez")
	alias(qwen2, "deepseek-r1-qwen kormo f2llmv2 stablelm2 hunyuan solar-open grok-2")
	alias(gpt2, "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en "+
		"jina-v2-code roberta-bpe jais exaone4 trillion granite-docling")
	alias(preset{split: gpt2.split, nfc: true}, "mpt olmo")
	alias(digits, "starcoder refact smollm codeshell exaone minerva-7b mellum2")
	alias(preset{split: digits.split, nfc: true}, "command-r")
	alias(deepseek3, "deepseek-v3 hunyuan-dense joyai-llm hy_v4")
	alias(bloom, "poro-chat bloom gpt3-finnish")
	alias(gpt4o, "gpt-4o llama4 kanana2 talkie minimax-m2")
	alias(preset{split: append([]stage{ayaDigits}, gpt4o.split...)}, "tiny_aya cohere2moe")
	alias(bailing, "bailingmoe bailingmoe2 llada-moe")
	alias(lineMeta, "gemma4 granite-embed-multi-311m sarvam-moe")
	return m
}

// findPreset returns the preset of name, or an error that names the nearest.
func findPreset(name string) (preset, error) {
	all := presets()
	if p, ok := all[name]; ok {
		return p, nil
	}
	return preset{}, fmt.Errorf("tokenizer.ggml.pre %q is not known, the nearest is %q; convert the model anew or use its tokenizer.json",
		describe(name), nearest.Of(name, slices.Collect(maps.Keys(all))))
}

// stages makes the splitters of a preset.
func (p *preset) stages() ([]splitter, error) {
	b := &stageBuilder{}
	for _, s := range p.split {
		if s == letterStage {
			b.splitters = append(b.splitters, letterSplit{})
			continue
		}
		if err := b.addPattern(string(s), isolated, false); err != nil {
			return nil, err
		}
	}
	if !p.meta && !slices.Contains(p.split, letterStage) {
		b.splitters = append(b.splitters, letterSplit{})
	}
	return b.splitters, nil
}
