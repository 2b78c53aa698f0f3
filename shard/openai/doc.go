// Package openai is the HTTP API of a member: chat completions, completions,
// responses and models, as OpenAI's clients know them, the messages of
// Anthropic's, and the chats of Ollama's.
//
// Start with [New], which makes the http.Handler over a [Backend], and
// [NewServer], which serves it with time limits. The package renders the chat
// template, counts tokens, opens a session for each request and runs it; which
// peers a session uses is the Backend's business. It knows no transport below
// HTTP.
//
// A field that is not known or not supported is a 400 that names it; nothing
// is ignored in silence. Fields that are accepted without effect are listed in
// DESIGN.md, with the reasons of the other decisions.
//
// Everything is safe for concurrent use.
//
// Goroutines: one for each streamed request, which generates while the
// handler's own goroutine writes. It ends before the handler returns.
package openai
