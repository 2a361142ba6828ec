package labreport

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/lab"
)

// lines make results of few words.
func named(name, in, experiment string, lost ...int) Named {
	n := Named{Name: name, Result: lab.Result{Lab: in, Experiment: experiment}}
	for _, l := range lost {
		n.Result.Runs = append(n.Result.Runs, lab.Measured{
			DetectMs: 1, WithdrawMs: 2, Lost: l, MTTRMs: float64(l), RTTMs: 12.2, ProbeIntervalMs: 1, Phases: map[string]float64{},
		})
	}
	return n
}

func TestTable(t *testing.T) {
	t.Parallel()
	bridged := named("a", "frr", "service-kill", 2, 3, 4)
	for _, m := range bridged.Result.Runs {
		m.Phases["bridged"] = 1.5
	}
	unnoticed := named("x", "frr", "restart", 5)
	unnoticed.Result.Runs[0].DetectMs = 0
	tests := []struct {
		name    string
		results []Named
		want    []string // experiment, ... of every line
	}{
		{"one lab, several experiments", []Named{bridged, named("b", "frr", "drain", 0, 0)}, []string{
			"service-kill | 3 | 1 | bridged 1.50 | 3 | 4 | 3 | 4 | 0 | 0 | 0 | - | 12.2",
			"drain | 2 | 1 | withdrawn 2 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | - | 12.2",
		}},
		{"nobody noticed", []Named{unnoticed}, []string{"restart | 1 | - | - | 5 | 5 | 5 | 5 | 0 | 0 | 0 | - | 12.2"}},
		{"several labs, the first is the measure", []Named{
			bridged, named("b", "frr", "drain", 0), named("c", "frr-plain", "service-kill", 150), named("d", "frr-exabgp", "service-kill", 196), named("e", "frr-exabgp", "drain", 7),
		}, []string{
			"service-kill | frr | 1 | 3 | 1 | bridged 1.50 | 3",
			"service-kill | frr-plain | 50x | 1",
			"service-kill | frr-exabgp | 65.3x | 1",
			"drain | frr | 1 | 1",
			"drain | frr-exabgp | >=7x | 1",
		}},
		{"one lab twice goes by the results' names", []Named{bridged, named("b", "frr", "service-kill", 6)}, []string{
			"service-kill | a | 1 | 3", "service-kill | b | 2x | 1",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			heads, rows := NewTable(tt.results...).rows()
			for i, row := range rows {
				if len(row) != len(heads) {
					t.Errorf("%d cells below %d heads", len(row), len(heads))
				}
				if got := strings.Join(row, " | "); i >= len(tt.want) || !strings.HasPrefix(got, tt.want[i]) {
					t.Errorf("line %d: %s", i, got)
				}
			}
			if len(rows) != len(tt.want) {
				t.Errorf("%d lines, want %d", len(rows), len(tt.want))
			}
		})
	}
}

func TestTableFormats(t *testing.T) {
	t.Parallel()
	table := NewTable(named("a", "x|y", "service-kill", 3), named("b", "z", "service-kill", 6))
	var text, markdown, machine bytes.Buffer
	for _, err := range []error{table.WriteText(&text), table.WriteMarkdown(&markdown), table.WriteJSON(&machine)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(text.String(), "EXPERIMENT    LAB  MTTR RATIO  RUNS  DETECTED") {
		t.Errorf("text:\n%s", &text)
	}
	if lines := strings.Split(markdown.String(), "\n"); len(lines) != 5 || !strings.HasPrefix(lines[2], `| service-kill | x\|y | 1 | 1 |`) {
		t.Errorf("markdown:\n%s", &markdown)
	}
	var back Table
	if err := json.Unmarshal(machine.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Ratio{Value: 2}, back[1].Ratio); diff != "" {
		t.Errorf("ratio (-want +got):\n%s", diff)
	}
}
