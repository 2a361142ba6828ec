package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/bfd"
)

// Fast BFD only where the machine passed the self-test of that pace, which is made once; what is slow enough needs none.
func TestBearable(t *testing.T) {
	const ms = time.Millisecond
	var log output
	a := &agent{log: slog.New(slog.NewTextHandler(&log, nil))}
	var tested []pace
	bearable := a.bearable(func(_ context.Context, interval time.Duration, multiplier uint8) (time.Duration, bool) {
		tested = append(tested, pace{interval, multiplier})
		return 7 * ms, interval >= 20*ms
	})
	type answer struct {
		pace
		interval time.Duration
	}
	var got []answer
	for _, p := range []pace{{10 * ms, 3}, {50 * ms, 3}, {20 * ms, 3}, {10 * ms, 3}, {20 * ms, 3}, {20 * ms, 5}, {300 * ms, 3}} {
		got = append(got, answer{p, bearable(bfd.Config{Interval: p.interval, Multiplier: p.multiplier})})
	}
	want := []answer{
		{pace{10 * ms, 3}, 50 * ms}, {pace{50 * ms, 3}, 50 * ms}, {pace{20 * ms, 3}, 20 * ms}, {pace{10 * ms, 3}, 50 * ms},
		{pace{20 * ms, 3}, 20 * ms}, {pace{20 * ms, 5}, 20 * ms}, {pace{300 * ms, 3}, 300 * ms},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{}, pace{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]pace{{10 * ms, 3}, {20 * ms, 3}, {20 * ms, 5}}, tested, cmp.AllowUnexported(pace{})); diff != "" {
		t.Errorf("tested (-want +got)\n%s", diff)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "worst=7ms used=50ms") {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
}
