package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// sdNotify tells systemd how the service is (sd_notify(3)): a datagram of
// lines to the socket that NOTIFY_SOCKET names. Without one it does nothing.
func sdNotify(lines ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // @ is the abstract namespace, as in package net
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	_, err = conn.Write([]byte(strings.Join(lines, "\n")))
	if err := errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}

// tellService tells what started this member how it is. That it can't be told
// is no reason to stop.
func (s *server) tellService(lines ...string) {
	if err := sdNotify(lines...); err != nil {
		s.log.Warn().Err(err).Msg("the service manager was not told")
	}
}
