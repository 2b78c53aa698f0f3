package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testMain makes the test binary be shardnode: members that a test starts are
// processes of it (see startChild). The workers of a fuzz target inherit it
// too, and have flags of package testing.
const testMain = "SHARDNODE_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(testMain) == "1" && !(len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "-test.")) {
		main()
		return
	}
	os.Exit(testAll(m))
}

// testAll runs all tests with a home and a cache of models of their own, so that
// no settings of the machine reach them, and they reach no network.
func testAll(m *testing.M) int {
	home, err := os.MkdirTemp("", "shardnode-test")
	if err == nil {
		defer os.RemoveAll(home) //nolint:errcheck // a folder of the temporary one
		err = errors.Join(os.Setenv("SHARDNODE_HOME", home), os.Setenv("HF_HUB_CACHE", filepath.Join(home, "hub")), os.Setenv("HF_HUB_OFFLINE", "1"))
	}
	if err == nil {
		err = os.Setenv(testMain, "1")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return m.Run()
}

// command runs the program in this process.
func command(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return out.String(), errs.String(), code
}

// mustCommand runs the program and returns its standard output.
func mustCommand(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, code := command(t, "", args...)
	if code != exitDone {
		t.Fatalf("shardnode %s: exit status %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// wantFailure runs the program, which must end with code and say all of texts
// on standard error, nothing on standard output.
func wantFailure(t *testing.T, code int, args []string, texts ...string) {
	t.Helper()
	stdout, stderr, got := command(t, "", args...)
	if got != code || stdout != "" {
		t.Errorf("shardnode %s: exit status %d, standard output %q, want %d and none", strings.Join(args, " "), got, stdout, code)
	}
	for _, text := range append(texts, "shardnode: ") {
		if !strings.Contains(stderr, text) {
			t.Errorf("shardnode %s says %q, want it to mention %q", strings.Join(args, " "), stderr, text)
		}
	}
}

// sharedFile returns a file of ../shared, and skips the test where it is not.
func sharedFile(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join("../../../shared", filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no %s beside the repository", name)
	}
	return path
}
