package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/lab"
)

const repo = "../.."

// Every command of the README works, in its order, from the repository's root. make is left out: it is what runs this.
func TestREADME(t *testing.T) {
	needRoot(t)
	text, err := os.ReadFile(filepath.Join(repo, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir() // the README's paths, with the programs under test in bin/
	for _, dir := range []string{"labs", "docs"} {
		if err := os.CopyFS(filepath.Join(root, dir), os.DirFS(filepath.Join(repo, dir))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(bin, filepath.Join(root, "bin")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nothingLeft(t, "quickstart") })
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			if !strings.HasPrefix(line, "bin/") {
				continue
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
			cmd.Dir = root
			out, err := cmd.CombinedOutput()
			t.Logf("$ %s%s", line, out)
			if err != nil {
				t.Fatalf("%s: %v", strings.TrimSpace(line), err)
			}
			ran++
		}
	}
	if ran == 0 {
		t.Error("the README has no commands")
	}
}

// The README's configuration is one that the agent takes.
func TestREADMEConfig(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repo, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("the README has no configuration")
	}
	if _, err := config.ParseAgent("README.md", strings.NewReader(string(block[1]))); err != nil {
		t.Error(err)
	}
}

// Every configuration of every lab is one that its program takes.
func TestLabConfigs(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(repo, "labs/containerlab/*/*.clab.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no labs: %v", err)
	}
	for _, file := range files {
		topology, err := readTopology(file)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, n := range topology.Nodes {
			for _, b := range n.Binds {
				if err := takes(n, b, filepath.Join(filepath.Dir(file), b.Source)); err != nil {
					t.Errorf("node %s: %s: %v", n.Name, b.Source, err)
				}
			}
		}
	}
}

// takes asks the program whose file it is. Programs of other makers are asked where they are installed.
func takes(n lab.Node, b lab.Bind, file string) error {
	switch {
	case b.Target == "/etc/frr/frr.conf":
		return accepts("vtysh", "--dryrun", "--inputfile", file)
	case b.Target == "/etc/bird/bird.conf":
		return accepts("bird", "-p", "-c", file)
	case b.Target == "/etc/exabgp/exabgp.conf":
		return accepts("exabgp", "--validate", file)
	case b.Target == "/etc/frr/daemons" || n.Image == lab.ExaBGP || filepath.Ext(b.Target) == ".key":
		return nil // taken as it is
	case n.Cmd[0] == "edgelab":
		_, err := readSetup(file)
		return err
	case n.Cmd[0] == "edgeagent" || n.Cmd[0] == "edgedns":
		return accepts(filepath.Join(bin, n.Cmd[0]), "--config", file, "--check-config")
	default:
		return fmt.Errorf("%s: no test knows this program's files", n.Cmd[0])
	}
}

func accepts(program string, args ...string) error {
	out, err := exec.Command(program, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}
