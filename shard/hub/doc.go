// Package hub fetches files of models from Hugging Face's hub, or a server that
// speaks like it, into the cache that Python's huggingface_hub keeps: what one
// of the two has fetched the other finds. Start with [FromEnv] and [New].
//
// A file is fetched over several connections by ranges, checked against the
// hash that the hub names, and only then given its place. What breaks off stays
// as a partial file that the next call goes on with. The token goes to the
// hub's own host and to no other.
//
// The package knows bytes and names, not what is in the files: which bytes of a
// file hold which layers is for the caller, who reads headers through
// [Client.Open] and gets parts with [Client.PullParts]. A [Client] is safe for
// concurrent use. Goroutines live inside one call only.
package hub
