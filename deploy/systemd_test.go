package deploy_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/anyedge/anyedge/internal/nettest"
)

// maxExposure is what systemd-analyze security may say of a unit, times ten: 0 is best, 100 worst.
const maxExposure = "20"

// systemd takes the units as they are installed, and finds them well locked in.
func TestUnits(t *testing.T) {
	nettest.Program(t, "systemd-analyze", "systemd")
	units, err := filepath.Glob(filepath.Join(install(t), "lib/systemd/system/*.service"))
	if err != nil || len(units) == 0 {
		t.Fatalf("no units: %v", err)
	}
	for _, unit := range units {
		t.Run(filepath.Base(unit), func(t *testing.T) {
			if said := run(t, "systemd-analyze", "verify", "--man=no", unit); said != "" {
				t.Errorf("verify: %s", said)
			}
			t.Log(run(t, "systemd-analyze", "--no-pager", "security", "--offline=true", "--threshold="+maxExposure, unit))
		})
	}
}

// The users and the directory that the units name are made by systemd's own tools.
func TestUsers(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	nettest.Program(t, "systemd-sysusers", "systemd")
	run(t, "systemd-sysusers", "--root="+root, absolute(t, "systemd/sysusers.d/anyedge.conf"))
	run(t, "systemd-tmpfiles", "--root="+root, "--create", absolute(t, "systemd/tmpfiles.d/anyedge.conf"))
	for _, user := range []string{"^edgeagent:", "^edgedns:"} {
		run(t, "grep", user, filepath.Join(root, "etc/passwd"))
	}
	if got := run(t, "stat", "--format=%A", filepath.Join(root, "run/anyedge")); got != "drwxrws---\n" {
		t.Errorf("/run/anyedge: %s", got)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}
