// Package generate turns a prompt into text: the model's chat template and
// tokenizer in front of a session, sampling and stop strings behind it.
//
// Start with [ReadText], the text side of a model; [Timeline.Run] answers one
// prompt on a session. A [Timeline] keeps what the session has seen, so that
// the next prompt of a chat begins at its first new token. The package opens
// no sessions and speaks no HTTP.
package generate
