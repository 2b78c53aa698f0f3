// Package chat renders chat templates: the Jinja that comes with a model and
// turns a list of messages into the text the model was trained on.
//
// Start with [Parse], then [Template.Render]. The dialect is the one in which
// the transformers library compiles templates: an immutable sandbox with
// trim_blocks, lstrip_blocks, loop controls, the generation tag, tojson as
// json.dumps(ensure_ascii=False), raise_exception and strftime_now, all with
// the values of Python (insertion-ordered dicts, str and repr, truthiness).
//
// Templates come from strangers. They reach nothing but their variables, and
// source, nesting, steps, string and output sizes are bounded (limits.go).
// There is no clock inside: the time is a variable ([Vars.Now]).
//
// Inside, a template that fails ends by a panic that carries its error to the
// door (Parse or Render) and no further, as text/template does it.
//
// A Template may be used by several goroutines at once. Lists and dicts that
// are being rendered must not be changed meanwhile.
package chat
