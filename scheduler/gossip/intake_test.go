package gossip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
	"github.com/shardnode/shardnode/transport/transporttest"
)

// compound packs messages as memberlist does.
func compound(parts ...string) []byte {
	b := []byte{msgCompound, byte(len(parts))}
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
	}
	return append(b, strings.Join(parts, "")...)
}

func TestPacketsOfOtherKindsAreRefused(t *testing.T) {
	sum := []byte{msgChecksum, 1, 2, 3, 4}
	for name, c := range map[string]struct {
		packet []byte
		good   bool
	}{
		"ping":            {[]byte{msgPing, 0x80}, true},
		"nack":            {[]byte{msgNack, 0x80}, true},
		"summed alive":    {append(sum[:5:5], msgAlive, 0x80), true},
		"compound":        {compound("\x04\x80", "\x05\x80"), true},
		"summed compound": {append(sum[:5:5], compound("\x03\x80")...), true},
		"empty":           {nil, false},
		"only a sum":      {sum, false},
		"compressed":      {[]byte{9, 0x80}, false},
		"a removal":       {[]byte{msgUser, 1}, true},
		"push-pull":       {[]byte{msgPushPull, 0x80}, false},
		"with a label":    {[]byte{244, 1, 'x', 0}, false},
		"in a compound":   {compound("\x04\x80", "\x09\x80"), false},
		"nested":          {compound(string(compound("\x04\x80"))), false},
		"empty part":      {compound("\x04\x80", ""), false},
		"cut":             {compound("\x04\x80", "\x04\x80")[:8], false},
		"no lengths":      {[]byte{msgCompound, 200}, false},
	} {
		if got := goodPacket(c.packet); got != c.good {
			t.Errorf("%s: goodPacket = %v, want %v", name, got, c.good)
		}
	}
}

// pushPull is the head of a push-pull message.
func pushPull(nodes, userState string) string {
	return "\x06\x83\xa5Nodes" + nodes + "\xacUserStateLen" + userState + "\xa4Join\xc3"
}

func TestIntakePassesMessagesAndEndsThere(t *testing.T) {
	peer := "\x82\xa4Name\xa3one\xa4Meta\xda\x02\x00" + strings.Repeat("m", 512)
	for name, message := range map[string]string{
		"no peers":  pushPull("\x00", "\x00"),
		"two peers": pushPull("\x02", "\x00") + peer + peer,
		"removals":  pushPull("\x01", "\xcd\x08\x00") + peer + strings.Repeat("r", 2048),
		"ping":      "\x00\x82\xa5SeqNo\xce\x00\x01\x02\x03\xa4Node\xa3two",
		"error":     "\x0d\x81\xa5Error\xa4oops",
	} {
		got, err := io.ReadAll(newIntake(strings.NewReader(message + "what follows")))
		if err != nil || string(got) != message {
			t.Errorf("%s: read %q, %v, want %q", name, got, err, message)
		}
	}
}

func TestIntakeRefusesWhatCostsMemory(t *testing.T) {
	for name, message := range map[string]string{
		"a million peers": pushPull("\xce\x00\x10\x00\x00", "\x00"),
		"4097 peers":      pushPull("\xcd\x10\x01", "\x00"),
		"negative peers":  pushPull("\xff", "\x00"),
		"removals":        pushPull("\x00", "\xcd\x80\x00"),
		"no header":       "\x06\x93\x01\x02\xc3",
		"compressed":      "\x09\x82\xa4Algo\x00\xa3Buf\xa1x",
		"user's":          "\x08\x81\xaaUserMsgLen\x01",
		"labelled":        "\xf4\x01x",
		"long text":       pushPull("\x01", "\x00") + "\x81\xa4Name\xdb\xff\xff\xff\xff",
		"big map":         pushPull("\x01", "\x00") + "\xdf\xff\xff\xff\xff" + strings.Repeat("\x00", 1<<16),
		"deep nest":       pushPull("\x01", "\x00") + strings.Repeat("\x91", 1<<20),
		"long list":       "\x00\xdd\x7f\xff\xff\xff" + strings.Repeat("\x00", 1<<16),
	} {
		if got, err := io.ReadAll(newIntake(strings.NewReader(message))); !errors.Is(err, errIntake) {
			t.Errorf("%s: read %d bytes, %v, want %v", name, len(got), err, errIntake)
		}
	}
	if _, err := io.ReadAll(newIntake(strings.NewReader("\x00\x82\xa5Seq"))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a message that is cut: %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func FuzzIntake(f *testing.F) {
	f.Add([]byte(pushPull("\x01", "\x00") + "\x81\xa4Name\xa3one"))
	f.Add([]byte("\x00\x82\xa5SeqNo\x01\xa4Node\xa3two"))
	f.Add([]byte(pushPull("\x01", "\x03") + "\x81\xa4Name\xa3onexyz"))
	f.Add(compound("\x04\x80", "\x05\x80"))
	f.Add([]byte("\x00\xc9\x00\x00\x00\x01\x02\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		goodPacket(b)
		got, err := io.ReadAll(newIntake(bytes.NewReader(b)))
		if !bytes.HasPrefix(b, got) || err == nil && len(got) == 0 && len(b) > 0 {
			t.Errorf("read %q, %v, want a beginning of %q", got, err, b)
		}
	})
}

// TestHostileMemberIsBorneByGossip lets an admitted member lie and flood.
func TestHostileMemberIsBorneByGossip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := transporttest.NewSwarm(t, 3, transporttest.Link{Latency: time.Millisecond}, nil)
		s.Introduce()
		victims := []*Gossip{startOne(t, s, 0), startOne(t, s, 1)}
		t.Cleanup(func() { time.Sleep(time.Minute) })
		until(t, 20*time.Second, "the good see each other", all(victims, func(g *Gossip) bool { return alive(g) == 2 }))
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		bad := s.Nodes[2]
		for _, text := range []string{
			pushPull("\xce\x00\x10\x00\x00", "\x00"), pushPull("\x00", "\xce\x01\x00\x00\x00"),
			pushPull("\x01", "\x00") + strings.Repeat("\x91", 64<<10), strings.Repeat("x", 64<<10), "\x09" + strings.Repeat("x", 64<<10),
			pushPull("\x01", "\x00") + "\x81\xa4Name\xa3one", pushPull("\x40", "\x00"), // these wait for more
		} {
			for range 20 {
				st, err := bad.Open(t.Context(), s.ID(0), transport.GossipProtocol)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = st.Write([]byte(text)) // may be cut off at any time
			}
		}
		if _, err := bad.Learn(s.Nodes[0].Membership().Signed()); err != nil {
			t.Fatal(err)
		}
		for i := range 5000 {
			p := bytes.Repeat([]byte{byte(i)}, transport.MaxPacketBytes)
			p[0] = byte(i % 16)
			if err := bad.SendPacket(s.ID(0), p); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		runtime.ReadMemStats(&after)
		t.Logf("allocated %d KiB meanwhile", (after.TotalAlloc-before.TotalAlloc)>>10)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 128<<20 {
			t.Errorf("allocated %d MiB for a liar, want at most 128", grown>>20)
		}
		time.Sleep(time.Minute)
		if m, ok := find(victims[0], s.ID(1)); !ok || !m.Alive {
			t.Error("the good no longer see each other")
		}
		if _, ok := find(victims[0], shard.PeerID{'x'}); ok || len(victims[0].View()) != 2 {
			t.Errorf("%d peers are seen, want 2", len(victims[0].View()))
		}
	})
}
