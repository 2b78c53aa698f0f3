package reply

import (
	"encoding/json"
	"strings"
)

// A valueScan finds the end of a JSON object or array that comes in pieces.
type valueScan struct {
	begun   bool
	depth   int
	quoted  bool
	escaped bool
}

// scan returns how many bytes of s belong to the value, blanks before it
// included, and whether it is complete.
//
//nolint:gocyclo // a machine, a case a state
func (v *valueScan) scan(s string) (n int, done bool) {
	for i := range len(s) {
		c := s[i]
		switch {
		case v.escaped:
			v.escaped = false
		case v.quoted && c == '\\':
			v.escaped = true
		case c == '"':
			v.quoted = !v.quoted
			v.begun = true
		case v.quoted:
		case c == '{' || c == '[':
			v.depth++
			v.begun = true
		case c == '}' || c == ']':
			v.depth--
		}
		if v.begun && v.depth <= 0 && !v.quoted {
			return i + 1, true
		}
		if !v.begun && c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			v.begun = true // no object: taken as it is
		}
	}
	return len(s), false
}

type scanState uint8

const (
	scanMore scanState = iota
	scanDone
	scanBad
)

// An objectScan reads {"name": ..., "arguments": ...} as it comes.
type objectScan struct {
	name    string
	hasArgs bool

	begun bool
	key   string          // of the value that comes
	part  strings.Builder // the key or the value so far
	state objectState
	value valueScan
	args  strings.Builder // not taken yet
}

type objectState uint8

const (
	wantKey objectState = iota
	inKey
	wantColon
	wantValue
	inValue
	inScalar
	wantComma
)

// scan reads s, and returns how much of it was read.
//
//nolint:gocyclo // a machine, a case a state
func (o *objectScan) scan(s string) (n int, _ scanState) {
	for i := 0; i < len(s); {
		c := s[i]
		blank := c == ' ' || c == '\n' || c == '\t' || c == '\r'
		switch o.state {
		case wantKey:
			switch {
			case blank:
			case c == '{' && !o.begun:
				o.begun = true
			case c == '"' && o.begun:
				o.state = inKey
				o.part.Reset()
				o.value = valueScan{}
				continue
			case c == '}' && o.begun:
				return i + 1, scanDone
			default:
				return i, scanBad
			}
			i++
		case inKey, inValue:
			k, done := o.value.scan(s[i:])
			o.take(s[i : i+k])
			if i += k; !done {
				return i, scanMore
			}
			if !o.complete() {
				return i, scanBad
			}
		case wantColon:
			if !blank && c != ':' {
				return i, scanBad
			}
			if i++; c == ':' {
				o.state = wantValue
			}
		case wantValue:
			if blank {
				i++
				continue
			}
			o.part.Reset()
			o.value = valueScan{}
			if o.state = inScalar; c == '{' || c == '[' || c == '"' {
				o.state = inValue
			}
		case inScalar:
			if c == ',' || c == '}' || blank {
				o.state = wantComma
				continue
			}
			i++
		case wantComma:
			switch {
			case blank:
			case c == ',':
				o.state = wantKey
			case c == '}':
				return i + 1, scanDone
			default:
				return i, scanBad
			}
			i++
		}
	}
	return len(s), scanMore
}

func isArgs(key string) bool { return key == "arguments" || key == "parameters" || key == "args" }

// take keeps a piece of a key or a value.
func (o *objectScan) take(piece string) {
	if o.state == inValue && isArgs(o.key) && o.value.depthOrEnd(piece) {
		o.args.WriteString(piece)
		o.hasArgs = true
		return
	}
	if o.part.Len() < 1<<16 {
		o.part.WriteString(piece)
	}
}

// depthOrEnd reports whether the value is an object or array, by the piece or
// what came before it.
func (v *valueScan) depthOrEnd(piece string) bool {
	return v.depth > 0 || strings.HasSuffix(piece, "}") || strings.HasSuffix(piece, "]")
}

// complete takes the end of a key or a value.
func (o *objectScan) complete() bool {
	var text string
	isText := json.Unmarshal([]byte(o.part.String()), &text) == nil
	if o.state == inKey {
		o.key, o.state = text, wantColon
		return isText
	}
	o.state = wantComma
	switch {
	case (o.key == "name" || o.key == "function") && o.name == "":
		o.name = text
		return isText && text != ""
	case isArgs(o.key) && isText && !o.hasArgs: // JSON in a string
		o.args.WriteString(text)
		o.hasArgs = true
	}
	return true
}

// takeArgs returns what the arguments grew by.
func (o *objectScan) takeArgs() string {
	s := o.args.String()
	o.args.Reset()
	return s
}
