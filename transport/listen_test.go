package transport

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestListenErrorsSayWhatToDo(t *testing.T) {
	denied := func(string, *net.UDPAddr) (*net.UDPConn, error) {
		return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
	}
	for name, c := range map[string]struct {
		listen func(string, *net.UDPAddr) (*net.UDPConn, error)
		addr   string
		want   string
	}{
		"not ours":    {net.ListenUDP, "192.0.2.1:0", "choose one of its own"}, // of RFC 5737, nobody's
		"no port":     {net.ListenUDP, "127.0.0.1", "want IP:PORT"},
		"port range":  {net.ListenUDP, "127.0.0.1:70000", "want IP:PORT"},
		"system port": {denied, "127.0.0.1:53", "above 1023"},
	} {
		if runtime.GOOS == "windows" && name != "no port" && name != "port range" {
			continue // its errors have other numbers, and come as they are
		}
		pc, err := listenWith(c.listen, c.addr)
		if err == nil {
			_ = pc.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: listen on %s = %v, want %q", name, c.addr, err, c.want)
		}
	}
}

func TestMachineWithoutIPv6ListensOnIPv4(t *testing.T) {
	noIPv6 := func(network string, a *net.UDPAddr) (*net.UDPConn, error) {
		if network != "udp4" {
			return nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("socket", syscall.EAFNOSUPPORT)}
		}
		return net.ListenUDP(network, a)
	}
	pc, err := listenWith(noIPv6, "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if a := addrPort(pc.LocalAddr()); !a.Addr().Is4() || a.Port() == 0 {
		t.Errorf("listens on %v, want an IPv4 address", a)
	}
	if _, err := listenWith(noIPv6, "[::1]:0"); err == nil {
		t.Error("an IPv6 address was taken for another")
	}
}

func TestUnwritableHomeSaysWhatToDo(t *testing.T) {
	denied := homeError("/home/x", &fs.PathError{Op: "open", Path: "/home/x", Err: syscall.EACCES})
	if !strings.Contains(denied.Error(), "--home") || !errors.Is(denied, fs.ErrPermission) {
		t.Errorf("error of an unwritable home: %v", denied)
	}
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("this user may write anywhere")
	}
	home := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(home, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(home); err == nil || !strings.Contains(err.Error(), "--home") {
		t.Errorf("identity in an unwritable home: %v", err)
	}
	if err := NewSwarmKey().Save(home); err == nil || !strings.Contains(err.Error(), "--home") {
		t.Errorf("swarm key in an unwritable home: %v", err)
	}
}
