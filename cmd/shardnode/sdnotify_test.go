package main

import (
	"net"
	"path/filepath"
	"testing"
)

func TestServiceManagerIsTold(t *testing.T) {
	path := filepath.Join(newHome(t), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Skip("no datagram sockets here: ", err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := sdNotify("READY=1", "STATUS=serving"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := l.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(b[:n]), "READY=1\nSTATUS=serving"; got != want {
		t.Errorf("systemd was told %q, want %q", got, want)
	}
}
