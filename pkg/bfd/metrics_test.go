package bfd

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/internal/nettest"
)

// All series are there from the start, with good names; a pedantic registry refuses what was not described.
func TestMetrics(t *testing.T) {
	nettest.Need(t)
	s, _ := run(t, Config{Local: ours, Peer: theirs}, Config{Peer: theirs.Next()})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	const perSession, reasons, single = 7, 9, 2
	if n, err := testutil.GatherAndCount(registry); n != 2*perSession+reasons+single || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
}
