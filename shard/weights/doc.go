// Package weights finds, maps, names and moves the bytes of a model's tensors.
//
// Start with [Open], which maps a GGUF file (or the parts of a split one) and
// gives its tensors as read-only memory. [Index] says which tensors a span of
// layers needs and how large they are. A [Manifest] lists the hash of every
// piece of every tensor; its own hash is the model's name. A [Server] hands
// pieces out to whoever asks for that name over a stream, and [Fetch] gets
// them from several servers at once into a [Partial], a sparse copy that
// holds some tensors and keeps across restarts.
//
// The meaning of metadata is shard/model's business. Streams are handed in:
// nothing here opens a connection. Everything is safe for concurrent use; only
// Close must come after the last use of a tensor's Data.
//
// Goroutines: [NewManifest] hashes on several, [Fetch] runs one for each
// server, and both return when all have ended. [Server.Serve] runs on its
// caller's. Locks: a Partial's mu and a fetch's mu; neither is held while the
// other is taken, or during I/O.
package weights
