// Package deploy_test checks what is packaged: images, units, installed files.
package deploy_test

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// bin holds the programs, static as they are shipped.
var bin string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "deploy-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	defer kubetest.Stop()
	bin = filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-trimpath", "-o", bin+"/", "../cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// run returns what a command prints, and fails the test when the command fails.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// The bill of materials of a program tells of all that is linked into it.
func TestBillOfMaterials(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(bin, "edgedns")
	cmd := exec.CommandContext(t.Context(), "go", "run", ".", dir, program)
	cmd.Dir = "../tools/sbom"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "edgedns.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		BOMFormat, SpecVersion string
		Components             []struct{ PURL string }
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	want := got
	want.BOMFormat, want.SpecVersion = "CycloneDX", "1.6"
	want.Components = []struct{ PURL string }{{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go")}}
	for _, m := range info.Deps {
		want.Components = append(want.Components, struct{ PURL string }{"pkg:golang/" + m.Path + "@" + m.Version})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The images build, hold the programs that the labs name, and run them; edgedns does so as an ordinary user.
func TestImages(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "docker", "version").Run(); err != nil {
		t.Skip("no docker engine answers: the images are not built (CI has none)")
	}
	tag := fmt.Sprintf("test-%d", os.Getpid())
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "anyedge:"+tag, "edgedns:"+tag).Run() })
	t.Log(run(t, "docker/build", bin, tag))
	samples, err := filepath.Abs("../docs/samples")
	if err != nil {
		t.Fatal(err)
	}
	in := func(image string, args ...string) string {
		return run(t, "docker", append([]string{"run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL",
			"--volume", samples + ":/etc/anyedge:ro", image + ":" + tag}, args...)...)
	}
	for _, program := range matches(t, bin+"/*") {
		if got := in("anyedge", program, "--version"); !strings.HasPrefix(got, program+" version ") {
			t.Errorf("%s --version: %q", program, got)
		}
	}
	const ok = "/etc/anyedge/edgedns.yaml: ok\n"
	if got := in("anyedge", "edgedns", "--config", "/etc/anyedge/edgedns.yaml", "--check-config"); got != ok {
		t.Errorf("anyedge: %q", got)
	}
	if got := in("edgedns", "--config", "/etc/anyedge/edgedns.yaml", "--check-config"); got != ok {
		t.Errorf("edgedns: %q", got)
	}
	user := run(t, "docker", "image", "inspect", "--format", "{{.Config.User}}", "edgedns:"+tag)
	if strings.TrimSpace(user) != "65532:65532" {
		t.Errorf("edgedns runs as %q", user)
	}
}
