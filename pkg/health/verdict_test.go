package health

import (
	"strings"
	"testing"
)

// In rows, attempts are "+" and "-"; states after each are u, U, D.
func TestCounter(t *testing.T) {
	for _, test := range []struct {
		name           string
		rise, fall     int
		attempts, want string
	}{
		{"found down at the start", 3, 3, "-", "D"},
		{"a success, then down", 3, 3, "++-", "uuD"},
		{"rises from unknown", 3, 3, "+++", "uuU"},
		{"rises at once", 1, 3, "+", "U"},
		{"falls", 1, 3, "+---", "UUUD"},
		{"falls at once", 1, 1, "+-", "UD"},
		{"a success ends the fall", 1, 3, "+--+--+", "UUUUUUU"},
		{"rises from down", 3, 1, "-+++", "DDDU"},
		{"a failure ends the rise", 3, 1, "-++-++", "DDDDDD"},
		{"there and back", 2, 2, "++--++", "uUUDDU"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := counter{rise: test.rise, fall: test.fall}
			var got strings.Builder
			for _, a := range test.attempts {
				c.observe(a == '+')
				got.WriteByte("uUD"[c.state])
			}
			if got.String() != test.want {
				t.Errorf("%s: %s, want %s", test.attempts, &got, test.want)
			}
		})
	}
}

func TestCounterChanging(t *testing.T) {
	c := counter{rise: 2, fall: 2}
	for i, step := range []struct{ ok, changing bool }{
		{true, true},   // unknown
		{true, false},  // up
		{false, true},  // first failure
		{true, false},  // up as before
		{false, true},  //
		{false, false}, // down
		{true, true},   // first success
		{false, false}, // down as before
	} {
		if c.observe(step.ok); c.changing() != step.changing {
			t.Errorf("step %d: changing %v, want %v", i, c.changing(), step.changing)
		}
	}
	if c.reset(); !c.changing() || c.state != Unknown {
		t.Errorf("after reset: %+v", c)
	}
}

func TestCombine(t *testing.T) {
	up, down, unknown := CheckStatus{Name: "a", State: Up, Reason: "ok"}, CheckStatus{Name: "b", State: Down, Reason: "refused"}, CheckStatus{Name: "c", State: Unknown, Reason: "no result yet"}
	later := CheckStatus{Name: "b", State: Down, Reason: "no answer"}
	other := CheckStatus{Name: "d", State: Down, Reason: "SERVFAIL"}
	wasUp, wasDown := verdict{state: Up, reason: "2 of 2 checks up"}, verdict{Down, "b: refused", "b"}
	for _, test := range []struct {
		name   string
		was    verdict
		checks []CheckStatus
		want   verdict
	}{
		{"no checks", verdict{}, nil, verdict{reason: "no checks"}},
		{"all up", verdict{}, []CheckStatus{up, up}, wasUp},
		{"one not told", verdict{}, []CheckStatus{up, unknown}, verdict{reason: "c: no result yet"}},
		{"one down", verdict{}, []CheckStatus{up, down, unknown}, wasDown},
		{"down beats unknown", verdict{}, []CheckStatus{unknown, down}, wasDown},
		{"the first down is named", wasUp, []CheckStatus{other, down}, verdict{Down, "d: SERVFAIL", "d"}},
		{"the cause keeps its reason", wasDown, []CheckStatus{other, later}, wasDown},
		{"the cause is cured, another is down", wasDown, []CheckStatus{other, up}, verdict{Down, "d: SERVFAIL", "d"}},
		{"still down while it starts anew", wasDown, []CheckStatus{up, unknown}, wasDown},
		{"up again", wasDown, []CheckStatus{up, up}, wasUp},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.was.combine(test.checks, len(test.checks)); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestCombineSome(t *testing.T) {
	a, b, c := CheckStatus{Name: "a", State: Down, Reason: "refused"}, CheckStatus{Name: "b", State: Up}, CheckStatus{Name: "c", Reason: "no result yet"}
	up := func(s CheckStatus) CheckStatus { s.State = Up; return s }
	down := func(s CheckStatus) CheckStatus { s.State, s.Reason = Down, "no answer"; return s }
	wasUp, wasDown := verdict{state: Up, reason: "before"}, verdict{Down, "before", "a"}
	for _, test := range []struct {
		name   string
		was    verdict
		need   int
		checks []CheckStatus
		want   verdict
	}{
		{"any, one up", verdict{}, 1, []CheckStatus{a, b, c}, verdict{state: Up, reason: "1 of 3 checks up; missing a: refused; c: no result yet"}},
		{"any, none up yet", verdict{}, 1, []CheckStatus{a, c}, verdict{reason: "c: no result yet"}},
		{"any, none up", wasUp, 1, []CheckStatus{a, down(b)}, verdict{Down, "0 of 2 checks up, 1 needed; missing a: refused; b: no answer", "a"}},
		{"any, it may yet be", wasUp, 1, []CheckStatus{a, c}, wasUp},
		{"any, back", wasDown, 1, []CheckStatus{a, b}, verdict{state: Up, reason: "1 of 2 checks up; missing a: refused"}},
		{"two, reached", wasDown, 2, []CheckStatus{a, b, up(c)}, verdict{state: Up, reason: "2 of 3 checks up; missing a: refused"}},
		{"two, out of reach", wasUp, 2, []CheckStatus{a, b, down(c)}, verdict{Down, "1 of 3 checks up, 2 needed; missing a: refused; c: no answer", "a"}},
		{"two, cannot be told", wasUp, 2, []CheckStatus{a, b, c}, wasUp},
		{"two, still down", wasDown, 2, []CheckStatus{a, b, c}, wasDown},
		{"two, the cause lasts", wasDown, 2, []CheckStatus{a, down(b), up(c)}, wasDown},
		{"two, another cause", wasDown, 2, []CheckStatus{up(a), down(b), down(c)}, verdict{Down, "1 of 3 checks up, 2 needed; missing b: no answer; c: no answer", "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.was.combine(test.checks, test.need); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
