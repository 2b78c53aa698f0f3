package folder

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
)

// conf is config.json, with that of the text model in front where a model has
// several parts. It keeps the first error.
type conf struct {
	raw map[string]json.RawMessage
	err error
}

// parseConf reads config.json.
func parseConf(b []byte) (*conf, error) {
	c := &conf{}
	if err := json.Unmarshal(b, &c.raw); err != nil {
		return nil, err
	}
	for _, name := range []string{"text_config", "llm_config"} {
		var text map[string]json.RawMessage
		if json.Unmarshal(c.raw[name], &text) == nil && len(text) > 0 {
			maps.Copy(c.raw, text)
		}
	}
	return c, nil
}

// defaults sets numbers that are not there.
func (c *conf) defaults(numbers map[string]float64) {
	for name, x := range numbers {
		if _, _, ok := c.find([]string{name}); !ok {
			c.raw[name], _ = json.Marshal(x) // finite
		}
	}
}

// find returns the first of the names that has a value other than null.
func (c *conf) find(names []string) (name string, value json.RawMessage, ok bool) {
	for _, name := range names {
		if v, ok := c.raw[name]; ok && string(v) != "null" {
			return name, v, true
		}
	}
	return "", nil, false
}

// read reads the first of the names to v, and reports whether there is any.
func (c *conf) read(v any, names ...string) bool {
	name, value, ok := c.find(names)
	if !ok {
		return false
	}
	if err := json.Unmarshal(value, v); err != nil {
		c.fail(fmt.Errorf("config.json: %s: %w", name, err))
		return false
	}
	return true
}

func (c *conf) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// number returns a number.
func (c *conf) number(names ...string) (float64, bool) {
	x := 0.0
	return x, c.read(&x, names...)
}

// count returns a whole number from 0 to 2^31, and whether it is there.
func (c *conf) count(names ...string) (int, bool) {
	x := 0.0
	if !c.read(&x, names...) {
		return 0, false
	}
	if x != math.Trunc(x) || x < 0 || x > math.MaxInt32 {
		c.fail(fmt.Errorf("config.json: %s is %v, want a whole number from 0 to %d", names[0], x, math.MaxInt32))
		return 0, false
	}
	return int(x), true
}

// need is count for what must be there and not be 0.
func (c *conf) need(names ...string) int {
	n, ok := c.count(names...)
	if c.err == nil && (!ok || n == 0) {
		c.fail(fmt.Errorf("config.json: %s is missing or 0", names[0]))
	}
	return max(n, 1)
}

// def is count with a default.
func (c *conf) def(n int, names ...string) int {
	if x, ok := c.count(names...); ok {
		return x
	}
	return n
}

// flag returns a truth value, or def.
func (c *conf) flag(def bool, names ...string) bool {
	c.read(&def, names...)
	return def
}

// text returns a text, "" if there is none.
func (c *conf) text(names ...string) string {
	s := ""
	c.read(&s, names...)
	return s
}

// A rope is what a config says of rotary embedding, in either layout: that of
// transformers 5 (rope_parameters) or that of 4 (rope_theta, rope_scaling, ...).
type rope struct {
	Type     string    `json:"rope_type"`
	OldType  string    `json:"type"`
	Theta    *float64  `json:"rope_theta"`
	Partial  *float64  `json:"partial_rotary_factor"`
	Factor   float64   `json:"factor"`
	Original float64   `json:"original_max_position_embeddings"`
	Low      *float64  `json:"low_freq_factor"`
	High     *float64  `json:"high_freq_factor"`
	Fast     *float64  `json:"beta_fast"`
	Slow     *float64  `json:"beta_slow"`
	Attn     *float64  `json:"attention_factor"`
	Truncate *bool     `json:"truncate"`
	MScale   *float64  `json:"mscale"`
	MScaleAt *float64  `json:"mscale_all_dim"`
	Long     []float64 `json:"long_factor"`
	Short    []float64 `json:"short_factor"`
	local    *float64  // theta of layers that see a window
}

// rope reads what the config says of rotary embedding.
func (c *conf) rope() rope {
	var r rope
	var kinds struct {
		Full    json.RawMessage `json:"full_attention"`
		Sliding rope            `json:"sliding_attention"`
	}
	if name, value, ok := c.find([]string{"rope_parameters", "rope_scaling"}); ok {
		if json.Unmarshal(value, &kinds) == nil && len(kinds.Full) > 0 {
			value, r.local = kinds.Full, kinds.Sliding.Theta
		}
		if err := json.Unmarshal(value, &r); err != nil {
			c.fail(fmt.Errorf("config.json: %s: %w", name, err))
		}
	}
	if r.Type == "" {
		r.Type = r.OldType
	}
	or := func(to **float64, names ...string) {
		if x, ok := c.number(names...); ok && *to == nil {
			*to = &x
		}
	}
	or(&r.Theta, "rope_theta", "rotary_emb_base", "global_rope_theta")
	or(&r.local, "rope_local_base_freq", "local_rope_theta")
	or(&r.Partial, "partial_rotary_factor", "rotary_pct", "rope_pct")
	if x, ok := c.number("original_max_position_embeddings"); ok && r.Original == 0 {
		r.Original = x
	}
	return r
}
