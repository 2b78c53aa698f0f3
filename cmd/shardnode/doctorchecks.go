package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/tensorio/par"
	"github.com/shardnode/shardnode/tensorio/quant"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// kernels says what computes.
func (c *checkup) kernels() {
	vectors, _ := vec.Form() // no command runs where SHARDNODE_SIMD asks for what is not there
	what := fmt.Sprintf("matrices %s, vectors %s, %s", quant.Form(), vectors, count(member.Processors(), "thread"))
	if quant.Form() != "ref" {
		c.ok("kernels", "%s", what)
		return
	}
	f := finding{
		Check: "kernels", State: findingWarning, What: what,
		Why: "ref is plain Go, 10 to 60 times slower than the kernels for AVX2, AVX-512 and NEON; the results are the same",
		Do:  "use a processor of this decade",
	}
	if os.Getenv("SHARDNODE_SIMD") != "" {
		f.Do = "unset SHARDNODE_SIMD"
	}
	c.add(f)
}

// scarceMemory is less than the smallest models of use need.
const scarceMemory = 512 << 20

// memory says how much there is, and how fast it is read.
func (c *checkup) memory() {
	total, free := procKiB("/proc/meminfo", "MemTotal"), procKiB("/proc/meminfo", "MemAvailable")
	if total > 0 && free < scarceMemory { // measuring would take half of it
		c.add(finding{
			Check: "memory", State: findingWarning, What: fmt.Sprintf("%s of %s are free", mib(free), mib(total)),
			Why: "few models fit", Do: "end other programs",
		})
		return
	}
	what := ""
	if total > 0 {
		what = fmt.Sprintf("%s of %s are free, ", mib(free), mib(total))
	}
	c.ok("memory", "%sread at %.1f GB/s: a token takes as long as reading the weights once", what, readRate(member.Processors())/1e9)
}

// home looks at the folder with the keys and the cache.
func (c *checkup) home() {
	home := c.app.home
	info, err := os.Stat(home)
	if errors.Is(err, fs.ErrNotExist) {
		c.add(finding{Check: "home", State: findingNote, What: home + " is not there yet", Do: "nothing: the first `shardnode serve` makes it"})
		home = filepath.Dir(home)
		info, err = os.Stat(home)
	}
	switch {
	case err != nil:
		c.add(finding{Check: "home", State: findingBroken, What: err.Error(), Why: "keys and downloaded layers live there", Do: "name another folder with --home or SHARDNODE_HOME"})
		return
	case !info.IsDir():
		c.add(finding{Check: "home", State: findingBroken, What: home + " is not a folder", Do: "name another with --home or SHARDNODE_HOME"})
		return
	}
	if err := canWrite(home); err != nil {
		c.add(finding{Check: "home", State: findingBroken, What: fmt.Sprintf("%s can't be written to: %v", home, err), Do: "make it yours, or name another with --home"})
		return
	}
	free, err := freeDisk(home)
	switch {
	case err != nil:
		c.ok("home", "%s", home)
	case free < 1<<30:
		c.add(finding{
			Check: "disk", State: findingWarning, What: fmt.Sprintf("%s has %s free", home, mib(free)),
			Why: "a member keeps the layers that it fetches there", Do: "make room, or name a folder on another disk with --home",
		})
	default:
		c.ok("home", "%s, %s free on its disk", home, mib(free))
	}
}

// wantBuffer is what QUIC asks the kernel for, a socket and direction.
const wantBuffer = 7 << 20

// network sends a datagram to itself and looks at buffers and addresses.
func (c *checkup) network() {
	if err := echo(); err != nil {
		c.add(finding{Check: "udp", State: findingBroken, What: err.Error(), Why: "members speak QUIC over UDP", Do: "allow UDP in the firewall or the container"})
	} else {
		c.ok("udp", "a datagram came back on loopback")
	}
	for _, b := range []struct{ file, what string }{{"rmem_max", "receive"}, {"wmem_max", "send"}} {
		text, err := os.ReadFile("/proc/sys/net/core/" + b.file)
		if err != nil {
			continue // not Linux
		}
		if n, err := strconv.Atoi(string(bytes.TrimSpace(text))); err == nil && n < wantBuffer {
			c.add(finding{
				Check: "buffers", State: findingNote, What: fmt.Sprintf("the kernel gives sockets at most %d KiB to %s with", n>>10, b.what),
				Why: "on links above 1 Gbit/s packets may be lost", Do: fmt.Sprintf("sysctl -w net.core.%s=%d", b.file, wantBuffer),
			})
		}
	}
	c.interfaces()
}

// minMTU is the smallest packet that QUIC needs to get through, with headers.
const minMTU = 1280

