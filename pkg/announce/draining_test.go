package announce

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/health"
)

// TestDecideDrain is the table of draining, stopping and their end.
func TestDecideDrain(t *testing.T) {
	t.Parallel()
	service := Service{Name: "dns", Settle: 2 * time.Second, Drain: 5 * time.Second}
	now := at(20)
	status := func(s health.State, since float64) health.Status {
		return health.Status{State: s, Reason: "because", Since: at(since), Noticed: at(since - 0.1)}
	}
	up, down, unknown := status(health.Up, 1), status(health.Down, 19), status(health.Unknown, 1)
	drain := func(h health.Status) Input { return Input{Now: now, Health: h, Drain: "drained by request"} }
	undrain := func(h health.Status) Input { return Input{Now: now, Health: h, Others: "mec-2"} }
	stop := func(h health.Status) Input { return Input{Now: now, Health: h, Stop: true} }
	written, hurry, fresh := drain(up), stop(up), undrain(status(health.Up, 19))
	written.Written, hurry.Hurry = true, true

	tests := []struct {
		name   string
		from   State
		since  float64
		in     Input
		to     State
		action Action
		reason string
		again  float64 // 0: none
	}{
		{"up", Up, 1, drain(up), Draining, Deprefer, "drained by request: announced de-preferred for 5s", 25},
		{"up, unknown", Up, 1, drain(unknown), Draining, Deprefer, "drained by request: announced de-preferred for 5s", 25},
		{"up, down", Up, 1, drain(down), Withdrawing, Withdraw, "drained by request, and it is down: because", 0},
		{"waits", Draining, 16, drain(up), Draining, None, "before", 21},
		{"is due", Draining, 15, drain(up), Withdrawing, Withdraw, "drained by request: de-preferred for 5s", 0},
		{"dies", Draining, 16, drain(down), Withdrawing, Withdraw, "down while it drains: because", 0},
		{"not written", Withdrawing, 19, drain(up), Withdrawing, None, "before", 0},
		{"written", Withdrawing, 19, written, Drained, None, "drained by request: withdrawn everywhere", 0},
		{"stays drained", Drained, 19, drain(up), Drained, None, "before", 0},
		{"stays drained, down", Drained, 19, drain(down), Drained, None, "before", 0},
		{"starting", Starting, 19, drain(unknown), Drained, None, "drained by request: it was not announced", 0},
		{"settling", Settling, 19, drain(up), Drained, None, "drained by request: it was not announced", 0},
		{"withdrawn", Withdrawn, 19, drain(down), Drained, None, "drained by request: it was not announced", 0},

		{"back while draining", Draining, 16, undrain(up), Up, Announce, "no longer drained", 0},
		{"back while draining, unknown", Draining, 16, undrain(unknown), Up, Announce, "no longer drained", 0},
		{"back while draining, down", Draining, 16, undrain(down), Withdrawn, Withdraw, "no longer drained, but down: because; announced by mec-2", 0},
		{"back, never down: no settling", Drained, 16, undrain(up), Up, Announce, "up for 19s: because", 0},
		{"back before it was written", Withdrawing, 16, undrain(up), Up, Announce, "up for 19s: because", 0},
		{"back, was down: settles", Drained, 16, fresh, Settling, None, "up, settles for 2s: because", 21},
		{"back, down", Drained, 16, undrain(down), Withdrawn, None, "no longer drained, but down: because", 0},
		{"back, unknown", Drained, 16, undrain(unknown), Starting, None, "no longer drained, its health is not known yet", 0},

		{"stop, up", Up, 1, stop(up), Draining, Deprefer, "the agent stops: announced de-preferred for 5s", 25},
		{"stop, up, hurried", Up, 1, hurry, Stopping, Withdraw, "the agent stops", 0},
		{"stop, up, down", Up, 1, stop(down), Stopping, Withdraw, "the agent stops, and it is down: because", 0},
		{"stop, drains already", Draining, 16, stop(up), Draining, None, "before", 21},
		{"stop, drains, hurried", Draining, 16, hurry, Stopping, Withdraw, "the agent stops", 0},
		{"stop, due", Draining, 15, stop(up), Stopping, Withdraw, "the agent stops", 0},
		{"stop, dies", Draining, 16, stop(down), Stopping, Withdraw, "the agent stops, and it is down: because", 0},
		{"stop, drained", Drained, 16, stop(up), Stopping, None, "the agent stops", 0},
		{"stop, withdrawing", Withdrawing, 16, stop(up), Stopping, None, "the agent stops", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			type result struct {
				State  State
				Action Action
				Reason string
				Again  time.Time
			}
			m, d, again := decide(service, Memory{State: tt.from, Since: at(tt.since), Reason: "before"}, tt.in)
			want := result{tt.to, tt.action, tt.reason, time.Time{}}
			if tt.again != 0 {
				want.Again = at(tt.again)
			}
			if diff := cmp.Diff(want, result{m.State, d.Action, m.Reason, again}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	testDegraded(t, service)
	m, d, _ := decide(Service{}, Memory{State: Up}, drain(up))
	if m.State != Withdrawing || d.Action != Withdraw {
		t.Errorf("without a wait: %v, %v", m.State, d.Action)
	}
}

// testDegraded: what a remote dependency does to a service.
func testDegraded(t *testing.T, service Service) {
	bad := func(s health.State) Input {
		return Input{Now: at(20), Health: health.Status{State: s, Since: at(1), Degraded: true, DegradedReason: "dns: refused"}, Others: "mec-2"}
	}
	good := bad(health.Up)
	good.Health.Degraded = false
	drain, stop, undrained := bad(health.Up), bad(health.Up), bad(health.Up)
	drain.Drain, stop.Stop = "drained by request", true
	for _, tt := range []struct {
		name   string
		from   State
		in     Input
		to     State
		action Action
	}{
		{"up", Up, bad(health.Up), Degraded, Deprefer},
		{"settled", Settling, bad(health.Up), Degraded, Deprefer},
		{"stays", Degraded, bad(health.Up), Degraded, None},
		{"unknown", Degraded, bad(health.Unknown), Degraded, None},
		{"better", Degraded, good, Up, Announce},
		{"dies", Degraded, bad(health.Down), Withdrawn, Withdraw},
		{"never withdrawn", Up, bad(health.Unknown), Up, None},
		{"drained", Degraded, drain, Draining, None},
		{"undrained", Draining, undrained, Degraded, None},
		{"stopped", Degraded, stop, Draining, None},
	} {
		m, d, _ := decide(service, Memory{State: tt.from, Since: at(1)}, tt.in)
		if m.State != tt.to || d.Action != tt.action {
			t.Errorf("%s: %s, %s (%s), want %s, %s", tt.name, m.State, d.Action, m.Reason, tt.to, tt.action)
		}
	}
}
