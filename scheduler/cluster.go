package scheduler

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"go.yaml.in/yaml/v3"

	"github.com/shardnode/shardnode/shard"
)

// maxClusterBytes bounds a cluster file: 10,000 peers with all their points.
const maxClusterBytes = 16 << 20

// A Cluster is the content of a cluster file (CLI.md §4).
type Cluster struct {
	Name string
	View View
}

// The forms of the parts of a cluster file.
type (
	clusterFile struct {
		Name  string              `json:"name,omitempty"`
		Model modelFile           `json:"model"`
		Peers []peerFile          `json:"peers"`
		Links map[string]linkFile `json:"links,omitempty"`
	}
	modelFile struct {
		Name                 string    `json:"name,omitempty"`
		Layers               int       `json:"layers"`
		LayerBytes           byteSizes `json:"layer_bytes"`
		EmbedBytes           byteSize  `json:"embed_bytes"`
		HeadBytes            byteSize  `json:"head_bytes"`
		TiedBytes            byteSize  `json:"tied_bytes,omitempty"`
		EmbedLayers          float64   `json:"embed_layers,omitempty"`
		HeadLayers           float64   `json:"head_layers,omitempty"`
		KVBytesPerTokenLayer byteSize  `json:"kv_bytes_per_token_layer"`
		HiddenBytes          byteSize  `json:"hidden_bytes"`
	}
	peerFile struct {
		ID                string    `json:"id"`
		Name              string    `json:"name,omitempty"`
		Role              string    `json:"role,omitempty"`
		MemoryBytes       byteSize  `json:"memory_bytes"`
		DecodeMS          []point   `json:"decode_ms"`
		PrefillMSPerToken float64   `json:"prefill_ms_per_token,omitempty"`
		UpMbit            float64   `json:"up_mbit,omitempty"`
		DownMbit          float64   `json:"down_mbit,omitempty"`
		Region            string    `json:"region,omitempty"`
		Throughput        []float64 `json:"throughput,omitempty"`
		Pinned            *spanFile `json:"pinned,omitempty"`
		Held              *spanFile `json:"held,omitempty"`
		KVFreeBytes       byteSize  `json:"kv_free_bytes,omitempty"`
		Sessions          int       `json:"sessions,omitempty"`
	}
	linkFile struct {
		LatencyMS float64 `json:"latency_ms"`
		Mbit      float64 `json:"mbit"`
	}
	point     []float64 // [batch, ms]
	spanFile  []int     // [start, end]
	byteSize  int64
	byteSizes []byteSize // one number, or one a layer
)

var roleNames = map[Role]string{Serve: "serve", Client: "client", Draining: "draining"}

// UnmarshalJSON reads a number of bytes, which may be written 1.53e9.
func (n *byteSize) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	if b[0] == 'n' || f != math.Trunc(f) || !in(f, 0, maxBytes) {
		return fmt.Errorf("%s is no number of bytes", b)
	}
	*n = byteSize(f)
	return nil
}

// UnmarshalJSON reads one number or a list.
func (s *byteSizes) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, (*[]byteSize)(s))
	}
	*s = make(byteSizes, 1)
	return json.Unmarshal(b, &(*s)[0])
}

// MarshalJSON writes one number if s has one.
func (s byteSizes) MarshalJSON() ([]byte, error) {
	if len(s) == 1 {
		return json.Marshal(s[0])
	}
	return json.Marshal([]byteSize(s))
}

// ParseCluster reads a cluster file, in JSON if it starts with a brace and in
// YAML otherwise. Unknown keys and values out of range are errors that name
// them.
func ParseCluster(b []byte) (Cluster, error) {
	c, err := parseCluster(b)
	if err != nil {
		return Cluster{}, fmt.Errorf("cluster file: %w", err)
	}
	return c, nil
}

