package session

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/bfd"
)

// What BFD may say.
var (
	silent   = bfd.Status{State: bfd.Down, RemoteState: bfd.Down}
	up       = bfd.Status{State: bfd.Up, RemoteState: bfd.Up}
	failed   = bfd.Status{State: bfd.Down, RemoteState: bfd.Down, Failed: true, Diag: bfd.TimeExpired, Reason: "no packet for 151ms"}
	rising   = bfd.Status{State: bfd.Init, RemoteState: bfd.Down, Failed: true}
	switched = bfd.Status{State: bfd.Down, RemoteState: bfd.AdminDown, Diag: bfd.NeighborDown}
	stopping = bfd.Status{State: bfd.AdminDown}
)

const (
	down    = "BFD down: no packet for 151ms"
	flapped = "BFD is up again, but flapped"
	notYet  = "BFD is not up yet"
)

type said struct {
	after time.Duration // since the last one
	bfd   bfd.Status
	held  string        // what is to come of it
	again time.Duration // from now; zero: no need
}

func TestGate(t *testing.T) {
	const ms, s, min = time.Millisecond, time.Second, time.Minute
	for name, tt := range map[string]struct {
		strict, undamped bool
		story            []said
	}{
		"never up": {false, false, []said{{0, silent, "", 0}, {min, silent, "", 0}}},
		"comes up": {false, false, []said{{0, silent, "", 0}, {s, up, "", 0}}},
		"one flap": {false, false, []said{
			{0, up, "", 0}, {10 * s, failed, down, patience}, {s, rising, down, patience - s}, {ms, up, "", 0},
		}},
		"strict waits":               {true, false, []said{{0, silent, notYet, 0}, {10 * min, silent, notYet, 0}, {s, up, "", 0}, {min, failed, down, 0}, {10 * min, failed, down, 0}, {s, up, "", 0}}},
		"switched off is no failure": {false, false, []said{{0, up, "", 0}, {s, switched, "", 0}, {s, silent, "", 0}, {s, up, "", 0}}},
		"switched off after a failure": {false, false, []said{
			{0, up, "", 0}, {s, failed, down, patience}, {s, switched, "", 0}, {s, silent, "", 0},
		}},
		"strict, switched off": {true, false, []said{{0, silent, notYet, 0}, {s, switched, "", 0}, {s, silent, "", 0}, {s, up, "", 0}, {s, stopping, "", 0}}},
		"only its BFD is gone": {false, false, []said{
			{0, up, "", 0}, {s, failed, down, patience}, {patience - s, failed, down, s}, {s, failed, "", 0}, {min, failed, "", 0}, {s, up, "", 0}, {s, failed, down, patience},
		}},
		"flaps again and again": {false, false, []said{
			{0, up, "", 0},
			{s, failed, down, patience}, {s, up, "", 0},
			{s, failed, down, patience}, {s, up, "", 0},
			{s, failed, down, patience}, {s, up, flapped, s}, {s, up, "", 0},
			{s, failed, down, patience}, {s, up, flapped, 2 * s}, {s, up, flapped, s}, {s, up, "", 0},
			{s, failed, down, patience}, {s, up, flapped, 4 * s}, {s, failed, down, patience}, {s, up, flapped, 8 * s}, {8 * s, up, "", 0},
			{calm, failed, down, patience}, {s, up, "", 0}, // it was calm
		}},
		"flaps again and again, undamped": {false, true, []said{
			{0, up, "", 0},
			{s, failed, down, patience}, {s, up, "", 0}, {s, failed, down, patience}, {s, up, "", 0},
			{s, failed, down, patience}, {s, up, "", 0}, {s, failed, down, patience}, {s, up, "", 0},
		}},
		"damping has an end": {false, false, []said{
			{0, up, "", 0},
			{s, failed, down, patience}, {0, up, "", 0}, {s, failed, down, patience}, {0, up, "", 0}, {s, failed, down, patience}, {0, up, flapped, s}, {s, failed, down, patience}, {0, up, flapped, 2 * s},
			{0, failed, down, patience}, {0, up, flapped, 4 * s}, {0, failed, down, patience}, {0, up, flapped, 8 * s}, {0, failed, down, patience}, {0, up, flapped, 16 * s},
			{0, failed, down, patience}, {0, up, flapped, 32 * s}, {0, failed, down, patience}, {0, up, flapped, min}, {0, failed, down, patience}, {0, up, flapped, min},
			{0, switched, "", 0},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := gate{strict: tt.strict, undamped: tt.undamped}
			now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
			for i, step := range tt.story {
				now = now.Add(step.after)
				again := g.step(now, step.bfd)
				got := said{step.after, step.bfd, g.held, 0}
				if !again.IsZero() {
					got.again = again.Sub(now)
				}
				if diff := cmp.Diff(step, got, cmp.AllowUnexported(said{}), cmp.Comparer(func(a, b bfd.Status) bool { return true })); diff != "" {
					t.Fatalf("step %d (-want +got)\n%s", i, diff)
				}
			}
		})
	}
}
