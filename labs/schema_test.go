// Package labs_test holds the labs to containerlab's own schema.
package labs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The schema is containerlab's (schemas/clab.schema.json of its repository), not ours to ship: it lies beside the repository.
const schema = "../../shared/clab.schema.json"

// validate returns what the validator says, and whether it is content.
func validate(t *testing.T, file string) (said string, ok bool) {
	t.Helper()
	var paths []string
	for _, p := range []string{schema, file} {
		abs, err := filepath.Abs(p)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, abs)
	}
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=tools/go.mod", "jv", paths[0], paths[1])
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// Every topology file is one that containerlab takes.
func TestSchema(t *testing.T) {
	if _, err := os.Stat(schema); err != nil {
		t.Skipf("no containerlab schema at %s: the topology files are not held to it", schema)
	}
	files, err := filepath.Glob("containerlab/*/*.clab.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no labs: %v", err)
	}
	for _, file := range append(files, "../docs/samples/minimal.clab.yml") {
		if said, ok := validate(t, file); !ok {
			t.Errorf("%s: %s", file, said)
		}
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong.clab.yml")
	if err := os.WriteFile(wrong, []byte(strings.Replace(string(text), "kind: linux", "kind: linus", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if said, ok := validate(t, wrong); ok || !strings.Contains(said, "validation failed") {
		t.Errorf("the validator does not see a wrong kind: %s", said)
	}
}
