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
	up, down, unknown := CheckStatus{"a", Up, "ok", zero}, CheckStatus{"b", Down, "refused", zero}, CheckStatus{"c", Unknown, "no result yet", zero}
	later := CheckStatus{"b", Down, "no answer", zero}
	other := CheckStatus{"d", Down, "SERVFAIL", zero}
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
			if got := test.was.combine(test.checks); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
