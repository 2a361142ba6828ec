package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func fakeWait(ctx context.Context, due time.Time) bool { return pause(ctx, time.Until(due)) }

// An open loop: the 11th request is due on time, however slow the others are.
func TestLoopWaitsForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		starts := make(chan time.Duration, 100)
		l := &loop{
			load: Load{Clients: 1, Rate: 10, Fixed: true, Duration: time.Second, Timeout: 5 * time.Second},
			make: func(ctx context.Context, r request) {
				starts <- time.Since(start)
				<-ctx.Done() // the whole timeout
				if late := time.Since(r.due) - 5*time.Second; late != 0 {
					t.Errorf("the request's time was over %s late", late)
				}
			},
		}
		l.run(t.Context(), start, fakeWait)
		close(starts)
		seen := map[time.Duration]bool{}
		for at := range starts {
			seen[at] = true
		}
		for n := range 10 {
			if at := time.Duration(n) * 100 * time.Millisecond; !seen[at] {
				t.Errorf("no request at %s: %v", at, seen)
			}
		}
		if l.scheduled != 10 || l.skipped != 0 || time.Since(start) != 5900*time.Millisecond {
			t.Errorf("scheduled %d, skipped %d, took %s", l.scheduled, l.skipped, time.Since(start))
		}
	})
}

func TestLoopSkipsWhatIsLongDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		made := make(chan struct{}, 100)
		l := &loop{
			load: Load{Clients: 1, Rate: 10, Fixed: true, Duration: 2 * time.Second, Timeout: time.Second},
			make: func(context.Context, request) { made <- struct{}{} },
		}
		stalled := false
		l.run(t.Context(), time.Now(), func(ctx context.Context, due time.Time) bool {
			if !stalled {
				stalled = true
				time.Sleep(time.Second)
			}
			return fakeWait(ctx, due)
		})
		// At 1 s, the requests due at 0 to 700 ms are late by more than 250 ms.
		if l.scheduled != 20 || l.skipped != 8 || len(made) != 12 {
			t.Errorf("scheduled %d, skipped %d, made %d; want 20, 8, 12", l.scheduled, l.skipped, len(made))
		}
	})
}

func TestLoopEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		finished := 0
		l := &loop{
			load: Load{Clients: 1, Rate: 1, Fixed: true, Timeout: time.Minute},
			make: func(ctx context.Context, _ request) {
				if pause(ctx, 10*time.Second) { // what is under way has its time
					finished++
				}
			},
		}
		time.AfterFunc(500*time.Millisecond, cancel)
		l.run(ctx, time.Now(), fakeWait)
		if l.scheduled != 1 || finished != 1 {
			t.Errorf("scheduled %d, finished %d; want 1, 1", l.scheduled, finished)
		}
	})
}