// interfaces looks for one that peers can reach.
func (c *checkup) interfaces() {
	all, err := net.Interfaces()
	if err != nil {
		c.add(finding{Check: "network", State: findingWarning, What: err.Error()})
		return
	}
	reachable := ""
	var found []net.Addr
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil || len(addrs) == 0 {
			continue
		}
		if i.MTU > 0 && i.MTU < minMTU {
			c.add(finding{
				Check: "mtu", State: findingWarning, What: fmt.Sprintf("%s carries packets of %d bytes at most", i.Name, i.MTU),
				Why: "QUIC needs 1280", Do: "raise the MTU of the interface or tunnel",
			})
			continue
		}
		found = append(found, addrs...)
		if reachable == "" {
			reachable = fmt.Sprintf("%s has %v, packets of %d bytes", i.Name, addrs[0], i.MTU)
		}
	}
	if reachable == "" {
		c.add(finding{Check: "network", State: findingNote, What: "only loopback is up", Why: "other machines can't join", Do: "connect this machine to a network"})
		return
	}
	c.ok("network", "%s", reachable)
	c.nat(found)
}

// echo sends a datagram through loopback.
func echo() error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	want := []byte("shardnode")
	if _, err := conn.WriteTo(want, conn.LocalAddr()); err != nil {
		return err
	}
	got := make([]byte, 64)
	n, _, err := conn.ReadFrom(got)
	if err != nil {
		return err
	}
	if !bytes.Equal(got[:n], want) {
		return fmt.Errorf("loopback changed a datagram")
	}
	return nil
}

// clock tells a clock that nobody has set.
func (c *checkup) clock() {
	if now := time.Now(); now.Year() < 2026 {
		c.add(finding{
			Check: "clock", State: findingBroken, What: "it says " + now.Format(time.RFC1123),
			Why: "invitations are refused before they begin and after they expire", Do: "set the clock, and let NTP keep it",
		})
		return
	}
	c.ok("clock", "%s", time.Now().Format(time.RFC1123))
}

// peers asks the member that runs in this home, if there is one.
func (c *checkup) peers(ctx context.Context) {
	client, err := c.app.dialControl()
	if err != nil {
		c.add(finding{Check: "member", State: findingNote, What: "none runs in this home", Do: "`shardnode serve MODEL` starts one"})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var st statusJSON
	if err := client.call(ctx, "GET", "/ps", nil, &st); err != nil {
		c.add(finding{Check: "member", State: findingBroken, What: err.Error(), Why: "a member runs in this home and does not answer", Do: "end it and start it again"})
		return
	}
	c.ok("member", "%s", st.Doing)
	c.api(ctx, client)
	for _, m := range st.Models {
		if !m.Covered {
			c.add(finding{
				Check: "model", State: findingBroken, What: fmt.Sprintf("some layers of %s have no holder", m.Model),
				Why: "nobody gets answers", Do: "let another member join, or give one more --memory",
			})
		}
	}
	if len(st.Models) > 0 && st.Models[0].Covered {
		c.token(ctx)
	}
	for _, p := range st.Peers {
		switch {
		case p.Peer == st.Self:
		case p.Alive:
			c.ok("peer", "%s answers in %.1f ms", p.Name, p.RTTms)
		case p.State == "lost":
			c.add(finding{
				Check: "peer", State: findingWarning, What: fmt.Sprintf("%s is lost, last at %v", p.Name, p.Addrs),
				Why: "its layers are computed by others, or by nobody", Do: "see whether it runs, and whether UDP reaches it",
			})
		}
	}
}

// readRate returns how many bytes a second the threads together read from
// memory.
func readRate(threads int) float64 {
	const size, tile = 256 << 20, 1 << 20
	r := &reader{x: make([]float32, size/4), tile: tile / 4}
	for i := 0; i < len(r.x); i += 1024 { // pages that were never written to are all the same one
		r.x[i] = 1
	}
	pool := par.New(threads)
	defer pool.Close()
	best := time.Duration(0)
	for began := time.Now(); time.Since(began) < 300*time.Millisecond || best == 0; {
		start := time.Now()
		pool.Run(size/tile, r)
		if d := time.Since(start); best == 0 || d < best {
			best = d
		}
	}
	runtime.KeepAlive(r)
	return size / best.Seconds()
}

// A reader reads tiles of x.
type reader struct {
	x    []float32
	tile int
	sums [256]struct { // a worker's
		sum float32
		_   [15]float32
	}
}

// Tile reads one tile.
func (r *reader) Tile(worker, tile int) {
	half := r.tile / 2
	x := r.x[tile*r.tile:][:r.tile]
	r.sums[worker%len(r.sums)].sum += vec.Dot(x[:half], x[half:])
}
