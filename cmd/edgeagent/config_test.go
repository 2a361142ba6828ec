package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `site: mec-1
bgp: {asn: 64611, neighbors: [{address: "fd00:1::1", asn: 65533}]}
vip: {manage: true, interface: nosuch0}
services:
  - name: echo
    vips: ["2001:db8:7::7/128"]
    checks: [{name: socket, type: listener, proto: udp, port: 7007}]
journal: {file: /nosuch/directory/journal.jsonl}
`

// execute runs the command line in this process.
func execute(args ...string) (stdout string, err error) {
	var out bytes.Buffer
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	err = cmd.Execute()
	return out.String(), err
}

func TestCheckConfig(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, old, new, want string }{
		{"good though nothing of it exists here", "", "", ""},
		{"unknown key", "site: mec-1", "sites: mec-1", ":1:1: "},
		{"wrong type", "asn: 64611", "asn: many", ":2:12: "},
		{"not YAML", "site: mec-1", "site: [", ":"},
		{"wrong length of a VIP", "7::7/128", "7::7/64", ":6:12: "},
		{"a bridge that leads nowhere", "journal:", "bridge: {uplinks: [eth1]}\njournal:", "bridge: leads nowhere"},
		{"a check that does not exist", "type: listener", "type: telepathy", ":7:35: "},
		{"only IPv4 sessions", `"fd00:1::1"`, "10.0.0.1", "no session can carry 2001:db8:7::7/128"},
		{"reserved AS", "64611", "23456", "23456"},
		{"neighbor twice", `"fd00:1::1", asn: 65533}`, `"fd00:1::1", asn: 65533}, {address: "fd00:1::1", asn: 65533}`, "fd00:1::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "agent.yaml", strings.Replace(good, tt.old, tt.new, 1))
			out, err := execute("--config", path, "--check-config")
			switch {
			case tt.want == "" && (err != nil || out != path+": ok\n"):
				t.Errorf("got %q, %v", out, err)
			case tt.want == "":
			case err == nil || out != "":
				t.Errorf("passed: %q", out)
			case !strings.HasPrefix(err.Error(), path+":") || !strings.Contains(err.Error(), tt.want):
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	path := write(t, "agent.yaml", good)
	none := filepath.Join(t.TempDir(), "none.yaml")
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "which configuration? --config FILE is needed"},
		{"no such file", []string{"--config", none}, "open " + none + ": no such file or directory"},
		{"unknown flag", []string{"--confg", path}, "unknown flag: --confg"},
		{"an argument", []string{path}, "unknown command"},
		{"log format", []string{"--config", path, "--log-format", "xml"}, "--log-format xml: must be text or json"},
		{"log level", []string{"--config", path, "--log-level", "loud"}, "--log-level loud: must be debug, info, warn or error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := execute(tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, err := execute("--version")
	if err != nil || !strings.HasPrefix(out, "edgeagent version ") {
		t.Errorf("got %q, %v", out, err)
	}
}

// The sample that people start from must work.
func TestSample(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("../../docs/samples/edgeagent.yaml"); err != nil {
		t.Fatal(err)
	}
	if _, err := execute("--config", "../../docs/samples/edgeagent.yaml", "--check-config"); err != nil {
		t.Error(err)
	}
}
