//go:build !unix

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "kill: this system has no signals that stop and kill")
	os.Exit(2)
}
