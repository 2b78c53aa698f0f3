package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard/nearest"
)

// A peerSpec is a peer as a cluster file has it, key by key.
type peerSpec map[string]json.RawMessage

// editCluster returns c without the peers of --kill and with those of --add.
func (a *app) editCluster(c scheduler.Cluster, kill, add []string) (scheduler.Cluster, error) {
	like := c.View.Peers[0] // of what is added
	c.View.Peers = slices.Clone(c.View.Peers)
	for _, name := range kill {
		i := slices.IndexFunc(c.View.Peers, func(p scheduler.Peer) bool { return string(p.ID) == name })
		if i < 0 {
			i = slices.IndexFunc(c.View.Peers, func(p scheduler.Peer) bool { return p.Name == name })
		}
		if i < 0 {
			return c, unknownPeer(name, c.View.Peers)
		}
		c.View.Peers = slices.Delete(c.View.Peers, i, i+1)
	}
	if len(c.View.Peers)+len(add) == 0 {
		return c, hint(usage("--kill leaves no peer"), "add one with --add")
	}
	for _, spec := range add {
		var err error
		if c, err = a.addPeer(c, like, spec); err != nil {
			return c, &usageError{fmt.Errorf("--add %s: %w", spec, err)}
		}
	}
	return c, nil
}

// unknownPeer is the error for a peer that the cluster has not.
func unknownPeer(name string, peers []scheduler.Peer) error {
	err := usage("--kill: no peer is called %q", name)
	if len(peers) == 0 {
		return err
	}
	nearest := slices.MinFunc(peers, func(x, y scheduler.Peer) int {
		return nearest.Distance(name, string(x.ID)) - nearest.Distance(name, string(y.ID))
	})
	return hint(err, "did you mean %q?", nearest.ID)
}

// addPeer returns c with the peer that spec describes. What spec does not say
// of memory and speed is as of like. It goes through a cluster file's own
// form, so that the same is read and refused as there.
func (a *app) addPeer(c scheduler.Cluster, like scheduler.Peer, spec string) (scheduler.Cluster, error) {
	peer, err := parsePeerSpec(spec)
	if err != nil {
		return c, err
	}
	alike := c
	alike.View.Peers = []scheduler.Peer{like}
	_, template, err := clusterParts(alike)
	if err != nil {
		return c, err
	}
	var copied []string
	keys := []string{"memory_bytes", "decode_ms"}
	if peer["decode_ms"] == nil {
		keys = append(keys, "prefill_ms_per_token")
	}
	for _, key := range keys {
		if peer[key] == nil && template[0][key] != nil {
			peer[key] = template[0][key]
			copied = append(copied, key)
		}
	}
	file, peers, err := clusterParts(c)
	if err != nil {
		return c, err
	}
	if file["peers"], err = json.Marshal(append(peers, peer)); err != nil {
		return c, err
	}
	b, err := json.Marshal(file)
	if err != nil {
		return c, err
	}
	with, err := scheduler.ParseCluster(b)
	if err == nil && len(copied) > 0 {
		a.notify("--add %s: %s as of %s", spec, strings.Join(copied, ", "), like.ID)
	}
	return with, err
}

// clusterParts returns the keys of c's file and its peers.
func clusterParts(c scheduler.Cluster) (map[string]json.RawMessage, []peerSpec, error) {
	b, err := c.AppendJSON(nil)
	if err != nil {
		return nil, nil, err
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, nil, err
	}
	var peers []peerSpec
	return file, peers, json.Unmarshal(file["peers"], &peers)
}

// parsePeerSpec reads a peer: a JSON object, or KEY=VALUE,KEY=VALUE.
func parsePeerSpec(spec string) (peerSpec, error) {
	peer := peerSpec{}
	if strings.HasPrefix(strings.TrimSpace(spec), "{") {
		return peer, json.Unmarshal([]byte(spec), &peer)
	}
	for part := range strings.SplitSeq(spec, ",") {
		key, value, ok := strings.Cut(part, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" || value == "" {
			return nil, fmt.Errorf("%q: want KEY=VALUE, for example id=x,memory_bytes=16GiB, or a JSON object", part)
		}
		if peer[key] != nil {
			return nil, fmt.Errorf("%s is given twice", key)
		}
		b, err := peerValue(key, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		peer[key] = b
	}
	return peer, nil
}

// textKeys are the keys of a peer whose values are texts.
var textKeys = []string{"id", "name", "role", "region"}

// peerValue returns a value of KEY=VALUE in JSON.
func peerValue(key, value string) (json.RawMessage, error) {
	if slices.Contains(textKeys, key) {
		return json.Marshal(value)
	}
	if strings.HasSuffix(key, "_bytes") {
		var size sizeFlag
		if err := size.Set(value); err != nil {
			return nil, err
		}
		return json.Marshal(int64(size))
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return nil, fmt.Errorf("%q is no number", value)
	}
	if key == "decode_ms" {
		return json.Marshal([][2]float64{{1, n}}) // of one session
	}
	return json.Marshal(n)
}
