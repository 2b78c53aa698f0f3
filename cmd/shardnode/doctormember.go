package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// tokenTimeout bounds how long doctor waits for a token.
const tokenTimeout = 15 * time.Second

// token asks the member of this home for one token, which goes through every
// layer of the model.
func (c *checkup) token(ctx context.Context) {
	ctx, stop := context.WithTimeoutCause(ctx, tokenTimeout, fmt.Errorf("none came within %v", tokenTimeout))
	defer stop()
	broken := func(err error) {
		c.add(finding{
			Check: "token", State: findingBroken, What: "no token: " + err.Error(), Why: "nobody gets answers from this member",
			Do: "`shardnode top` shows which layers are missing or still load",
		})
	}
	client, err := c.app.dialControl()
	if err != nil {
		broken(err)
		return
	}
	var st statusJSON
	if err := client.call(ctx, "GET", "/ps", nil, &st); err != nil {
		broken(err)
		return
	}
	if len(st.Models) == 0 {
		broken(errors.New("the model is not known yet: " + st.Doing))
		return
	}
	if !st.Models[0].Covered {
		broken(errors.New("some layers have no holder"))
		return
	}
	began := time.Now()
	if err := oneToken(ctx, client, st.Models[0].Model); err != nil {
		broken(err)
		return
	}
	c.ok("token", "one went through every layer of %s in %d ms", st.Models[0].Model, time.Since(began).Milliseconds())
}

// oneToken makes the member generate a token.
func oneToken(ctx context.Context, c *controlClient, model string) error {
	resp, err := c.send(ctx, "POST", "/generate", generateJSON{Model: model, Raw: true, Prompt: "A", MaxTokens: 1})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var e eventJSON
		if err := lines.Decode(&e); err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		switch {
		case e.Failed != nil:
			return errors.New(e.Failed.Error)
		case e.Answer != nil:
			return nil
		}
	}
}

// key looks at who can read the API key.
func (c *checkup) key() {
	path := filepath.Join(c.app.home, apiKeyFile)
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" {
		return // there is none yet, or the system keeps rights elsewhere
	}
	if info.Mode().Perm()&0o077 == 0 {
		c.ok("key", "%s is for its owner alone", path)
		return
	}
	c.add(finding{
		Check: "key", State: findingWarning, What: fmt.Sprintf("%s can be read by others (%v)", path, info.Mode().Perm()),
		Why: "whoever has the key can use the models and see the swarm", Do: "chmod 600 " + path,
	})
}

// api asks the HTTP API of the member that runs whether it is well.
func (c *checkup) api(ctx context.Context, client *controlClient) {
	ctx, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	var home homeJSON
	if err := client.call(ctx, "GET", "/home", nil, &home); err != nil {
		return // peers has said what is to say
	}
	url := strings.TrimSuffix(home.API, "/v1")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/swarm", nil)
	if err != nil {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.add(finding{
			Check: "api", State: findingBroken, What: err.Error(), Why: "clients and browsers can't reach this member",
			Do: "see whether a firewall is between, or choose another address with --api",
		})
		return
	}
	_ = resp.Body.Close() // only whether it answers is asked
	c.ok("api", "%s answers; pages at %s/ and %s/swarm", home.API, url, url)
}

// nat says from where this machine can be reached.
func (c *checkup) nat(all []net.Addr) {
	private, public := "", ""
	for _, a := range all {
		ip, _, err := net.ParseCIDR(a.String())
		if err != nil || !ip.IsGlobalUnicast() {
			continue
		}
		if ip.IsPrivate() || isShared(ip) {
			private = ip.String()
		} else {
			public = ip.String()
		}
	}
	switch {
	case public != "":
		c.ok("nat", "%s is a public address: members anywhere can reach it, if the firewall lets UDP in", public)
	case private != "":
		c.add(finding{
			Check: "nat", State: findingNote, What: private + " is a private address: members of the same network reach this machine",
			Why: "those elsewhere can't begin a connection to it", Do: "found the swarm on a machine that they can reach, forward a UDP port to this one, or put all into one VPN",
		})
	}
}

// isShared reports whether ip is of a carrier's NAT (RFC 6598).
func isShared(ip net.IP) bool {
	v4 := ip.To4()
	return v4 != nil && v4[0] == 100 && v4[1]&0xc0 == 64
}

// leastFiles is how many descriptors a member of a large swarm with many
// clients may use.
const leastFiles = 1024

// files looks at how many descriptors a process may have.
func (c *checkup) files() {
	b, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return // not Linux
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if !strings.HasPrefix(line, "Max open files") || len(f) < 5 {
			continue
		}
		n, err := strconv.Atoi(f[4]) // the hard one: the runtime of Go raises the other to it
		if err != nil || n >= leastFiles {
			return
		}
		c.add(finding{
			Check: "files", State: findingWarning, What: fmt.Sprintf("a process may open %d files", n),
			Why: "each client and each part of a model is one", Do: "ulimit -Hn 65536, or LimitNOFILE=65536 in the unit",
		})
	}
}
