package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/tensorio/quant"
)

func TestDoctorFindsThisMachineWell(t *testing.T) {
	home := t.TempDir()
	var got struct {
		Findings []finding
		Broken   int
	}
	if err := json.Unmarshal([]byte(mustCommand(t, "doctor", "--json", "--home", home)), &got); err != nil {
		t.Fatal(err)
	}
	if got.Broken != 0 {
		t.Errorf("doctor finds %d things broken: %+v", got.Broken, got.Findings)
	}
	seen := map[string]string{}
	for _, f := range got.Findings {
		seen[f.Check] = f.What
		if f.State != findingOK && f.Do == "" && f.Why == "" {
			t.Errorf("doctor says %+v, want a reason or something to do", f)
		}
	}
	if !strings.Contains(seen["kernels"], quant.Form()) || !strings.Contains(seen["memory"], "GB/s") {
		t.Errorf("doctor says %v, want the kernels and the speed of the memory", seen)
	}
	if !strings.Contains(seen["member"], "none runs") {
		t.Errorf("doctor says %q of a member that is not there", seen["member"])
	}
	if !strings.Contains(mustCommand(t, "doctor", "--home", home), "ok       kernels") {
		t.Error("doctor says nothing of kernels to people")
	}
}

func TestDoctorSaysWhatIsBroken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "home")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &checkup{app: &app{home: file}}
	c.home()
	if len(c.list) != 1 || c.list[0].State != findingBroken || !strings.Contains(c.list[0].What, "not a folder") {
		t.Errorf("doctor says %+v of a home that is a file", c.list)
	}
	wantFailure(t, exitFailed, []string{"doctor", "--home", filepath.Join(file, "below")}, "below")
}
