package web

// A Swarm is the swarm as one member sees it at one moment. It is what the
// feed sends and what `top` draws; keys follow CLI.md.
type Swarm struct {
	At        int64     `json:"at_unix_ms"`
	Self      string    `json:"self"`
	Swarm     string    `json:"swarm"`
	Doing     string    `json:"doing"`
	MayInvite bool      `json:"may_invite"`
	Model     *Model    `json:"model"` // nil while it is not known
	Peers     []Peer    `json:"peers"`
	Links     []Link    `json:"links"`
	Sessions  []Session `json:"sessions"`
	Totals    Totals    `json:"totals"`
}

// A Model is the model that the swarm serves.
type Model struct {
	Name          string `json:"name"`
	Layers        int    `json:"layers"`
	ContextTokens int    `json:"context_tokens"`
	Bytes         int64  `json:"bytes"` // of all layers in memory
	Holders       []int  `json:"holders"`
	MinHolders    int    `json:"min_holders"`
}

// A Peer is a member of the swarm.
type Peer struct {
	Peer        string  `json:"peer"`
	Name        string  `json:"name"`
	State       string  `json:"state"` // joining, serving, draining, client, lost or left
	Alive       bool    `json:"alive"`
	Since       int64   `json:"since_unix_ms"` // when Alive changed, 0 if not known
	Span        [2]int  `json:"span"`
	Planned     [2]int  `json:"planned"`
	Pinned      bool    `json:"pinned"`
	Ready       int     `json:"ready_percent"` // of Planned that has arrived
	DoneBytes   int64   `json:"done_bytes"`    // of Planned that has arrived
	WantBytes   int64   `json:"want_bytes"`    // of Planned
	BytesPerSec float64 `json:"bytes_per_s"`   // at which they arrive
	MemoryBytes int64   `json:"memory_bytes"`
	FreeBytes   int64   `json:"free_bytes"`
	DecodeMS    float64 `json:"decode_ms"`  // a layer and token
	PrefillMS   float64 `json:"prefill_ms"` // a layer and token of a long prompt
	RTTms       float64 `json:"rtt_ms"`
	Sessions    int     `json:"sessions"`
	KVTokens    int64   `json:"kv_free_tokens"`
	Threads     int     `json:"threads"`
	Addr        string  `json:"addr"`
}

// A Link is what hidden states of this member's sessions travel over.
type Link struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Steps   uint64  `json:"steps"`
	Bytes   uint64  `json:"bytes"`
	Codec   string  `json:"codec"`
	P50ms   float64 `json:"p50_ms"`
	P99ms   float64 `json:"p99_ms"`
	RTTms   float64 `json:"rtt_ms"`
	BytesPS float64 `json:"bytes_per_s"` // while the session ran
}

// A Session is one that this member drives.
type Session struct {
	ID     string  `json:"id"`
	Model  string  `json:"model"`
	Room   int     `json:"tokens"` // positions that are reserved
	Pos    int     `json:"pos"`    // positions that are filled
	TokS   float64 `json:"tok_s"`  // of its last steps
	AgeMS  float64 `json:"age_ms"`
	Route  []Stage `json:"route"`
	Paused string  `json:"waiting,omitempty"` // what it waits for
}

// A Stage is a span that one peer serves for a session.
type Stage struct {
	Peer  string `json:"peer"`
	Name  string `json:"name"`
	Start int    `json:"start"`
	End   int    `json:"end"`
}

// Totals count what this member did since it started.
type Totals struct {
	TokS       float64 `json:"tok_s"` // of all sessions now
	Answers    uint64  `json:"answers"`
	Tokens     uint64  `json:"decode_tokens"`
	Prompts    uint64  `json:"prompt_tokens"`
	Recoveries uint64  `json:"recoveries"`
	Failures   uint64  `json:"failures"`
	UptimeMS   float64 `json:"uptime_ms"`
}

// A WhatIf asks what the planner would do with other peers.
type WhatIf struct {
	Kill []string `json:"kill"` // names
	Add  []string `json:"add"`  // as `plan --add` takes them
}

// A Plan is the planner's answer.
type Plan struct {
	Layout     []Stage    `json:"layout"`
	TokSMany   float64    `json:"tok_s_many"`
	TokSOne    float64    `json:"tok_s_one"`
	TTFTms     float64    `json:"ttft_ms"`
	Limit      string     `json:"bottleneck"`
	Reasons    []string   `json:"reasons"`
	Rejected   []Rejected `json:"rejected"`
	Idle       []string   `json:"idle"`
	PlanMS     float64    `json:"plan_ms"`
	Impossible string     `json:"impossible,omitempty"` // why there is no layout
}

// A Rejected is a layout that was considered and not chosen.
type Rejected struct {
	Layout []Stage `json:"layout"`
	Why    string  `json:"why"`
}

// An Invite says what invitation is wanted.
type Invite struct {
	Uses  int     `json:"uses"`
	Hours float64 `json:"hours"`
	Role  string  `json:"role"` // serve, client or serve,client
}

// An Invited is an invitation.
type Invited struct {
	Line    string `json:"invitation"`
	ID      string `json:"id"`
	Uses    int    `json:"uses"`
	Role    string `json:"role"`
	Expires int64  `json:"expires_unix_ms"`
}