func parseCluster(b []byte) (Cluster, error) {
	if len(b) > maxClusterBytes {
		return Cluster{}, fmt.Errorf("%d bytes, want at most %d", len(b), maxClusterBytes)
	}
	if trimmed := bytes.TrimSpace(b); len(trimmed) == 0 {
		return Cluster{}, errors.New("empty: want a model and peers")
	} else if trimmed[0] != '{' {
		var err error
		if b, err = yamlToJSON(b); err != nil {
			return Cluster{}, err
		}
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var f clusterFile
	if err := dec.Decode(&f); err != nil {
		return Cluster{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Cluster{}, errors.New("text after the closing brace")
	}
	c, err := f.cluster()
	if err != nil {
		return Cluster{}, err
	}
	return c, c.View.check()
}

// yamlToJSON returns the JSON form of a YAML document. The decoder refuses
// documents whose aliases multiply without end.
func yamlToJSON(b []byte) ([]byte, error) {
	var doc map[string]any
	dec := yaml.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document: want one")
	}
	return json.Marshal(doc)
}

// cluster returns the values of f, which are checked afterwards.
func (f clusterFile) cluster() (Cluster, error) {
	m := f.Model
	c := Cluster{Name: f.Name}
	c.View.Model = Model{
		Name: m.Name, Layers: m.Layers, EmbedBytes: int64(m.EmbedBytes), HeadBytes: int64(m.HeadBytes),
		TiedBytes: int64(m.TiedBytes), EmbedLayers: m.EmbedLayers, HeadLayers: m.HeadLayers,
		KVBytesPerTokenLayer: int64(m.KVBytesPerTokenLayer), HiddenBytes: int64(m.HiddenBytes),
	}
	for _, n := range m.LayerBytes {
		c.View.Model.LayerBytes = append(c.View.Model.LayerBytes, int64(n))
	}
	for i, p := range f.Peers {
		peer, err := p.peer()
		if err != nil {
			return Cluster{}, fmt.Errorf("peer %d (%q): %w", i, p.ID, err)
		}
		c.View.Peers = append(c.View.Peers, peer)
	}
	for name, l := range f.Links {
		if name == "default" {
			c.View.Links.Default = Link(l)
			continue
		}
		if c.View.Links.Pairs == nil {
			c.View.Links.Pairs = map[string]Link{}
		}
		c.View.Links.Pairs[name] = Link(l)
	}
	return c, nil
}

func (f peerFile) peer() (Peer, error) {
	p := Peer{
		ID: ID(f.ID), Name: f.Name, MemoryBytes: int64(f.MemoryBytes), PrefillMSPerToken: f.PrefillMSPerToken,
		UpMbit: f.UpMbit, DownMbit: f.DownMbit, Region: f.Region, Throughput: f.Throughput,
		KVFreeBytes: int64(f.KVFreeBytes), Sessions: f.Sessions,
	}
	for i, t := range f.DecodeMS {
		if len(t) != 2 {
			return p, fmt.Errorf("decode_ms point %d has %d numbers, want [batch, ms]", i, len(t))
		}
		p.DecodeMS = append(p.DecodeMS, Timing{t[0], t[1]})
	}
	var err error
	if p.Pinned, err = f.Pinned.span(); err != nil {
		return p, fmt.Errorf("pinned: %w", err)
	}
	if p.Held, err = f.Held.span(); err != nil {
		return p, fmt.Errorf("held: %w", err)
	}
	for role, name := range roleNames {
		if f.Role == name {
			p.Role = role
			return p, nil
		}
	}
	if f.Role != "" {
		return p, fmt.Errorf("role %q, want serve, client or draining", f.Role)
	}
	return p, nil
}

func (s *spanFile) span() (shard.Span, error) {
	if s == nil {
		return shard.Span{}, nil
	}
	if len(*s) != 2 || (*s)[0] < 0 || (*s)[1] > maxLayers || (*s)[0] >= (*s)[1] {
		return shard.Span{}, fmt.Errorf("layers %v, want [start, end]", []int(*s))
	}
	return shard.Span{Start: shard.Layer((*s)[0]), End: shard.Layer((*s)[1])}, nil
}

// AppendJSON appends c to dst in the form that [ParseCluster] reads.
func (c Cluster) AppendJSON(dst []byte) ([]byte, error) {
	m := c.View.Model
	f := clusterFile{Name: c.Name, Model: modelFile{
		Name: m.Name, Layers: m.Layers, EmbedBytes: byteSize(m.EmbedBytes), HeadBytes: byteSize(m.HeadBytes),
		TiedBytes: byteSize(m.TiedBytes), EmbedLayers: m.EmbedLayers, HeadLayers: m.HeadLayers,
		KVBytesPerTokenLayer: byteSize(m.KVBytesPerTokenLayer), HiddenBytes: byteSize(m.HiddenBytes),
	}, Links: map[string]linkFile{"default": linkFile(c.View.Links.Default)}}
	for _, n := range m.LayerBytes {
		f.Model.LayerBytes = append(f.Model.LayerBytes, byteSize(n))
	}
	for _, p := range c.View.Peers {
		g := peerFile{
			ID: string(p.ID), Name: p.Name, MemoryBytes: byteSize(p.MemoryBytes), PrefillMSPerToken: p.PrefillMSPerToken,
			UpMbit: p.UpMbit, DownMbit: p.DownMbit, Region: p.Region, Throughput: p.Throughput,
			KVFreeBytes: byteSize(p.KVFreeBytes), Sessions: p.Sessions, Pinned: spanOf(p.Pinned), Held: spanOf(p.Held),
		}
		if p.Role != Serve {
			g.Role = roleNames[p.Role]
		}
		for _, t := range p.DecodeMS {
			g.DecodeMS = append(g.DecodeMS, point{t.Batch, t.MS})
		}
		f.Peers = append(f.Peers, g)
	}
	for name, l := range c.View.Links.Pairs {
		f.Links[name] = linkFile(l)
	}
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return dst, fmt.Errorf("cluster file: %w", err)
	}
	return append(dst, b...), nil
}

func spanOf(s shard.Span) *spanFile {
	if s.Len() == 0 {
		return nil
	}
	return &spanFile{int(s.Start), int(s.End)}
}
