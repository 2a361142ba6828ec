package peers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadCPU(t *testing.T) {
	for _, tt := range []struct {
		stat string
		want cpuTime
		ok   bool
	}{
		{"cpu  10 1 5 80 4 0 0 0 7 0\ncpu0 1 1 1 1", cpuTime{idle: 84, total: 100}, true},
		{"cpu 10 1 5 80", cpuTime{idle: 80, total: 96}, true},
		{"", cpuTime{}, false},
		{"cpu0 1 2 3 4", cpuTime{}, false},
		{"cpu a b", cpuTime{}, false},
	} {
		got, ok := readCPU([]byte(tt.stat))
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(cpuTime{})); diff != "" || ok != tt.ok {
			t.Errorf("%q: %v (-want +got):\n%s", tt.stat, ok, diff)
		}
	}
}

func TestHeadroomIsNeverNothing(t *testing.T) {
	var l Load
	if got := l.Headroom(); got != 100 {
		t.Errorf("before it was measured: %d, want 100", got)
	}
	l.busy.Store(100)
	if got := l.Headroom(); got != 1 {
		t.Errorf("a host that is full: %d, want 1", got)
	}
}
