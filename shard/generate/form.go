package generate

import (
	"errors"
	"slices"
	"sync"

	"github.com/shardnode/shardnode/shard/grammar"
)

// A Constraint says what an answer must be a text of. The zero Constraint asks
// for nothing; at most one field may be set.
type Constraint struct {
	Grammar string `json:"grammar,omitempty"` // GBNF, see [grammar.ParseGBNF]
	Schema  string `json:"schema,omitempty"`  // JSON Schema, see [grammar.FromSchema]
}

// Expr returns the texts that c allows, nil for all.
func (c Constraint) Expr() (*grammar.Expr, error) {
	switch {
	case c.Grammar != "" && c.Schema != "":
		return nil, errors.New("a grammar and a schema at once: give one")
	case c.Grammar != "":
		return grammar.ParseGBNF(c.Grammar)
	case c.Schema != "":
		return grammar.FromSchema([]byte(c.Schema))
	}
	return nil, nil
}

// Form makes c ready for the model's tokens; nil is no constraint.
func (t *Text) Form(c Constraint) (*grammar.Form, error) {
	if c == (Constraint{}) {
		return nil, nil
	}
	return t.FormOf(c.Grammar+"\x00"+c.Schema, c.Expr)
}

// FormOf is Form for any expression. key names it: an equal key gives the form
// that was made before, with what is known of it, as long as that is kept.
func (t *Text) FormOf(key string, make func() (*grammar.Expr, error)) (*grammar.Form, error) {
	if f := t.forms.get(key); f != nil {
		return f, nil
	}
	e, err := make()
	if err != nil {
		return nil, err
	}
	f, err := t.vocabulary().Compile(e)
	if err == nil {
		t.forms.put(key, f)
	}
	return f, err
}

// vocabulary returns the model's tokens as package grammar sees them.
func (t *Text) vocabulary() *grammar.Vocabulary {
	t.forms.once.Do(func() {
		tok := t.Tokenizer
		t.forms.vocab = grammar.NewVocabulary(grammar.Tokens{
			Len: tok.Len(), Piece: tok.Piece, Control: tok.IsControl, Ends: tok.Ends(),
		})
	})
	return t.forms.vocab
}

// maxForms bounds the forms that are kept; each may have some MB.
const maxForms = 16

// A formCache keeps the forms that were used last. The zero formCache is empty.
type formCache struct {
	once  sync.Once
	vocab *grammar.Vocabulary

	mu    sync.Mutex  // guards what follows
	forms []namedForm // used last, last
}

type namedForm struct {
	key  string
	form *grammar.Form
}

func (c *formCache) get(key string) *grammar.Form {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.forms, func(n namedForm) bool { return n.key == key })
	if i < 0 {
		return nil
	}
	n := c.forms[i]
	c.forms = append(slices.Delete(c.forms, i, i+1), n)
	return n.form
}

func (c *formCache) put(key string, f *grammar.Form) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.forms) == maxForms {
		c.forms = slices.Delete(c.forms, 0, 1)
	}
	c.forms = append(c.forms, namedForm{key, f})
}
