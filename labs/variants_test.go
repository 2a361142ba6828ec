package labs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A variant differs from its lab in what it is a variant of, and in nothing else: else the two could not be compared.
func TestVariants(t *testing.T) {
	tests := []struct {
		lab, variant string
		differs      *regexp.Regexp // lines that may
	}{
		{"quickstart/quickstart", "quickstart/quickstart-withdraw", regexp.MustCompile(`^name: |config/(withdraw/)?mec\d-agent.yaml`)},
		{
			"quickstart-frr/quickstart-frr", "quickstart-frr/quickstart-frr-withdraw",
			regexp.MustCompile(`^name: |config/(withdraw/)?mec\d[ab]-agent.yaml`),
		},
	}
	for _, tt := range tests {
		t.Run(tt.variant, func(t *testing.T) {
			want, got := topologyLines(t, tt.lab, tt.differs), topologyLines(t, tt.variant, tt.differs)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-lab +variant)\n%s", diff)
			}
		})
	}
}

// topologyLines returns a topology without its comment at the beginning and the lines that differ.
func topologyLines(t *testing.T, name string, differs *regexp.Regexp) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("containerlab", name+".clab.yml"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(text), "\nname: ")
	var lines []string
	for _, line := range strings.Split("name: "+body, "\n") {
		if !differs.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// The agents of a variant that only withdraws differ in the bridge and the peers.
func TestWithdrawingAgents(t *testing.T) {
	files, err := filepath.Glob("containerlab/*/config/withdraw/*.yaml")
	if err != nil || len(files) != 9 {
		t.Fatalf("%d agents that only withdraw (%v), want 9", len(files), err)
	}
	bridge := regexp.MustCompile(`(?m)^# edgeagent of .*\n|^name: .*\n|^bridge: .*\n|^peers:\n|^  - \{name: mec-.*\n`)
	for _, file := range files {
		bridging, err := os.ReadFile(filepath.Join(filepath.Dir(file), "..", filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		withdrawing, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(bridge.ReplaceAllString(string(bridging), ""), bridge.ReplaceAllString(string(withdrawing), "")); diff != "" {
			t.Errorf("%s (-bridging +withdrawing)\n%s", file, diff)
		}
		if strings.Contains(string(withdrawing), "\nbridge:") {
			t.Errorf("%s bridges", file)
		}
	}
}
