// Package grammar says which tokens may come next when an answer must have a
// form: a grammar in GBNF, or the JSON values of a JSON Schema.
//
// Start with [ParseGBNF] or [FromSchema], which give an [Expr]; larger ones are
// made of smaller ones with [Seq], [Or] and [Repeat]. [NewVocabulary] is made
// once for a tokenizer, [Vocabulary.Compile] once for a grammar, and
// [Form.Start] once for an answer. A [Matcher] gives the mask of what may come
// next and takes the token that came.
//
// Text is left to the tokenizer: this package sees the bytes of its pieces. How
// masks are made, and what they cost, stands in DESIGN.md.
//
// A [Vocabulary], an [Expr] and a [Form] are safe for concurrent use. A
// Matcher belongs to one goroutine.
package grammar
