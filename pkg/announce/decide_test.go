package announce

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/health"
)

var (
	start     = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	errNoAddr = errors.New("no address")
)

// decide is Decide with the defaults of everything that a test leaves out.
func decide(s Service, m Memory, in Input) (Memory, Decision, time.Time) {
	s.Guard = s.Guard.withDefaults()
	return Decide(Times{}.withDefaults(), s, m, in)
}

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// TestDecide is the whole table: every state meets every input.
func TestDecide(t *testing.T) {
	t.Parallel()
	const settle = 2 * time.Second
	service := Service{Name: "dns", Settle: settle} // no Drain: TestDecideDrain has the rest
	memory := func(s State) Memory { return Memory{State: s, Since: at(10), Reason: "before"} }
	now := at(20)
	in := func(h health.State, since float64) Input {
		return Input{Now: now, Health: health.Status{State: h, Reason: "because", Since: at(since), Noticed: at(since - 0.1)}, Others: "mec-2"}
	}
	unknown, down := in(health.Unknown, 15), in(health.Down, 19)
	fresh, long, blocked, stop := in(health.Up, 19), in(health.Up, 10), in(health.Up, 10), in(health.Up, 10)
	blocked.Address, stop.Stop = errNoAddr, true

	enter := func(s State, since float64, reason string) Memory {
		return Memory{State: s, Since: at(since), Reason: reason}
	}
	left := func(m Memory) Memory { m.Sick, m.Left = now, []time.Time{now}; return m }
	settling := enter(Settling, 19, "up, settles for 2s: because")
	held := enter(Settling, 10, "up, but not announced: no address")
	up := enter(Up, 20, "up for 10s: because")
	stopping := enter(Stopping, 20, "the agent stops")

	tests := []struct {
		from    State
		what    string
		in      Input
		to      Memory
		action  Action
		noticed time.Time
		again   time.Time
	}{
		{Starting, "unknown", unknown, memory(Starting), None, time.Time{}, time.Time{}},
		{Starting, "down", down, enter(Withdrawn, 20, "found down at the start, not announced: because"), None, at(18.9), time.Time{}},
		{Starting, "up", fresh, settling, None, at(19), at(21)},
		{Starting, "up for long", long, up, Announce, at(12), time.Time{}},
		{Starting, "up, no address", blocked, held, None, at(12), time.Time{}},
		{Starting, "stop", stop, stopping, None, at(20), time.Time{}},

		{Settling, "unknown", unknown, memory(Settling), None, time.Time{}, time.Time{}},
		{Settling, "down", down, enter(Withdrawn, 20, "down before it was announced: because"), None, at(18.9), time.Time{}},
		{Settling, "up anew", fresh, settling, None, at(19), at(21)},
		{Settling, "up for long", long, up, Announce, at(12), time.Time{}},
		{Settling, "up, no address", blocked, held, None, at(12), time.Time{}},
		{Settling, "stop", stop, stopping, None, at(20), time.Time{}},

		{Up, "unknown", unknown, memory(Up), None, time.Time{}, time.Time{}},
		{Up, "down", down, left(enter(Withdrawn, 20, "because; announced by mec-2")), Withdraw, at(18.9), time.Time{}},
		{Up, "up anew", fresh, memory(Up), None, time.Time{}, time.Time{}},
		{Up, "up for long", long, memory(Up), None, time.Time{}, time.Time{}},
		{Up, "up, no address", blocked, memory(Up), None, time.Time{}, time.Time{}},
		{Up, "stop", stop, stopping, Withdraw, at(20), time.Time{}},

		{Withdrawn, "unknown", unknown, memory(Withdrawn), None, time.Time{}, time.Time{}},
		{Withdrawn, "down", down, memory(Withdrawn), None, time.Time{}, time.Time{}},
		{Withdrawn, "up", fresh, settling, None, at(19), at(21)},
		{Withdrawn, "up for long", long, up, Announce, at(12), time.Time{}},
		{Withdrawn, "up, no address", blocked, held, None, at(12), time.Time{}},
		{Withdrawn, "stop", stop, stopping, None, at(20), time.Time{}},

		{Stopping, "unknown", unknown, memory(Stopping), None, time.Time{}, time.Time{}},
		{Stopping, "down", down, memory(Stopping), None, time.Time{}, time.Time{}},
		{Stopping, "up", fresh, memory(Stopping), None, time.Time{}, time.Time{}},
		{Stopping, "up for long", long, memory(Stopping), None, time.Time{}, time.Time{}},
		{Stopping, "up, no address", blocked, memory(Stopping), None, time.Time{}, time.Time{}},
		{Stopping, "stop", stop, memory(Stopping), None, time.Time{}, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%s", tt.from, tt.what), func(t *testing.T) {
			t.Parallel()
			type result struct {
				Memory   Memory
				Decision Decision
				Again    time.Time
			}
			m, d, again := decide(service, memory(tt.from), tt.in)
			want := result{tt.to, Decision{Action: tt.action, Reason: tt.to.Reason, Cause: Cause{Noticed: tt.noticed}}, tt.again}
			if tt.in.Health.State == health.Down && tt.action != None || tt.from != tt.to.State && tt.to.State == Withdrawn {
				want.Decision.Confirmed = at(19)
			}
			if diff := cmp.Diff(want, result{m, d, again}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestDecideStory follows one service through a life.
func TestDecideStory(t *testing.T) {
	t.Parallel()
	type step struct {
		at     float64
		health health.State
		since  float64
		state  State
		action Action
		again  float64 // 0: none
	}
	tests := []struct {
		name   string
		settle time.Duration
		steps  []step
	}{
		{"up from the start", 2 * time.Second, []step{
			{0, health.Unknown, 0, Starting, None, 0},
			{1, health.Up, 1, Settling, None, 3},
			{2, health.Up, 1, Settling, None, 3},
			{3, health.Up, 1, Up, Announce, 0},
			{9, health.Up, 1, Up, None, 0},
		}},
		{"found down, repaired", time.Second, []step{
			{0, health.Down, 0, Withdrawn, None, 0},
			{5, health.Unknown, 0, Withdrawn, None, 0},
			{6, health.Up, 6, Settling, None, 7},
			{7, health.Up, 6, Up, Announce, 0},
		}},
		{"flapping is never announced", 2 * time.Second, []step{
			{0, health.Up, 0, Settling, None, 2},
			{1, health.Down, 1, Withdrawn, None, 0},
			{2, health.Up, 2, Settling, None, 4},
			{3, health.Down, 3, Withdrawn, None, 0},
			{4, health.Up, 4, Settling, None, 6},
			{5, health.Down, 5, Withdrawn, None, 0},
		}},
		{"a failure between two looks starts settling anew", 2 * time.Second, []step{
			{0, health.Up, 0, Settling, None, 2},
			{2, health.Up, 1.5, Settling, None, 3.5},
			{3.5, health.Up, 1.5, Up, Announce, 0},
		}},
		{"a failure between two looks is over: what is announced works", time.Second, []step{
			{0, health.Up, 0, Settling, None, 1},
			{1, health.Up, 0, Up, Announce, 0},
			{5, health.Up, 4, Up, None, 0},
		}},
		{"unknown while up, then down", time.Second, []step{
			{1, health.Up, 0, Up, Announce, 0},
			{2, health.Unknown, 2, Up, None, 0},
			{3, health.Down, 3, Withdrawn, Withdraw, 0},
			{4, health.Unknown, 4, Withdrawn, None, 0},
		}},
		{"unknown while settling does not count as up", 2 * time.Second, []step{
			{0, health.Up, 0, Settling, None, 2},
			{1, health.Unknown, 1, Settling, None, 0},
			{3, health.Unknown, 1, Settling, None, 0},
			{4, health.Up, 4, Settling, None, 6},
		}},
		{"no settling, but hold-down", 0, []step{
			{0, health.Up, 0, Up, Announce, 0},
			{1, health.Down, 1, Withdrawn, Withdraw, 0},
			{1, health.Up, 1, Settling, None, 2},
			{2, health.Up, 1, Up, Announce, 0},
		}},
		{"a clock that health does not give", 2 * time.Second, []step{
			{1, health.Up, -1, Settling, None, 3},
			{2, health.Up, -1, Settling, None, 3},
			{3, health.Up, -1, Up, Announce, 0},
		}},
		{"health that lies ahead", time.Second, []step{
			{1, health.Up, 50, Settling, None, 2},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var m Memory
			for i, s := range tt.steps {
				in := Input{Now: at(s.at), Health: health.Status{State: s.health}, Others: "mec-2"}
				if s.since >= 0 {
					in.Health.Since, in.Health.Noticed = at(s.since), at(s.since)
				}
				next, d, again := decide(Service{Settle: tt.settle}, m, in)
				var wantAgain time.Time
				if s.again != 0 {
					wantAgain = at(s.again)
				}
				if next.State != s.state || d.Action != s.action || !again.Equal(wantAgain) {
					t.Fatalf("step %d: got %v, %v, again %v; want %v, %v, again %v", i, next.State, d.Action, again, s.state, s.action, wantAgain)
				}
				m = next
			}
		})
	}
}
