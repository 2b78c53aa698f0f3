// Package reply reads what a model answered in a chat: its reasoning, its text,
// and the calls of tools, each in the form that the model's family writes.
//
// [Detect] finds the family by the source of the model's chat template. A
// [Parser] takes the answer as it comes and gives its [Part]s; a call's
// arguments come as they are written. [Format.Expr] is the grammar of an answer
// that must call a tool.
//
// Which families there are, and what their calls look like, stands in
// families.go. Values are for one goroutine each; a Format does not change.
package reply
