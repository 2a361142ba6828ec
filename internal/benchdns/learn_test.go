package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrintLearnt(t *testing.T) {
	var b strings.Builder
	err := printLearnt(&b, []learn{
		{Who: watcherName, Times: []float64{1, 2, 3, 4}},
		{Who: "edgedns", Ready: 0.25, Times: []float64{1.5, 9, 3.5, 4.5}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `
  ms after the write  p50  p99  worst  after the watch, p50  p99  worst  ready after s
        a bare watch  3.0  4.0    4.0                   0.0  0.0    0.0              -
             edgedns  4.5  9.0    9.0                   0.5  7.0    7.0            0.2
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An address tells which change made it an endpoint's.
func TestClusterAddress(t *testing.T) {
	for _, changes := range []int{0, 1, 255, 256, 65535} {
		if got := changesOf(clusterAddress(1999, changes, perName-1)); got != changes {
			t.Errorf("%d changes, want %d", got, changes)
		}
	}
}
